"""These tests need ESP in the kernel. Without it they fail: they were asked for by name (``-m guest``).

netns-lab/uml/run -- .venv/bin/python -m pytest --color=no -p no:cacheprovider -m guest tests/kernel/guest
"""

from __future__ import annotations

import pytest

from gkmd.kernel.probe import esp_support


@pytest.fixture(scope="session", autouse=True)
def kernel_with_esp() -> None:
    support = esp_support()
    if not (support.ipv4 and support.ipv6):
        pytest.exit(f"the tests of {__package__ or 'tests/kernel/guest'} need ESP: {support.advice}", 1)
