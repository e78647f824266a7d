"""Verdicts, tables, waits, programs and the catalogue of scenarios."""

from __future__ import annotations

import ast
import re
import sys
import time
from pathlib import Path

import pytest
from lab import catalogue, place
from lab.__main__ import lock
from lab.processes import Process
from lab.verdicts import Verdicts, table, words
from lab.waits import NotSeen, wait_for

LAB = place.REPO / "netns-lab"


def test_verdicts_tell_as_they_fall() -> None:
    told: list[str] = []
    verdicts = Verdicts(told.append)
    assert not verdicts.ok, "no verdict is no success"
    verdicts.check("lost", 0, 0)
    assert verdicts.ok
    verdicts.at_least("ESP packets", 1, 0)
    verdicts.at_most("seconds", 5, 4)
    assert not verdicts.ok
    assert told == [
        "  ok    lost: 0",
        "  FAIL  ESP packets: wanted at least 1, found 0",
        "  ok    seconds: 4",
    ]


def test_words_for_people() -> None:
    assert [words(v) for v in ([], {}, ["a", "b"], {"x": 1}, 7)] == ["none", "none", "a, b", "x: 1", "7"]


def test_a_table() -> None:
    assert table([["r1", 5], ["receiver", 12]], ["who", "lost"]).splitlines() == [
        "who       lost",
        "--------  ----",
        "r1           5",
        "receiver    12",
    ]
    assert table([]) == ""


def test_a_wait_ends_with_the_fact_or_names_it() -> None:
    answers = iter([0, "", None, "there"])
    assert wait_for("it", lambda: next(answers), every=0) == "there"
    with pytest.raises(NotSeen, match=r"not within 0.01 s: the moon \(last answer: False\)"):
        wait_for("the moon", lambda: False, within=0.01, every=0.001)


def program(tmp_path: Path, code: str) -> Process:
    return Process("it", [sys.executable, "-c", code], tmp_path / "it.log")


def test_a_program_its_log_and_its_end(tmp_path: Path) -> None:
    it = program(tmp_path, "import time; print('ready 7', flush=True); time.sleep(60)")
    assert it.wait_log(r"ready (\d)").group(1) == "7"
    assert it.alive
    assert it.stop() == -15
    assert not it.alive


def test_a_program_that_ends_too_early_is_not_waited_for(tmp_path: Path) -> None:
    it = program(tmp_path, "raise SystemExit('no such thing')")
    start = time.monotonic()
    with pytest.raises(NotSeen, match="it ended with 1 before its log said 'ready'"):
        it.wait_log("ready")
    with pytest.raises(NotSeen, match="no such thing"):
        it.wait_until("a file", lambda: False)
    assert time.monotonic() - start < 30


def test_a_program_that_does_not_end_is_killed(tmp_path: Path) -> None:
    it = program(
        tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=1); time.sleep(60)"
    )
    it.wait_log("1")
    with pytest.raises(NotSeen, match="the end of it on SIGTERM"):
        it.stop(within=0.1)
    assert it.status == -9
    assert -9 in it.good_statuses


def test_scenarios_are_found_without_importing_them(tmp_path: Path) -> None:
    for name, text in (("01-one", '"""One: a title.\n\nMore."""\nSECONDS = 30\n'), ("02-two", "raise 1\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "scenario.py").write_text(text)
    one, two = catalogue.read(tmp_path)
    assert (one.name, one.title, one.seconds) == ("01-one", "One: a title.", 30)
    assert (two.title, two.seconds) == ("02-two", 120)
    assert catalogue.choose([one, two], []) == [one, two]
    for name in ("01-one", "01", "one", "netns-lab/scenarios/01-one/"):
        assert catalogue.choose([one, two], [name]) == [one]
    with pytest.raises(LookupError, match="'0' means 2 scenarios; there are: 01-one, 02-two"):
        catalogue.choose([one, two], ["0"])


def test_one_run_of_a_scenario_at_a_time(tmp_path: Path) -> None:
    held = lock(tmp_path / "a", "01-one")
    lock(tmp_path / "a", "02-two").close()
    with pytest.raises(BlockingIOError, match="01-one"):
        lock(tmp_path / "a", "01-one")
    held.close()
    lock(tmp_path / "a", "01-one").close()


def test_every_scenario_is_described() -> None:
    entries = catalogue.read(LAB / "scenarios")
    assert entries
    for entry in entries:
        readme = (entry.path.parent / "README.md").read_text()
        assert readme.startswith(f"# {entry.name}"), entry.name
        for part in ("----+", "## Steps", "## Verdicts"):
            assert part in readme, f"{entry.name}: README.md lacks {part}"
        assert not entry.title.startswith(entry.name), f"{entry.name}: scenario.py has no docstring"


def test_the_example_of_the_readme_is_a_scenario(tmp_path: Path) -> None:
    example = re.search(r"```python\n(.*?)```", (LAB / "README.md").read_text(), re.DOTALL)
    assert example
    (tmp_path / "91-alone").mkdir()
    (tmp_path / "91-alone" / "scenario.py").write_text(example.group(1))
    (entry,) = catalogue.read(tmp_path)
    assert (entry.title.partition(":")[0], entry.seconds) == ("Alone", 60)
    assert callable(entry.load())


def test_the_lab_stands_beside_gkmd() -> None:
    """It judges the daemons from outside, and so must not share their code; only two speak with them."""
    for path in (LAB / "lab").glob("*.py"):
        if path.name in ("keying.py", "platform.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("gkmd", "wire") for name in names), f"{path.name}: {names}"


def test_the_guest_sees_what_lies_below_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    command = place.guest_command(["true"], cpu=1, seconds=9.5, writable=[tmp_path / "a"])
    binds = [command[i + 1] for i, word in enumerate(command) if word == "-b"]
    assert str(place.REPO) in binds
    assert str(tmp_path.resolve() / "a") in binds
    assert (str(tmp_path.resolve()) in binds) == str(tmp_path.resolve()).startswith("/tmp/")
    assert command[-2:] == ["--", "true"]
