"""Data SAs that a sender brings along: delivered as they are, never replaced, gone at the end."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_server import NEWS, T0, Server, ask_for, fqdn
from reserved_keeper import Keeper

from gkmd.core.algorithms import AES_CBC_256, AES_GCM_16_256, HMAC_SHA2_256_128
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.core.secret import SecretBytes
from gkmd.group.model import GroupPolicy, Refused, RekeyOrder, SenderRule, SuppliedSa
from gkmd.group.terms import check

SPI = 0xC0FFEE
CBC_KEY, GCM_KEY = SecretBytes(bytes(range(64))), SecretBytes(bytes(range(36)))
SHARED = replace(
    NEWS,
    name="show-x7",
    group_id=Identity.parse("keyid:show-x7"),
    cipher=AES_CBC_256,
    integrity=HMAC_SHA2_256_128,
    senders=(),
    receivers=(),
    starts=T0,
    ends=T0 + 2000,
    supplied=SuppliedSa(SPI, CBC_KEY, 1000.0),
)
OWN = replace(SHARED, cipher=AES_GCM_16_256, integrity=None, supplied=SuppliedSa(SPI, GCM_KEY, 1000.0))


def server_of(policy: GroupPolicy, now: float = T0) -> Server:
    keeper = Keeper(policy)
    for name in ("a.tx", "b.tx"):
        keeper.senders[fqdn(name)] = SenderRule(IdentityPattern(str(fqdn(name))))
    server = Server((), now, doorkeeper=keeper)
    server.establish(policy, now)
    return server


def supplied_of(server: Server) -> list[tuple[int, bytes, float]]:
    return [(sa.spi, sa.key.reveal(), sa.expires) for sa in server.directory.sas("show-x7").data_sas]


def test_shared_by_all_senders_and_there_from_the_opening() -> None:
    server = server_of(SHARED)
    view = server.join("r1", T0, SHARED)
    assert [(sa.spi, sa.key, sa.sender, sa.source) for sa in view.data_sas] == [(SPI, CBC_KEY, None, None)]
    for name in ("a.tx", "b.tx"):
        assert [sa.spi for sa in server.join(name, T0 + 1, SHARED, sends=True).data_sas] == [SPI]
    assert supplied_of(server) == [(SPI, CBC_KEY.reveal(), T0 + 1000)]


@pytest.mark.parametrize("policy", [SHARED, OWN], ids=["shared", "own"])
def test_never_replaced_while_the_rekey_sa_rolls(policy: GroupPolicy) -> None:
    server = server_of(policy)
    server.join("r1", T0, policy)
    server.join("a.tx", T0, policy, sends=True)
    orders = [duty for duty in server.run(T0 + 999) if isinstance(duty, RekeyOrder)]
    orders += server.rekey(T0 + 999.5, "show-x7")
    assert sum(order.new_rekey_sa is not None for order in orders) >= 5
    assert all(sa.spi == SPI for order in orders for sa in order.data_sas)
    assert not any(order.deleted_spis for order in orders)
    key = policy.supplied.key.reveal() if policy.supplied else b""
    assert supplied_of(server) == [(SPI, key, T0 + 1000)]


@pytest.mark.parametrize("policy", [SHARED, OWN], ids=["shared", "own"])
def test_after_its_lifetime_the_group_goes_on_without(policy: GroupPolicy) -> None:
    server = server_of(policy)
    server.join("a.tx", T0, policy, sends=True)
    server.run(T0 + 1010)
    assert supplied_of(server) == []
    assert server.join("r1", T0 + 1010, policy).data_sas == ()
    assert server.join("a.tx", T0 + 1011, policy, sends=True).data_sas == ()
    server.run(T0 + 1900)
    assert supplied_of(server) == []
    status = server.directory.status("show-x7")
    assert status is not None
    assert status.opened
    duties = server.run(T0 + 2000)
    assert [duty.close for duty in duties if isinstance(duty, RekeyOrder)][-1]


def test_one_sender_alone_with_a_counter_mode_cipher() -> None:
    server = server_of(OWN)
    assert server.join("r1", T0, OWN).data_sas == ()
    first = server.join("a.tx", T0 + 1, OWN, sends=True)
    assert [(sa.spi, sa.sender, sa.source) for sa in first.data_sas] == [
        (SPI, fqdn("a.tx"), ask_for("a.tx").address)
    ]
    assert [[sa.spi for sa in sent.order.data_sas] for sent in server.sent] == [[SPI]]
    with pytest.raises(Refused, match="one sender alone"):
        server.join("b.tx", T0 + 2, OWN, sends=True)
    # Again: the same SA, other Sender-IDs, and nobody is told anything.
    again = server.join("a.tx", T0 + 3, OWN, sends=True)
    assert [sa.spi for sa in again.data_sas] == [SPI]
    assert not set(first.sender_ids) & set(again.sender_ids)
    assert len(server.sent) == 1


def test_the_sender_may_go_and_come_back_from_where_it_was() -> None:
    server = server_of(OWN)
    server.join("a.tx", T0, OWN, sends=True, address="192.0.2.1")
    assert server.leave("a.tx", T0 + 5, OWN).orders == ()
    assert len(supplied_of(server)) == 1
    with pytest.raises(Refused, match=r"sent from 192\.0\.2\.1"):
        server.join("b.tx", T0 + 6, OWN, sends=True, address="192.0.2.2")
    # Another ticket of the same host is another identity.
    server.join("b.tx", T0 + 7, OWN, sends=True, address="192.0.2.1")
    (sa,) = server.directory.sas("show-x7").data_sas
    assert (sa.sender, sa.source) == (fqdn("b.tx"), ip_address("192.0.2.1"))


def test_no_more_sender_ids_is_a_refusal_and_not_a_new_key() -> None:
    policy = replace(OWN, sender_id_bits=1, most_sender_ids=2)
    server = server_of(policy)
    server.join("a.tx", T0, policy, sends=True, ids=2)
    with pytest.raises(Refused, match="sender-ids-exhausted"):
        server.join("a.tx", T0 + 1, policy, sends=True)
    assert len(supplied_of(server)) == 1


@pytest.mark.parametrize("policy", [SHARED, OWN], ids=["shared", "own"])
def test_a_restarted_server_goes_on_with_it(policy: GroupPolicy) -> None:
    server = server_of(policy)
    server.join("a.tx", T0, policy, sends=True)
    before = supplied_of(server)
    server.policies = (policy,)
    server.start(T0 + 50)
    assert supplied_of(server) == before
    # Down until the Rekey SA has gone: members are told anew, the data SA stays what it was.
    server.start(T0 + 600)
    server.join("a.tx", T0 + 600, policy, sends=True)
    assert supplied_of(server) == before
    assert server.directory.sas("show-x7").rekey_sas[-1].created == T0 + 600


def test_everybody_excluded_gets_the_same_sa_again() -> None:
    server = server_of(SHARED)
    server.join("r1", T0, SHARED)
    server.join("r2", T0, SHARED)
    server.drop_member("show-x7", fqdn("r1"), T0 + 9, exclude=True)
    assert supplied_of(server) == [(SPI, CBC_KEY.reveal(), T0 + 1000)]


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (replace(SHARED, supplied=SuppliedSa(SPI, GCM_KEY, 10.0)), "36 octets.*takes 64"),
        (replace(OWN, supplied=SuppliedSa(SPI, CBC_KEY, 10.0)), "64 octets.*takes 36"),
        (replace(OWN, supplied=SuppliedSa(255, GCM_KEY, 10.0)), "SPI 255"),
        (replace(OWN, supplied=SuppliedSa(1 << 32, GCM_KEY, 10.0)), "SPI 4294967296"),
        (replace(OWN, supplied=SuppliedSa(SPI, GCM_KEY, 0.0)), "lifetime 0 s"),
        (
            replace(OWN, senders=tuple(SenderRule(IdentityPattern(f"fqdn:{n}.example")) for n in "ab")),
            "2 senders; one alone",
        ),
    ],
)
def test_what_cannot_be_supplied(policy: GroupPolicy, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check(policy)
