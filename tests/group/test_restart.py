"""The server is killed at any point and comes back: nothing is used twice, and nobody has to register again.

Killed before a write, the step never was; killed after it and before anything was sent, the step is made
good.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from group_members import Member
from group_server import CHAT, NEWS, SHARED, T0, Died, Server, fqdn

from gkmd.core.change import Change, Journalled
from gkmd.core.secret import SecretBytes
from gkmd.group.model import GroupPolicy, Refused, RekeyOrder, gone_at
from gkmd.store.memory import MemoryJournal

POLICIES = (
    replace(NEWS, sender_id_bits=5, tek_lifetime=80.0),
    replace(SHARED, name="chat", group_id=CHAT.group_id),
    replace(NEWS, name="once", group_id=fqdn("once"), rekey_repeats=0, rekey_interval=0.0),
)


class Life:
    """One server through its deaths, with members that hear every copy of every rekey."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.server = Server(POLICIES)
        self.members: dict[tuple[str, str], Member] = {}
        self.told = 0
        self.now = T0
        self.used: dict[tuple[bytes, int], bytes] = {}  # Rekey SA, message id -> datagram
        self.keys: dict[object, SecretBytes] = {}  # of every SPI that ever was
        self.sender_ids: set[tuple[object, ...]] = set()
        self.deaths = 0

    def look(self) -> None:
        """What can be seen from outside, step by step."""
        for sent in self.server.sent[self.told :]:
            order = sent.order
            number = order.under.spi, order.message_id
            assert self.used.setdefault(number, sent.datagram) == sent.datagram
            for name, group in list(self.members):
                if group == order.policy.name:
                    member = self.members[name, group]
                    member.hear(order, sent.time)
                    if member.excluded:
                        del self.members[name, group]
        self.told = len(self.server.sent)
        for policy in POLICIES:
            sas = self.server.directory.sas(policy.name)
            for sa in (*sas.data_sas, *sas.rekey_sas):
                assert self.keys.setdefault(sa.spi, sa.key) == sa.key

    def step(self) -> None:
        server, dice = self.server, self.dice
        self.now += dice.choice([0.0, 0.2, 1.0, 6.0])
        policy = dice.choice(POLICIES)
        server.run(self.now)
        self.look()
        act = dice.randrange(8)
        if act < 5:
            name = dice.choice(["r1", "r2", "r3", "a.tx", "b.tx"])
            self.members.pop((name, policy.name), None)
            view = server.join(name, self.now, policy, sends=name.endswith(".tx"))
            self.look()
            epoch = view.rekey_sa.signing_key  # a new one whenever everybody was excluded
            for sender_id in view.sender_ids:
                assert (policy.name, epoch, sender_id) not in self.sender_ids
                self.sender_ids.add((policy.name, epoch, sender_id))
            self.members[name, policy.name] = Member(fqdn(name), view)
        elif act < 6 and self.members:
            name, group = dice.choice(sorted(self.members))
            del self.members[name, group]
            server.leave(name, self.now, next(p for p in POLICIES if p.name == group))
        elif act < 7:
            server.rekey(self.now, policy.name)

    def die_and_return(self) -> None:
        self.deaths += 1
        self.server.die_in = float("inf")
        held = self.server.journal.load()
        self.now += self.dice.choice([0.0, 1.0, 4.0])
        self.server.start(self.now)
        self.same_as(held)

    def same_as(self, held: Journalled) -> None:
        """The server that came back knows what the journal held: keys, SPIs, message ids, members."""
        for record in held.groups:
            sas = self.server.directory.sas(record.name)
            for sa in record.data_sas:
                again = next((other for other in sas.data_sas if other.spi == sa.spi), None)
                if again is None:
                    assert gone_at(sa) <= self.now
                else:
                    assert replace(again, removed_at=sa.removed_at) == sa
                    assert again.removed_at is None or again.removed_at >= (sa.removed_at or 0)
            assert sas.rekey_sas[-1] == record.rekey_sas[-1]
            members = {member for member in held.members if member.group == record.name}
            assert set(self.server.directory.members(record.name)) == members

    def settle(self) -> None:
        """After a while without deaths every member that was told so holds what the group uses."""
        for _ in range(20):
            self.now += 0.5
            self.server.run(self.now)
        self.look()
        for (name, group), member in self.members.items():
            sas = self.server.directory.sas(group)
            assert sas.rekey_sas[-1].spi in member.rekey_sas, (name, group)
            for sa in sas.data_sas:
                if sa.removed_at is None:
                    assert member.opens(sa.spi, self.now), (name, group, sa)
        ids: dict[bytes, list[int]] = {}
        for spi, message_id in self.used:
            ids.setdefault(spi, []).append(message_id)
        assert all(sorted(numbers) == list(range(len(numbers))) for numbers in ids.values())


