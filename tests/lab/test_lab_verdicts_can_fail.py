"""A lab that cannot fail proves nothing: scenarios that are broken on purpose, run as any other."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from lab import place

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

BROKEN = Path(__file__).parent / "broken"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, dict[str, Any]], Path, str]:
    """Exit status, results by scenario, artefacts and output of one run of all of them."""
    folder = tmp_path_factory.mktemp("lab")
    words = [str(place.REPO / "netns-lab" / "run"), "--folder", str(BROKEN), "--artefacts", str(folder)]
    words += ["--json", str(folder / "report.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=place.environment())
    report = json.loads((folder / "report.json").read_text())
    return done.returncode, {result["scenario"]: result for result in report}, folder, done.stdout


def failed(result: dict[str, Any]) -> dict[str, str]:
    """What was found instead, by the names of the verdicts that failed."""
    return {name: found for name, _, found, ok in result["verdicts"] if not ok}


def test_the_run_fails_and_says_so(run: tuple[int, dict[str, dict[str, Any]], Path, str]) -> None:
    status, results, _, output = run
    assert status == 1
    assert not any(result["ok"] for result in results.values())
    assert "0 of 4 scenarios passed" in output
    assert "FAIL  the wire: packets in clear: wanted 0" in output


def test_cleartext(run: tuple[int, dict[str, dict[str, Any]], Path, str]) -> None:
    found = failed(run[1]["clear-text"])
    assert found["the stranger's socket: datagrams"] == "20"
    assert found["the wire: packets in clear"].startswith("20 ")
    assert found["the wire: ESP packets"] == "0"


def test_lost_packets(run: tuple[int, dict[str, dict[str, Any]], Path, str]) -> None:
    found = failed(run[1]["lost-packet"])
    ((name, lost),) = ((name, lost) for name, lost in found.items() if name.startswith("r1: lost of "))
    assert int(lost.split()[0]) >= 15
    assert "numbers" in lost
    assert "XfrmInNoStates" in found["r1: XFRM errors"]
    assert set(found) == {name, "r1: XFRM errors"}


def test_leftovers(run: tuple[int, dict[str, dict[str, Any]], Path, str]) -> None:
    found = failed(run[1]["left-behind"])
    assert found["ended without being asked"] == "broken on r1"
    assert found["ended with a bad status"] == "broken on r1: 1"
    assert found["tracebacks in logs"] == "r1/broken.log"
    assert "SA 0x00001234" in found["left in the kernel after a clean stop"]
    assert "policy" in found["left in the kernel after a clean stop"]
    assert "program sleep" in found["left on the machine"]


def test_time(run: tuple[int, dict[str, dict[str, Any]], Path, str]) -> None:
    assert failed(run[1]["out-of-time"]) == {"the scenario came to its end": "out of time after 2 s"}


def test_artefacts_are_kept(run: tuple[int, dict[str, dict[str, Any]], Path, str]) -> None:
    folder = run[2]
    assert (folder / "clear-text" / "switch" / "capture.pcap").stat().st_size > 20 * 200
    assert "XfrmInNoStates" in (folder / "lost-packet" / "r1" / "kernel.txt").read_text()
    assert "0x00001234" in (folder / "left-behind" / "r1" / "kernel.txt").read_text()
    assert "out of time" in (folder / "out-of-time" / "error.txt").read_text()
