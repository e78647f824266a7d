"""Which payloads a message may hold, in which number, and the order in which they are built."""

from __future__ import annotations

import random

import pytest
from wire_samples import CLEAR, INNER, SPI_I, clear_octets, gsa, inner_octets, kd, load, note

from wire.chain import Payload, build_payloads
from wire.errors import WireError
from wire.ikev2 import Auth, Delete, Eap, Encrypted, Id, Ke, Nonce, Ts, Vendor
from wire.message import build_chain, build_message, parse_inner, parse_untrusted
from wire.registry import FLAG_INITIATOR, FLAG_RESPONSE, ExchangeType, NotifyType
from wire.registry import PayloadType as P
from wire.rules import CLEAR as CLEAR_RULES
from wire.rules import ENCRYPTED as ENCRYPTED_RULES
from wire.rules import Form, arrange

RULED_INNER = [name for name, (exchange, _, _) in INNER.items() if exchange != ExchangeType.IKE_AUTH]


def kinds(payloads: list[Payload]) -> list[int]:
    return [p.type for p in payloads]


def inner_reason(exchange: int, response: bool, payloads: list[Payload]) -> str:
    first, octets = build_payloads(payloads)
    with pytest.raises(WireError) as caught:
        parse_inner(exchange, response, first, octets)
    return caught.value.reason


def outer_reason(exchange: int, flags: int, payloads: list[Payload], spi_r: bytes = b"r" * 8) -> str:
    with pytest.raises(WireError) as caught:
        parse_untrusted(build_message(SPI_I, spi_r, exchange, flags, 0, payloads))
    return caught.value.reason


def matching(forms: tuple[Form, ...], payloads: list[Payload]) -> Form:
    counts = {kind: kinds(payloads).count(kind) for kind in kinds(payloads) if kind in list(P)}
    return next(form for form in forms if form.judge(counts) is None)


@pytest.mark.parametrize("name", RULED_INNER)
def test_a_missing_payload_is_noticed(name: str) -> None:
    exchange, response, payloads = INNER[name]
    forms = ENCRYPTED_RULES[exchange, response]
    required = {kind for kind, _ in matching(forms, payloads).required}
    for kind in required:
        rest = [p for p in payloads if p.type != kind]
        counts = {k: kinds(rest).count(k) for k in kinds(rest)}
        if any(form.judge(counts) is None for form in forms):
            continue  # what is left is another form, such as an answer of notifies alone
        assert inner_reason(exchange, response, rest) in ("rule-missing", "rule-forbidden")


@pytest.mark.parametrize("name", ["init-request", "init-response"])
@pytest.mark.parametrize("kind", [P.SA, P.KE, P.NONCE])
def test_ike_sa_init_needs_its_three(name: str, kind: P) -> None:
    exchange, flags, spi_r, payloads = CLEAR[name]
    rest = [p for p in payloads if p.type != kind]
    assert outer_reason(exchange, flags, rest, spi_r) == "rule-missing"
    twice = payloads + [p for p in payloads if p.type == kind]
    assert outer_reason(exchange, flags, twice, spi_r) == "rule-repeated"


def test_ike_sa_init_request_is_no_notify_alone() -> None:
    assert outer_reason(34, FLAG_INITIATOR, [note(NotifyType.COOKIE, bytes(8))], bytes(8)) == "rule-missing"
    assert outer_reason(34, FLAG_RESPONSE, []) == "rule-missing"


@pytest.mark.parametrize("kind", [P.SK, P.SKF])
def test_ike_sa_init_is_never_sealed(kind: P) -> None:
    data = bytearray(clear_octets("sealed" if kind == P.SK else "sealed-fragment"))
    data[18] = 34
    data[8:16] = bytes(8)
    with pytest.raises(WireError, match="rule-forbidden"):
        parse_untrusted(bytes(data))


@pytest.mark.parametrize("exchange", [35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 240])
def test_every_other_exchange_is_sealed_as_a_whole(exchange: int) -> None:
    sealed = load(P.SK, Encrypted(0, bytes(40)))
    answers = () if exchange == ExchangeType.GSA_REKEY else (FLAG_RESPONSE, FLAG_INITIATOR | FLAG_RESPONSE)
    for flags in (0, FLAG_INITIATOR, *answers):
        data = build_message(SPI_I, b"r" * 8, exchange, flags, 3, [sealed])
        assert kinds(parse_untrusted(data).payloads) == [P.SK]
        assert outer_reason(exchange, flags, []) == "rule-missing"
        assert outer_reason(exchange, flags, [note(NotifyType.INVALID_IKE_SPI)]) == "rule-forbidden"
        assert outer_reason(exchange, flags, [load(P.VENDOR, Vendor(b"x")), sealed]) == "rule-forbidden"


def test_nobody_answers_a_rekey() -> None:
    """RFC 9838 2.4.1."""
    sealed = load(P.SK, Encrypted(0, bytes(40)))
    assert outer_reason(ExchangeType.GSA_REKEY, FLAG_RESPONSE, [sealed]) == "flags"


def test_sk_ends_the_chain() -> None:
    """RFC 7296 3.14: nothing follows SK; its next-payload field speaks of what is inside."""
    data = bytearray(clear_octets("sealed"))
    data += b"\0\0\0\x04"
    data[24:28] = len(data).to_bytes(4, "big")
    with pytest.raises(WireError, match="trailing"):
        parse_untrusted(bytes(data))
    with pytest.raises(WireError, match="last"):
        build_payloads([load(P.SK, Encrypted(35, b"")), note(16384)])


