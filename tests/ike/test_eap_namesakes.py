"""Somebody logs in under a name that is also that of a configured member. Names for passwords are chosen by
whoever signs up, or makes a list: they must not touch what others have by the same name.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from eap_rig import PASSWORD, SERVER, login, login_world
from endpoint_rig import SERVER_ID, World, ask, established, join, note, policy, psk
from porter import Porter

from gkmd.core.effect import Ask, AskPassword, Proof
from gkmd.core.identity import Identity, IdentityPattern
from gkmd.group.doorkeeper import PasswordVerdict
from gkmd.group.model import Left, Refusal, SenderRule, Verdict
from gkmd.ike import gcks_settings, member_settings
from gkmd.ike.credentials import Credentials
from gkmd.ike.sa import SaState
from wire.ikev2 import Id
from wire.message import Payload
from wire.registry import ExchangeType, NotifyType, PayloadType

CAM = Identity.parse("keyid:cam")
HOST, IMPOSTOR = 0, 1
RULE = SenderRule(IdentityPattern.parse(str(CAM)))


class Reserved(Porter):
    """The host may send, who logs in may receive."""

    def sender(self, group: str, identity: Identity) -> SenderRule | None:
        return RULE


def verdict(question: Ask) -> Verdict:
    sends = question.wants_to_send
    if sends and question.proof is Proof.PASSWORD:
        return Verdict(Refusal.NOT_AUTHORIZED)
    return Verdict(None, receives=not sends, sends=sends)


def namesakes(*, late: bool = False) -> World:
    """The host by its key in a group of the configuration, ``sport``, and in a reserved one, ``news``; then
    somebody by a password of the same name.
    """
    both = Credentials(
        SERVER_ID,
        {CAM: psk(CAM)},
        signing_key=SERVER.signing_key,
        certificate_chain=SERVER.certificate_chain,
    )
    of_cam = (IdentityPattern.parse(str(CAM)),)
    world = login_world(
        credentials=both,
        policies=[policy(), policy("sport", receivers=of_cam)],
        doorkeeper=Reserved(passwords={CAM: PASSWORD}, verdict=verdict),
    )
    joins = [join(receives=False, sends=True), join("sport")]
    host = Credentials(CAM, {SERVER_ID: psk(CAM)})
    world.add(HOST, joins, credentials=host, identity=CAM)
    world.run(2)
    if not late:
        world.add(IMPOSTOR, credentials=login(CAM), identity=CAM)
        world.run(2)
    return world


def porter(world: World) -> Porter:
    assert isinstance(world.doorkeeper, Porter)
    return world.doorkeeper


def theirs(world: World) -> bytes:
    return established(world, HOST)[1].spi_r


def unharmed(world: World) -> bool:
    """The host has its IKE SA, is in both groups, and its SA is the one that receivers know."""
    _, sa = established(world, HOST)
    (sender,) = world.directory.members("news")
    (receiver,) = world.directory.members("sport")
    live = [one for one in world.directory.sas("news").data_sas if one.removed_at is None]
    return (
        sa.state is SaState.ESTABLISHED
        and (sender.sends, sender.ike_spi, receiver.ike_spi) == (True, sa.spi_r, sa.spi_r)
        and [one.sender for one in live] == [CAM]
    )


def test_the_host_alone() -> None:
    assert unharmed(namesakes(late=True))


def test_who_logs_in_ends_no_ike_sa_of_the_host_and_takes_no_place_of_it() -> None:
    """The login says INITIAL_CONTACT, as every first one does."""
    world = namesakes()
    assert unharmed(world)
    assert world.asks[-1].proof is Proof.PASSWORD
    assert ("refused", CAM, Refusal.NOT_AUTHORIZED) in world.doorkeeper.told  # type: ignore[union-attr]


@pytest.mark.parametrize("group", ["news", "sport"])
def test_who_logs_in_cannot_leave_in_the_name_of_the_host(group: str) -> None:
    world = namesakes()
    asked = [Payload(PayloadType.ID_G, Id(11, group.encode())), note(NotifyType.REGISTRATION_FAILED)]
    ask(world, asked, ExchangeType.GSA_REGISTRATION, IMPOSTOR)
    assert unharmed(world)


def test_who_logs_in_and_is_disowned_takes_nobody_along() -> None:
    world = namesakes()
    porter(world).gone_bad[CAM] = "the account is disabled"
    world.do(world.server.command(gcks_settings.Apply(Left((), ()), (CAM,)), world.now))
    world.run(3)
    assert unharmed(world)
    assert len(world.server._keeper.table) == 1


class Lists(Reserved):
    """Each who logs in has another password of the name."""

    def judged(self, ask: object) -> PasswordVerdict:
        self.count = getattr(self, "count", 0) + 1
        return replace(PasswordVerdict(None), grounds=f"names:list-{self.count}")


def two_of_one_name() -> World:
    world = login_world(doorkeeper=Lists(verdict=verdict))
    for number in (0, 1):
        world.add(number, credentials=login(CAM), identity=CAM)
        world.run(2)
    return world


def test_two_passwords_of_one_name_are_two_peers() -> None:
    """A list's and an account's: neither ends the IKE SAs of the other."""
    assert len(two_of_one_name().server._keeper.table) == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_what_ends_for_one_of_them_goes_on_for_the_other(restarted: bool) -> None:
    world = two_of_one_name()
    porter(world).gone_bad["names:list-1"] = "the account is disabled"
    if restarted:
        world.boot()
    else:
        world.do(world.server.command(gcks_settings.Apply(Left((), ()), (CAM,)), world.now))
    world.run(5)
    (kept,) = world.server._keeper.table
    assert (kept.state, kept.grounds) == (SaState.ESTABLISHED, "password names:list-2")


def test_the_host_takes_its_place_from_who_was_there_before() -> None:
    world = login_world(
        credentials=namesakes(late=True).credentials,
        doorkeeper=Reserved(passwords={CAM: PASSWORD}, verdict=verdict),
    )
    world.add(IMPOSTOR, credentials=login(CAM), identity=CAM)
    world.run(2)
    assert len(world.directory.members("news")) == 1
    host = Credentials(CAM, {SERVER_ID: psk(CAM)})
    world.add(HOST, [join(receives=False, sends=True)], credentials=host, identity=CAM)
    world.run(2)
    (member,) = world.directory.members("news")
    assert (member.sends, member.ike_spi) == (True, theirs(world))
    # And keeps it when the other one goes, or says that it goes.
    asked = [Payload(PayloadType.ID_G, Id(11, b"news")), note(NotifyType.REGISTRATION_FAILED)]
    ask(world, asked, ExchangeType.GSA_REGISTRATION, IMPOSTOR)
    world.do_member(
        world.hosts[IMPOSTOR], world.hosts[IMPOSTOR].endpoint.command(member_settings.Stop(), world.now)
    )
    world.run(2)
    assert world.directory.members("news") == (member,)


def test_a_peer_has_the_one_form_of_its_name() -> None:
    """As the platform says; whatever was written is covered by AUTH all the same."""

    class Folding(Reserved):
        def judged(self, ask: AskPassword) -> PasswordVerdict:
            return replace(super().judged(ask), identity=CAM)

    written = Identity.parse("keyid:CAM")
    world = login_world(doorkeeper=Folding(passwords={written: PASSWORD}, verdict=verdict))
    world.add(0, credentials=login(written), identity=written)
    world.run(2)
    (member,) = world.directory.members("news")
    _, sa = established(world)
    assert (member.identity, sa.peer, world.asks[-1].identity) == (CAM, CAM, CAM)
