"""The locks hold what pyproject.toml asks for, with hashes, and name no index."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
TO_RUN = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"], *EXTRAS["portal"]]
TO_TEST = [text for name, extra in EXTRAS.items() if name != "portal" for text in extra]
LOCKS = {"requirements.lock": TO_RUN, "requirements-test.lock": TO_RUN + TO_TEST}


def pins(lock: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", (ROOT / lock).read_text(), re.MULTILINE))


def name_of(requirement: Requirement) -> str:
    return requirement.name.lower().replace("_", "-").replace(".", "-")


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_the_project(lock: str) -> None:
    for requirement in map(Requirement, LOCKS[lock]):
        pin = pins(lock).get(name_of(requirement))
        assert pin is not None, f"{requirement}: not in {lock} (make lock)"
        assert requirement.specifier.contains(pin), f"{requirement}: {pin} is locked in {lock} (make lock)"


def test_what_runs_is_what_was_tested_and_nothing_else() -> None:
    run, test = pins("requirements.lock"), pins("requirements-test.lock")
    assert run.items() < test.items()
    assert not {name_of(Requirement(text)) for text in TO_TEST} & set(run)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash_and_no_index_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = re.split(r"^(?=[a-z0-9-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(lock))
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
