"""Who gets through the door: every way of admission, its refusals, and that once is once."""

from __future__ import annotations

import ipaddress
from dataclasses import replace

import pytest
from door_rig import (
    NAMES,
    NOW,
    OPEN,
    PASSWORD,
    PRICE,
    VERIFIER,
    VOUCHERS,
    DoorRig,
    agreed,
    digest,
    group_id,
    policy_named,
)

from gkmd.api import requests as q
from gkmd.api.nouns import Amount
from gkmd.core.effect import Ask, AskPassword, Proof
from gkmd.core.evidence import Evidence
from gkmd.core.identity import Identity
from gkmd.core.money import Money
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import NOBODY
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Refusal, Refused
from gkmd.group.platform.parties import identity_of
from gkmd.group.platform.records import AuditLine, ListedName, Party, SenderHost, Ticket, Voucher
from gkmd.group.platform.refusal_log import PER_MINUTE


@pytest.fixture
def rig() -> DoorRig:
    rig = DoorRig()
    rig.user("tx", roles=("sender",))
    return rig


def ticket(rig: DoorRig, login: str, where: str = "talk", **more: object) -> str:
    """The id of a new ticket of this user, who is made when there is none."""
    if rig.accounts.by_login(login) is None:
        rig.user(login)
    view = rig.do("ticket-issue", q.IssueTicket(where, **more), login)  # type: ignore[arg-type]
    return str(view.id)


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


# Paying


