"""QR codes on a terminal."""

from __future__ import annotations

import io
import shutil
import sys

import click

from gkmd.core.errors import LocalError


def qr_code(text: str) -> str:
    """``text`` as a QR code of half blocks, dark on light whatever the terminal's own colours are.

    LocalError without segno, for a text that is too long, and for a terminal that is too narrow: it would
    wrap the lines, and no camera reads that.
    """
    try:
        import segno
    except ImportError:
        raise LocalError("a QR code needs segno, which is in the extra `portal`: gkmd[portal]") from None
    try:
        code = segno.make(text, error="l" if len(text) > 300 else "m", micro=False)
    except segno.DataOverflowError:
        raise LocalError("this is too long for a QR code: write it to a file with --output") from None
    width, wanted = shutil.get_terminal_size().columns, code.symbol_size()[0]
    if sys.stdout.isatty() and width < wanted:
        raise LocalError(f"the QR code is {wanted} columns wide, the terminal {width}: widen it")
    drawn = io.StringIO()
    code.terminal(drawn, compact=True)
    lines = drawn.getvalue().splitlines()
    return "\n".join(click.style(line, fg="bright_white", bg="black") for line in lines)
