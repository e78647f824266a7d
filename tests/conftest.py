"""What a test may need, and what becomes of one that is skipped.

A test is pure unless it is marked: ``root`` (root on the running kernel), ``guest`` (a kernel with ESP:
everything below tests/kernel/guest) or ``lab`` (starts the lab by itself). Unmarked ones run by default;
`make test` runs all.
A skipped test fails the run unless ALLOWED_SKIPS knows it: what nobody runs is not tested.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from gkmd.daemon.logs import FromLibraries

# How long an example takes says how busy the machine is, and nothing about the code. The examples are the
# same in each run, so that a change is judged by what it changes; --hypothesis-profile=search has new ones.
settings.register_profile("search", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("any machine", settings.get_profile("search"), derandomize=True, database=None)
settings.load_profile("any machine")

# Test id, or the beginning of one: why it may be skipped.
ALLOWED_SKIPS: dict[str, str] = {}

GUEST = Path(__file__).parent / "kernel" / "guest"


# Tests of real processes wait for them most of the time: the last part has them and nothing else.
WAITING = frozenset(
    {"test_daemon_processes.py", "test_daemon_platform_processes.py", "test_daemon_ticket_processes.py"}
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--part", default="1/1", metavar="N/M", help="only the N-th of M parts of the test files"
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of other parts are not even imported: collecting them all takes longer than many tests."""
    part = _files_of(config.getoption("--part"))
    if part is None or not collection_path.match("test_*.py"):
        return None
    return collection_path not in part or None


@functools.cache
def _files_of(part: str) -> frozenset[Path] | None:
    """The test files of part "N/M"; None for all of them."""
    number, parts = map(int, part.split("/"))
    if parts == 1:
        return None
    files = sorted(Path(__file__).parent.rglob("test_*.py"))
    others = [path for path in files if path.name not in WAITING]
    waiting = [path for path in files if path.name in WAITING]
    return frozenset(waiting if number == parts else others[number - 1 :: parts - 1])


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Daemons within a test take what libraries log: the next test finds the root logger as it was."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    for handler in [one for one in root.handlers if isinstance(one, FromLibraries)]:
        root.removeHandler(handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(GUEST):
            item.add_marker(pytest.mark.guest)


def _skipped(config: pytest.Config) -> list[pytest.TestReport | pytest.CollectReport]:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return list(reporter.stats.get("skipped", [])) if reporter else []


def _allowed(nodeid: str) -> bool:
    return any(nodeid.startswith(beginning) for beginning in ALLOWED_SKIPS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for report in _skipped(config):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        word = "did not run" if _allowed(report.nodeid) else "did not run, and may not be skipped"
        terminalreporter.write_line(f"{word}: {report.nodeid}: {reason}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    forbidden = [report for report in _skipped(session.config) if not _allowed(report.nodeid)]
    if forbidden and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
