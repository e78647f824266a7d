"""Answers to IKE_SA_INIT that somebody on the path has bent: no key seals two messages under one IV.

Several public values lead to the same shared secret, so an answer with another KE is not one with other keys.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from endpoint_rig import SERVER_ID, T0, member_name, member_path

from gkmd.core.algorithms import CURVE25519, ECP_256, ECP_384, KeyExchange
from gkmd.core.rng import SeededRng
from gkmd.crypto import issuing
from gkmd.crypto.authentication import SigningKey
from gkmd.crypto.exchange import generate
from gkmd.ike import initial
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.credentials import Credentials
from gkmd.ike.initiator import Attempt
from gkmd.ike.member_settings import Server
from gkmd.ike.proposal import IkePolicy, choose
from gkmd.ike.window import Backoff
from wire.errors import WireError
from wire.message import parse_untrusted

P_256 = 2**256 - 2**224 + 2**192 + 2**96 - 1  # FIPS 186-4 D.1.2.3
P_384 = 2**384 - 2**128 - 2**96 + 2**32 - 1  # FIPS 186-4 D.1.2.4


def masked_bit(public: bytes) -> bytes:
    return public[:31] + bytes((public[31] ^ 0x80,))


def other_sign(prime: int) -> Callable[[bytes], bytes]:
    def bend(public: bytes) -> bytes:
        half = len(public) // 2
        return public[:half] + (prime - int.from_bytes(public[half:], "big")).to_bytes(half, "big")

    return bend


@pytest.mark.parametrize(
    ("group", "bend"),
    [(CURVE25519, masked_bit), (ECP_256, other_sign(P_256)), (ECP_384, other_sign(P_384))],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("bent_first", [False, True])
def test_another_public_value_with_the_same_secret_is_no_new_key(
    group: KeyExchange, bend: Callable[[bytes], bytes], bent_first: bool
) -> None:
    rng = SeededRng(group.name)
    # ECDSA signs differently each time: two GSA_AUTH requests under one key and IV would differ.
    key = SigningKey.load_pem(issuing.make_key("ecdsa-p256", rng).reveal())
    credentials = Credentials(member_name(1), signing_key=key, raw_public_key=True)
    policy = IkePolicy(key_exchanges=(group,))
    attempt = Attempt(
        Server(SERVER_ID, member_path(1)), Authenticator(credentials), policy, Backoff(), rng, T0
    )
    request = parse_untrusted(attempt.datagrams[0])
    chosen = choose(policy, initial.read_untrusted(request).sa, group.transform_id)
    pair, spi_r, nonce = generate(group, rng), rng(8), rng(32)
    template = initial.ReplyTemplate(chosen.reply, group, [initial.HASHES_NOTIFY])
    publics = [pair.public, bend(pair.public)]
    assert publics[0] != publics[1]
    genuine, bent = (template.build(request.header.spi_i, spi_r, public, nonce) for public in publics)
    one, two = (bent, genuine) if bent_first else (genuine, bent)
    sent = attempt.receive_init_untrusted(one, parse_untrusted(one), [], T0)
    for _ in range(2):
        with pytest.raises(WireError, match="repeated"):
            attempt.receive_init_untrusted(two, parse_untrusted(two), [], T0)
    assert attempt.datagrams == [sent]
    # Both are tried when the server proves itself: AUTH covers the one that it has sent.
    (candidate,) = attempt._candidates
    assert candidate.replies == [one, two]
