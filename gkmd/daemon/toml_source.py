"""A TOML file together with the line of every key, so that an error can point at it.

tomllib parses; it also guarantees that the text is well formed, so the walk over the text that follows only
has to find where keys stand. Line numbers count from 1.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeAlias

from gkmd.core.errors import ConfigError

KeyPath: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_KEY_PART: Final = re.compile(r"""[ \t]*([A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')[ \t]*""")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'',
    re.DOTALL,
)


def shown(path: KeyPath) -> str:
    """``group.address``: positions in arrays are left out, the line tells which one is meant."""
    return ".".join(str(part) for part in path if isinstance(part, str))


class TomlSource:
    """A parsed file: ``data``, and ``line`` for every path in it. ConfigError when it cannot be read."""

    def __init__(self, file: Path, text: str) -> None:
        self.file = file
        try:
            self.data: dict[str, Any] = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", str(error))
            if found:
                line, what = int(found[2]), f"{found[1]}, column {found[3]}"
            else:  # "at end of document"
                line, what = len(text.splitlines()) or 1, str(error)
            raise ConfigError(f"{file}:{line}: not TOML: {what}") from None
        self._lines = _Walk(text).lines

    @classmethod
    def read(cls, file: Path) -> TomlSource:
        try:
            return cls(file, file.read_text("utf-8"))
        except OSError as error:
            raise ConfigError(f"{file}: cannot read the configuration: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{file}: the configuration is not UTF-8 text") from None

    def line(self, path: KeyPath) -> int:
        """Where ``path`` stands, or the nearest that holds it."""
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def wrong(self, path: KeyPath, message: str) -> ConfigError:
        """The error ``file:line: key: message``."""
        return ConfigError(f"{self.file}:{self.line(path)}: {shown(path) or 'configuration'}: {message}")


def unknown_key(source: TomlSource, path: KeyPath, known: Iterable[str]) -> ConfigError:
    """The error for a key that means nothing, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(str(path[-1]), names, 1)
    hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"
    return source.wrong(path, f"unknown key; {hint}")


class _Walk:
    """One pass over well-formed TOML that notes the line of each table, key and array element."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.lines: dict[KeyPath, int] = {}
        self._arrays: dict[KeyPath, int] = {}  # arrays of tables: number of the last element
        self._starts = [0, *(m.end() for m in re.finditer("\n", text))]
        table: KeyPath = ()
        while self._skip_blank():
            line = self._line()
            if self._text.startswith("[[", self._at):
                self._at += 2
                table = self._header(self._parts())
                self._arrays[table] = self._arrays.get(table, -1) + 1
                table = (*table, self._arrays[table])
                self._at += 2
                self.lines.setdefault(table, line)
                self.lines.setdefault(table[:-1], line)
            elif self._text[self._at] == "[":
                self._at += 1
                table = self._header(self._parts())
                self._at += 1
                self.lines.setdefault(table, line)
            else:
                self._pair(table, line)

    def _line(self) -> int:
        low, high = 0, len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle] <= self._at else (low, middle)
        return low + 1

    def _skip_blank(self) -> bool:
        found = _BLANK.match(self._text, self._at)
        assert found is not None
        self._at = found.end()
        return self._at < len(self._text)

    def _parts(self) -> KeyPath:
        parts: list[str | int] = []
        while found := _KEY_PART.match(self._text, self._at):
            self._at = found.end()
            raw = found[1]
            parts.append(tomllib.loads(f"k = {raw}")["k"] if raw[0] in "\"'" else raw)
            if self._text[self._at : self._at + 1] != ".":
                break
            self._at += 1
        return tuple(parts)

    def _header(self, parts: KeyPath) -> KeyPath:
        """The path of a table header: below an array of tables it belongs to the last element."""
        path: KeyPath = ()
        for place, part in enumerate(parts):
            path = (*path, part)
            if place < len(parts) - 1:
                # [a.b] also makes a table a.
                self.lines.setdefault(path, self._line())
                if path in self._arrays:
                    path = (*path, self._arrays[path])
        return path

    def _pair(self, table: KeyPath, line: int) -> None:
        path = table
        for part in self._parts():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self._at += 1  # the equals sign
        while self._text[self._at] in " \t":
            self._at += 1
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        """Step over one value; ends behind it."""
        character = self._text[self._at]
        if character in "\"'":
            found = _STRING.match(self._text, self._at)
            assert found is not None
            self._at = found.end()
        elif character == "[":
            self._at += 1
            number = 0
            while self._skip_blank() and self._text[self._at] != "]":
                if self._text[self._at] == ",":
                    self._at += 1
                    continue
                self.lines[(*path, number)] = self._line()
                self._value((*path, number))
                number += 1
            self._at += 1
        elif character == "{":
            self._at += 1
            while self._skip_blank() and self._text[self._at] != "}":
                if self._text[self._at] == ",":
                    self._at += 1
                    continue
                self._pair(path, self._line())
            self._at += 1
        else:
            while self._at < len(self._text) and self._text[self._at] not in ",]}#\n":
                self._at += 1