@pytest.mark.parametrize("seed", range(24))
def test_killed_at_any_point(seed: int) -> None:
    life = Life(seed)
    for _ in range(10):
        for _ in range(12):
            if life.dice.random() < 0.2:
                life.server.die_in = life.dice.choice([0, 0.5, 1, 1.5])
            try:
                life.step()
                life.look()
            except Died:
                life.die_and_return()
                life.look()
        life.server.die_in = float("inf")
        life.settle()
    assert life.deaths > 3


def _cut_after_every_change(policy: GroupPolicy) -> tuple[Server, list[MemoryJournal]]:
    """The journal after each single change of a short life, even between changes of one transaction."""
    journals: list[MemoryJournal] = []
    journal = MemoryJournal()
    changes: list[Change] = []
    submit = MemoryJournal.submit

    def record(self: MemoryJournal, batch: tuple[Change, ...], done: object) -> None:
        changes.extend(batch)
        submit(self, batch, done)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MemoryJournal, "submit", record)
        server = Server([policy])
        server.join("r1", T0 + 1)
        server.join("a.tx", T0 + 2, sends=True)
        server.join("r2", T0 + 2)
        server.join("a.tx", T0 + 3, sends=True)
        server.run(T0 + 70)
        server.leave("a.tx", T0 + 70)
        server.rekey(T0 + 71)
        server.run(T0 + 100)
    for change in changes:
        submit(journal, (change,), lambda error: None)
        journals.append(MemoryJournal(journal.load()))
    return server, journals


@pytest.mark.parametrize("policy", [NEWS, SHARED])
def test_reload_after_every_single_change(policy: GroupPolicy) -> None:
    before, journals = _cut_after_every_change(policy)
    assert len(journals) > 10
    for journal in journals:
        held = journal.load()
        server = Server([policy], now=T0 + 1, journal=journal)
        server.contents, server.copies = before.contents, before.copies
        sas = server.directory.sas("news")
        (group,) = held.groups
        assert [sa.spi for sa in sas.data_sas] == [sa.spi for sa in group.data_sas]
        assert sas.rekey_sas == group.rekey_sas
        assert set(server.directory.members("news")) == set(held.members)
        server.run(T0 + 100)


def test_long_downtime_starts_the_group_anew_and_keeps_counting_sender_ids() -> None:
    server = Server()
    server.join("r1", T0)
    first = server.join("a.tx", T0, sends=True)
    later = T0 + NEWS.kek_lifetime + 1
    server.start(later)
    assert server.directory.members("news") == ()
    assert server.journal.load().members == ()
    sas = server.directory.sas("news")
    assert sas.data_sas == ()
    assert [sa.next_message_id for sa in sas.rekey_sas] == [0]
    assert sas.rekey_sas[0].key != first.rekey_sa.key
    assert server.join("a.tx", later, sends=True).sender_ids == (1,)
    held = server.journal.load()
    server.start(later)
    assert server.journal.load() == held


def test_data_sas_that_outlive_their_rekey_sa_stay_until_they_expire() -> None:
    """Senders that have not registered again yet still use them, so who registers now is told."""
    policy = replace(NEWS, tek_lifetime=500.0)
    server = Server([policy])
    (own,) = server.join("a.tx", T0, sends=True).data_sas
    later = T0 + NEWS.kek_lifetime + 1
    server.start(later)
    assert server.join("r1", later).data_sas == (own,)
    view = server.join("a.tx", later + 1, sends=True)
    assert view.data_sas[0].spi == own.spi
    assert server.sent[-1].order.deleted_spis == (own.spi,)


