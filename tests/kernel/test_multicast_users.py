"""Who has joined what: the kernel's tables as Linux 6 writes them, and any other text."""

from __future__ import annotations

import ipaddress
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_hosts import Host

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError
from gkmd.kernel import multicast_users
from gkmd.kernel.membership import open_membership
from gkmd.kernel.multicast_users import (
    Joined,
    joined,
    read_filters,
    read_filters6,
    read_igmp,
    read_igmp6,
)

IGMP = """\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
3\teth0      :     3      V2
\t\t\t\t030201E8     2 0:00000000\t\t0
\t\t\t\t030201EF     1 1:0000001F\t\t1
\t\t\t\t010000E0     1 0:00000000\t\t0
4\twlan0     :     1      V3
\t\t\t\t030201EF     3 0:00000000\t\t0
"""
IGMP6 = """\
1    lo              ff020000000000000000000000000001     1 0000000C 0
3    eth0            ff350000000000000000000000000001     2 00000004 0
3    eth0            ff150000000000000000000000006b6d     1 00000004 12
4    a-long-name0    ff150000000000000000000000006b6d     1 00000004 0
"""
FILTERS = """\
Idx Device        MCA        SRC    INC    EXC
  3   eth0 0xe8010203 0x0a090007      1      0
  3   eth0 0xe8010203 0x0a090008      0      1
  4 a-long 0xe8010203 0x0a090007      2      0
"""
FILTERS6 = """\
Idx Device                Multicast Address                   Source Address    INC    EXC
  3   eth0 ff350000000000000000000000000001 fd000000000000000000000000000009      1      0
"""

ASM = ipaddress.ip_address("239.1.2.3")
SSM = ipaddress.ip_address("232.1.2.3")
S7 = ipaddress.ip_address("10.9.0.7")
S8 = ipaddress.ip_address("10.9.0.8")
ASM6 = ipaddress.ip_address("ff15::6b6d")
SSM6 = ipaddress.ip_address("ff35::1")
S9 = ipaddress.ip_address("fd00::9")


def test_the_tables_are_read() -> None:
    assert read_igmp(IGMP, "little") == Counter({ipaddress.ip_address("224.0.0.1"): 2, SSM: 2, ASM: 4})
    assert read_igmp6(IGMP6) == Counter({ipaddress.ip_address("ff02::1"): 1, SSM6: 2, ASM6: 2})
    assert read_filters(FILTERS) == Counter({(SSM, S7): 3})
    assert read_filters6(FILTERS6) == Counter({(SSM6, S9): 1})


def test_a_machine_of_the_other_byte_order() -> None:
    assert read_igmp("\t\t\t\tEF010203     1 0:00000000\t\t0\n", "big") == Counter({ASM: 1})


@given(
    st.text() | st.sampled_from([IGMP, IGMP6, FILTERS, FILTERS6]), st.integers(0, 400), st.text(max_size=8)
)
def test_any_text_is_read(text: str, at: int, more: str) -> None:
    text = text[:at] + more + text[at:]
    for counted in (read_igmp(text), read_igmp6(text)):
        assert all(group.is_multicast for group in counted)
    for channels in (read_filters(text), read_filters6(text)):
        assert all(count > 0 for count in channels.values())


def test_our_own_memberships_do_not_count() -> None:
    seen = Joined(Counter({ASM: 3, SSM: 3}), Counter({(SSM, S7): 2, (SSM, S8): 1}))
    own = Joined.own([(ASM, None), (ASM, None), (SSM, S7)])
    assert seen.others(ASM, (), own) == 1
    assert seen.others(ASM, (), Joined.own([(ASM, None)] * 3)) == 0
    assert seen.others(SSM, (S7,), own) == 1
    assert seen.others(SSM, (S8,), own) == 1
    assert seen.others(SSM, (ipaddress.ip_address("10.9.0.9"),), own) == 0
    assert seen.others(SSM6, (S9,), own) == 0


def test_who_names_no_source_wants_all() -> None:
    seen = Joined(Counter({SSM: 2}), Counter({(SSM, S7): 1}))
    assert seen.others(SSM, (S7,), Joined.own([(SSM, S7)])) == 1


def test_without_tables_nothing_is_concluded(tmp_path: Path) -> None:
    with pytest.raises(DataplaneError, match="cannot see who joins"):
        joined(None, tmp_path)
    (tmp_path / "igmp6").write_text(IGMP6)
    (tmp_path / "mcfilter6").write_text(FILTERS6)
    seen = joined(None, tmp_path)
    assert (seen.users[ASM6], seen.channels[SSM6, S9]) == (2, 1)


@given(st.sets(st.sampled_from([ASM, SSM, ASM6, SSM6, ipaddress.ip_address("239.9.9.9")])))
def test_of_what_is_wanted_the_same_is_read(wanted: set[IpAddress]) -> None:
    users, channels = read_igmp(IGMP) + read_igmp6(IGMP6), read_filters(FILTERS) + read_filters6(FILTERS6)
    assert read_igmp(IGMP, wanted=wanted) + read_igmp6(IGMP6, wanted) == Counter(
        {group: count for group, count in users.items() if group in wanted}
    )
    assert read_filters(FILTERS, wanted) + read_filters6(FILTERS6, wanted) == Counter(
        {channel: count for channel, count in channels.items() if channel[0] in wanted}
    )


def test_a_table_without_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a local user's programs can make of it: what is read is bounded, and is known to be a part."""
    (tmp_path / "igmp").write_text(IGMP)
    assert joined([ASM], tmp_path).whole
    monkeypatch.setattr(multicast_users, "_LARGEST_OCTETS", 60)
    seen = joined([ASM], tmp_path)
    assert (seen.whole, seen.users[ASM]) == (False, 0)


def test_a_table_that_cannot_be_read_is_not_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "igmp6").write_text(IGMP6)
    (tmp_path / "igmp").mkdir()  # in place of what the system refuses, such as one file more
    with pytest.raises(DataplaneError, match="igmp: Is a directory"):
        joined(None, tmp_path)


@pytest.mark.root
def test_the_kernel_counts_a_program_and_us(host: Host) -> None:
    before = host.inside(joined)
    assert before.users[ASM] == before.users[SSM6] == 0
    program = host.receiver(ASM, 5004)
    ours = host.keep(host.inside(lambda: open_membership(ASM, 848, host.device)))
    channel = host.keep(host.inside(lambda: open_membership(SSM, 0, host.device, S7)))
    channel6 = host.keep(host.inside(lambda: open_membership(SSM6, 0, host.device, S9)))
    seen = host.inside(joined)
    assert (seen.users[ASM], seen.channels[SSM, S7], seen.channels[SSM6, S9]) == (2, 1, 1)
    assert seen.others(ASM, (), Joined.own([(ASM, None)])) == 1
    assert seen.others(SSM, (S8,), Joined()) == 0
    host.close()
    assert all(one.fileno() == -1 for one in (program, ours, channel, channel6))
    after = host.inside(joined)
    assert after.users[ASM] == after.channels[SSM, S7] == 0
