"""Long lists come in pages: each row once, in order, whatever comes or goes between two of them."""

from __future__ import annotations

import ipaddress
import typing
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import msgspec
from billing_rig import NOW, Books
from door_rig import DoorRig
from hypothesis import given
from hypothesis import strategies as st
from platform_rig import OPERATOR, Rig

from gkmd.api import requests as q
from gkmd.api import results as r
from gkmd.api.nouns import Amount, Page, Rule
from gkmd.api.operations import OPERATIONS
from gkmd.core.change import MemberRecord
from gkmd.core.identity import Identity, IdentityKind
from gkmd.group.platform.members import GroupMembers
from gkmd.group.platform.pages import page, place
from gkmd.group.platform.records import Admission
from gkmd.group.platform.work import Who, Work

# Lists that something else keeps short, and what it is.
SHORT = {
    "session-list": "sessions.MOST_OF_ONE",
    "token-list": "tokens.MOST_OF_ONE",
    "balance": "ledger.MOVEMENTS",
    "user-balance": "ledger.MOVEMENTS",
    "me": "passkeys.MOST_OF_ONE",
    "user-show": "passkeys.MOST_OF_ONE",
    "reservation-show": "booking.MOST_HOSTS",
    "statistics": "statistics.MOST_MINUTES",
    "transmission": "rules.MOST_NODES",
    "ticket-show": "rules.MOST_NODES",
}


def test_every_list_without_an_end_has_pages() -> None:
    for operation in OPERATIONS.values():
        kinds = typing.get_type_hints(operation.result)
        lists = [name for name, kind in kinds.items() if typing.get_origin(kind) is tuple]
        if operation.method != "GET" or not lists or operation.name in SHORT:
            continue
        assert issubclass(operation.request, Page), operation.name
        assert kinds.get("after") is str, operation.name


ROWS = st.dictionaries(st.text("abc", min_size=1, max_size=4), st.integers(), max_size=30)


