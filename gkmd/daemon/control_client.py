"""The other end of the control socket, for ``gkmd ctl`` and for scripts. Blocking; no asyncio."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gkmd.api.problem import Problem
from gkmd.core.errors import LocalError

REPLY_SECONDS: Final = 30.0
CALL_SECONDS: Final = 600.0  # a long audit log takes minutes to verify


class ControlClient:
    """One connection. Every failure is a LocalError that says what to do."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(REPLY_SECONDS)
        try:
            self._socket.connect(str(path))
        except FileNotFoundError:
            self._socket.close()
            raise LocalError(f"no control socket {path}: is gkmd running, and is this its socket?") from None
        except ConnectionRefusedError:
            self._socket.close()
            raise LocalError(
                f"nobody answers on {path}: gkmd was killed or crashed; start it again"
            ) from None
        except PermissionError:
            self._socket.close()
            raise LocalError(f"no permission to use {path}: be root or in the group of the socket") from None
        except OSError as error:
            self._socket.close()
            raise LocalError(f"cannot use the control socket {path}: {error.strerror or error}") from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def request(self, command: str, **arguments: str) -> Any:
        """The result of a command; LocalError with the daemon's words when it refuses."""
        reply = self._exchange({"command": command, **arguments})
        if not reply.get("ok"):
            raise LocalError(_reason(reply))
        return reply.get("result")

    def call(self, operation: str, request: dict[str, Any], token: str = "", origin: str = "") -> Any:
        """The result of an operation of the platform (``gkmd.api.operations``), as plain data. Problem when
        it is refused.

        Without a ``token`` the caller is the operator on the operator's socket, nobody on the portal's.
        """
        asked = {"operation": operation, "request": request, "token": token, "origin": origin}
        self._socket.settimeout(CALL_SECONDS)
        try:
            reply = self._exchange({"command": "platform", **asked})
        finally:
            self._socket.settimeout(REPLY_SECONDS)
        if reply.get("ok"):
            return reply.get("result")
        problem = reply.get("problem")
        if isinstance(problem, dict):
            raise Problem.of_json(problem)
        raise Problem("unavailable", _reason(reply))

    def events(self, level: str = "info") -> Iterator[dict[str, Any]]:
        """Events from now on, until the daemon or the caller ends."""
        self.request("events", level=level)
        self._socket.settimeout(None)
        while True:
            line = self._lines.readline()
            if not line:
                return
            yield json.loads(line)["event"]

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps({"id": 1, **request}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # it may have said why before it hung up
            self._socket.sendall(line)
        return self._read()

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline()
        except TimeoutError:
            seconds = self._socket.gettimeout() or REPLY_SECONDS
            raise LocalError(f"gkmd does not answer on {self._path} within {seconds:.0f} s") from None
        except OSError as error:
            raise LocalError(f"gkmd went away: {error.strerror}") from None
        if not line:
            raise LocalError("gkmd closed the connection: it is stopping, or you are not allowed to use it")
        reply: dict[str, Any] = json.loads(line)
        return reply


def _reason(reply: dict[str, Any]) -> str:
    return str(reply.get("error", "gkmd gave no reason"))
