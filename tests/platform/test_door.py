"""Who gets through the door: every way of admission, and its refusals."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from door_rig import (
    NAMES,
    NOW,
    OPEN,
    PRICE,
    VOUCHERS,
    DoorRig,
    agreed,
    digest,
    policy_named,
    ticket,
)

from gkmd.api import requests as q
from gkmd.core.effect import Ask, Proof
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.money import Money
from gkmd.core.secret import SecretBytes
from gkmd.group.model import Refusal
from gkmd.group.platform.parties import identity_of
from gkmd.group.platform.records import AuditLine, ListedName, Party, SenderHost, Ticket, Voucher
from gkmd.group.platform.refusal_log import PER_MINUTE


@pytest.fixture
def rig() -> DoorRig:
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    return rig


# Ways in


def test_a_ticket_opens_what_is_open(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    verdict = rig.register(rig.by_ticket(ticket(rig, "rx")))
    assert (verdict.refusal, verdict.receives, verdict.sends, verdict.price) == (None, True, False, None)
    (admission,) = rig.admissions()
    assert (admission.party, admission.by, admission.amount) == ("a-rx", "open", 0)
    assert rig.book.calls == [("admitted", "talk", True)]


def test_a_configured_identity_is_a_party_of_its_own(rig: DoorRig) -> None:
    rig.reserve({"identities": ["fqdn:*.example"]})
    ask = rig.ask(Identity.parse("fqdn:rx.example"))
    assert rig.decide(ask).refusal is None
    assert rig.stored(Party) == []  # a question makes no fact
    assert rig.register(ask).refusal is None
    (party,) = rig.stored(Party)
    assert party.name == "fqdn:rx.example"
    assert rig.parties.name_of(party.id) == party.name
    assert [one.party for one in rig.admissions()] == [party.id]
    other = rig.decide(rig.ask(Identity.parse("fqdn:rx.test")))
    assert other.refusal is Refusal.NOT_AUTHORIZED


@pytest.mark.parametrize("name", ["rx.example", "fqdn:rx.example"])
def test_a_listed_name_without_password_is_a_proved_identity(rig: DoorRig, name: str) -> None:
    rig.reserve(NAMES)
    rig.listed(name, verifier="")
    assert rig.register(rig.ask(Identity.parse("fqdn:rx.example"))).refusal is None
    assert rig.decide(rig.ask(Identity.parse("fqdn:ry.example"))).refusal is Refusal.NOT_ON_LIST


def test_a_listed_name_with_password_takes_the_password(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna@site.example")
    assert rig.decide(rig.ask(Identity.parse("email:anna@site.example"))).refusal is Refusal.NOT_ON_LIST
    assert rig.register(rig.by_password("Anna@site.example")).refusal is None
    assert rig.register(rig.by_password("anna@SITE.example")).refusal is None
    assert len(rig.stored(Party)) == len(rig.admissions()) == 1


def test_the_password_of_an_account_opens_what_the_account_may(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    verdict = rig.register(rig.by_password("rx", evidence=agreed(250)))
    assert (verdict.refusal, verdict.price) == (None, Money("EUR", 250))
    assert rig.balance("rx") == 750


def test_a_class_is_of_the_account(rig: DoorRig) -> None:
    rig.reserve({"classes": ["gold"]})
    rig.user("rx", classes=("gold",))
    rig.user("ry")
    assert rig.register(rig.by_password("rx")).refusal is None
    assert rig.register(rig.by_password("ry")).refusal is Refusal.NOT_AUTHORIZED


@pytest.mark.parametrize(("confirmed", "refusal"), [(True, None), (False, Refusal.NOT_ON_LIST)])
def test_who_signed_up_by_a_listed_name_is_not_the_one_on_the_list(
    rig: DoorRig, confirmed: bool, refusal: Refusal | None
) -> None:
    rig.reserve(NAMES)
    rig.listed("anna", verifier="")
    rig.user("anna", confirmed=confirmed)
    assert rig.register(rig.by_password("anna")).refusal is refusal


@pytest.mark.parametrize(("confirmed", "refusal"), [(True, None), (False, Refusal.NOT_AUTHORIZED)])
def test_a_domain_of_mail_is_that_of_confirmed_logins(
    rig: DoorRig, confirmed: bool, refusal: Refusal | None
) -> None:
    rig.reserve({"identities": ["email:*@corp.example"]})
    rig.user("anna@corp.example", confirmed=confirmed)
    assert rig.register(rig.by_password("anna@corp.example")).refusal is refusal


def test_an_account_with_the_login_of_a_listed_name_needs_that_names_password(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    rig.user("anna", password=SecretBytes(b""))  # confirmed, and still not enough
    ask = rig.ask(identity_of("anna"), proof=Proof.PASSWORD, grounds="account:a-anna")
    assert rig.decide(ask).refusal is Refusal.NOT_ON_LIST


def test_vouchers_by_notify_and_by_ticket(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    one, other = rig.code(), rig.code()
    rig.user("rx")
    shown = rig.by_password("rx", evidence=Evidence(one.lower().replace("-", " ")))
    assert rig.register(shown).refusal is None
    assert rig.register(rig.by_ticket(ticket(rig, "ry", voucher=other))).refusal is None
    assert all(voucher.used == NOW for voucher in rig.stored(Voucher))
    assert rig.register(rig.by_password("rx")).refusal is None  # it needs none any more
    rig.user("rz")
    assert rig.register(rig.by_password("rz", evidence=Evidence(one))).refusal is Refusal.VOUCHER_INVALID


def test_a_voucher_is_for_its_transmission_and_until_it_is_revoked(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    rig.reserve(VOUCHERS, "other")
    rig.user("rx")
    for code in (rig.code("other"), rig.code(revoked=NOW), rig.code(reservation="", amount=500), "nonsense"):
        verdict = rig.decide(rig.by_password("rx", evidence=Evidence(code)))
        assert verdict.refusal is Refusal.VOUCHER_INVALID


# Ends


def test_a_revoked_ticket_opens_nothing_and_says_so(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    id = ticket(rig, "rx")
    ask = rig.by_ticket(id)
    assert rig.door.withdrawn(ask.identity, "") == ""
    rig.register(ask)
    rig.do("ticket-revoke", q.ById(id), "rx")
    assert rig.work.disowned == [ask.identity]
    assert rig.register(ask).refusal is Refusal.REVOKED
    assert rig.door.withdrawn(ask.identity, "") == "the ticket was revoked"
    # It still has its secret, for the answer has to be protected.
    assert rig.door.secret_of(ask.identity) is not None


def test_a_ticket_of_another_transmission_or_none_is_refused(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    rig.reserve(OPEN, "other")
    id = ticket(rig, "rx")
    assert rig.register(rig.by_ticket(id, "other")).refusal is Refusal.NOT_AUTHORIZED
    unknown = Identity.parse("keyid:t-aaaaaaaaaaaaaaaaaaaa")
    assert rig.register(rig.ask(unknown, proof=Proof.TICKET)).refusal is Refusal.NOT_AUTHORIZED
    assert rig.door.secret_of(unknown) is None
    assert rig.door.withdrawn(unknown, "") != ""


def test_a_disabled_account_takes_nothing_from_a_name_of_a_list(rig: DoorRig) -> None:
    """Anybody can sign up by a name that a sender has listed, and make an operator disable that account."""
    rig.reserve(OPEN)
    rig.reserve(NAMES, "club")
    rig.user("anna")
    rig.listed("anna", where="club")
    member, namesake = rig.by_password("anna", "club"), rig.by_password("anna")
    rig.put(replace(rig.account("anna"), disabled=True))
    assert rig.door.withdrawn(namesake.identity, namesake.grounds)
    assert rig.door.withdrawn(member.identity, member.grounds) == ""
    rig.facts.drop(rig.account("anna"))
    assert rig.door.withdrawn(namesake.identity, namesake.grounds)
    assert rig.door.withdrawn(member.identity, member.grounds) == ""


def test_disabled_cancelled_and_evicted_are_told_apart(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    ask = rig.by_ticket(ticket(rig, "rx"))
    rig.register(ask)
    rig.put(replace(rig.account("rx"), disabled=True))
    assert rig.register(ask).refusal is Refusal.REVOKED
    assert rig.door.withdrawn(ask.identity, "") == "the account is disabled, or is no more"
    rig.put(replace(rig.account("rx"), disabled=False))
    assert rig.register(ask).refusal is None
    rig.put(replace(rig.admissions()[0], evicted=NOW))
    assert rig.register(ask).refusal is Refusal.REVOKED
    rig.change(cancelled=NOW)
    assert rig.register(ask).refusal is Refusal.CANCELLED


def test_an_admission_outlives_the_evidence_it_was_made_on(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna", verifier="")
    rig.user("anna")
    ask = rig.by_password("anna")
    rig.register(ask)
    rig.facts.drop(ListedName("talk", "anna", ""))
    rig.put()
    assert rig.register(ask).refusal is None
    assert len(rig.admissions()) == 1


def test_the_rule_of_now_decides(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    ask = rig.by_ticket(ticket(rig, "rx"))
    assert rig.decide(ask).refusal is None
    rig.change(admission=NAMES)
    assert rig.decide(ask).refusal is Refusal.NOT_ON_LIST


# Senders


def test_senders_by_ticket_and_by_identity_pay_nothing(rig: DoorRig) -> None:
    source = ipaddress.ip_address("192.0.2.40")
    rig.reserve(PRICE, senders=(SenderHost("cam", "", source), SenderHost("desk", "fqdn:desk.example")))
    view = rig.do("sender-ticket", q.SenderTicket("talk", "cam"), "tx")
    cam = rig.by_ticket(view.id, wants_to_send=True)
    desk = rig.ask(Identity.parse("fqdn:desk.example"), wants_to_send=True)
    for ask in (cam, desk, cam, desk):
        verdict = rig.register(ask)
        assert (verdict.refusal, verdict.sends, verdict.receives, verdict.price) == (None, True, False, None)
    assert rig.admissions() == []
    assert rig.book.calls == []
    assert len(rig.audited("admit")) == 2
    rule = rig.door.sender("talk", cam.identity)
    assert rule is not None
    assert rule.source == source
    assert rig.door.sender("talk", desk.identity) is not None


def test_who_is_no_sender_does_not_send(rig: DoorRig) -> None:
    rig.reserve(OPEN, senders=(SenderHost("cam"), SenderHost("desk", "keyid:desk")))
    cam = rig.do("sender-ticket", q.SenderTicket("talk", "cam"), "tx").id
    rig.user("desk")
    asks: list[Ask] = [
        rig.by_ticket(ticket(rig, "rx"), wants_to_send=True),  # a receiver's ticket
        rig.by_ticket(cam),  # a sender's ticket does not receive
        rig.by_password("desk", wants_to_send=True),  # a login like the identity of a host
        rig.ask(Identity.parse("fqdn:desk.example"), wants_to_send=True),
    ]
    for ask in asks:
        assert rig.register(ask).refusal is Refusal.NOT_AUTHORIZED
    rig.change(senders=())
    assert rig.register(rig.by_ticket(cam, wants_to_send=True)).refusal is Refusal.NOT_AUTHORIZED


# What remains


def test_refusals_are_counted_and_their_lines_bounded(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.user("rx")
    ask = rig.by_password("rx")
    for _ in range(500):
        rig.register(ask)
    assert rig.book.calls.count(("refused", "talk", "not-on-list")) == 500
    assert len(rig.audited("refuse")) == PER_MINUTE
    assert rig.door.deadline() == NOW + 60
    rig.door.tick(NOW + 60)
    rig.put()
    (line,) = rig.audited("refuse-more")
    assert line.detail["omitted"] == {"not-on-list": 500 - PER_MINUTE}
    assert rig.door.deadline() is None


def test_a_fault_of_ours_gives_everything_back(rig: DoorRig) -> None:
    rig.reserve({"all": [VOUCHERS, PRICE]})
    rig.user("rx", 1000)
    code = rig.code()
    ask = rig.by_password("rx", evidence=agreed(250, voucher=code))
    rig.register(ask)
    rig.write(rig.door.undone(ask, policy_named(ask), NOW))
    assert rig.balance("rx") == 1000
    (admission,) = rig.admissions()
    assert admission.refunded == NOW
    voucher = rig.facts.get(Voucher, digest(code))
    assert voucher is not None
    assert voucher.used is None
    assert rig.register(ask).price == Money("EUR", 250)
    assert rig.balance("rx") == 750
    assert rig.billing.balanced()


def test_a_repeated_registration_has_nothing_to_give_back(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    ask = rig.by_password("rx", evidence=agreed(250))
    rig.register(ask)
    again = replace(ask, number=99)
    rig.register(again)
    assert rig.door.undone(again, policy_named(again), NOW) == ()
    assert rig.balance("rx") == 750


def test_names_are_forgotten_some_time_after_the_end(rig: DoorRig) -> None:
    rig.reserve({"any": [NAMES, {"identities": ["any"]}]})
    rig.listed("anna")
    rig.register(rig.by_password("anna"))
    rig.register(rig.ask(Identity.parse("fqdn:rx.example")))
    end = NOW + 4200 + 90 * 86400
    rig.parties.sweep(end - 1)
    assert all(party.name for party in rig.facts.all(Party))
    rig.parties.sweep(end + 3600)
    rig.put()
    assert [party.name for party in rig.stored(Party)] == ["", ""]
    assert all(rig.parties.name_of(one.party) == "" for one in rig.admissions())


def test_no_line_names_a_person_or_a_secret(rig: DoorRig) -> None:
    rig.reserve({"any": [NAMES, VOUCHERS]})
    rig.listed("anna-the-receiver")
    rig.register(rig.by_password("anna-the-receiver"))
    code = rig.code()
    id = ticket(rig, "peter-the-receiver", voucher=code)
    rig.register(rig.by_ticket(id))
    found = rig.facts.get(Ticket, id)
    assert found is not None
    lines = " ".join(
        f"{line.actor} {line.subject} {line.detail}"
        for line in rig.stored(AuditLine)
        if line.actor != "a-peter-the-receiver"
    )
    for secret in ("anna-the-receiver", code, digest(code), found.secret.reveal().hex()):
        assert secret not in lines
