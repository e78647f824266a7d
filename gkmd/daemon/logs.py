"""Log lines: JSON for programs, aligned text for people, written in batches.

A registration costs the server a line or two, so the path of a ``Tell`` is short: one dict, one encoding by
msgspec, one append. The buffer is written out within ``FLUSH_SECONDS``, at once for warnings, and at the end.
What libraries log by the standard library's logging ends in the same buffer.

Fields never hold secrets, and SecretBytes would print their length only. Octets are shown in hex up to 16 of
them (a pair of SPIs), longer ones as a length.
"""

from __future__ import annotations

import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from gkmd.core.identity import Identity

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FORMATS: Final = ("auto", "text", "json")
FLUSH_SECONDS: Final = 0.05
_FLUSH_LINES: Final = 256
_SPI_OCTETS: Final = 16
_CARRIED: Final = frozenset({str, int, float, bool, type(None)})


def plain(value: object) -> object:
    """What JSON cannot carry by itself, as text: identities, addresses, paths, SPIs; lists item by item."""
    kind = type(value)
    if kind in _CARRIED:
        return value
    if isinstance(value, bytes | bytearray):
        return value.hex() if len(value) <= _SPI_OCTETS else f"{len(value)} octets"
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, frozenset | set):
        return sorted(str(plain(one)) for one in value)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return str(value)


def plain_fields(fields: Mapping[str, object]) -> Mapping[str, object]:
    """The fields as ``plain`` shows them; the encoder alone would open every dataclass."""
    if _CARRIED.issuperset(map(type, fields.values())):
        return fields
    return {key: plain(value) for key, value in fields.items()}


_json = msgspec.json.Encoder(enc_hook=plain)


def render_json(now: float, level: str, event: str, fields: Mapping[str, object]) -> bytes:
    """One line of JSON: time (Unix seconds), level, event, then the fields."""
    return (
        _json.encode({"time": round(now, 6), "level": level, "event": event, **plain_fields(fields)}) + b"\n"
    )


def _text_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(_text_value(v) for v in value) or "-"
    if isinstance(value, Identity):
        value = value.shown()  # the JSON has it as the configuration does
    text = value if isinstance(value, str) else str(plain(value))
    return text if text and " " not in text and text.isprintable() else repr(text)


def render_text(now: float, level: str, event: str, fields: Mapping[str, object]) -> bytes:
    """``12:00:01.500 info    member-joined group=news identity=fqdn:rx1.example``, in local time."""
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    pairs = "".join(f" {k}={_text_value(v)}" for k, v in fields.items())
    return f"{clock}.{int(now % 1 * 1000):03d} {level:<7} {event}{pairs}\n".encode(
        "utf-8", "backslashreplace"
    )


Render = Callable[[float, str, str, Mapping[str, object]], bytes]
Later = Callable[[float, Callable[[], None]], object]


class Log:
    """The log of one process.

    ``now`` gives Unix seconds; ``fd`` is where lines go. ``later`` is called with a delay and ``flush`` when
    lines wait (asyncio's ``call_later`` once the loop runs); without it every line is written at once.
    """

    def __init__(
        self, now: Callable[[], float], level: str = "info", form: str = "auto", fd: int = 2
    ) -> None:
        self._now = now
        self._fd = fd
        self._lines: list[bytes] = []
        self._later: Later | None = None
        self._waiting = False
        self.configure(level, form)

    def configure(self, level: str, form: str) -> None:
        """Change level and form while running; ``auto`` is text on a terminal and JSON otherwise."""
        if form == "auto":
            form = "text" if os.isatty(self._fd) else "json"
        self._threshold = LEVELS[level]
        self._render: Render = render_text if form == "text" else render_json

    def batch(self, later: Later | None) -> None:
        """Write in batches from now on (None: line by line again)."""
        self.flush()
        self._later = later

    def tell(self, event: str, level: str, fields: Mapping[str, object]) -> None:
        """One line, when ``level`` is loud enough."""
        number = LEVELS[level]
        if number < self._threshold:
            return
        self._lines.append(self._render(self._now(), level, event, fields))
        if self._later is None or number >= LEVELS["warning"] or len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif not self._waiting:
            self._waiting = True
            self._later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what waits. A log that cannot be written (full disk, closed pipe) stops nothing."""
        self._waiting = False
        if not self._lines:
            return
        data = memoryview(b"".join(self._lines))
        self._lines.clear()
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            return


class FromLibraries(logging.Handler):
    """Lines of the standard library's logging (asyncio, pyroute2, our kernel layer) as lines of our log."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = next((name for name, number in LEVELS.items() if record.levelno <= number), "error")
        # What a foreign library finds worth an info is a detail of its own here; what is ours is not.
        if level == "info" and not record.name.startswith("gkmd"):
            level = "debug"
        fields = {"logger": record.name, "message": record.getMessage().strip()}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = _where(record.exc_info[1])
        self._log.tell("library", level, fields)


def _where(error: BaseException) -> str:
    """What it is and where it came up; not its text, which may quote what was sent."""
    place = traceback.extract_tb(error.__traceback__)[-1:]
    return " ".join([type(error).__name__, *(f"{Path(one.filename).name}:{one.lineno}" for one in place)])


def complain(text: str) -> None:
    """One clear line on stderr for the person who started us."""
    print(f"gkmd: {text}", file=sys.stderr, flush=True)
