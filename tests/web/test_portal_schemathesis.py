"""The API's own document drives the API: whatever it allows or forbids, there is no fault of the server, and
every answer is one that the document has.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from portal_rig import ORIGIN, PASSWORD, Site
from schemathesis import checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as openapi_checks

from gkmd.web.openapi import PREFIX, document

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(document())))
# The daemon itself answers the first two; the stream of what is still to come has no end.
APART = ("health", "metrics", "statistics-stream")
OPERATIONS = [
    one.ok() for one in SCHEMA.get_all_operations() if one.ok().definition.raw["operationId"] not in APART
]
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]
SOME = settings(
    max_examples=3,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """One platform for all of them: what one has made the next may find."""
    made = Site()
    made.rig.user("root", "operator", "sender")
    yield made
    made.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["good", "bad"])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.label)
def test_no_fault_of_the_server(site: Site, operation: Any, mode: GenerationMode) -> None:
    browser = site.browser()
    site.rig.now += 60  # who signs in so often must wait
    token = site.rig.sign_in("root", PASSWORD).token
    known = site.reserve().id

    @seed(1)
    @SOME
    @given(case=operation.as_strategy(generation_mode=mode))
    def drive(case: Any) -> None:
        if mode is GenerationMode.POSITIVE and "id" in (case.path_parameters or {}):
            case.path_parameters["id"] = known
        given = case.as_transport_kwargs(base_url=ORIGIN + PREFIX)
        more = {"content" if name == "data" else name: given.get(name) for name in ("json", "data", "params")}
        more = {name: one for name, one in more.items() if one is not None}
        headers = {**given["headers"], "Authorization": f"Bearer {token}"}
        answer = browser.send(given["method"], given["url"], headers=headers, **more)
        case.validate_response(answer, checks=CHECKS)

    drive()
