"""Problems as answers of HTTP (RFC 9457)."""

from __future__ import annotations

import math
import time
from typing import Final

from starlette.responses import JSONResponse

from gkmd.api.problem import Problem

MEDIA_TYPE: Final = "application/problem+json"


class ProblemResponse(JSONResponse):
    media_type = MEDIA_TYPE


def problem_response(
    problem: Problem, retry_after: int | None = None, status: int | None = None
) -> ProblemResponse:
    """``retry_after`` in seconds; without it that of the problem, when it names an instant."""
    document = problem.as_json()
    headers = {}
    if status is not None:
        document["status"] = status
    if retry_after is None and document["status"] in (429, 503):
        come_back = problem.come_back
        retry_after = 5 if come_back is None else max(1, math.ceil(come_back - time.time()))
    if retry_after is not None:
        headers["Retry-After"] = str(min(retry_after, 86_400))
    if document["status"] == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="gkmd"'
    return ProblemResponse(document, document["status"], headers)
