"""Reads the known answers under ``tests/vectors``: JSON, octets as hex, each file naming its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).resolve().parent.parent / "vectors"


def load(name: str) -> dict[str, Any]:
    content = json.loads((_FOLDER / name).read_text())
    assert content["source"], "a vector file names its source"
    return dict(content)


def octets(text: str) -> bytes:
    return bytes.fromhex(text)
