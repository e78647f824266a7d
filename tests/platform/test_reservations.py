"""Reservations that run: seen by their owner, changed, cancelled, ended, taken up by a restarted server."""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from platform_rig import NOW, OPERATOR, Rig
from reservation_requests import HOUR, ask_by, at, join, request, reserve, ticket

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount, Host, Rule
from gkmd.core.effect import Ask
from gkmd.group.model import Refusal, Refused
from gkmd.group.platform.outcome import Caller, Done
from gkmd.group.platform.records import Admission, ListedName, Reservation, Ticket, Voucher, VoucherBatch

PRICE = Rule(price=Amount(250, "EUR"))
HOST = ipaddress.ip_address("192.0.2.77")


class Stage:
    """Anna's transmission, which opens in an hour less a minute; Bert has a ticket."""

    def __init__(self, **more: Any) -> None:
        self.rig = Rig()
        self.anna: Caller = self.rig.caller("anna", "sender")
        self.rig.user("bert")
        self.id = reserve(self.rig, self.anna, **more).id

    def show(self) -> r.ReservationView:
        view: r.ReservationView = self.rig.do("reservation-show", q.ById(self.id), self.anna)
        return view

    def change(self, **more: Any) -> r.ReservationView:
        view: r.ReservationView = self.rig.do(
            "reservation-change", q.ChangeReservation(id=self.id, **more), self.anna
        )
        return view

    def not_changed(self, **more: Any) -> tuple[str, list[str]]:
        before = self.show()
        problem = self.rig.refused("reservation-change", q.ChangeReservation(id=self.id, **more), self.anna)
        assert self.show() == before
        return problem.code, [one.field for one in problem.fields]

    def cancel(self) -> r.ReservationView:
        view: r.ReservationView = self.rig.do(
            "reservation-cancel", q.CancelReservation(self.id, "rain"), self.anna
        )
        return view

    def ask(self, login: str = "bert") -> Ask:
        return ask_by(ticket(self.rig, self.id, login).id, self.id, HOST)

    def until(self, instant: float) -> None:
        self.rig.pass_time(instant - self.rig.now)

    def orders(self) -> list[tuple[bool, bool]]:
        """(close, exclude) of what the last operation told the members."""
        outcome = self.rig.outcome
        assert isinstance(outcome, Done)
        return [(order.close, order.exclude) for order in outcome.left.orders]

    def refusal(self, ask: Ask) -> Refusal | None:
        return self.rig.directory.decide(ask, self.rig.now).refusal


OPENS, STARTS, ENDS = NOW + HOUR - 60, NOW + HOUR, NOW + 2 * HOUR


def test_a_life() -> None:
    stage = Stage()
    ask = stage.ask()
    verdict = stage.rig.directory.decide(ask, stage.rig.now)
    assert (verdict.refusal, verdict.come_back) == (Refusal.NOT_YET_OPEN, OPENS)
    assert stage.show().state == "coming"
    stage.until(OPENS)
    assert stage.show().state == "open"
    assert join(stage.rig, ask).rekey_sa.created == OPENS
    stage.until(STARTS)
    assert stage.show().state == "on"
    stage.until(ENDS)
    assert stage.show().state == "over"
    assert not stage.rig.members
    assert stage.refusal(ask) is Refusal.CLOSED
    stage.until(ENDS + 60)
    assert not stage.rig.directory.holds(stage.id)
    assert not stage.rig.groups
    assert stage.refusal(ask) is Refusal.CLOSED
    assert stage.not_changed(duration=9000)[0] == "conflict"
    assert (
        stage.rig.refused("reservation-cancel", q.CancelReservation(stage.id), stage.anna).code == "conflict"
    )


def test_extended_while_it_runs() -> None:
    stage = Stage()
    ask = stage.ask()
    stage.until(STARTS + 60)
    join(stage.rig, ask)
    view = stage.change(duration=2 * HOUR, capacity=50, title="Longer", visibility="private")
    assert (view.ends, view.capacity, view.title, view.version) == (ENDS + HOUR, 50, "Longer", 2)
    assert stage.orders() == []
    stage.until(ENDS + 10)
    assert stage.show().state == "on"
    assert len(stage.rig.members) == 1
    stage.until(ENDS + HOUR)
    assert stage.show().state == "over"
    assert not stage.rig.members