def test_a_price_is_charged_once_however_often_one_registers(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    ask = rig.by_ticket(ticket(rig, "rx", most=Amount(250, "EUR")))
    assert rig.register(ask).price == Money("EUR", 250)
    before = len(rig.journal)
    for _ in range(3):
        assert rig.register(ask).price is None
    rig.restart()
    assert rig.register(ask).refusal is None
    assert len(rig.journal) == before
    assert rig.balance("rx") == 750
    assert len(rig.entries("charge")) == len(rig.admissions()) == len(rig.audited("admit")) == 1


def test_consent_below_the_price_is_told_the_price(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    verdict = rig.register(rig.by_password("rx", evidence=agreed(249)))
    assert (verdict.refusal, verdict.price) == (Refusal.PRICE_TOO_HIGH, Money("EUR", 250))
    assert rig.balance("rx") == 1000


def test_without_consent_or_money_payment_is_required(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    rig.user("ry", 249)
    asks = [
        rig.by_password("rx"),
        rig.by_password("ry", evidence=agreed(250)),
        rig.ask(Identity.parse("fqdn:rx.example"), evidence=agreed(250)),  # nobody to charge
    ]
    for ask in asks:
        verdict = rig.register(ask)
        assert (verdict.refusal, verdict.price) == (Refusal.PAYMENT_REQUIRED, Money("EUR", 250))


def test_the_larger_of_two_consents_counts(rig: DoorRig) -> None:
    rig.reserve(PRICE)
    rig.user("rx", 1000)
    id = ticket(rig, "rx", most=Amount(250, "EUR"))
    assert rig.decide(rig.by_ticket(id, evidence=agreed(1))).refusal is None
    rig.change(admission={"price": {"amount": 300, "currency": "EUR"}})
    assert rig.decide(rig.by_ticket(id)).refusal is Refusal.PRICE_TOO_HIGH
    assert rig.decide(rig.by_ticket(id, evidence=agreed(300))).price == Money("EUR", 300)


def test_who_was_refunded_pays_again(rig: DoorRig) -> None:
    reservation = rig.reserve(PRICE)
    rig.user("rx", 1000)
    ask = rig.by_ticket(ticket(rig, "rx", most=Amount(250, "EUR")))
    rig.register(ask)
    rig.billing.refund(reservation, rig.admissions()[0], "sorry", NOW)
    rig.put()
    assert rig.balance("rx") == 1000
    assert rig.register(ask).price == Money("EUR", 250)
    assert rig.balance("rx") == 750
    assert rig.book.calls == [("admitted", "talk", True), ("admitted", "talk", False)]


def test_two_by_one_balance_at_once(rig: DoorRig) -> None:
    """Both are decided before either is taken."""
    rig.reserve(PRICE)
    rig.reserve(PRICE, "other")
    rig.user("rx", 250)
    asks = [
        rig.by_ticket(ticket(rig, "rx", where, most=Amount(250, "EUR")), where) for where in ("talk", "other")
    ]
    verdicts = [rig.decide(ask) for ask in asks]
    rig.write(rig.door.admitted(asks[0], verdicts[0], policy_named(asks[0]), NOW))
    with pytest.raises(Refused) as refused:
        rig.door.admitted(asks[1], verdicts[1], policy_named(asks[1]), NOW)
    assert refused.value.refusal is Refusal.PAYMENT_REQUIRED
    assert rig.facts.commit() == ()
    assert rig.balance("rx") == 0


def test_two_by_one_voucher_at_once(rig: DoorRig) -> None:
    rig.reserve(VOUCHERS)
    code = rig.code()
    for login in ("rx", "ry"):
        rig.user(login)
    asks = [rig.by_password(login, evidence=Evidence(code)) for login in ("rx", "ry")]
    verdicts = [rig.decide(ask) for ask in asks]
    assert [verdict.refusal for verdict in verdicts] == [None, None]
    rig.write(rig.door.admitted(asks[0], verdicts[0], policy_named(asks[0]), NOW))
    with pytest.raises(Refused) as refused:
        rig.door.admitted(asks[1], verdicts[1], policy_named(asks[1]), NOW)
    assert refused.value.refusal is Refusal.VOUCHER_INVALID
    assert rig.facts.commit() == ()
    assert [one.party for one in rig.admissions()] == ["a-rx"]


# Ends


def test_a_revoked_ticket_opens_nothing_and_says_so(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    id = ticket(rig, "rx")
    ask = rig.by_ticket(id)
    assert rig.door.withdrawn(ask.identity) == ""
    rig.register(ask)
    rig.do("ticket-revoke", q.ById(id), "rx")
    assert rig.work.disowned == [ask.identity]
    assert rig.register(ask).refusal is Refusal.REVOKED
    assert rig.door.withdrawn(ask.identity) == "the ticket was revoked"
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
    assert rig.door.withdrawn(unknown) != ""


def test_disabled_cancelled_and_evicted_are_told_apart(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    ask = rig.by_ticket(ticket(rig, "rx"))
    rig.register(ask)
    rig.put(replace(rig.account("rx"), disabled=True))
    assert rig.register(ask).refusal is Refusal.REVOKED
    assert rig.door.withdrawn(ask.identity) == "the account is disabled"
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


# Passwords


def test_a_password_counts_where_it_was_given(rig: DoorRig) -> None:
    """A sender lists somebody else's login with a password of his own."""
    rig.reserve({"any": [NAMES, PRICE]})
    rig.reserve({"any": [NAMES, PRICE]}, "victim")
    rig.listed("rx", where="talk")
    rig.listed("rx", "$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", where="victim")
    rig.user("rx", 1000)
    ask = rig.by_password("rx")
    assert ask.grounds == "names:talk"
    assert rig.decide(ask).refusal is None
    # Over the same IKE SA: another transmission, where the name has another password; the account's money.
    other = replace(ask, group_id=group_id("victim"), evidence=agreed(1000))
    assert rig.register(other).refusal is Refusal.NOT_AUTHORIZED
    # The list lets go of the name: the account is still not who has shown a password.
    rig.facts.drop(ListedName("talk", "rx", VERIFIER))
    rig.put()
    assert rig.register(replace(ask, evidence=agreed(1000))).refusal is Refusal.PAYMENT_REQUIRED
    assert rig.register(replace(ask, grounds="")).refusal is Refusal.NOT_AUTHORIZED
    assert rig.balance("rx") == 1000


@pytest.mark.parametrize("group", ["news", "", "talk\x00", "\xff"])
def test_no_password_opens_a_group_without_reservation(rig: DoorRig, group: str) -> None:
    rig.user("rx")
    ask = AskPassword(1, identity_of("rx"), Identity(11, group.encode("latin-1")), rig_host(), PASSWORD)
    check = rig.door.password_of(ask, NOW)
    assert (check.verifier, check.known, check.grounds) == (NOBODY, False, "")


@pytest.mark.parametrize("identity", ["keyid:nobody", "keyid:t-aaaa", "fqdn:rx.example", "keyid:0xff00"])
def test_who_does_not_exist_costs_as_much(rig: DoorRig, identity: str) -> None:
    rig.reserve(NAMES)
    ask = AskPassword(1, Identity.parse(identity), group_id("talk"), rig_host(), PASSWORD)
    check = rig.door.password_of(ask, NOW)
    assert (check.verifier, check.known, check.refusal) == (NOBODY, False, None)


def test_an_account_that_asks_for_codes_is_not_opened_by_its_password_alone(rig: DoorRig) -> None:
    rig.reserve(OPEN)
    rig.user("rx", totp=SecretBytes(b"0" * 20))
    assert rig.register(rig.by_password("rx")).refusal is Refusal.NOT_AUTHORIZED


@pytest.mark.parametrize("name", ["anna", "rx", "nobody"])
def test_a_thousand_wrong_passwords_cost_only_counters(rig: DoorRig, name: str) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    rig.user("rx")
    facts = len(rig.journal)
    compared = 0
    for _ in range(1000):
        _, verdict = rig.tried(name, SecretBytes(b"wrong"))
        compared += verdict.refusal is Refusal.WRONG_PASSWORD
        assert verdict.refusal in (Refusal.WRONG_PASSWORD, Refusal.LOCKED_OUT)
    assert compared < 10
    assert verdict.come_back is not None
    assert verdict.come_back > NOW
    assert len(rig.journal) <= facts + PER_MINUTE
    assert len(rig.book.calls) == 1000
    # The right one has to wait, too, and then is right.
    assert rig.tried(name)[1].refusal is Refusal.LOCKED_OUT
    rig.now = verdict.come_back + 1
    assert (rig.tried(name)[1].refusal is None) == (name != "nobody")


def test_a_busy_server_locks_nobody_out(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    ask = AskPassword(1, identity_of("anna"), group_id("talk"), rig_host(), PASSWORD)
    for _ in range(100):
        assert rig.door.password_of(ask, NOW).refusal is None
        rig.door.password_tried(ask, PasswordVerdict(Refusal.BUSY), NOW)


def test_many_behind_one_address_at_once_do_not_lock_each_other_out(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    names = [f"rx{number}" for number in range(200)]
    for name in names:
        rig.listed(name)
    asks = [AskPassword(1, identity_of(name), group_id("talk"), rig_host(), PASSWORD) for name in names]
    checks = [rig.door.password_of(ask, NOW) for ask in asks]
    assert all(check.refusal is None for check in checks)
    for ask, check in zip(asks, checks, strict=True):
        rig.door.password_tried(ask, PasswordVerdict(None, grounds=check.grounds), NOW)
    assert rig.door.password_of(asks[0], NOW).refusal is None


def test_one_name_is_not_tried_by_many_at_once(rig: DoorRig) -> None:
    rig.reserve(NAMES)
    rig.listed("anna")
    hosts = [ipaddress.ip_address(f"192.0.2.{number}") for number in range(1, 200)]
    asks = [AskPassword(1, identity_of("anna"), group_id("talk"), host, PASSWORD) for host in hosts]
    assert sum(rig.door.password_of(ask, NOW).refusal is None for ask in asks) < 10


def test_one_address_does_not_try_one_name_after_the_other(rig: DoorRig) -> None:
    """Not even when it is right about one of its own in between."""
    rig.reserve(NAMES)
    rig.listed("mine")
    compared = 0
    for number in range(200):
        compared += rig.tried(f"anna{number}", SecretBytes(b"wrong"))[1].refusal is Refusal.WRONG_PASSWORD
        rig.tried("mine")
    assert compared < 30


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


def rig_host() -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address("192.0.2.7")
