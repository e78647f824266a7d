"""Tickets: pre-shared keys that the doorkeeper knows, and what happens when it knows them no longer."""

from __future__ import annotations

import pytest
from eap_rig import ANN, login, login_world, porter
from endpoint_rig import (
    SERVER_ID,
    World,
    established,
    join,
    member_name,
    policy,
    psk,
    secrets,
)
from porter import Porter

from gkmd.core.effect import LeaveMulticast, Proof
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.model import Left, Refusal, Verdict
from gkmd.ike import gcks_settings, grounds
from gkmd.ike.credentials import Credentials
from gkmd.ike.sa import SaState
from wire.registry import ExchangeType

TICKET = Identity.parse("keyid:t-abcdefghijklmnopqrst")
OTHER = Identity.parse("keyid:t-zyxwvutsrqponmlkjihg")
OVER = Left((), ())


def holder(ticket: Identity = TICKET) -> Credentials:
    return Credentials(ticket, {SERVER_ID: psk(ticket)})


def ticket_world(**more: object) -> World:
    tickets = {ticket: psk(ticket) for ticket in (TICKET, OTHER)}
    given: dict[str, object] = {"doorkeeper": porter(tickets=tickets, reserved={"news", "sport"})}
    return login_world(**(given | more))


def keeper(world: World) -> Porter:
    assert world.doorkeeper is not None
    return world.doorkeeper


def registered(*tickets: Identity, groups: tuple[str, ...] = ("news",)) -> World:
    world = ticket_world(policies=[policy(name) for name in groups])
    for number, ticket in enumerate(tickets):
        world.add(number, [join(name) for name in groups], credentials=holder(ticket), identity=ticket)
    world.run(1)
    for name in groups:
        assert len(world.registered(name)) == len(tickets)
    return world


def test_a_ticket_is_a_key_id_and_its_secret() -> None:
    world = registered(TICKET)
    (question,) = world.asks
    assert (question.identity, question.proof) == (TICKET, Proof.TICKET)
    _, theirs = established(world)
    assert theirs.grounds == grounds.TICKET
    assert keeper(world).told == [("admitted", TICKET, Proof.TICKET)]
    # A restart remembers on what grounds it was.
    world.boot()
    _, theirs = established(world)
    assert theirs.grounds == grounds.TICKET


@pytest.mark.parametrize(
    ("ticket", "secret"),
    [(TICKET, bytes(32)), (Identity.parse("keyid:t-nosuchticketofours"), psk(TICKET).reveal())],
    ids=["wrong secret", "no such ticket"],
)
def test_a_ticket_that_is_none(ticket: Identity, secret: bytes) -> None:
    world = ticket_world()
    world.add(0, credentials=Credentials(ticket, {SERVER_ID: SecretBytes(secret)}), identity=ticket)
    world.run(1)
    assert not world.asks
    assert world.events("authentication-failed")


def test_only_a_key_id_is_a_ticket() -> None:
    """An identity of another kind with the same octets asks the configuration alone."""
    fqdn = Identity(2, TICKET.data)
    world = ticket_world(doorkeeper=porter(tickets={fqdn: psk(TICKET), TICKET: psk(TICKET)}))
    world.add(0, credentials=Credentials(fqdn, {SERVER_ID: psk(TICKET)}), identity=fqdn)
    world.run(1)
    assert not world.asks


def test_the_configuration_goes_before_tickets() -> None:
    world = ticket_world(credentials=Credentials(SERVER_ID, {TICKET: SecretBytes(b"of the configuration")}))
    world.add(0, credentials=holder(), identity=TICKET)
    mine = Credentials(TICKET, {SERVER_ID: SecretBytes(b"of the configuration")})
    world.add(1, credentials=mine, identity=TICKET)
    world.run(1)
    assert [question.proof for question in world.asks] == [Proof.CONFIGURED]


def test_without_a_platform_a_ticket_is_nothing() -> None:
    world = ticket_world(doorkeeper=None)
    world.add(0, credentials=holder(), identity=TICKET)
    world.run(1)
    assert not world.asks


# --- Apply --------------------------------------------------------------------------------------------


def test_who_is_disowned_is_told_to_delete_its_keys_and_its_ike_sa_ends() -> None:
    world = registered(TICKET, OTHER)
    del keeper(world).tickets[TICKET]
    sent = len(world.sent)
    world.do(world.server.command(gcks_settings.Apply(OVER, (TICKET,)), world.now))
    assert [m.identity for m in world.directory.members("news")] == [OTHER]
    world.run(5)
    exchanges = [d.data[18] for d in world.sent[sent:] if d.member == 0]
    assert ExchangeType.GSA_INBAND_REKEY in exchanges
    gone, other = world.hosts[0], world.hosts[1]
    assert isinstance(gone.kernel[-1], LeaveMulticast)
    assert not gone.endpoint.groups["news"].registered
    assert gone.endpoint.groups["news"].rekey_spis == ()
    assert gone.endpoint.sa is None
    assert other.endpoint.groups["news"].registered
    assert len(world.server._keeper.table) == 1
    assert ("gone", TICKET) in keeper(world).told
    (told,) = world.events("credential-withdrawn")
    assert told.fields["peer"] == str(TICKET)


