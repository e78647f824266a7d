"""Portals that are closed after each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from portal_rig import Site


@pytest.fixture
def make_site() -> Iterator[Callable[..., Site]]:
    made: list[Site] = []

    def make(*values: object, **more: object) -> Site:
        made.append(Site(*values, **more))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def site(make_site: Callable[..., Site]) -> Site:
    return make_site()
