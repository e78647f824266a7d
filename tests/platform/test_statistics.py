"""The numbers that a sender is told, and that they survive a restart."""

from __future__ import annotations

import ipaddress

import pytest
from platform_rig import NOW, OPERATOR, Rig
from reservation_requests import HOUR, ask_by, join, reserve, ticket

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount, Host, Rule
from gkmd.core.effect import Ask
from gkmd.core.identity import Identity
from gkmd.group.model import Refusal, Verdict
from gkmd.group.platform import statistics
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import Tally
from gkmd.group.platform.statistics import MINUTE

OPENS = NOW + HOUR - 60


class Stage:
    def __init__(self, **more: object) -> None:
        self.rig = Rig()
        self.anna: Caller = self.rig.caller("anna", "sender")
        self.id = reserve(self.rig, self.anna, senders=(Host("studio"),), **more).id

    def ask(self, login: str) -> Ask:
        self.rig.user(login)
        host = 1 + sum(login.encode()) % 250
        return ask_by(ticket(self.rig, self.id, login).id, self.id, ipaddress.ip_address(f"192.0.2.{host}"))

    def told(self) -> r.Statistics:
        found: r.Statistics = self.rig.do("statistics", q.ById(self.id), self.anna)
        return found


def test_the_numbers_of_a_transmission() -> None:
    stage = Stage()
    rig = stage.rig
    before = stage.told()
    assert (before.state, before.now, before.peak, before.total, before.joins) == ("coming", 0, 0, 0, ())
    asks = [stage.ask(login) for login in ("bert", "carla", "dora")]
    sender = rig.do("sender-ticket", q.SenderTicket(stage.id, "studio"), stage.anna).id
    rig.pass_time(OPENS - NOW)
    minute = int(rig.now) // MINUTE * MINUTE
    join(rig, ask_by(sender, stage.id, ipaddress.ip_address("192.0.2.254"), sends=True))
    for ask in asks[:2]:
        join(rig, ask)
    join(rig, asks[0])  # the same receiver again
    rig.pass_time(2 * MINUTE)
    join(rig, asks[2])
    told = stage.told()
    assert (told.now, told.peak, told.total, told.senders) == (3, 3, 3, 1)
    assert told.joins == ((minute, 2), (minute + 2 * MINUTE, 1))
    left = rig.directory.leave(asks[0].group_id, asks[0].identity, rig.now)
    rig.carry_out(left)
    assert (stage.told().now, stage.told().peak, stage.told().total) == (2, 3, 3)
    rekeys = stage.told().rekeys
    for order in rig.directory.rekey(stage.id, rig.now):
        rig.write(rig.directory.sealed(order, b"a rekey", rig.now))
    assert stage.told().rekeys == rekeys + 1
    assert stage.told().next_rekey is not None
    rig.pass_time(2)
    known = stage.told()
    rig.restart()
    again = stage.told()
    assert (again.now, again.peak, again.total, again.joins, again.rekeys) == (
        known.now,
        known.peak,
        known.total,
        known.joins,
        known.rekeys,
    )
    rig.pass_time(3 * HOUR)
    assert (stage.told().state, stage.told().now, stage.told().peak, stage.told().total) == ("over", 0, 3, 3)


def test_refusals_by_their_reason() -> None:
    stage = Stage(admission=Rule(names=True), capacity=1)
    group = Identity.parse(f"keyid:{stage.id}")
    ask = Ask(1, Identity.parse("fqdn:bert.example"), group, ipaddress.ip_address("192.0.2.1"), False, 0)
    stage.rig.pass_time(OPENS - NOW)
    verdict = stage.rig.directory.decide(ask, stage.rig.now)
    assert verdict.refusal is Refusal.NOT_ON_LIST
    for _ in range(3):
        stage.rig.write(stage.rig.directory.refused(ask, verdict, stage.rig.now))
    stage.rig.write(stage.rig.directory.refused(ask, Verdict(Refusal.FULL), stage.rig.now))
    assert stage.told().refused == {"not-on-list": 3, "full": 1}
    stage.rig.pass_time(2)
    stage.rig.restart()
    assert stage.told().refused == {"not-on-list": 3, "full": 1}
    assert stage.told().total == 0


