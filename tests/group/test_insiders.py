"""Senders that are authorized, and abuse it: what each registration costs the others is bounded."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_server import NEWS, SHARED, T0, Server, ask_for, fqdn

from gkmd.core.identity import Identity, IdentityPattern
from gkmd.group.group import MOST_SENDERS
from gkmd.group.model import Refusal, Refused, SenderRule, Verdict
from gkmd.group.pace import Pace

ADMITTED = Verdict(None, receives=True, sends=True)


def test_a_sender_that_registers_again_and_again_is_slowed_down() -> None:
    server = Server()
    server.join("r1", T0)
    refusals: list[Refusal] = []
    most = 0
    for number in range(3000):  # 100 a second
        now = T0 + number / 100
        try:
            server.join("a.tx", now, sends=True, ids=8)
        except Refused as error:
            refusals.append(error.refusal)
        server.run(now)
        most = max(most, len(server.directory.sas("news").data_sas))
    hold = NEWS.rekey_repeats * NEWS.rekey_interval + NEWS.deactivation_delay
    assert set(refusals) == {Refusal.TOO_OFTEN}
    assert 3000 - len(refusals) == 8 + 30 // hold
    assert most <= 8 + 2
    # The others are let in, and so is this one when it has calmed down.
    server.join("b.tx", T0 + 31, sends=True)
    server.join("a.tx", T0 + 40, sends=True)


def test_receivers_and_senders_of_a_shared_sa_cost_nobody_a_rekey() -> None:
    server = Server([SHARED])
    for number in range(50):
        server.join("a.tx", T0 + number / 100, SHARED, sends=True)
        server.join("r1", T0 + number / 100, SHARED)


def test_a_refused_sender_stays_what_it_was() -> None:
    server = Server()
    for _ in range(8):
        server.join("a.tx", T0, sends=True)
    before = server.directory.members("news"), server.directory.sas("news"), len(server.sent)
    with pytest.raises(Refused):
        server.directory.join(ask_for("a.tx", sends=True), ADMITTED, b"other", T0)
    assert (server.directory.members("news"), server.directory.sas("news"), len(server.sent)) == before


@pytest.mark.parametrize("pinned", [False, True])
def test_nobody_takes_the_address_of_another_sender(pinned: bool) -> None:
    """Members would send on the SA that names their address, whose sequence numbers are another's."""
    address = ask_for("a.tx").address
    rules = tuple(SenderRule(rule.who, address if pinned else None) for rule in NEWS.senders)
    server = Server([replace(NEWS, senders=rules)])
    (sa,) = server.join("a.tx", T0, sends=True).data_sas
    with pytest.raises(Refused) as refused:
        server.join("b.tx", T0 + 1, sends=True, address=str(address))
    assert refused.value.refusal is Refusal.ADDRESS_TAKEN
    assert server.directory.sas("news").data_sas == (sa,)
    assert [member.identity for member in server.directory.members("news")] == [fqdn("a.tx")]
    # Receivers may share it; and it is free again when its sender has gone.
    server.join("r1", T0 + 2, address=str(address))
    server.leave("a.tx", T0 + 3)
    server.join("b.tx", T0 + 4, sends=True, address=str(address))


def test_the_memory_of_a_pace_is_bounded() -> None:
    pace = Pace(1)
    for number in range(20_000):
        assert pace.take(Identity.parse(f"fqdn:tx{number}.example"), 1.0, T0 + number / 1000)
    assert len(pace._debts) <= 4096
    assert not pace.take(Identity.parse("fqdn:tx19999.example"), 1.0, T0 + 20)


def test_there_are_no_more_senders_than_a_datagram_has_room_for() -> None:
    server = Server()
    for number in range(MOST_SENDERS):
        server.join(f"{number}.tx", T0 + number, sends=True)
    with pytest.raises(Refused, match="CBC shares one") as refused:
        server.join("one-more.tx", T0 + 200, sends=True)
    assert refused.value.refusal is Refusal.FULL
    server.join("7.tx", T0 + 201, sends=True)  # again
    server.leave("7.tx", T0 + 202)
    server.join("one-more.tx", T0 + 203, sends=True)
    shared = Server([SHARED])
    for number in range(MOST_SENDERS + 1):
        shared.join(f"{number}.tx", T0, SHARED, sends=True)


def test_a_sender_over_the_other_version_of_ip_is_refused_and_harms_nobody() -> None:
    server = Server()
    server.join("r1", T0)
    before = server.directory.sas("news")
    ask = ask_for("a.tx", sends=True, address="fd00::7")
    with pytest.raises(Refused, match=r"fd00::7 cannot send to 239") as refused:
        server.directory.join(ask, Verdict(None, receives=True, sends=True), b"spi", T0 + 1)
    assert refused.value.refusal is Refusal.NOT_AUTHORIZED
    assert server.directory.sas("news") == before
    # With a source of the right version in its rule it may; and as a receiver anyway.
    rule = SenderRule(IdentityPattern("fqdn:a.tx.example"), ip_address("10.0.0.7"))
    named = Server([replace(NEWS, senders=(rule,))])
    joined = named.directory.join(ask, named.directory.decide(ask, T0), b"spi", T0)
    assert [sa.source for sa in joined.view.data_sas] == [ip_address("10.0.0.7")]
    # Without the rule's source it cannot stay.
    named.directory.reload([replace(NEWS, senders=(SenderRule(rule.who),))], T0 + 5)
    assert named.directory.members("news") == ()
    # An SA that senders share has no source.
    shared = Server([SHARED])
    verdict = Verdict(None, receives=True, sends=True)
    assert shared.directory.join(ask, verdict, b"spi", T0).view.data_sas[0].source is None
