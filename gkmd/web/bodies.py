"""Bodies of requests: read up to a limit, whatever the client says about their length."""

from __future__ import annotations

from typing import Final

from starlette.requests import Request

MOST_OCTETS: Final = 240_000  # passed on it still fits a line of the daemon's socket


class TooLarge(Exception):
    """The body is larger than ``most`` octets."""

    def __init__(self, most: int) -> None:
        super().__init__(f"the body is larger than {most} octets")
        self.most = most


async def read_body(request: Request, most: int = MOST_OCTETS) -> bytes:
    """The whole body. TooLarge as soon as it is known to be more than ``most`` octets."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise TooLarge(most)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise TooLarge(most)
        parts.append(part)
    return b"".join(parts)
