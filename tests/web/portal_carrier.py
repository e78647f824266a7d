"""The way from a client's urllib to a portal in this process."""

from __future__ import annotations

import email.message
import io
import urllib.error
import urllib.request
from typing import Any, cast

from portal_rig import ORIGIN, Site


class Carrier:
    """What carries urllib's requests to a portal in this process."""

    def __init__(self, site: Site) -> None:
        self.browser = site.browser()

    def open(self, request: urllib.request.Request, timeout: float) -> io.BytesIO:
        answer = self.browser.send(
            request.get_method(),
            request.full_url.removeprefix(ORIGIN),
            headers=dict(request.header_items()),
            content=cast(Any, request.data),
        )
        body = io.BytesIO(answer.content)
        if answer.status_code >= 300:
            message = email.message.Message()
            raise urllib.error.HTTPError(request.full_url, answer.status_code, "", message, body)
        return body
