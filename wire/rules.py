"""Which payloads a message may hold: a table per exchange and direction, for the clear and the sealed chain.

The parser verifies presence and number; it takes any order, because senders are free to choose (RFC 7296
2.5). The builder sorts by the order of the table. A message may have several forms; it is right when it has
one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from wire.chain import MAX_PAYLOADS, Payload
from wire.errors import WireError
from wire.ikev2 import Notify, Unknown
from wire.registry import ExchangeType as E
from wire.registry import NotifyType
from wire.registry import PayloadType as P

MAX_CERTS = 16  # ours: a chain, and the authorities of a certificate request


_NAMES: Final = {int(kind): kind.name for kind in P}


class Rule(NamedTuple):
    """A payload type and how often it may stand in a message."""

    type: P
    least: int
    most: int


@dataclass(slots=True)
class Form:
    """One permitted set of payloads, in the order in which we send them."""

    rules: tuple[Rule, ...]
    most: dict[int, int] = field(init=False)
    required: tuple[tuple[int, int], ...] = field(init=False)
    rank: dict[int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.most = {int(r.type): r.most for r in self.rules}
        self.required = tuple((int(r.type), r.least) for r in self.rules if r.least)
        self.rank = {int(r.type): n for n, r in enumerate(self.rules)}

    def judge(self, counts: dict[int, int]) -> WireError | None:
        """None when the counts have this form, else what is wrong."""
        most = self.most
        for kind, count in counts.items():
            allowed = most.get(kind, 0)
            if count > allowed:
                return WireError(
                    "rule-repeated" if allowed else "rule-forbidden", _NAMES.get(kind, str(kind))
                )
        for kind, least in self.required:
            if counts.get(kind, 0) < least:
                return WireError("rule-missing", _NAMES[kind])
        return None


def _one(kind: P) -> Rule:
    return Rule(kind, 1, 1)


def _may(kind: P, most: int = 1) -> Rule:
    return Rule(kind, 0, most)


def _some(kind: P) -> Rule:
    return Rule(kind, 1, MAX_PAYLOADS)


def _any(kind: P) -> Rule:
    return Rule(kind, 0, MAX_PAYLOADS)


def _form(*rules: Rule) -> Form:
    """A form; Notify and Vendor ID may stand in any message (RFC 7296 3.10, 3.12)."""
    kinds = {r.type for r in rules}
    return Form(rules + tuple(_any(k) for k in (P.NOTIFY, P.VENDOR) if k not in kinds))


_NOTIFY_ONLY: Final = _form(_some(P.NOTIFY))
_EMPTY: Final = _form()
_EAP_ONLY: Final = _form(_one(P.EAP))

# The chain outside of SK. RFC 7296 1.2: COOKIE, INVALID_KE_PAYLOAD and NO_PROPOSAL_CHOSEN come alone.
CLEAR: Final[dict[tuple[int, bool], tuple[Form, ...]]] = {
    (E.IKE_SA_INIT, False): (_form(_one(P.SA), _one(P.KE), _one(P.NONCE)),),
    (E.IKE_SA_INIT, True): (
        _form(_one(P.SA), _one(P.KE), _one(P.NONCE), _may(P.CERTREQ, MAX_CERTS)),
        _NOTIFY_ONLY,
    ),
}

_SK_ONLY: Final = frozenset([int(P.SK), int(P.SKF)])

_CHILD: Final = (_one(P.SA), _one(P.NONCE), _may(P.KE), _one(P.TS_I), _one(P.TS_R))
_REKEY_IKE: Final = (_one(P.SA), _one(P.NONCE), _one(P.KE))
_POLICY: Final = (_one(P.GSA), _one(P.KD))

ENCRYPTED: Final[dict[tuple[int, bool], tuple[Form, ...]]] = {
    (E.GSA_AUTH, False): (
        _form(
            _one(P.ID_I),
            _may(P.CERT, MAX_CERTS),
            _may(P.CERTREQ, MAX_CERTS),
            _may(P.ID_R),
            _one(P.AUTH),
            _one(P.ID_G),
            _may(P.SA),
        ),
        # RFC 7296 2.16: without AUTH the initiator asks for EAP; then EAP, until AUTH ends it. Which of them
        # is due is the IKE SA's to know.
        _form(_one(P.ID_I), _may(P.CERTREQ, MAX_CERTS), _may(P.ID_R), _one(P.ID_G), _may(P.SA)),
        _EAP_ONLY,
        _form(_one(P.AUTH)),
    ),
    # RFC 9838 2.3.1: admitted; refused with the IKE SA kept; not authenticated.
    (E.GSA_AUTH, True): (
        _form(_one(P.ID_R), _may(P.CERT, MAX_CERTS), _one(P.AUTH), *_POLICY),
        _form(_one(P.ID_R), _may(P.CERT, MAX_CERTS), _one(P.AUTH), _some(P.NOTIFY)),
        _NOTIFY_ONLY,
        # RFC 7296 2.16: the responder proves itself first; EAP; then admitted or refused.
        _form(_one(P.ID_R), _may(P.CERT, MAX_CERTS), _one(P.AUTH), _one(P.EAP)),
        _EAP_ONLY,
        _form(_one(P.AUTH), *_POLICY),
        _form(_one(P.AUTH), _some(P.NOTIFY)),
    ),
    # RFC 9838 2.3.2: joining, and with a Notify leaving or declining.
    (E.GSA_REGISTRATION, False): (_form(_one(P.ID_G), _may(P.SA)),),
    (E.GSA_REGISTRATION, True): (_form(*_POLICY), _EMPTY),
    # RFC 9838 2.4.1, 2.4.3: keys with or without deletions, or deletions alone; AUTH comes last.
    (E.GSA_REKEY, False): (
        _form(*_POLICY, _any(P.NOTIFY), _any(P.DELETE), _may(P.AUTH)),
        _form(_some(P.DELETE), _any(P.NOTIFY), _may(P.AUTH)),
    ),
    (E.GSA_INBAND_REKEY, False): (
        _form(*_POLICY, _any(P.NOTIFY), _any(P.DELETE)),
        _form(_some(P.DELETE)),
    ),
    (E.GSA_INBAND_REKEY, True): (_EMPTY,),
    # RFC 7296 1.3: a Child SA, or the IKE SA anew.
    (E.CREATE_CHILD_SA, False): (_form(*_CHILD), _form(*_REKEY_IKE)),
    (E.CREATE_CHILD_SA, True): (_form(*_CHILD), _form(*_REKEY_IKE), _NOTIFY_ONLY),
    (E.INFORMATIONAL, False): (_form(_any(P.NOTIFY), _any(P.DELETE)),),
    (E.INFORMATIONAL, True): (_form(_any(P.NOTIFY), _any(P.DELETE)),),
}


def _counts(payloads: Iterable[Payload]) -> dict[int, int]:
    counts: dict[int, int] = {}
    for payload in payloads:
        if payload.body.__class__ is not Unknown:
            kind = payload.type
            counts[kind] = counts.get(kind, 0) + 1
    return counts


def _check(forms: tuple[Form, ...], payloads: list[Payload]) -> None:
    counts = _counts(payloads)
    faults = []
    for form in forms:
        fault = form.judge(counts)
        if fault is None:
            return
        faults.append(fault)
    raise faults[0]


def check_clear(exchange: int, response: bool, payloads: list[Payload]) -> None:
    """Check the outer chain. Raises WireError rule-missing, rule-forbidden or rule-repeated."""
    forms = CLEAR.get((exchange, response))
    if forms is not None:
        _check(forms, payloads)
    elif not payloads:
        raise WireError("rule-missing", "SK")
    elif len(payloads) > 1 or payloads[0].type not in _SK_ONLY:
        # Every other message is protected as a whole: nothing but SK or SKF stands in clear.
        raise WireError("rule-forbidden", f"payload {payloads[0].type} in clear")


def check_encrypted(exchange: int, response: bool, payloads: list[Payload]) -> None:
    """Check what was inside SK.

    Exchanges without a table pass, but for an SK inside an SK (RFC 7296 3.14).
    """
    forms = ENCRYPTED.get((exchange, response))
    if forms is not None:
        _check(forms, payloads)
    elif payloads and payloads[-1].type in _SK_ONLY:
        raise WireError("rule-forbidden", "SK inside SK")


# For what no form fits; types that are not named follow in the order given.
_GENERAL: Final = {
    int(kind): rank
    for rank, kind in enumerate(
        [
            *(P.ID_I, P.CERT, P.CERTREQ, P.ID_R, P.AUTH, P.ID_G, P.SA, P.KE, P.NONCE, P.TS_I, P.TS_R),
            *(P.GSA, P.KD, P.NOTIFY, P.DELETE, P.EAP, P.VENDOR),
        ]
    )
}
_LAST: Final = 1000
_ALL_SEALED: Final = tuple(form for forms in ENCRYPTED.values() for form in forms)


def arrange(exchange: int | None, response: bool, payloads: Iterable[Payload]) -> list[Payload]:
    """Payloads in the order of the table; COOKIE and REKEY_SA in front (RFC 7296 2.6, 1.3.3).

    Without an exchange it is the order of the first sealed form that the payloads have.
    """
    ordered = list(payloads)
    if exchange is None:
        forms = _ALL_SEALED
    else:
        forms = CLEAR.get((exchange, response)) or ENCRYPTED.get((exchange, response)) or ()
    if len(forms) > 1:
        counts = _counts(ordered)
        forms = tuple(f for f in forms if f.judge(counts) is None) or (() if exchange is None else forms)
    rank = forms[0].rank if forms else _GENERAL

    def place(payload: Payload) -> int:
        body = payload.body
        if isinstance(body, Notify) and body.type in _FRONT:
            return -1
        return rank.get(payload.type, _LAST)

    ordered.sort(key=place)
    return ordered


_FRONT: Final = frozenset([int(NotifyType.COOKIE), int(NotifyType.REKEY_SA)])
