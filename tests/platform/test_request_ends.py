"""What is to be one word has no line feed behind it."""

from __future__ import annotations

from typing import Any

import pytest

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.daemon.platform_service import decoded

EURO = {"amount": 5, "currency": "EUR\n"}


@pytest.mark.parametrize(
    ("operation", "request_", "field"),
    [
        ("payment-begin", {"provider": "card", "amount": EURO}, "amount.currency"),
        ("ticket-issue", {"id": "talk", "most": EURO}, "most.currency"),
        ("ticket-issue", {"id": "talk\n"}, "id"),
        ("user-add", {"login": "ann\n"}, "login"),
        ("sender-ticket", {"id": "talk", "label": "cam\n"}, "label"),
    ],
)
def test_a_line_feed_at_the_end_is_refused(operation: str, request_: dict[str, Any], field: str) -> None:
    with pytest.raises(Problem) as refused:
        decoded(OPERATIONS[operation], request_)
    assert [one.field for one in refused.value.fields] == [field]
