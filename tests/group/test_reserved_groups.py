"""Groups of reservations beside those of the configuration: their doorkeeper, their beginning and end."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from group_server import CHAT, NEWS, T0, Died, Server, ask_for, fqdn
from reserved_keeper import Keeper, Note

from gkmd.core.change import DropGroup, DropMember, PutMember
from gkmd.core.effect import Ask
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.group.group import Group
from gkmd.group.model import GroupPolicy, Refusal, Refused, SenderRule, Verdict

SHOW = replace(
    NEWS,
    name="show-x7",
    group_id=Identity.parse("keyid:show-x7"),
    address=ip_address("239.2.2.2"),
    rekey_address=ip_address("239.2.2.2"),
    senders=(),
    receivers=(),
    starts=T0 + 100,
    ends=T0 + 500,
)
OPENING, END = T0 + 100, T0 + 500


def server_of(keeper: Keeper, now: float = T0) -> Server:
    server = Server((NEWS,), now, doorkeeper=keeper)
    server.establish(SHOW, now)
    return server


def verdict_on(server: Server, ask: Ask, now: float) -> Verdict:
    return server.directory.decide(ask, now)


def test_opens_at_its_time_and_tells_who_is_early_when_to_come_back() -> None:
    keeper = Keeper(SHOW)
    server = server_of(keeper)
    keeper.refusals[fqdn("stranger")] = Refusal.NOT_ON_LIST
    early = verdict_on(server, ask_for("r1", SHOW), T0)
    assert (early.refusal, early.come_back, early.receives) == (Refusal.NOT_YET_OPEN, OPENING, True)
    # Who would not be admitted learns nothing about the time.
    stranger = verdict_on(server, ask_for("stranger", SHOW), T0)
    assert (stranger.refusal, stranger.come_back) == (Refusal.NOT_ON_LIST, None)
    with pytest.raises(Refused):
        server.join("r1", T0, SHOW)
    assert not keeper.admissions
    server.run(OPENING)
    assert server.join("r1", OPENING, SHOW).rekey_sa.created == OPENING


def test_what_the_doorkeeper_did_is_journalled_with_the_member() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    ask = ask_for("r1", SHOW)
    joined = server.directory.join(ask, Verdict(None, receives=True), b"spi", OPENING)
    kinds = {type(change) for change in joined.changes}
    assert PutMember in kinds
    assert [change.fact.text for change in joined.changes if hasattr(change, "fact")] == [
        f"admitted {ask.identity}"
    ]


def test_who_cannot_be_charged_after_all_is_no_member() -> None:
    keeper = Keeper(SHOW)
    server = server_of(keeper)
    server.run(OPENING)
    keeper.charge_fails = True
    before = server.directory.status("show-x7")
    with pytest.raises(Refused, match="payment-required"):
        server.join("r1", OPENING, SHOW)
    assert server.directory.status("show-x7") == before
    assert server.directory.members("show-x7") == ()


def test_nobody_is_charged_whom_the_group_does_not_take() -> None:
    keeper = Keeper(SHOW)
    server = Server((), T0, doorkeeper=keeper)
    server.establish(replace(SHOW, starts=None, capacity=1), T0)
    server.join("r1", T0, SHOW)
    assert verdict_on(server, ask_for("r2", SHOW), T0).refusal is Refusal.FULL
    with pytest.raises(Refused, match="full"):
        # The verdict is from before the last place went.
        server.directory.join(ask_for("r2", SHOW), Verdict(None, receives=True), b"x", T0)
    assert keeper.admissions == [fqdn("r1")]
    server.join("r1", T0, SHOW)  # again: it has its place


def test_senders_do_not_take_the_receivers_places() -> None:
    keeper = Keeper(SHOW)
    keeper.senders[fqdn("a.tx")] = SenderRule(IdentityPattern("fqdn:a.tx.example"))
    server = Server((), T0, doorkeeper=keeper)
    server.establish(replace(SHOW, starts=None, capacity=1), T0)
    server.join("a.tx", T0, SHOW, sends=True)
    server.join("r1", T0, SHOW)
    server.join("a.tx", T0 + 1, SHOW, sends=True)
    status = server.directory.status("show-x7")
    assert status is not None
    assert (status.receivers, status.members, status.senders, status.peak) == (1, 2, 1, 1)


def test_a_fault_while_joining_gives_back_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keeper = Keeper(SHOW)
    server = server_of(keeper)
    server.run(OPENING)

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(Group, "take", broken)
        with pytest.raises(ZeroDivisionError):
            server.join("r1", OPENING, SHOW)
    assert keeper.undoings == [fqdn("r1")]
    server.join("r2", OPENING, SHOW)  # the next change takes the notes of both along
    notes = {fact.key for fact in server.journal.read(Note.KIND, "", 10)}
    assert {f"admitted {fqdn('r1')}", f"undone {fqdn('r1')}"} <= notes


def test_refusals_and_faults_reach_the_doorkeeper_for_reservations_only() -> None:
    keeper = Keeper(SHOW)
    server = server_of(keeper)
    verdict = Verdict(Refusal.NOT_ON_LIST)
    assert server.directory.refused(ask_for("r1", SHOW), verdict, T0)
    assert not server.directory.refused(ask_for("r1", NEWS), verdict, T0)
    assert not server.directory.refused(ask_for("r1", CHAT), verdict, T0)
    assert keeper.refused_with == [(fqdn("r1"), Refusal.NOT_ON_LIST)]
    assert server.directory.undone(ask_for("r1", SHOW), T0)
    assert not server.directory.undone(ask_for("r1", NEWS), T0)


def test_the_doorkeeper_hears_who_has_gone_and_what_was_rekeyed() -> None:
    keeper = Keeper(SHOW)
    server = server_of(keeper)
    server.run(OPENING)
    for name in ("r1", "r2", "r3", "r4"):
        server.join(name, OPENING, SHOW)
    server.leave("r1", OPENING, SHOW)
    server.ike_sa_gone(b"r2".ljust(8, b"\0"), OPENING)
    assert keeper.gone_from == [("show-x7", fqdn("r1")), ("show-x7", fqdn("r2"))]
    server.rekey(OPENING + 1, "show-x7")
    assert keeper.rekeys == 1
    server.rekey(OPENING + 1, "news")
    assert keeper.rekeys == 1
    server.run(END)
    assert {identity for _, identity in keeper.gone_from} == {fqdn(f"r{n}") for n in (1, 2, 3, 4)}


def test_at_its_end_members_are_told_and_then_it_is_forgotten() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    server.join("r1", OPENING, SHOW)
    server.run(END)
    assert [sent.order.close for sent in server.sent if sent.order.policy.name == "show-x7"][-1]
    assert verdict_on(server, ask_for("r1", SHOW), END).refusal is Refusal.CLOSED
    assert not server.end("show-x7", END).orders
    assert server.directory.holds("show-x7")  # two copies are still to come
    server.run(END + 20)
    copies = [sent for sent in server.sent if sent.order.policy.name == "show-x7" and sent.order.close]
    assert [sent.copy for sent in copies] == [0, 1, 2]
    left = server.end("show-x7", END + 20)
    assert DropGroup("show-x7") in left.changes
    assert not server.directory.holds("show-x7")
    journalled = server.journal.load()
    assert [record.name for record in journalled.groups] == ["news"]
    assert not journalled.members
    # Who would be admitted is told that it is over, a stranger to it what it was always told.
    assert verdict_on(server, ask_for("r1", SHOW), END + 30).refusal is Refusal.CLOSED
    assert verdict_on(server, ask_for("r1", CHAT), END + 30).refusal is Refusal.UNKNOWN_GROUP
    assert server.directory.end("show-x7", END + 30, "end") == server.directory.end("none", END, "end")


def test_cancelled_while_it_runs() -> None:
    keeper = Keeper(SHOW)
    server = server_of(keeper)
    server.run(OPENING)
    server.join("r1", OPENING, SHOW)
    left = server.end("show-x7", OPENING + 10, "cancelled")
    assert [(order.close, order.exclude, order.reason) for order in left.orders] == [
        (True, False, "cancelled")
    ]
    assert DropMember("show-x7", fqdn("r1")) in left.changes
    server.run(OPENING + 40)
    server.end("show-x7", OPENING + 40)
    assert not server.directory.holds("show-x7")


def test_cancelled_before_it_opened_leaves_nothing() -> None:
    server = server_of(Keeper(SHOW))
    assert DropGroup("show-x7") in server.end("show-x7", T0 + 1, "cancelled").changes
    assert server.directory.deadline() == Server((NEWS,)).directory.deadline()


def test_extended_shortened_and_resized_without_disturbing_members() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    view = server.join("r1", OPENING, SHOW)
    left = server.amend(replace(SHOW, ends=END + 100, capacity=5), OPENING + 5)
    assert not left.orders
    server.run(END + 1)
    assert server.join("r2", END + 1, SHOW).data_sas is not None
    assert {member.identity for member in server.directory.members("show-x7")} == {fqdn("r1"), fqdn("r2")}
    server.amend(replace(SHOW, ends=END + 10), END + 2)
    duties = server.run(END + 10)
    assert any(getattr(duty, "close", False) for duty in duties)
    assert view.policy.ends == END
    assert server.amend(replace(CHAT, name="none"), END).changes == ()


def test_a_sender_that_the_reservation_no_longer_has_is_dropped() -> None:
    keeper = Keeper(SHOW)
    rule = SenderRule(IdentityPattern("fqdn:a.tx.example"), ip_address("192.0.2.9"))
    keeper.senders[fqdn("a.tx")] = rule
    server = server_of(keeper)
    server.run(OPENING)
    server.join("a.tx", OPENING, SHOW, sends=True)
    (sa,) = server.directory.sas("show-x7").data_sas
    assert sa.source == ip_address("192.0.2.9")
    keeper.senders.clear()
    left = server.amend(replace(SHOW, capacity=9), OPENING + 20)
    assert [order.deleted_spis for order in left.orders] == [(sa.spi,)]
    assert DropMember("show-x7", fqdn("a.tx")) in left.changes


def test_reload_leaves_reservations_alone() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    server.join("r1", OPENING, SHOW)
    before = server.directory.sas("show-x7")
    server.reload((CHAT,), OPENING + 1)
    assert server.directory.sas("show-x7") == before
    assert verdict_on(server, ask_for("r2", SHOW), OPENING + 1).refusal is None
    for bad in (replace(CHAT, name="show-x7"), replace(CHAT, group_id=SHOW.group_id)):
        with pytest.raises(ValueError, match="that of a reservation"):
            server.reload((bad,), OPENING + 2)
    assert server.directory.configured_addresses() == {CHAT.address, CHAT.rekey_address}


@pytest.mark.parametrize(
    "bad",
    [
        replace(SHOW, name="news"),
        replace(SHOW, group_id=NEWS.group_id),
        replace(SHOW, ends=SHOW.starts),
        replace(SHOW, tek_lifetime=1.0),
    ],
)
def test_what_cannot_be_established_changes_nothing(bad: GroupPolicy) -> None:
    server = Server((NEWS,), doorkeeper=Keeper(SHOW))
    before = server.directory.groups()
    with pytest.raises(ValueError, match=r"another group|ends before|lifetime"):
        server.directory.establish(bad, T0)
    assert server.directory.groups() == before


def test_established_twice_is_once() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    server.join("r1", OPENING, SHOW)
    before = server.directory.sas("show-x7")
    assert server.establish(SHOW, OPENING + 1).orders == ()
    assert server.directory.sas("show-x7") == before


def test_an_evicted_receiver_does_not_follow_the_keys() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    held = server.join("r1", OPENING, SHOW).rekey_sa
    server.join("r2", OPENING, SHOW)
    left = server.drop_member("show-x7", fqdn("r1"), OPENING + 5, exclude=True)
    assert [(order.close, order.exclude) for order in left.orders] == [(True, True)]
    again = server.join("r2", OPENING + 6, SHOW)
    assert again.rekey_sa.spi != held.spi
    assert again.rekey_sa.signing_key != held.signing_key
    assert server.drop_member("show-x7", fqdn("r1"), OPENING + 7, exclude=True).orders == ()
    assert server.drop_member("none", fqdn("r1"), OPENING + 7).changes == ()


@pytest.mark.parametrize("when", [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5])
def test_killed_at_any_step_of_a_life(when: float) -> None:
    """Establish, open, join, end: the server comes back with the policies of what lives, and its members."""
    keeper = Keeper(SHOW)
    server = Server((NEWS,), doorkeeper=keeper)
    server.die_in = when
    established = False
    try:
        server.establish(SHOW, T0)
        established = True
        server.run(OPENING)
        server.join("r1", OPENING, SHOW)
        server.end("show-x7", OPENING + 10, "cancelled")
    except Died:
        pass
    server.die_in = float("inf")
    held = server.journal.load()
    # Of a reservation that was journalled the policy is there; it was journalled with the group.
    live = established or any(record.name == "show-x7" for record in held.groups)
    server.policies = (NEWS, SHOW) if live else (NEWS,)
    server.start(OPENING + 11)
    assert server.directory.holds("show-x7") == live
    members = {member.identity for member in held.members}
    if live:
        assert {member.identity for member in server.directory.members("show-x7")} == members
        server.run(END + 60)
        server.end("show-x7", END + 60)
    assert [record.name for record in server.journal.load().groups] == ["news"]


def test_what_no_reservation_is_behind_any_more_is_dropped_at_start() -> None:
    server = server_of(Keeper(SHOW))
    server.run(OPENING)
    server.join("r1", OPENING, SHOW)
    server.start(OPENING + 5)  # without the policy of the reservation
    assert not server.directory.holds("show-x7")
    journalled = server.journal.load()
    assert [record.name for record in journalled.groups] == ["news"]
    assert not journalled.members


def test_without_a_doorkeeper_a_stranger_is_told_what_it_was_told() -> None:
    server = Server((NEWS,), conceal=True)
    assert verdict_on(server, ask_for("r1", SHOW), T0).refusal is Refusal.NOT_AUTHORIZED
    assert server.directory.refused(ask_for("r1"), Verdict(Refusal.FULL), T0) == ()
