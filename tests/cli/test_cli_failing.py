"""Every failure is one line and an exit status."""

from __future__ import annotations

import pytest

from gkmd.cli.failing import failing_clearly
from gkmd.core.errors import ConfigError, StoreError


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("x.toml:1: key: wrong"), 2, "gkmd: x.toml:1: key: wrong\n"),
        (StoreError("journal: full"), 1, "gkmd: journal: full\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "gkmd: Permission denied /x\n"),
        (OSError("odd"), 1, "gkmd: odd\n"),
        (ModuleNotFoundError("No module named 'alembic'", name="alembic"), 1, "gkmd: cannot load alembic: "),
        (
            ZeroDivisionError("oops"),
            1,
            "gkmd: a fault in gkmd, please report it: ZeroDivisionError: oops at test_",
        ),
    ],
)
def test_failures(error: Exception, status: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, failing_clearly():
        raise error
    assert caught.value.code == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(line)
    assert err.count("\n") == 1