def test_the_money_is_the_ledgers() -> None:
    stage = Stage(admission=Rule(price=Amount(250, "EUR")))
    rig = stage.rig
    bert = rig.caller("bert")
    rig.do("user-credit", q.CreditUser("bert", Amount(1000, "EUR"), "cash 1"), OPERATOR)
    bought: r.TicketView = rig.do("ticket-issue", q.IssueTicket(stage.id, most=Amount(250, "EUR")), bert)
    rig.pass_time(OPENS - NOW)
    for _ in range(2):
        join(rig, ask_by(bought.id, stage.id, ipaddress.ip_address("192.0.2.9")))
    (money,) = stage.told().money
    assert (money.currency, money.charges, money.gross) == ("EUR", 1, 250)
    statement: r.Statement = rig.do("statement", q.StatementOf(id=stage.id), stage.anna)
    assert statement.totals == stage.told().money
    rig.do("reservation-cancel", q.CancelReservation(stage.id), stage.anna)
    assert [(one.refunds, one.gross, one.net) for one in stage.told().money] == [(1, 0, 0)]


def test_facts_are_made_once_a_second_and_only_of_what_changed() -> None:
    stage = Stage()
    rig = stage.rig
    rig.pass_time(OPENS - NOW)
    book = rig.platform.statistics
    for number in range(1000):
        book.refused(stage.id, "full", rig.now + number / 1000)
    assert book.deadline() is not None
    rig.carry_out(rig.platform.tick(rig.now))
    assert [one.refused for one in rig.facts(Tally)] == [{"full": 1000}]
    book.refused(stage.id, "full", rig.now)
    rig.carry_out(rig.platform.tick(rig.now + 0.5))
    assert [one.refused for one in rig.facts(Tally)] == [{"full": 1000}]
    rig.carry_out(rig.platform.tick(rig.now + 1))
    assert [one.refused for one in rig.facts(Tally)] == [{"full": 1001}]
    assert book.deadline() is None
    book.refused("no-such-reservation", "full", rig.now)
    rig.carry_out(rig.platform.tick(rig.now + 5))
    assert len(rig.facts(Tally)) == 1


def test_the_last_second_before_an_orderly_stop_is_written() -> None:
    stage = Stage()
    rig = stage.rig
    rig.pass_time(OPENS - NOW)
    book = rig.platform.statistics
    book.admitted(stage.id, True, rig.now)
    rig.carry_out(rig.platform.tick(rig.now))
    for _ in range(3):
        book.admitted(stage.id, True, rig.now + 0.5)
    rig.carry_out(rig.platform.stop(rig.now + 0.5))
    (tally,) = rig.facts(Tally)
    assert sum(number for _, number in tally.joins) == 4
    rig.restart()
    assert sum(number for _, number in stage.told().joins) == 4


def test_they_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "MOST_MINUTES", 5)
    monkeypatch.setattr(statistics, "MOST_REASONS", 4)
    stage = Stage()
    book = stage.rig.platform.statistics
    for minute in range(20):
        book.admitted(stage.id, True, NOW + 60 * minute)
        book.refused(stage.id, f"reason {minute}", NOW)
    told = stage.told()
    assert [instant for instant, _ in told.joins] == [
        int(NOW + 60 * minute) // MINUTE * MINUTE for minute in range(15, 20)
    ]
    assert told.refused == {"reason 0": 1, "reason 1": 1, "reason 2": 1, "reason 3": 1, "other": 16}
    assert told.total == 20


def test_what_a_crash_took_from_the_count_of_receivers_is_counted_again() -> None:
    stage = Stage()
    asks = [stage.ask(login) for login in ("bert", "carla")]
    stage.rig.pass_time(OPENS - NOW)
    for ask in asks:
        join(stage.rig, ask)
    assert not stage.rig.facts(Tally)
    stage.rig.restart()
    assert (stage.told().total, stage.told().now, stage.told().peak) == (2, 2, 2)
