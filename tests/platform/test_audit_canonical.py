"""The digest of an audit line is that of its canonical JSON, however it is made."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.group.platform.audit import Audit, sealed
from gkmd.group.platform.facts import Facts
from gkmd.group.platform.records import ARCHIVED, AuditLine

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
leaves = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | texts
details = st.dictionaries(texts, leaves | st.lists(leaves, max_size=3), max_size=5)


def canonical_digest(line: AuditLine) -> str:
    fields = {name: value for name, value in asdict(line).items() if name != "digest"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@settings(max_examples=50, deadline=None)
@given(texts, texts, texts, st.floats(0, 4e9), details.filter(lambda found: not has_infinity(found)))
def test_the_digest_is_that_of_the_canonical_json(
    actor: str, action: str, subject: str, at: float, detail: dict[str, Any]
) -> None:
    line = AuditLine(7, at, actor, action, subject, detail, "0" * 64, "")
    assert sealed(line).digest == canonical_digest(line)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.from_regex(r"x[a-z]{0,6}", fullmatch=True), leaves | st.tuples(leaves), max_size=4))
def test_a_line_is_kept_as_it_will_be_read(detail: dict[str, Any]) -> None:
    facts = Facts((), ARCHIVED)
    Audit(facts).note("gkmd", "try", "it", 1_790_000_000.25, **detail)
    line = facts.newest(AuditLine)
    assert line is not None
    assert line.detail == json.loads(json.dumps(line.detail))
    assert line.digest == canonical_digest(replace(line, digest=""))


def has_infinity(found: dict[str, Any]) -> bool:
    values = [item for value in found.values() for item in (value if isinstance(value, list) else [value])]
    return any(value in (float("inf"), float("-inf")) for value in values if isinstance(value, float))