def test_an_extension_that_meets_another_transmission_is_refused() -> None:
    stage = Stage(address="239.9.9.9")
    reserve(stage.rig, stage.anna, ENDS + 600, address="239.9.9.9")
    assert stage.not_changed(duration=HOUR + 500)[1] == ["duration"]
    assert stage.not_changed(start=at(ENDS + 700))[1] == ["start"]
    assert stage.change(duration=HOUR + 300).ends == ENDS + 300


def test_shortened_and_ended_at_once() -> None:
    stage = Stage()
    stage.until(STARTS + 600)
    join(stage.rig, stage.ask())
    assert stage.change(duration=1800).ends == STARTS + 1800
    view = stage.change(duration=300)
    assert (view.ends, view.state) == (STARTS + 600, "over")
    assert stage.orders() == [(True, False)]
    assert not stage.rig.members
    stage.until(STARTS + 700)
    assert not stage.rig.directory.holds(stage.id)


def test_before_it_opens_everything_moves() -> None:
    stage = Stage()
    view = stage.change(start=at(STARTS + HOUR), lead=300)
    assert (view.starts, view.ends, view.opens) == (STARTS + HOUR, ENDS + HOUR, STARTS + HOUR - 300)
    assert stage.not_changed(start=at(NOW - 5))[1] == ["start"]
    assert stage.not_changed(start="never")[1] == ["start"]
    stage.until(STARTS)
    assert stage.show().state == "coming"
    stage.until(STARTS + HOUR - 299)
    assert stage.show().state == "open"
    assert stage.not_changed(start=at(STARTS + 2 * HOUR))[1] == ["start"]
    assert stage.not_changed(lead=0)[1] == ["lead"]
    assert stage.change(lead=600).opens == STARTS + HOUR - 600


def test_a_longer_lead_opens_it_now() -> None:
    stage = Stage()
    ask = stage.ask()
    assert stage.refusal(ask) is Refusal.NOT_YET_OPEN
    stage.change(lead=2 * HOUR)
    join(stage.rig, ask)


def test_a_form_that_was_filled_in_on_an_older_version_is_refused() -> None:
    stage = Stage()
    stage.change(version=1, capacity=5)
    assert stage.not_changed(version=1, capacity=6)[0] == "changed-meanwhile"
    assert stage.change(version=2, capacity=6).version == 3
    # Nothing changed is no new version, and no audit line.
    assert stage.change(capacity=6).version == 3
    lines = stage.rig.audit_lines("reservation-change")
    assert [line.detail.get("refused") for line in lines] == [None, "changed-meanwhile", None]
    assert lines[1].subject == lines[0].subject


@pytest.mark.parametrize(
    ("more", "fields"),
    [
        ({"title": "\t"}, ["title"]),
        ({"description": "\x07"}, ["description"]),
        ({"admission": Rule()}, ["admission"]),
        ({"senders": (Host("a"), Host("a"))}, ["senders.1.label"]),
        ({"senders": (Host("a", "", "2001:db8::1"),)}, ["senders.0.source"]),
        ({"senders": tuple(Host(f"h{n}") for n in range(101))}, ["senders"]),
        ({"title": " ", "admission": Rule(), "start": "x"}, ["title", "admission", "start"]),
    ],
)
def test_what_a_change_cannot_be(more: dict[str, Any], fields: list[str]) -> None:
    assert Stage().not_changed(**more) == ("invalid", fields)


def test_another_admission_holds_from_now_on() -> None:
    stage = Stage()
    stage.rig.user("carla")
    bert, carla = stage.ask("bert"), stage.ask("carla")
    stage.until(OPENS)
    join(stage.rig, bert)
    stage.change(admission=Rule(names=True))
    assert stage.refusal(carla) is Refusal.NOT_ON_LIST
    # Who was admitted stays.
    assert stage.refusal(bert) is None
    join(stage.rig, bert)


def test_a_sender_who_is_no_longer_one_is_out() -> None:
    stage = Stage(senders=(Host("studio"), Host("spare", "", "192.0.2.9")))
    tickets = {
        label: stage.rig.do("sender-ticket", q.SenderTicket(stage.id, label), stage.anna).id
        for label in ("studio", "spare")
    }
    stage.until(OPENS)
    for host, label in enumerate(("studio", "spare")):
        address = ipaddress.ip_address(f"192.0.2.{100 + host}")
        join(stage.rig, ask_by(tickets[label], stage.id, address, sends=True))
    sources = {str(sa.source) for sa in stage.rig.directory.sas(stage.id).data_sas}
    assert sources == {"192.0.2.100", "192.0.2.9"}
    stage.rig.restart()
    assert {str(sa.source) for sa in stage.rig.directory.sas(stage.id).data_sas} == sources
    stage.change(senders=(Host("studio"),))
    outcome = stage.rig.outcome
    assert isinstance(outcome, Done)
    assert [str(identity) for identity in outcome.disowned] == [f"keyid:{tickets['spare']}"]
    assert [len(order.deleted_spis) for order in outcome.left.orders] == [1]
    assert len(stage.rig.members) == 1
    gone = ask_by(tickets["spare"], stage.id, HOST, sends=True)
    assert stage.refusal(gone) is not None