@given(ROWS, st.integers(1, 7), st.booleans())
def test_the_pages_are_the_list(rows: dict[str, int], limit: int, newest: bool) -> None:
    found, after, pages = [], "", 0
    while pages == 0 or after:
        part, after = page(iter(rows.items()), after, limit, newest=newest)
        found += part
        pages += 1
        assert len(part) == limit or not after
    assert found == [rows[name] for name in sorted(rows, reverse=newest)]
    assert pages == max(1, -(-len(rows) // limit))  # none of them is empty


@given(st.lists(st.tuples(st.floats(0, 4e9), st.text("ab-", max_size=3)), max_size=20))
def test_places_are_in_the_order_of_time(rows: list[tuple[float, str]]) -> None:
    for one in rows:
        for other in rows:
            if one[0] + 1e-5 < other[0]:
                assert place(*one) < place(*other)


def lines(books: Books, limit: int, between: typing.Callable[[], object] = bool) -> list[r.Statement]:
    found: list[r.Statement] = []
    while not found or found[-1].after:
        after = found[-1].after if found else ""
        request = q.StatementOf(id="talk", after=after, limit=limit)
        found.append(books.call("statement", request, "a-tx", now=NOW + 1000))
        between()
    return found


def test_the_totals_are_of_the_whole_statement_on_each_page() -> None:
    books = Books(fee_points=500)
    for number in range(23):
        admission = admit(books, number, NOW + number / 2)
        if number % 5 == 0:
            books.billing.refund(books.reservation, admission, "evicted", NOW + number)
    (whole,) = lines(books, 500)
    assert len(whole.lines) == 28
    pages = lines(books, 5)
    assert [len(one.lines) for one in pages] == [5, 5, 5, 5, 5, 3]
    assert sum((one.lines for one in pages), ()) == whole.lines
    assert all((one.totals, one.receivers) == (whole.totals, whole.receivers) for one in pages)
    (total,) = whole.totals
    assert sum(line.gross for one in pages for line in one.lines) == total.gross


def admit(books: Books, number: int, at: float) -> Admission:
    party = f"a-r{number:02}"
    books.account(party)
    books.credit(party, 1000)
    return books.billing.admit(books.reservation, party, "price", books.money(100), at)


def test_who_is_charged_while_the_pages_are_read_is_on_a_later_one() -> None:
    books = Books()
    admitted = [admit(books, 11 - number, NOW + number) for number in range(8)]
    coming = iter(range(8, 12))

    def more() -> None:
        number = next(coming, None)
        if number is not None:
            admit(books, 11 - number, NOW - number)  # the clock was set back
            books.billing.refund(books.reservation, admitted[number - 8], "evicted", NOW + number + 0.5)

    pages = lines(books, 3, more)
    shown = [line for one in pages for line in one.lines]
    assert len({(line.party, line.kind) for line in shown}) == len(shown) == 16
    (total,) = pages[-1].totals
    assert (sum(line.gross for line in shown), total.charges, total.refunds) == (total.gross, 12, 4)


def test_the_order_of_a_few_statements_is_remembered_and_no_more() -> None:
    books = Books()
    books.credit("a-rx", 1000)
    books.admit("a-rx", books.money(100))
    first = lines(books, 100)
    known = books.statements._known["talk"]
    assert lines(books, 100) == first
    assert books.statements._known == {"talk": known}
    admission = books.admission("a-rx")
    assert admission is not None
    books.billing.refund(books.reservation, admission, "evicted", NOW + 1)
    (last,) = lines(books, 100)
    assert [line.kind for line in last.lines] == ["charge", "refund"]
    for number in range(20):
        other = replace(books.reservation, id=f"talk-{number}")
        books.facts.put(other)
        books.call("statement", q.StatementOf(id=other.id), "a-tx")
    assert len(books.statements._known) == 4


def test_tickets_vouchers_and_payments_come_newest_first() -> None:
    rig = Rig()
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    ids = []
    for number in range(5):
        start, title = f"2026-10-0{number + 1}T18:00", f"Talk {number}"
        request = q.Reserve(title=title, start=start, duration=60, admission=Rule(open=True))
        ids.append(rig.do("reserve", request, sender).id)
        rig.do("ticket-issue", q.IssueTicket(id=ids[-1]), receiver)
        rig.do("voucher-create", q.CreateVouchers(id=ids[0], count=number + 1), sender)
        rig.do("value-voucher-create", q.CreateValueVouchers(amount=Amount(100, "EUR"), count=number + 1))
        rig.now += 1
    found, after = [], ""
    while not found or after:
        one = rig.do("ticket-list", q.ListTickets(after=after, limit=2), receiver)
        found += [ticket.transmission.id for ticket in one.tickets]
        after = one.after
    assert found == ids[::-1]
    for operation, request, caller in (
        ("voucher-list", q.BatchesOf(id=ids[0], limit=2), sender),
        ("value-voucher-list", q.ListBatches(limit=2), OPERATOR),
    ):
        first = rig.do(operation, request, caller)
        assert [one.count for one in first.batches] == [5, 4]
        request = msgspec.structs.replace(request, after=first.after)
        assert [one.count for one in rig.do(operation, request, caller).batches] == [3, 2]


def test_tickets_that_still_open_something_can_be_asked_for_alone() -> None:
    rig = Rig()
    sender, receiver = rig.caller("tx", "sender"), rig.caller("rx")
    tickets = []
    for day in (1, 2, 3):
        request = q.Reserve(
            title="Talk", start=f"2026-10-0{day}T18:00", duration=60, admission=Rule(open=True)
        )
        id = rig.do("reserve", request, sender).id
        tickets.append(rig.do("ticket-issue", q.IssueTicket(id=id), receiver))
    rig.do("ticket-revoke", q.ById(tickets[2].id), receiver)
    rig.pass_time(tickets[0].transmission.ends + 1 - rig.now)
    receiver = rig.sign_in("rx")
    (live,) = rig.do("ticket-list", q.ListTickets(live=True), receiver).tickets
    assert live.id == tickets[1].id
    assert len(rig.do("ticket-list", q.ListTickets(), receiver).tickets) == 3


DER = bytes.fromhex("301f311d301b06035504030c14c39c6e616c2042726f61646361737420e280ae31")


def test_receivers_with_a_distinguished_name_are_shown_and_found_by_it() -> None:
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    rig.reserve({"open": True})
    dn = Identity(IdentityKind.DN, DER)
    for identity in (dn, Identity.parse("fqdn:rx.example")):
        assert rig.register(rig.ask(identity)).refusal is None
    found = rig.do("receiver-list", q.ReceiversOf(id="talk"), "tx").receivers
    assert sorted(one.name for one in found) == [r"dn:CN=Ünal Broadcast \e2\80\ae1", "fqdn:rx.example"]
    for word, count in (("ünal", 1), ("dn:CN", 1), ("EXAMPLE", 1), ("0x30", 0), (" ", 2)):
        assert len(rig.do("receiver-list", q.ReceiversOf(id="talk", search=word), "tx").receivers) == count


class Stubs:
    """Two groups with members: one of the platform, one of the configuration."""

    def __init__(self, count: int) -> None:
        host = ipaddress.ip_address("192.0.2.1")
        self.found = {
            name: tuple(
                MemberRecord(name, identity, True, False, host, (), float(at), at.to_bytes(8, "big"))
                for at, identity in enumerate(
                    [Identity(IdentityKind.DN, DER)]
                    + [Identity.parse(f"fqdn:rx{number:05}.{name}") for number in range(count)]
                )
            )
            for name in ("talk", "news/2")
        }

    def groups(self) -> list[Any]:
        return [
            SimpleNamespace(policy=SimpleNamespace(name=name), members=len(members))
            for name, members in self.found.items()
        ]

    def members(self, name: str) -> tuple[MemberRecord, ...]:
        return self.found[name]


def members_of(stubs: Stubs, **asked: Any) -> list[r.Members]:
    part = GroupMembers(DoorRig().parties)
    part.use(cast(Any, stubs))
    work = Work(Who("unix:0", None, frozenset({"operator"}), None, ""), NOW)
    found: list[r.Members] = []
    while not found or found[-1].after:
        request = q.MembersOf(after=found[-1].after if found else "", **asked)
        found.append(cast(r.Members, part.operations()["members"](request, work)))
    return found


def test_members_come_group_by_group_in_pages() -> None:
    stubs = Stubs(25)
    pages = members_of(stubs, limit=10)
    assert [len(one.members) for one in pages] == [10, 10, 10, 10, 10, 2]
    assert {one.count for one in pages} == {52}
    shown = [(one.group, one.identity) for part in pages for one in part.members]
    wanted = [(name, one.identity.shown()) for name in sorted(stubs.found) for one in stubs.found[name]]
    assert shown == wanted
    assert shown[0] == ("news/2", r"dn:CN=Ünal Broadcast \e2\80\ae1")
    (mine,) = members_of(stubs, group="talk", search="ÜNAL", limit=10)
    assert [one.group for one in mine.members] == ["talk"]
    assert members_of(stubs, search="nobody")[0].members == ()


def test_a_search_among_very_many_members_looks_at_so_many_at_once() -> None:
    pages = members_of(Stubs(12_000), search="rx11999", limit=10)
    assert [one.group for part in pages for one in part.members] == ["news/2", "talk"]
    assert [len(one.members) for one in pages] == [1, 1]
