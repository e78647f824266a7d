"""Why an operation was not carried out (RFC 9457 problem details)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from gkmd.core.errors import LocalError

# code -> HTTP status. The code is the machine-readable reason; texts may change, codes do not.
CODES: Final = {
    "bad-request": 400,
    "invalid": 422,  # a field does not do; ``fields`` say which and why
    "sign-in-required": 401,
    "sign-in-failed": 401,
    "code-required": 401,  # a one-time code is needed beside the password
    "locked-out": 429,
    "too-many-requests": 429,
    "busy": 503,
    "forbidden": 403,
    "not-found": 404,
    "conflict": 409,  # with what is there already: an address, a name, a state
    "changed-meanwhile": 409,  # the version is not the newest
    "payment-required": 402,
    "not-admitted": 403,  # ``reason`` as in gkmd.group.model.Refusal
    "journal-failed": 503,
    "unavailable": 503,  # the daemon does not answer
    "provider-failed": 502,
    "internal": 500,
}


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """``field`` as in the request (``senders.0.source``); ``text`` says what was found and what would do."""

    field: str
    text: str


class Problem(LocalError):
    """An operation was refused; nothing has changed. ``come_back``: when it may be different."""

    def __init__(
        self,
        code: str,
        detail: str,
        fields: tuple[FieldProblem, ...] = (),
        reason: str = "",
        come_back: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.fields = fields
        self.reason = reason
        self.come_back = come_back

    @property
    def status(self) -> int:
        return CODES[self.code]

    def as_json(self) -> dict[str, Any]:
        """The document of RFC 9457; members without content are left out."""
        document: dict[str, Any] = {
            "type": f"urn:gkmd:problem:{self.code}",
            "title": self.code.replace("-", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.fields:
            document["fields"] = [{"field": one.field, "text": one.text} for one in self.fields]
        if self.reason:
            document["reason"] = self.reason
        if self.come_back is not None:
            document["come_back"] = self.come_back
        return document

    @classmethod
    def of_json(cls, document: dict[str, Any]) -> Problem:
        """The problem that a daemon has written."""
        code = document.get("code", "internal")
        return cls(
            code if code in CODES else "internal",
            str(document.get("detail", "no reason was given")),
            tuple(FieldProblem(one["field"], one["text"]) for one in document.get("fields", ())),
            str(document.get("reason", "")),
            document.get("come_back"),
        )
