"""Tickets, vouchers and receivers as operations: issue, show, revoke, list, evict."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from door_rig import NAMES, NOW, OPEN, PRICE, SETTINGS, VOUCHERS, DoorRig, agreed, digest, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.api.problem import Problem
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.daemon.ticket_file import LocalChoices, read_ticket
from gkmd.group.model import Refusal
from gkmd.group.platform.member_file import ticket_file
from gkmd.group.platform.parties import identity_of
from gkmd.group.platform.records import SenderHost, Ticket, Voucher
from gkmd.group.platform.tickets import REVOKED_KEPT
from gkmd.group.platform.work import Work


@pytest.fixture
def rig() -> DoorRig:
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    for login in ("rx", "ry"):
        rig.user(login)
    return rig


def issue(rig: DoorRig, by: str = "rx", id: str = "talk", **more: Any) -> Any:
    return rig.do("ticket-issue", q.IssueTicket(id, **more), by)


def problem(rig: DoorRig, by: str = "rx", id: str = "talk", **more: Any) -> Problem:
    with pytest.raises(Problem) as raised:
        issue(rig, by, id, **more)
    return raised.value


def held(rig: DoorRig, code: str) -> str:
    found = rig.facts.get(Voucher, digest(code))
    assert found is not None
    return found.held


# Issue


def test_who_reads_a_secret_leaves_a_line_and_who_looks_again_at_once_no_other(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    ticket = issue(rig)
    rig.do("ticket-list", q.ListTickets(), "rx")
    assert rig.audited("ticket-read") == []
    assert rig.do("ticket-show", q.ById(ticket.id), "rx").secret
    assert issue(rig).secret == ticket.secret
    (line,) = rig.audited("ticket-read")
    assert (line.actor, line.subject, line.detail) == (rig.account("rx").id, "talk", {"ticket": ticket.id})
    rig.now += 601
    rig.do("ticket-show", q.ById(ticket.id), "rx")
    assert len(rig.audited("ticket-read")) == 2


def test_a_second_issue_gives_the_same_ticket_with_what_is_new(rig: DoorRig) -> None:
    rig.reserve({"any": [VOUCHERS, PRICE]})
    rig.pay("rx", 1000)
    one = issue(rig, most=Amount(250, "EUR"))
    assert len(one.secret) == 64
    assert len(one.id) == 22
    code = rig.code()
    assert issue(rig, most=Amount(300, "EUR")).id == one.id
    other = issue(rig, voucher=code)
    assert (other.id, other.secret) == (one.id, one.secret)
    (ticket,) = rig.live_tickets()
    assert (ticket.most, ticket.currency, ticket.voucher) == (300, "EUR", digest(code))
    assert held(rig, code) == "a-rx"
    assert [line.action for line in rig.audited("ticket-issue") + rig.audited("ticket-change")] == [
        "ticket-issue",
        "ticket-change",
        "ticket-change",
    ]


def test_who_would_not_be_admitted_gets_no_ticket_and_the_reason(rig: DoorRig) -> None:
    rig.reserve({"any": [NAMES, PRICE]})
    rig.pay("rx", 100)
    for more, code, reason in (
        ({}, "not-admitted", "payment-required"),
        ({"most": Amount(249, "EUR")}, "not-admitted", "price-too-high"),
        ({"most": Amount(250, "EUR")}, "payment-required", "payment-required"),
        ({"voucher": "0000-0000-0000-0000"}, "not-admitted", "voucher-invalid"),
        ({"password": "x", "listed": "anna"}, "not-admitted", "wrong-password"),
    ):
        found = problem(rig, **more)
        assert (found.code, found.reason) == (code, reason)
    assert "2.50 EUR" in problem(rig).detail
    assert rig.stored(Ticket) == []
    rig.change(admission=NAMES)
    assert problem(rig).reason == "not-on-list"
    assert len(rig.audited("ticket-refuse")) == 7


def test_a_ticket_may_be_had_long_before_and_not_after(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    assert issue(rig).id
    rig.now = NOW + 4200
    assert problem(rig, "ry").code == "conflict"
    rig.now = NOW
    rig.change(cancelled=NOW)
    assert problem(rig, "ry").reason == "cancelled"
    assert problem(rig, "ry", "nothing").code == "not-found"


def test_a_private_transmission_is_not_told_about(rig: DoorRig) -> None:
    rig.reserve(NAMES, visibility="private")
    assert problem(rig).code == problem(rig, id="nothing").code == "not-found"
    rig.listed("rx", verifier="")
    assert issue(rig).id


@pytest.mark.parametrize(
    "shown", [{}, {"listed": "anna", "password": "wrong"}, {"voucher": "0000-0000-0000-0000"}]
)
def test_nor_is_who_tries_what_opens_it(rig: DoorRig, shown: dict[str, str]) -> None:
    rule = {"any": [NAMES, VOUCHERS]}
    rig.reserve(rule, visibility="private")
    rig.listed("anna")
    silent = [problem(rig, **shown) for _ in range(20)]  # be it locked out
    rig.now += 10_000
    silent.append(problem(rig, **shown))  # or be it over
    assert {(one.code, one.reason, one.fields, one.come_back) for one in silent} == {
        ("not-found", "", (), None)
    }
    stranger = problem(rig, "ry", id="none", **shown)
    assert {one.detail.replace("'talk'", "'none'") for one in silent} == {stranger.detail}


def test_who_has_a_ticket_of_a_private_one_is_told_what_is_wrong(rig: DoorRig) -> None:
    rig.reserve({"any": [NAMES, VOUCHERS]}, visibility="private")
    rig.listed("anna")
    issue(rig, listed="anna", password="correct horse")
    assert problem(rig, listed="anna", password="wrong").reason == "wrong-password"
    assert problem(rig, voucher="0000-0000-0000-0000").reason == "voucher-invalid"


def test_a_listed_password_is_shown_when_the_ticket_is_made(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    rig.put(replace(rig.account("rx"), confirmed=False))
    assert problem(rig, listed="anna").reason == "not-on-list"
    assert problem(rig, listed="anna", password="wrong").reason == "wrong-password"
    view = issue(rig, listed="Anna", password="correct horse")
    assert rig.decide(rig.by_ticket(view.id)).refusal is None
    # The ticket remembers it, and it holds as long as the name has a password.
    assert issue(rig).id == view.id
    # A password that has leaked lets in one.
    assert problem(rig, "ry", listed="anna", password="correct horse").code == "conflict"
    rig.do("ticket-revoke", q.ById(view.id), "rx")
    other = issue(rig, "ry", listed="anna", password="correct horse")
    assert problem(rig, "rx", listed="anna", password="correct horse").code == "conflict"
    rig.listed("anna", verifier="")
    assert rig.register(rig.by_ticket(other.id)).refusal is Refusal.NOT_ON_LIST


def test_a_list_is_not_tried_a_thousand_times(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    codes = [problem(rig, listed="anna", password="wrong").code for _ in range(50)]
    assert codes.count("not-admitted") < 10
    locked = problem(rig, listed="anna", password="correct horse")
    assert locked.code == "locked-out"
    assert locked.come_back is not None
    assert locked.come_back > NOW


def test_tickets_for_others_are_given_by_who_may_and_cost_them_nothing(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    assert problem(rig, "ry", login="rx").code == "forbidden"
    assert problem(rig, "tx", login="rx", most=Amount(1, "EUR")).code == "invalid"
    assert problem(rig, "", login="rx", most=Amount(1, "EUR")).code == "invalid"
    assert problem(rig, "tx", login="nobody").code == "not-found"
    assert problem(rig, "").code == "forbidden"  # the operator's socket has no account
    given = issue(rig, "tx", login="rx")
    # Who reserved must not be able to come as the receiver and agree to his own price.
    assert (given.secret, given.configuration) == ("", "")
    assert rig.do("ticket-show", q.ById(given.id), "tx").secret == ""
    handed = issue(rig, "", login="ry")
    assert len(handed.secret) == 64
    assert rig.do("ticket-show", q.ById(given.id), "rx").secret


def test_tickets_are_seen_by_who_has_them(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    view = issue(rig)
    (mine,) = rig.do("ticket-list", q.ListTickets(), "rx").tickets
    assert (mine.id, mine.secret, mine.configuration) == (view.id, "", "")
    assert rig.do("ticket-list", q.ListTickets(), "ry").tickets == ()
    for operation in ("ticket-show", "ticket-revoke"):
        with pytest.raises(Problem, match="there is no ticket"):
            rig.do(operation, q.ById(view.id), "ry")
    assert rig.do("ticket-show", q.ById(view.id)).secret == view.secret
    (line,) = rig.audited("ticket-read")
    assert (line.actor, line.detail) == ("unix:0", {"ticket": view.id})


def test_revoking_frees_the_voucher_and_a_new_ticket_is_another(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    code = rig.code()
    one = issue(rig, voucher=code)
    assert problem(rig, "ry", voucher=code).reason == "voucher-invalid"
    rig.do("ticket-revoke", q.ById(one.id), "rx")
    assert held(rig, code) == ""
    assert rig.do("ticket-show", q.ById(one.id), "rx").secret == ""
    other = issue(rig, "ry", voucher=code)
    assert other.id != one.id
    assert rig.register(rig.by_ticket(other.id)).refusal is None
    rig.do("ticket-revoke", q.ById(other.id), "ry")
    assert held(rig, code) == "a-ry"  # it was used
    # Admitted once, with a new ticket nothing is asked again.
    assert rig.register(rig.by_ticket(issue(rig, "ry").id)).refusal is None


def test_revoked_tickets_do_not_pile_up(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    for _ in range(3 * REVOKED_KEPT):
        rig.do("ticket-revoke", q.ById(issue(rig).id), "rx")
    assert len(rig.stored(Ticket)) <= REVOKED_KEPT + 1


def test_a_disabled_account_loses_its_connections_and_a_forgotten_one_its_tickets(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    code = rig.code()
    view = issue(rig, voucher=code)
    work = Work(rig.who(), NOW)
    rig.tickets.retire(rig.account("rx"), work)
    assert set(work.disowned) == {Identity.parse(f"keyid:{view.id}"), identity_of("rx")}
    assert len(rig.live_tickets()) == 1
    assert rig.tickets.forget(rig.account("rx"), work) == 1
    rig.put()
    assert rig.stored(Ticket) == []
    assert held(rig, code) == ""


# Senders


def test_a_sender_has_one_ticket_for_each_host_without_identity(rig: DoorRig) -> None:
    rig.reserve(OPEN, senders=(SenderHost("cam"), SenderHost("desk", "fqdn:desk.example")))
    one = rig.do("sender-ticket", q.SenderTicket("talk", "cam"), "tx")
    assert one.sends
    assert rig.do("sender-ticket", q.SenderTicket("talk", "cam"), "tx").secret == one.secret
    refused = {("desk", "tx"): "conflict", ("mic", "tx"): "not-found", ("cam", "rx"): "not-found"}
    for (label, login), code in refused.items():
        with pytest.raises(Problem) as raised:
            rig.do("sender-ticket", q.SenderTicket("talk", label), login)
        assert raised.value.code == code
    assert issue(rig, "tx").id != one.id  # the owner's ticket as a receiver is another


# Vouchers


def test_batches_are_counted_and_revoked(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    made = rig.do("voucher-create", q.CreateVouchers("talk", 3, "word"), "tx")
    assert len(set(made.codes)) == 3
    again = rig.do("voucher-create", q.CreateVouchers("talk", 3, "word"), "tx")
    assert (again.batch, again.codes) == (made.batch, ())
    rig.register(rig.by_ticket(issue(rig, voucher=made.codes[0]).id))
    issue(rig, "ry", voucher=made.codes[1])
    (batch,) = rig.do("voucher-list", q.BatchesOf(id="talk"), "tx").batches
    assert (batch.count, batch.held, batch.used, batch.revoked) == (3, 1, 1, None)
    rig.do("voucher-revoke", q.RevokeBatch("talk", made.batch), "tx")
    (ticket,) = [one for one in rig.live_tickets() if one.party == "a-ry"]
    assert rig.register(rig.by_ticket(ticket.id)).refusal is Refusal.VOUCHER_INVALID
    stored = str(rig.stored(Voucher))
    assert not any(code in stored for code in made.codes)


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("voucher-create", q.CreateVouchers("talk", 1)),
        ("voucher-list", q.BatchesOf(id="talk")),
        ("voucher-revoke", q.RevokeBatch("talk", "b-talk")),
        ("receiver-list", q.ReceiversOf(id="talk")),
        ("receiver-evict", q.Evict("talk", "a-rx")),
    ],
)
def test_what_is_the_senders_is_not_found_by_others(rig: DoorRig, operation: str, request_: Any) -> None:
    rig.reserve(VOUCHERS)
    rig.code()
    with pytest.raises(Problem) as raised:
        rig.do(operation, request_, "rx")
    assert raised.value.code == "not-found"


def test_a_batch_of_another_reservation_is_not_revoked(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    rig.reserve(VOUCHERS, "other", owner="a-rx")
    rig.code("other")
    with pytest.raises(Problem, match="no batch"):
        rig.do("voucher-revoke", q.RevokeBatch("talk", "b-other"), "tx")


# Receivers


def test_receivers_are_listed_page_by_page(rig: DoorRig) -> None:
    rig.reserve({"any": [NAMES, PRICE]})
    rig.listed("anna")
    rig.register(rig.by_password("anna"))
    for number in range(5):
        rig.user(f"u{number}", 1000)
        rig.register(rig.by_password(f"u{number}", evidence=agreed(250)))
    rig.groups.add("talk", identity_of("u3"))
    rig.groups.add("talk", identity_of("Anna"))
    seen: list[Any] = []
    after = ""
    while True:
        page = rig.do("receiver-list", q.ReceiversOf(id="talk", limit=4, after=after), "tx")
        seen += page.receivers
        after = page.after
        if not after:
            break
    assert [one.name for one in seen] == ["u0", "u1", "u2", "u3", "u4", "anna"]
    assert [one.member for one in seen] == [False, False, False, True, False, True]
    assert [one.charged for one in seen] == [Amount(250, "EUR")] * 5 + [None]


def test_who_is_evicted_is_out_for_good(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.pay("rx", 1000)
    ask = rig.by_ticket(issue(rig, most=Amount(250, "EUR")).id)
    rig.register(ask)
    rig.groups.add("talk", ask.identity)
    rig.groups.add("talk", identity_of("ry"))
    rig.do("receiver-evict", q.Evict("talk", "a-rx"), "tx")
    assert rig.groups.dropped == [("talk", ask.identity)]
    assert rig.groups.excluded == ["talk"]
    assert ask.identity in rig.work.disowned
    assert rig.live_tickets() == []
    assert rig.register(ask).refusal is Refusal.REVOKED
    assert rig.register(rig.by_password("rx", evidence=agreed(250))).refusal is Refusal.REVOKED
    assert problem(rig).reason == "revoked"
    assert rig.balance("rx") == 750
    # The money may still be given back, once.
    for _ in range(2):
        rig.do("receiver-evict", q.Evict("talk", "a-rx", refund=True), "tx")
        assert rig.balance("rx") == 1000
    (shown,) = rig.do("receiver-list", q.ReceiversOf(id="talk"), "tx").receivers
    assert (shown.evicted, shown.refunded, shown.member) == (True, True, False)
    assert len(rig.audited("evict")) == 1
    assert rig.register(ask).refusal is Refusal.REVOKED


def test_who_was_never_admitted_cannot_be_evicted(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    with pytest.raises(Problem) as raised:
        rig.do("receiver-evict", q.Evict("talk", "a-rx"), "tx")
    assert raised.value.code == "not-found"


def test_a_voucher_of_an_evicted_receiver_stays_used(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    code = rig.code()
    rig.register(rig.by_password("rx", evidence=Evidence(code)))
    rig.do("receiver-evict", q.Evict("talk", "a-rx"), "tx")
    assert problem(rig, "ry", voucher=code).reason == "voucher-invalid"


# The file


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@settings(max_examples=50, deadline=None)
@given(_TEXTS, st.booleans())
def test_a_ticket_file_is_toml_whatever_the_title_is(title: str, sends: bool) -> None:
    ticket = Ticket("t-abc", SecretBytes(bytes(32)), "talk", "a-rx", "", sends, "", "", 0, "", NOW, None)
    ca = "-----BEGIN CERTIFICATE-----\nAAAA+/=\n-----END CERTIFICATE-----\n"
    known = replace(SETTINGS, server_ca=ca)
    found = tomllib.loads(ticket_file(ticket, talk(OPEN, title=title), known))
    assert found == {
        "ticket": "t-abc",
        "secret": "00" * 32,
        "title": title,
        "starts": datetime.fromtimestamp(NOW + 600, UTC),
        "ends": datetime.fromtimestamp(NOW + 4200, UTC),
        "server": {"identity": "fqdn:gcks.example", "addresses": ["192.0.2.1"], "port": 848, "ca": ca},
        "transmission": {
            "id": "talk",
            "address": "239.192.0.1",
            "protocol": "udp",
            "port": 5004,
            "sources": [],
            "role": "sender" if sends else "receiver",
        },
    }


def test_the_member_reads_the_file_that_it_is_given(rig: DoorRig, tmp_path: Path) -> None:
    rig.reserve(OPEN, senders=(SenderHost("cam"),))
    views = (issue(rig), rig.do("sender-ticket", q.SenderTicket("talk", "cam"), "tx"))
    for view in views:
        read = read_ticket(view.configuration, tmp_path / "ticket.toml", LocalChoices())
        assert (read.id, read.title, read.group) == (view.id, "A talk", "talk")
        assert (read.join.sends, read.join.receives) == (view.sends, not view.sends)
        assert read.credentials.identity == Identity.parse(f"keyid:{view.id}")
        assert list(read.credentials.pre_shared_keys.values()) == [SecretBytes(bytes.fromhex(view.secret))]


def test_without_a_known_server_there_is_no_file() -> None:
    ticket = Ticket("t-abc", SecretBytes(bytes(32)), "talk", "a-rx", "", False, "", "", 0, "", NOW, None)
    assert ticket_file(ticket, talk(OPEN), replace(SETTINGS, server_addresses=())) == ""
