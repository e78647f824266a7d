"""Without the optional library everything but Stripe goes on."""

from __future__ import annotations

import sys

import pytest

from gkmd.core.secret import SecretBytes
from gkmd.group.platform.providers import of_settings
from gkmd.group.platform.settings import ProviderSettings


def test_the_library_is_asked_for_only_by_who_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stripe", None)
    secret = SecretBytes(b"0123456789abcdef")
    assert set(of_settings([ProviderSettings("pay", "webhook", secret)])) == {"pay"}
    with pytest.raises(ValueError, match=r"gkmd\[stripe\]"):
        of_settings([ProviderSettings("pay", "stripe", secret)])