def test_a_tek_that_expired_meanwhile_is_made_anew_by_a_rekey() -> None:
    server = Server()
    server.join("a.tx", T0, sends=True)
    server.start(T0 + NEWS.tek_lifetime + 1)
    assert server.directory.sas("news").data_sas == ()
    assert server.directory.deadline() == 0
    server.tick(T0 + NEWS.tek_lifetime + 1)
    order = server.sent[-1].order
    assert [sa.sender for sa in order.data_sas] == [fqdn("a.tx")]
    assert order.deleted_spis == ()


def test_a_rekey_that_was_journalled_but_never_sent_goes_out() -> None:
    for repeats in (0, 2):
        server = Server([replace(NEWS, rekey_repeats=repeats)])
        server.join("a.tx", T0, sends=True)
        server.run(T0 + 10)
        count = len(server.sent)
        server.die_in = 0.5
        with pytest.raises(Died):
            server.rekey(T0 + 20)
        server.die_in = float("inf")
        old = server.directory.sas("news").data_sas[0]
        server.start(T0 + 23)
        # The old SA's time to go begins again: members hear of it only now.
        assert server.directory.sas("news").data_sas[0].spi == old.spi
        assert server.directory.sas("news").data_sas[0].removed_at == T0 + 23 + NEWS.deactivation_delay
        server.run(T0 + 30)
        sent = server.sent[count:]
        assert len(sent) == max(1, repeats)
        assert len({copy.datagram for copy in sent}) == 1
        assert sent[0].order.new_rekey_sa is not None


def test_other_terms_in_the_configuration_start_the_group_anew() -> None:
    server = Server()
    view = server.join("a.tx", T0, sends=True)
    server.policies = (replace(NEWS, port=5001),)
    server.start(T0 + 1)
    sas = server.directory.sas("news")
    assert sas.data_sas == ()
    assert sas.rekey_sas[-1].key != view.rekey_sa.key
    assert server.journal.load().members == ()
    server.policies = (replace(NEWS, port=5001, tek_lifetime=90.0, rekey_ttl=3),)
    held = server.journal.load()
    server.start(T0 + 2)
    assert server.journal.load() == held


def test_groups_that_are_no_longer_configured_leave_the_journal() -> None:
    server = Server([NEWS, CHAT])
    server.join("r1", T0, CHAT)
    server.policies = (NEWS,)
    server.start(T0 + 1)
    held = server.journal.load()
    assert [group.name for group in held.groups] == ["news"]
    assert held.members == ()


def test_closed_group_stays_closed_until_its_end_is_moved() -> None:
    policy = replace(NEWS, ends=T0 + 30)
    server = Server([policy])
    server.join("r1", T0)
    server.run(T0 + 40)
    server.start(T0 + 41)
    with pytest.raises(Refused, match="closed"):
        server.join("r1", T0 + 41)
    server.policies = (replace(NEWS, ends=T0 + 100),)
    server.start(T0 + 42)
    assert server.join("r1", T0 + 42).rekey_sa.next_message_id == 0


def test_members_that_the_configuration_no_longer_admits_are_not_taken_up() -> None:
    server = Server()
    server.join("r1", T0)
    (sa,) = server.join("a.tx", T0, sends=True).data_sas
    server.policies = (replace(NEWS, senders=()),)
    server.start(T0 + 1)
    assert [member.identity for member in server.directory.members("news")] == [fqdn("r1")]
    assert [member.identity for member in server.journal.load().members] == [fqdn("r1")]
    orders = [duty for duty in server.run(T0 + 100) if isinstance(duty, RekeyOrder)]
    assert not any(order.data_sas for order in orders)
    assert sa.spi not in {other.spi for other in server.directory.sas("news").data_sas}
