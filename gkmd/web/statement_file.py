"""A statement as a file, of as many lines as there are: they are asked for and sent page by page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Literal, TypeAlias

import msgspec
from starlette.responses import StreamingResponse

from gkmd.api.results import Statement
from gkmd.api.statement_csv import csv_heading, csv_lines, csv_totals

LINES: Final = 500  # that are asked for at once
Ask: TypeAlias = Callable[[str], Awaitable[Statement]]


async def statement_file(kind: Literal["csv", "json"], ask: Ask) -> StreamingResponse:
    """``ask`` gives the page after a place. Problem when the first one is refused."""
    first = await ask("")
    parts: AsyncIterator[str] | AsyncIterator[bytes] = (
        _as_csv(first, ask) if kind == "csv" else _as_json(first, ask)
    )
    name = f"statement-{first.reservation}.{kind}"  # of an id: letters, digits, points and dashes
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(
        parts, media_type="text/csv" if kind == "csv" else "application/json", headers=headers
    )


async def _pages(page: Statement, ask: Ask) -> AsyncIterator[Statement]:
    """The statement's pages from the first one on. Lines are only added at the end, so the last page's totals
    are those of all lines. A Problem breaks the file off: it has no totals then.
    """
    yield page
    while page.after:
        page = await ask(page.after)
        yield page


async def _as_csv(first: Statement, ask: Ask) -> AsyncIterator[str]:
    yield csv_heading()
    async for page in _pages(first, ask):
        last = page
        yield csv_lines(page.lines)
    yield csv_totals(last)


async def _as_json(first: Statement, ask: Ask) -> AsyncIterator[bytes]:
    """One object as the API has it, with all lines; its totals come after them."""
    yield b'{"lines":['
    begun = False
    async for page in _pages(first, ask):
        last = page
        if page.lines:
            lines = msgspec.json.encode(page.lines)[1:-1]
            yield b"," + lines if begun else lines
            begun = True
    rest = {name: getattr(last, name) for name in ("reservation", "title", "receivers", "totals", "made")}
    yield b"]," + msgspec.json.encode(rest)[1:]
