"""Where keys stand in a TOML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from gkmd.core.errors import ConfigError
from gkmd.daemon.toml_source import KeyPath, TomlSource

TEXT = '''\
# a comment
top = 1   # [not.a.table]
"quoted key" = "a # string ] } \\" with marks"
dotted.inner = 'literal "'

[table]
list = [
  1,
  { who = "x", deep = [1, 2] },   # element 1

  """many
lines ] """,
  3 ]
after = true
many = \'\'\'
after = 2
[wrong]
\'\'\'
last = { a = 1, b.c = "x" }

[table.below]
key = 2026-12-24T18:00:00Z

[[group]]
name = "first"

[[group]]
name = "second"
[group.extra]
key = 1

[ spaced . "odd name" ]
key = 0x1F
'''

PLACES: list[tuple[KeyPath, int]] = [
    (("top",), 2),
    (("quoted key",), 3),
    (("dotted", "inner"), 4),
    (("table",), 6),
    (("table", "list"), 7),
    (("table", "list", 0), 8),
    (("table", "list", 1), 9),
    (("table", "list", 1, "deep"), 9),
    (("table", "list", 2), 11),
    (("table", "list", 3), 13),
    (("table", "after"), 14),
    (("table", "many"), 15),
    (("table", "last", "b", "c"), 19),
    (("table", "below", "key"), 22),
    (("group", 0, "name"), 25),
    (("group", 1), 27),
    (("group", 1, "name"), 28),
    (("group", 1, "extra", "key"), 30),
    (("spaced", "odd name", "key"), 33),
    # What is not there is pointed at where it would be.
    (("group", 1, "missing"), 27),
    (("nowhere",), 1),
]


@pytest.mark.parametrize(("path", "line"), PLACES)
def test_every_key_has_its_line(path: KeyPath, line: int) -> None:
    assert TomlSource(Path("x.toml"), TEXT).line(path) == line


def paths(value: object, path: KeyPath = ()) -> list[KeyPath]:
    below: list[KeyPath] = []
    if isinstance(value, dict):
        below = [p for k, v in value.items() for p in paths(v, (*path, k))]
    elif isinstance(value, list):
        below = [p for n, v in enumerate(value) for p in paths(v, (*path, n))]
    return [path, *below]


def test_the_walk_finds_exactly_what_the_parser_found() -> None:
    source = TomlSource(Path("x.toml"), TEXT)
    known = set(source._lines)
    assert {path for path in paths(source.data) if path} == known


@pytest.mark.parametrize(
    ("text", "line"), [("a = \n", 1), ("a = 1\nb = [1,\n", 2), ('a = 1\na = 2\n"b" = 1\n', 2)]
)
def test_what_is_no_toml_is_told_with_its_line(text: str, line: int) -> None:
    with pytest.raises(ConfigError, match=rf"^x\.toml:{line}: not TOML: "):
        TomlSource(Path("x.toml"), text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        TomlSource.read(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        TomlSource.read(tmp_path / "binary.toml")
