"""Typed reading of a configuration table: every key has a parser, a default and a place for errors.

``get`` parses the value of a key, or its default: the default goes through the same parser, so it works by
construction. What was asked for is recorded in ``asked``, which is how a test compares the documentation with
the code, and how ``finish`` knows a key that nobody asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from gkmd.core.errors import ConfigError
from gkmd.daemon.secret_files import check_mode
from gkmd.daemon.toml_source import KeyPath, TomlSource, shown, unknown_key

T = TypeVar("T")


class Required:
    """The default of a key that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Final = Required()
_SHOWN_CHARACTERS: Final = 60


class Unexpected(ValueError):
    """Raised by a parser; the text completes "found X, expected ..."."""


class Section:
    """One table of the file. ``asked`` collects (dotted key, default) over the whole file."""

    def __init__(
        self,
        source: TomlSource,
        path: KeyPath = (),
        table: dict[str, Any] | None = None,
        asked: dict[str, object] | None = None,
    ) -> None:
        self._source = source
        self._path = path
        self._table = source.data if table is None else table
        self._known: set[str] = set()
        self.asked = {} if asked is None else asked

    @property
    def folder(self) -> Path:
        """Relative paths in the file start here."""
        return self._source.file.parent

    def get(self, key: str, parse: Callable[[Any], T], default: object = REQUIRED) -> T:
        """The parsed value of ``key``; ConfigError names file, line, key, what was found and expected."""
        self._known.add(key)
        self.asked[shown((*self._path, key))] = default
        if key not in self._table and default is REQUIRED:
            raise self.wrong(key, "missing; this key is required")
        return self._parsed(key, parse, self._table.get(key, default))

    def secret(self, key: str, parse: Callable[[Any], T], default: object = REQUIRED) -> T:
        """As ``get``, but an error does not quote what was found."""
        self._known.add(key)
        self.asked[shown((*self._path, key))] = default
        return self._parsed(key, parse, self._table.get(key, default), secret=True)

    def _parsed(self, key: str, parse: Callable[[Any], T], value: object, secret: bool = False) -> T:
        try:
            return parse(value)
        except Unexpected as error:
            found = "" if secret else f"found {quoted(value)}, "
            raise self.wrong(key, f"{found}expected {error}") from None

    def source_holds_secrets(self) -> None:
        """ConfigError unless the file itself may hold secrets: nobody else can read it."""
        check_mode(self._source.file)

    def has(self, key: str) -> bool:
        return key in self._table

    def table(self, key: str) -> Section:
        """The sub-table ``key``, empty when the file does not have it."""
        self._known.add(key)
        value = self._table.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"found {quoted(value)}, expected a table [{shown((*self._path, key))}]")
        return Section(self._source, (*self._path, key), value, self.asked)

    def tables(self, key: str) -> list[Section]:
        """The array of tables ``key``, empty when the file does not have it."""
        self._known.add(key)
        value = self._table.get(key, [])
        name = shown((*self._path, key))
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(key, f"found {quoted(value)}, expected tables that start with [[{name}]]")
        return [
            Section(self._source, (*self._path, key, number), one, self.asked)
            for number, one in enumerate(value)
        ]

    def items(self) -> list[tuple[str, Any]]:
        """All keys of a table whose keys are the operator's own; none of them is unknown then."""
        self._known.update(self._table)
        return list(self._table.items())

    def wrong(self, key: str, message: str) -> ConfigError:
        """``file:line: key: message``."""
        return self._source.wrong((*self._path, key) if key else self._path, message)

    def finish(self) -> None:
        """Call when all keys were asked for: any other in the table is an error."""
        for key in self._table:
            if key not in self._known:
                raise unknown_key(self._source, (*self._path, key), self._known)


def quoted(value: object) -> str:
    """A found value as the operator wrote it, roughly, and not too long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a table"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."
