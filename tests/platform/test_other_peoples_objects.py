"""Every operation of the table, by everybody who is no operator, on everything that is somebody else's: none
of it is told, and none of it changes.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from platform_rig import OPERATOR, STRANGER, Rig
from software_authenticator import Authenticator

from gkmd.api import requests as q
from gkmd.api.nouns import Amount, Host, Rule, Scope
from gkmd.api.operations import OPERATIONS, PORTALS, Operation
from gkmd.core.secret import SecretBytes
from gkmd.group.platform.outcome import Caller, Done, Failed
from gkmd.group.platform.records import ApiToken, Session
from gkmd.group.platform.settings import PlatformSettings, ProviderSettings

ALL = sorted(PORTALS.values(), key=lambda operation: operation.name)  # what the portal reports included
SCOPES = tuple(scope for scope in typing.get_args(Scope) if scope != "operate")
PORTAL = "https://portal.example"
SETTINGS = PlatformSettings(
    sign_up=True, providers=(ProviderSettings("pay", "webhook", SecretBytes(b"s" * 32)),)
)
# What a request needs beside the names of things.
VALUES: dict[str, Any] = {
    "code": "123456", "password": "wrong" * 3, "old": "wrong" * 3, "new": "x" * 12, "origin": PORTAL,
    "challenge": "00", "credential": {}, "name": "zebra", "scopes": ["read"], "title": "x",
    "start": "2030-01-01T00:00", "duration": 60, "entries": [{"name": "x"}], "expected": 1, "count": 1,
    "amount": {"amount": 1, "currency": "EUR"}, "reference": "x", "external": "x", "provider": "pay",
    "body": "{}", "admission": {"open": True}, "label": "tx", "operation": "reserve", "found": "works",
}  # fmt: skip
# Fields that name what may be somebody else's.
NAMES = {"id", "login", "import_id", "batch", "party", "owner", "after", "listed", "challenge", "search"}
NAMES |= {"subject", "actor", "account", "group"}


class Town:
    """Alice receives, the studio sends in private, root operates. ``names`` are the names of all that is
    theirs, ``secrets`` words of it that an answer to somebody else must not have.
    """

    def __init__(self) -> None:
        self.rig = rig = Rig(SETTINGS)
        alice, studio = rig.caller("alice", name="Alice Zebra"), rig.caller("studio", "sender")
        root = rig.caller("root", "operator")
        hidden = q.Reserve("Zebra", "2026-10-01T18:00", 3600, Rule(names=True), visibility="private")
        hidden.senders = (Host("tx"),)
        one = rig.do("reserve", hidden, studio)
        begun = rig.do("names-begin", q.ById(one.id), studio)
        entries = (q.NameEntry("alice"), q.NameEntry("zebra@list.example"))
        rig.do("names-add", q.NamesAdd(one.id, begun.import_id, entries), studio)
        rig.do("names-commit", q.NamesCommit(one.id, begun.import_id, 2), studio)
        open_import = rig.do("names-begin", q.ById(one.id), studio)
        vouchers = rig.do("voucher-create", q.CreateVouchers(one.id, 2), studio)
        worth = rig.do("value-voucher-create", q.CreateValueVouchers(Amount(500, "EUR"), 2), OPERATOR)
        ticket = rig.do("ticket-issue", q.IssueTicket(one.id), alice)
        host = rig.do("sender-ticket", q.SenderTicket(one.id, "tx"), studio)
        payment = rig.do("payment-begin", q.BeginPayment("pay", Amount(1000, "EUR")), alice)
        rig.do("payment-started", q.PaymentStarted(payment.id, "external-zebra"), alice)
        rig.do("user-credit", q.CreditUser("alice", Amount(700, "EUR"), "zebra-reference"), OPERATOR)
        rig.do("token-create", q.CreateToken("zebra-token", ("read",)), alice)
        (token,) = rig.do("token-list", caller=alice).tokens
        begin = rig.do("passkey-begin", q.PasskeyBegin(PORTAL), alice)
        key = Authenticator().create(begin.options)
        passkey = rig.do("passkey-add", q.PasskeyAdd(PORTAL, begin.challenge, key, "zebra-key"), alice)
        waiting = rig.do("passkey-begin", q.PasskeyBegin(PORTAL), alice)
        people = {login: rig.do("me", caller=who) for login, who in (("alice", alice), ("root", root))}
        sessions = [one.id for who in (alice, studio) for one in rig.do("session-list", caller=who).sessions]
        ids = [one.id, ticket.id, host.id, payment.id, token.id, passkey.id, open_import.import_id]
        ids += [vouchers.batch, worth.batch, people["alice"].id, *sessions]
        self.names = [*ids, "alice", "studio", "root", waiting.challenge]
        self.secrets = {*ids, "alice", "Zebra", "zebra", ticket.secret, host.secret, *vouchers.codes}
        self.secrets |= {*worth.codes, str(one.address), *(fact.digest for fact in rig.facts(Session))}
        self.theirs = dict(rig.journal)

    def intruders(self) -> dict[str, Caller]:
        """By what they are; ``rival`` and ``mallory`` have something of the kind themselves."""
        rig = self.rig
        mallory, rival = rig.caller("mallory"), rig.caller("rival", "sender")
        clerk = rig.caller("clerk", "operator", "sender")
        mine = rig.do("reserve", q.Reserve("Mine", "2026-10-01T18:00", 3600, Rule(open=True)), rival)
        self.mine = mine.id
        return {
            "stranger": STRANGER,
            "mallory": mallory,
            "rival": rival,
            "a token of mallory's": rig.token(mallory, *SCOPES),
            "a token of rival's": rig.token(rival, *SCOPES),
            "an operator's token that is none of an operator": rig.token(clerk, *SCOPES),
        }

    def changed(self) -> set[str]:
        """Facts that were there before and are other ones now, or gone."""
        return {
            f"{kind} {key}"
            for (kind, key), fact in self.theirs.items()
            if self.rig.journal.get((kind, key)) != fact
        }


def about(operation: str, id: str) -> Any:
    return msgspec.convert({"id": id}, OPERATIONS[operation].request)


def requests_about(operation: Operation, names: list[str], mine: str) -> Iterator[Any]:
    """One request for each name that each field may have; the others are the caller's own, or harmless."""
    fields = msgspec.structs.fields(operation.request)
    needed = {one.encode_name for one in fields if one.required}
    named = [one.encode_name for one in fields if one.encode_name in NAMES]
    own = {"id": mine, "login": "mallory", "import_id": mine, "batch": mine, "party": mine}
    base = {name: own.get(name, VALUES.get(name, "x")) for name in needed}
    found = [base]
    for field in named:
        found += [{**base, field: name} for name in names]
    if "id" in named:  # theirs, with another thing of theirs
        for field in set(named) - {"id"}:
            found += [{**base, "id": one, field: other} for one in names for other in names]
    for plain in found:
        try:
            yield msgspec.convert(plain, operation.request)
        except msgspec.ValidationError:
            continue


@pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.name)
def test_what_is_somebody_else_s_stays_theirs(operation: Operation) -> None:
    town = Town()
    rig, tried = town.rig, 0
    for who, caller in town.intruders().items():
        for request in requests_about(operation, town.names, town.mine):
            rig.now += 0.25
            outcome = rig.outcome_of(operation.name, request, caller)
            assert isinstance(outcome, Done | Failed)
            told = outcome.result if isinstance(outcome, Done) else outcome.problem.as_json()
            said, asked = (msgspec.json.encode(one).decode() for one in (told, request))
            leaked = {word for word in town.secrets if word in said and word not in asked}
            assert not leaked, f"{who} is told {leaked} by {request}: {said[:500]}"
            assert town.changed() == set(), f"{who} changes {town.changed()} by {request}"
            tried += 1
    assert tried >= 6


def test_the_town_s_own_people_see_all_of_it() -> None:
    """What the test above looks for is there to be found."""
    town = Town()
    rig = town.rig
    alice, studio = rig.sign_in("alice"), rig.sign_in("studio")
    one = rig.do("reservation-list", q.ListReservations(), studio).reservations[0]
    assert one.title in town.secrets
    said = msgspec.json.encode(
        [
            rig.do("ticket-show", q.ById(rig.do("ticket-list", caller=alice).tickets[0].id), alice),
            *(rig.do(name, about(name, one.id), studio) for name in ("names-list", "voucher-list")),
            rig.do("payment-list", caller=alice),
        ]
    ).decode()
    assert len([word for word in town.secrets if word in said]) >= 8
    assert rig.do("name-remove", q.NameRemove(one.id, "alice"), studio) is not None
    assert len(town.changed()) >= 1


@pytest.mark.parametrize("what", ["role", "disabled", "forgotten", "session", "scope"])
def test_who_loses_a_right_while_signed_in_has_it_no_more(what: str) -> None:
    """At the very next request, by session and by token alike."""
    rig = Rig(SETTINGS)
    session = rig.caller("studio", "sender")
    token = rig.token(session, *SCOPES)
    one = rig.do("reserve", q.Reserve("Mine", "2026-10-01T18:00", 3600, Rule(open=True)), session)
    seen = ("reservation-show", q.ById(one.id))
    for caller in (session, token):
        rig.do(*seen, caller)
    codes = {"sign-in-required"}
    if what == "role":
        rig.do("user-change", q.ChangeUser("studio", roles=("receiver",)))
        codes = {"forbidden"}
    elif what == "disabled":
        rig.do("user-change", q.ChangeUser("studio", disabled=True))
    elif what == "forgotten":
        rig.do("reservation-cancel", q.CancelReservation(one.id))
        rig.do("user-forget", q.ByLogin("studio"))
        assert not rig.facts(Session)
        assert not rig.facts(ApiToken)
    elif what == "session":
        rig.do("user-change", q.ChangeUser("studio", password="another password"))
        assert rig.refused(*seen, session).code == "sign-in-required"
        return
    else:
        rig.do("token-revoke", q.ById(rig.do("token-list", caller=session).tokens[0].id), session)
        assert rig.refused(*seen, token).code == "sign-in-required"
        return
    for caller in (session, token):
        assert rig.refused(*seen, caller).code in codes
        assert rig.refused("reserve", q.Reserve("x", "2026-10-01T18:00", 60, Rule(open=True)), caller)
