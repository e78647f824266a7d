"""When a group is wanted: programs that come and go, traffic, and an operator with a will."""

from __future__ import annotations

import ipaddress
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gkmd.core.identity import Identity
from gkmd.daemon.wishes import Wish, Wishes
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.member_settings import Leave, Register
from gkmd.kernel.acquire import Acquire
from gkmd.kernel.multicast_users import Joined

ASM = ipaddress.ip_address("239.1.2.3")
SSM = ipaddress.ip_address("232.1.2.3")
S1 = ipaddress.ip_address("10.9.0.1")
S2 = ipaddress.ip_address("10.9.0.2")
NOBODY = Joined()
ONE = Joined(Counter({ASM: 1}))
TWO = Joined(Counter({ASM: 2}))
OWN = Joined.own([(ASM, None)])
WISH = Register("news", patient=True)
MET = Acquire(ASM, 17, 5004)


def join(*, sends: bool = False, receives: bool = True, channel: bool = False) -> GroupJoin:
    return GroupJoin(
        "news",
        Identity.parse("keyid:news"),
        receives,
        sends,
        "eth0",
        data_sources=(ipaddress.ip_network(S1),) if channel else (),
        flow=(SSM if channel else ASM, 17, 5004),
    )


def wishes(**how: bool) -> Wishes:
    made = Wishes(linger=5.0)
    made.add(join(**how))
    return made


def test_a_program_comes_and_the_last_one_goes() -> None:
    made = wishes()
    assert made.observe(NOBODY, NOBODY, 0) == []
    assert made.observe(ONE, NOBODY, 1) == [WISH]
    assert (made.wish("news"), made.programs("news")) == (Wish.PROGRAMS, 1)
    # From now on the member is in the group itself.
    assert made.observe(TWO, OWN, 2) == []
    assert made.observe(ONE, OWN, 3) == []
    assert made.observe(TWO, OWN, 7.9) == []  # back in time
    assert made.observe(ONE, OWN, 8) == []
    assert made.observe(ONE, OWN, 12.9) == []
    assert made.observe(ONE, OWN, 13) == [Leave("news")]
    assert made.observe(NOBODY, NOBODY, 14) == []
    assert made.observe(ONE, NOBODY, 15) == [WISH]


def test_a_channel_is_wanted_by_who_wants_its_source() -> None:
    made = wishes(channel=True)
    assert made.observe(Joined(Counter({SSM: 1}), Counter({(SSM, S2): 1})), NOBODY, 0) == []
    assert made.observe(Joined(Counter({SSM: 2}), Counter({(SSM, S1): 1, (SSM, S2): 1})), NOBODY, 1) == [WISH]


def test_traffic_registers_a_sender_once() -> None:
    made = wishes(sends=True, receives=False)
    assert made.observe(ONE, NOBODY, 0) == []
    assert made.met(Acquire(ASM, 17, 5005)) == []
    assert made.met(Acquire(ASM, 0, 0)) == []
    assert made.met(MET) == [WISH]
    assert made.met(MET) == []
    made.declined("news")
    assert made.met(MET) == [WISH]


def test_a_receivers_traffic_is_its_own_affair() -> None:
    assert wishes().met(MET) == []


def test_who_sends_stays_when_its_program_no_longer_listens() -> None:
    made = wishes(sends=True)
    assert made.observe(ONE, NOBODY, 0) == [WISH]
    assert made.met(MET) == []
    assert made.observe(ONE, OWN, 1) == []
    assert made.observe(ONE, OWN, 60) == []
    assert made.wish("news") is Wish.TRAFFIC


def test_what_the_operator_says_holds() -> None:
    made = wishes()
    made.asked("news")
    assert made.observe(NOBODY, NOBODY, 0) == made.observe(NOBODY, NOBODY, 100) == []
    made.declined("news")
    assert made.wish("news") is Wish.WAITING
    assert made.observe(ONE, NOBODY, 101) == [WISH]
    made.declined("news")  # while the program is there
    assert made.observe(ONE, NOBODY, 102) == []
    assert made.wish("news") is Wish.DECLINED
    assert made.observe(NOBODY, NOBODY, 103) == []
    assert made.observe(ONE, NOBODY, 104) == [WISH]


def test_groups_of_others_are_left_alone() -> None:
    made = wishes()
    made.asked("films")
    made.declined("films")
    assert made.wish("films") is Wish.ALWAYS
    made.remove("news")
    assert made.observe(ONE, NOBODY, 0) == []
    assert not made.receivers
    assert not made.senders


@given(st.lists(st.tuples(st.sampled_from(["0", "1", "met", "asked", "declined"]), st.floats(0.01, 8))))
def test_commands_alternate(steps: list[tuple[str, float]]) -> None:
    """Never two Registers or two Leaves in a row, whatever happens and when."""
    made, now, registered = wishes(sends=True), 0.0, False
    for what, passed in steps:
        now += passed
        if what == "asked":
            made.asked("news")
            registered = True
        elif what == "declined":
            made.declined("news")
            registered = False
        else:
            seen = TWO if what == "1" and registered else ONE if what == "1" or registered else NOBODY
            found = made.met(MET) if what == "met" else made.observe(seen, OWN if registered else NOBODY, now)
            for command in found:
                assert isinstance(command, Leave if registered else Register)
                registered = not registered
        assert registered == (made.wish("news") not in (Wish.WAITING, Wish.DECLINED))


def test_who_is_not_seen_in_a_part_of_the_table_is_not_gone() -> None:
    made = wishes()
    part = Joined(whole=False)
    assert made.observe(part, NOBODY, 0) == []
    assert made.observe(ONE, NOBODY, 1) == [WISH]
    for now in (2, 20, 40):
        assert made.observe(part, NOBODY, now) == []
    assert made.programs("news") == 1
    assert made.addresses == {ASM}
    assert made.observe(NOBODY, NOBODY, 50) == []
    assert made.observe(NOBODY, NOBODY, 55) == [Leave("news")]