def test_sk_does_not_contain_sk() -> None:
    for exchange in (35, 37, 39, 43):
        assert inner_reason(exchange, False, [load(P.SK, Encrypted(0, bytes(30)))]) == "rule-forbidden"


@pytest.mark.parametrize(
    ("name", "intruder"),
    [
        ("auth-request", load(P.GSA, gsa())),
        ("auth-request", load(P.TS_I, Ts([]))),
        ("auth-response", load(P.ID_G, Id(11, b"x"))),
        ("auth-failure", load(P.KD, kd())),
        ("registration-request", load(P.AUTH, Auth(2, b""))),
        ("registration-response", load(P.AUTH, Auth(2, b""))),
        ("rekey", load(P.ID_R, Id(11, b"x"))),
        ("rekey-delete", load(P.KD, kd())),
        ("inband-request", load(P.AUTH, Auth(14, b""))),
        ("inband-response", load(P.DELETE, Delete(0, 0, []))),
        ("child-request", load(P.ID_I, Id(11, b"x"))),
        ("informational-delete", load(P.KE, Ke(31, b""))),
        ("liveness", load(P.EAP, Eap(b""))),
    ],
)
def test_a_foreign_payload_is_noticed(name: str, intruder: Payload) -> None:
    exchange, response, payloads = INNER[name]
    assert inner_reason(exchange, response, [*payloads, intruder]).startswith("rule-")


@pytest.mark.parametrize(
    ("name", "kind"),
    [("auth-request", P.ID_I), ("auth-request", P.AUTH), ("auth-response", P.GSA), ("rekey", P.KD)],
)
def test_a_repeated_payload_is_noticed(name: str, kind: P) -> None:
    exchange, response, payloads = INNER[name]
    again = [p for p in payloads if p.type == kind]
    assert inner_reason(exchange, response, payloads + again) == "rule-repeated"


def test_certificates_are_bounded() -> None:
    exchange, response, payloads = INNER["auth-request"]
    cert = next(p for p in payloads if p.type == P.CERT)
    assert inner_reason(exchange, response, payloads + [cert] * 15) == "rule-repeated"


@pytest.mark.parametrize("name", INNER)
def test_any_order_is_accepted_and_built_in_ours(name: str) -> None:
    exchange, response, payloads = INNER[name]
    rng = random.Random(name)
    for _ in range(5):
        shuffled = rng.sample(payloads, len(payloads))
        first, octets = build_payloads(shuffled)
        assert parse_inner(exchange, response, first, octets) == shuffled
        arranged = arrange(exchange, response, shuffled)
        rank = {p.type: n for n, p in reversed(list(enumerate(payloads)))}
        assert kinds(arranged) == [p.type for p in sorted(shuffled, key=lambda p: rank[p.type])]


@pytest.mark.parametrize("name", [n for n, c in CLEAR.items() if c[0] == ExchangeType.IKE_SA_INIT])
def test_ike_sa_init_in_any_order(name: str) -> None:
    exchange, flags, spi_r, payloads = CLEAR[name]
    data = clear_octets(name)
    assert build_message(SPI_I, spi_r, exchange, flags, 0, payloads[::-1]).startswith(data[:48])
    first, chain = build_payloads(payloads[::-1])
    shuffled = data[:16] + bytes([first]) + data[17:28] + chain
    assert parse_untrusted(shuffled).payloads == payloads[::-1]


def test_a_cookie_comes_first() -> None:
    """RFC 7296 2.6: the request that returns a cookie has it as its first payload."""
    exchange, flags, spi_r, payloads = CLEAR["init-request"]
    cookie = note(NotifyType.COOKIE, bytes(20))
    data = build_message(SPI_I, spi_r, exchange, flags, 0, [*payloads, cookie])
    assert parse_untrusted(data).payloads == [cookie, *payloads]


@pytest.mark.parametrize("name", [n for n, (e, _, _) in INNER.items() if e in (39, 40, 41, 42)])
def test_the_order_of_group_messages_needs_no_exchange(name: str) -> None:
    _, _, payloads = INNER[name]
    sample = inner_octets(name)
    assert build_chain(payloads[::-1])[0] == sample.first
    first, octets = build_chain(payloads[::-1])
    assert kinds(parse_inner(35, False, first, octets)) == kinds(payloads)


def test_vendor_ids_and_notifies_stand_anywhere() -> None:
    for name in RULED_INNER:
        exchange, response, payloads = INNER[name]
        first, octets = build_payloads([*payloads, note(40000), load(P.VENDOR, Vendor(b"gkmd"))])
        assert len(parse_inner(exchange, response, first, octets)) == len(payloads) + 2


def test_an_error_says_more_than_its_reason() -> None:
    exchange, response, payloads = INNER["auth-request"]
    first, octets = build_payloads([p for p in payloads if p.type != P.AUTH])
    with pytest.raises(WireError, match="rule-missing: AUTH"):
        parse_inner(exchange, response, first, octets)


def test_the_tables_name_each_payload_once() -> None:
    for forms in [*CLEAR_RULES.values(), *ENCRYPTED_RULES.values()]:
        for form in forms:
            assert len({r.type for r in form.rules}) == len(form.rules)
            assert all(0 <= r.least <= r.most for r in form.rules)


def test_a_nonce_alone_is_no_message() -> None:
    assert outer_reason(34, FLAG_INITIATOR, [load(P.NONCE, Nonce(bytes(16)))], bytes(8)) == "rule-missing"
