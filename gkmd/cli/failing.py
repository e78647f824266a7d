"""How a command fails: one clear line on stderr, an exit status, never a traceback."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click

from gkmd.api.problem import Problem
from gkmd.core.errors import ConfigError, GkmdError
from gkmd.daemon.logs import complain

CONFIGURATION: Final = 2
TROUBLE: Final = 1


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Exit 2 for a wrong configuration, 1 for any other trouble."""
    try:
        yield
    except (click.ClickException, click.Abort):
        raise  # click has its own words for wrong arguments, and for somebody who says no
    except ConfigError as error:
        complain(str(error))
        sys.exit(CONFIGURATION)
    except Problem as problem:
        complain(_whole(problem))
        sys.exit(TROUBLE)
    except GkmdError as error:
        complain(str(error))
        sys.exit(TROUBLE)
    except OSError as error:
        where = f" {error.filename}" if error.filename else ""
        complain(f"{error.strerror or error}{where}")
        sys.exit(TROUBLE)
    except ImportError as error:
        complain(f"cannot load {error.name}: {error}; can the user of gkmd read its installation?")
        sys.exit(TROUBLE)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        complain(
            f"a fault in gkmd, please report it: {type(error).__name__}: {error} "
            f"at {frame.filename.rpartition('/')[2]}:{frame.lineno}"
        )
        sys.exit(TROUBLE)


def _whole(problem: Problem) -> str:
    """With what is wrong in which field, where the sentence does not say it."""
    more = [f"{one.field}: {one.text}" for one in problem.fields if one.text not in problem.detail]
    return "\n  ".join([problem.detail, *more])
