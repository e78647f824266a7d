"""One world and one browser for all tests here; each test has windows of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import believable
import pytest
from portal_world import PortalWorld, portal_world
from windows import Desk

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PortalWorld]:
    with portal_world(tmp_path_factory.mktemp("portal")) as one:
        yield one


@pytest.fixture(scope="session")
def made(world: PortalWorld) -> believable.Made:
    found = believable.fill(world)
    world.start()
    return found


@pytest.fixture(scope="session")
def browser(
    world: PortalWorld, made: believable.Made, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Desk]:
    with Desk(world, tmp_path_factory.mktemp("pictures")) as one:
        yield one


@pytest.fixture
def desk(browser: Desk) -> Iterator[Desk]:
    yield browser
    browser.close_windows()