def test_cancelled_while_it_runs_everybody_is_told_and_paid_back() -> None:
    stage = Stage(admission=PRICE)
    rig = stage.rig
    rig.do("user-credit", q.CreditUser("bert", Amount(1000, "EUR"), "cash 1"), OPERATOR)
    bert = rig.sign_in("bert")
    bought: r.TicketView = rig.do("ticket-issue", q.IssueTicket(stage.id, most=Amount(250, "EUR")), bert)
    ask = ask_by(bought.id, stage.id, HOST)
    stage.until(STARTS)
    join(rig, ask)
    assert [one.amount for one in rig.do("balance", None, bert).balances] == [750]
    view = stage.cancel()
    assert (view.state, view.cancelled) == ("cancelled", STARTS)
    assert stage.orders() == [(True, False)]
    assert [one.amount for one in rig.do("balance", None, bert).balances] == [1000]
    assert [one.refunded for one in rig.facts(Admission)] == [STARTS]
    assert rig.platform.billing.balanced()
    assert stage.refusal(ask) is Refusal.CANCELLED
    with pytest.raises(Refused):
        join(rig, ask)
    (line,) = rig.audit_lines("reservation-cancel")
    assert line.detail == {"reason": "rain", "refunds": 1}
    # Once more is no second refund.
    assert stage.cancel() == view
    assert [one.amount for one in rig.do("balance", None, bert).balances] == [1000]
    stage.until(STARTS + 60)
    assert not rig.directory.holds(stage.id)
    rig.restart()
    assert stage.refusal(ask) is Refusal.CANCELLED
    rig.pass_time(10)
    assert not rig.groups
    assert stage.not_changed(capacity=5)[0] == "conflict"


def test_cancelled_before_it_opened() -> None:
    stage = Stage()
    ask = stage.ask()
    stage.cancel()
    assert stage.orders() == []
    assert stage.refusal(ask) is Refusal.CANCELLED
    stage.rig.pass_time(5)
    assert not stage.rig.groups
    stage.rig.restart()
    stage.until(OPENS + 5)
    assert not stage.rig.groups


@pytest.mark.parametrize("when", [NOW + 10, OPENS + 5, STARTS + 5, ENDS + 1, ENDS + 200, ENDS + 3 * 86_400])
def test_a_server_that_was_away_goes_on_where_it_was(when: float) -> None:
    """Down from before the opening, or with a member, until ``when``."""
    stage = Stage()
    ask = stage.ask()
    if when > OPENS:
        stage.until(OPENS + 1)
        join(stage.rig, ask)
    stage.rig.now = when
    stage.rig.restart()
    stage.rig.pass_time(0)
    if when < ENDS:
        assert stage.rig.directory.holds(stage.id)
        assert (len(stage.rig.members) == 1) == (when > OPENS)
        stage.rig.restart()
        assert (len(stage.rig.members) == 1) == (when > OPENS)
    else:
        assert not stage.rig.members
        stage.rig.pass_time(60)
        assert not stage.rig.groups
        assert stage.refusal(ask) is Refusal.CLOSED


def test_restarted_while_the_members_are_told_the_end() -> None:
    stage = Stage()
    stage.until(STARTS)
    join(stage.rig, stage.ask())
    stage.cancel()
    stage.rig.restart()
    record = stage.rig.groups[stage.id]
    assert record.closed
    assert record.pending  # the news goes out once more
    stage.rig.pass_time(60)
    assert not stage.rig.groups


def test_a_directory_without_the_groups_gets_them_at_the_start() -> None:
    stage = Stage()
    stage.rig.groups.clear()
    stage.rig.restart()
    assert stage.rig.directory.holds(stage.id)
    stage.rig.now = ENDS + 10
    stage.rig.restart()
    stage.rig.pass_time(30)
    assert not stage.rig.groups


