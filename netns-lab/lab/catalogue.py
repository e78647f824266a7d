"""The scenarios of a folder: NN-name/README.md and NN-name/scenario.py."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any


@dataclass(frozen=True, slots=True)
class Entry:
    """One scenario, read without importing it.

    ``seconds``, its constant SECONDS, is the time it may take; ``memory``, MEMORY, is that of its guest.
    """

    name: str
    path: Path
    title: str
    seconds: float
    memory: str

    def load(self) -> Callable[..., None]:
        """Import it; the function ``scenario(lab)``."""
        module = _import(self.path)
        body: Callable[..., None] = module.scenario
        return body


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_scenario", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot import {path}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(folder: Path) -> list[Entry]:
    """All scenarios below ``folder``, in the order of their names."""
    return [_entry(path) for path in sorted(folder.glob("*/scenario.py"))]


def _entry(path: Path) -> Entry:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants: dict[str, Any] = {"SECONDS": 120.0, "MEMORY": "1G"}
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in constants:
            constants[node.targets[0].id] = ast.literal_eval(node.value)  # type: ignore[attr-defined]
    title = (ast.get_docstring(tree) or path.parent.name).splitlines()[0]
    return Entry(path.parent.name, path, title, float(constants["SECONDS"]), str(constants["MEMORY"]))


def choose(entries: list[Entry], names: list[str]) -> list[Entry]:
    """The entries that ``names`` mean: a whole name, its number or its beginning; all when there are none.

    LookupError, with what there is, for a name that means none or several.
    """
    if not names:
        return entries
    chosen = []
    for name in names:
        wanted = name.rstrip("/").rsplit("/", 1)[-1]
        exact = [entry for entry in entries if entry.name == wanted]
        found = exact or [
            e for e in entries if e.name.startswith(wanted) or e.name.split("-", 1)[-1] == wanted
        ]
        if len(found) != 1:
            known = ", ".join(entry.name for entry in entries)
            raise LookupError(f"{name!r} means {len(found)} scenarios; there are: {known}")
        if found[0] not in chosen:
            chosen.append(found[0])
    return chosen