@pytest.mark.parametrize("groups", [("news",), ("news", "sport")])
def test_also_when_the_platform_has_dropped_the_member_already(groups: tuple[str, ...]) -> None:
    world = registered(TICKET, groups=groups)
    left = world.directory.drop_member("news", TICKET, world.now)
    assert left.changes
    world.do(world.server.command(gcks_settings.Apply(left, (TICKET,)), world.now))
    assert not world.book.members
    del keeper(world).tickets[TICKET]
    world.run(5)
    for name in groups:
        group = world.hosts[0].endpoint.groups[name]
        assert group.rekey_spis == ()
        assert group.status(world.now)["data_sas"] == []


def test_what_is_applied_is_journalled_and_sent_in_one_turn() -> None:
    world = registered(TICKET, OTHER)
    left = world.directory.drop_member("news", TICKET, world.now, exclude=True)
    commits = world.book.commits
    sent = len(world.sent)
    world.do(world.server.command(gcks_settings.Apply(left), world.now))
    assert world.book.commits == commits + 1
    assert not world.directory.members("news")
    assert not world.book.members
    assert any(datagram.member is None for datagram in world.sent[sent:])
    # Nobody is disowned: the IKE SA goes on.
    assert len(world.server._keeper.table) == 2


def test_nothing_to_apply_is_nothing() -> None:
    world = registered(TICKET)
    sent = len(world.sent)
    assert world.server.command(gcks_settings.Apply(OVER, (OTHER,)), world.now) == []
    assert len(world.sent) == sent


def test_a_question_that_is_open_is_forgotten() -> None:
    world = ticket_world()
    world.decides = False
    world.add(0, credentials=holder(), identity=TICKET)
    world.run(0.1)
    del keeper(world).tickets[TICKET]
    world.do(world.server.command(gcks_settings.Apply(OVER, (TICKET,)), world.now))
    world.decide(world.asks[0])
    assert not world.directory.members("news")
    assert world.events("verdict-unused")
    world.run(5)
    assert not len(world.server._keeper.table)


def test_names_compare_without_case() -> None:
    world = login_world()
    world.add(0, credentials=login(), identity=ANN)
    world.run(1)
    keeper(world).gone_bad[ANN] = "it was disabled"
    shouted = Identity(ANN.kind, ANN.data.upper())
    world.do(world.server.command(gcks_settings.Apply(OVER, (shouted,)), world.now))
    assert not world.directory.members("news")


# --- after a restart ----------------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["ticket", "password"])
def test_a_restart_ends_what_was_withdrawn_meanwhile(who: str) -> None:
    world = ticket_world()
    identity = TICKET if who == "ticket" else ANN
    world.add(0, credentials=holder() if who == "ticket" else login(), identity=identity)
    world.run(1)
    assert world.registered()
    keeper(world).gone_bad[identity] = "it was revoked"
    keeper(world).tickets.clear()
    keeper(world).passwords.clear()
    world.boot()
    assert not world.directory.members("news")
    (told,) = world.events("credential-withdrawn")
    assert told.fields["reason"] == "it was revoked"
    world.run(5)
    assert not world.book.ike_sas
    assert not world.hosts[0].endpoint.groups["news"].registered


def test_a_restart_without_the_platform_ends_them_as_well() -> None:
    world = registered(TICKET)
    world.doorkeeper = None
    world.boot()
    (told,) = world.events("credential-withdrawn")
    assert "platform" in str(told.fields["reason"])


def test_a_restart_keeps_what_is_good() -> None:
    world = registered(TICKET)
    world.boot()
    world.run(200)
    assert not world.events("credential-withdrawn")
    _, theirs = established(world)
    assert theirs.state is SaState.ESTABLISHED


def test_a_reload_of_credentials_leaves_tickets_alone() -> None:
    world = registered(TICKET)
    new = Credentials(SERVER_ID, secrets(2))
    world.do(world.server.command(gcks_settings.Reload((), new), world.now))
    assert not world.events("credential-withdrawn")
    world.add(1, credentials=holder(OTHER), identity=OTHER)
    world.add(2, identity=member_name(1), credentials=None)
    world.run(1)
    assert world.hosts[1].endpoint.groups["news"].registered


def test_a_revoked_ticket_is_told_so_inside_its_own_ike_sa() -> None:
    world = ticket_world()
    keeper(world).verdict = lambda ask: Verdict(Refusal.REVOKED)
    world.add(0, credentials=holder(), identity=TICKET)
    world.run(1)
    status = world.hosts[0].endpoint.groups["news"].status(world.now)
    assert status["refused"] == {"reason": "revoked"}
    assert keeper(world).told == [("refused", TICKET, Refusal.REVOKED)]