def test_long_after_the_end_nobody_is_on_a_list_any_more() -> None:
    stage = Stage(admission=Rule(any=(Rule(names=True), Rule(vouchers=True), Rule(identities=("any",)))))
    rig = stage.rig
    kept = rig.settings.keep_reservations
    other = reserve(rig, stage.anna, NOW + 300 * 86_400).id
    for id in (stage.id, other):
        begun: r.Import = rig.do("names-begin", q.ById(id), stage.anna)
        rig.do("names-add", q.NamesAdd(id, begun.import_id, (q.NameEntry("carla"),)), stage.anna)
        rig.do("names-commit", q.NamesCommit(id, begun.import_id, 1), stage.anna)
        rig.do("voucher-create", q.CreateVouchers(id, 3), stage.anna)
        ticket(rig, id, "bert")
    rig.now = ENDS + kept - 10
    rig.restart()
    assert [len(rig.facts(kind)) for kind in (ListedName, Ticket, VoucherBatch, Voucher)] == [2, 2, 2, 6]
    rig.pass_time(20)
    assert [len(rig.facts(kind)) for kind in (ListedName, Ticket, VoucherBatch, Voucher)] == [1, 1, 1, 3]
    assert {one.reservation for one in rig.facts(ListedName)} == {other}
    rig.restart()
    rig.pass_time(60)
    assert len(rig.facts(Reservation)) == 2  # what was charged for stays on record


def test_others_do_not_find_it() -> None:
    stage = Stage()
    other = stage.rig.caller("otto", "sender")
    for operation, asked in (
        ("reservation-show", q.ById(stage.id)),
        ("reservation-change", q.ChangeReservation(stage.id, capacity=3)),
        ("reservation-cancel", q.CancelReservation(stage.id)),
        ("statistics", q.ById(stage.id)),
    ):
        here = stage.rig.refused(operation, asked, other)
        asked.id = "nowhere-aaaaaa"
        there = stage.rig.refused(operation, asked, other)
        assert (here.code, here.detail.replace(stage.id, "")) == (
            there.code,
            there.detail.replace("nowhere-aaaaaa", ""),
        )
        assert here.code == "not-found"
    assert stage.show().version == 1
    assert stage.rig.do("reservation-show", q.ById(stage.id), OPERATOR).id == stage.id


def test_lists_are_in_order_in_pages_and_by_state() -> None:
    stage = Stage()
    rig = stage.rig
    otto = rig.caller("otto", "sender")
    ids = [stage.id] + [reserve(rig, stage.anna, NOW + HOUR * hours).id for hours in (5, 3, 4, 2)]
    reserve(rig, otto)
    in_order = [ids[0], ids[4], ids[2], ids[3], ids[1]]

    def listed(caller: Caller = stage.anna, **more: Any) -> list[str]:
        found, after = [], ""
        while True:
            page: r.Reservations = rig.do(
                "reservation-list", q.ListReservations(after=after, limit=2, **more), caller
            )
            found += [one.id for one in page.reservations]
            after = page.after
            if not after:
                return found

    assert listed() == in_order
    assert len(listed(OPERATOR)) == 6
    assert len(listed(OPERATOR, owner="otto")) == 1
    assert listed(OPERATOR, owner="nobody") == []
    assert listed(stage.anna, owner="otto") == in_order  # an operator's choice alone
    stage.cancel()
    stage.until(NOW + 2 * HOUR + 5)
    assert listed(state="cancelled") == [ids[0]]
    assert listed(state="open") == [ids[4]]
    assert listed(state="coming") == [ids[2], ids[3], ids[1]]
    assert listed(OPERATOR, state="over") == [one.id for one in rig.facts(Reservation) if one.id not in ids]


def test_the_configuration_is_reloaded_beside_it() -> None:
    stage = Stage()
    stage.until(OPENS)
    join(stage.rig, stage.ask())
    before = stage.rig.directory.sas(stage.id)
    configured = replace(
        stage.rig.directory.policy(stage.id),
        name="news",
        group_id=stage.ask("bert").identity,
        address=ipaddress.ip_address("239.200.0.1"),
        rekey_address=ipaddress.ip_address("239.200.0.2"),
        starts=None,
        ends=None,
    )
    stage.rig.carry_out(stage.rig.directory.reload((configured,), stage.rig.now))
    assert stage.rig.directory.sas(stage.id) == before
    for address in ("239.200.0.1", "239.200.0.2"):
        problem = stage.rig.refused("reserve", request(address=address), stage.anna)
        assert [one.field for one in problem.fields] == ["address"]
    stage.rig.carry_out(stage.rig.directory.reload((), stage.rig.now))
    assert stage.rig.directory.sas(stage.id) == before
