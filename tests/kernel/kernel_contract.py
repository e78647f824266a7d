"""What a Dataplane promises, run against the recording twin and against the kernel.

A subclass gives ``bench``: a kernel (real or recorded) on which data planes come and go.
"""

from __future__ import annotations

import dataclasses
import errno
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

import pytest

from gkmd.core.algorithms import (
    AES_CBC_128,
    AES_GCM_16_128,
    AES_GCM_16_256,
    CHACHA20_POLY1305,
    HMAC_SHA2_256_128,
    Cipher,
    Integrity,
)
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspPolicy, EspSa, Mode
from gkmd.core.secret import SecretBytes
from gkmd.kernel.dataplane import Dataplane

NEWS = IPv4Address("239.1.1.1")
NEWS6 = IPv6Address("ff3e::8000:1")
SOURCE = IPv4Address("10.9.0.1")
SOURCE6 = IPv6Address("fd00:9::1")


class Bench(Protocol):
    def dataplane(self) -> Dataplane: ...
    def policies(self) -> int:
        """How many policies for ESP the kernel has."""

    def sas(self) -> int: ...
    def crash(self, dataplane: Dataplane) -> None:
        """The process of this data plane is gone without a goodbye."""


def policy_for(direction: Direction, **changes: object) -> EspPolicy:
    """Out: what SOURCE sends to NEWS, UDP port 5000; in: what anybody sends there."""
    base = EspPolicy("news", None, NEWS, 17, 5000, Mode.TRANSPORT, direction, 0)
    if direction is Direction.OUT:
        base = dataclasses.replace(base, source=SOURCE, reqid=1)
    return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


def key_for(cipher: Cipher, integrity: Integrity | None = None, seed: int = 1) -> SecretBytes:
    octets = cipher.key_octets + (integrity.key_octets if integrity else 0)
    return SecretBytes(bytes((seed * 7 + i) % 256 for i in range(octets)))


def sa_for(direction: Direction, **changes: object) -> EspSa:
    """An AES-GCM SA of SOURCE to NEWS with SPI 0x100; its key fits the algorithms in ``changes``."""
    base = EspSa(
        group="news",
        spi=0x100,
        source=SOURCE,
        destination=NEWS,
        mode=Mode.TRANSPORT,
        direction=direction,
        cipher=AES_GCM_16_128,
        integrity=None,
        key=SecretBytes(b""),
        reqid=1,
        replay_window=64,
        lifetime=300.0,
    )
    sa = dataclasses.replace(base, **changes)  # type: ignore[arg-type]
    return sa if "key" in changes else dataclasses.replace(sa, key=key_for(sa.cipher, sa.integrity, sa.spi))


async def refused(code: int, call: object) -> str:
    """Await the call, which must raise DataplaneError with this errno; returns its one line."""
    with pytest.raises(DataplaneError) as caught:
        await call  # type: ignore[misc]
    assert caught.value.errno == code, caught.value
    assert "\n" not in str(caught.value)
    return str(caught.value)


class CheckContract:
    """What is refused before any kernel is asked."""

    @pytest.mark.parametrize(
        "wrong",
        [
            policy_for(Direction.IN, destination=IPv4Address("10.9.0.3")),
            policy_for(Direction.IN, source=SOURCE6),
            policy_for(Direction.IN, source=IPv4Address("239.1.1.2")),
            policy_for(Direction.IN, source=IPv4Address("0.0.0.0")),
            policy_for(Direction.IN, protocol=0),
            policy_for(Direction.IN, protocol=256),
            policy_for(Direction.IN, port=65536),
        ],
    )
    async def test_wrong_policies(self, bench: Bench, wrong: EspPolicy) -> None:
        plane = bench.dataplane()
        await refused(errno.EINVAL, plane.install_policy(wrong))
        assert bench.policies() == 0
        await plane.close()

    @pytest.mark.parametrize(
        "wrong",
        [
            sa_for(Direction.IN, spi=255),
            sa_for(Direction.IN, spi=2**32),
            sa_for(Direction.IN, destination=IPv4Address("10.9.0.3")),
            sa_for(Direction.IN, source=SOURCE6),
            sa_for(Direction.IN, replay_window=4097),
            sa_for(Direction.IN, replay_window=-1),
            sa_for(Direction.IN, lifetime=0.0),
            sa_for(Direction.IN, lifetime=float("inf")),
            sa_for(Direction.IN, lifetime=float("nan")),
            sa_for(Direction.IN, key=SecretBytes(b"A" * 16)),
            sa_for(Direction.IN, integrity=HMAC_SHA2_256_128),
            sa_for(Direction.IN, cipher=AES_CBC_128),
            sa_for(Direction.IN, cipher=dataclasses.replace(AES_GCM_16_128, transform_id=99)),
            sa_for(Direction.OUT, mode=Mode.TUNNEL, source=None),
        ],
        ids=lambda sa: None,
    )
    async def test_wrong_sas(self, bench: Bench, wrong: EspSa) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.IN))
        line = await refused(errno.EINVAL, plane.install_sa(wrong))
        assert wrong.key.reveal().hex() not in line or not len(wrong.key)
        await plane.close()


class PolicyContract:
    """The part that needs no ESP in the kernel."""

    async def test_policies_come_and_go(self, bench: Bench) -> None:
        plane = bench.dataplane()
        inbound, outbound = policy_for(Direction.IN), policy_for(Direction.OUT)
        await plane.install_policy(inbound)
        await plane.install_policy(outbound)
        assert bench.policies() == 2
        await plane.remove_policy(inbound)
        assert bench.policies() == 1
        await plane.close()
        assert bench.policies() == 0
        await plane.close()

    async def test_the_same_selector_is_refused_and_the_first_stays(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.OUT))
        line = await refused(
            errno.EEXIST, plane.install_policy(policy_for(Direction.OUT, group="films", reqid=9))
        )
        assert "239.1.1.1" in line
        assert "films" in line
        await plane.remove_policy(policy_for(Direction.OUT))
        assert bench.policies() == 0
        await plane.close()

    async def test_a_group_that_is_released_stays_closed_until_another_takes_it_over(
        self, bench: Bench
    ) -> None:
        plane = bench.dataplane()
        mine = [policy_for(direction, source=None) for direction in Direction]
        for policy in mine:
            await plane.install_policy(policy)
        await plane.release("films", closed=False)  # of others nothing goes
        await plane.release("news", closed=True)
        assert bench.policies() == 2
        for policy in mine:
            await plane.remove_policy(policy)  # nobody's any more
        assert bench.policies() == 2
        for direction in Direction:
            await plane.install_policy(policy_for(direction, source=None, group="films", reqid=7))
        assert bench.policies() == 2
        await plane.release("news", closed=False)  # they are another's now
        assert bench.policies() == 2
        await plane.release("films", closed=False)
        assert bench.policies() == 0
        await plane.close()

    async def test_what_was_released_is_opened_later_or_at_the_end(self, bench: Bench) -> None:
        plane = bench.dataplane()
        for group, port in (("news", 5000), ("films", 5002), ("sport", 5004)):
            await plane.install_policy(policy_for(Direction.OUT, group=group, port=port))
        await plane.install_policy(policy_for(Direction.IN, group="sport", protocol=0, port=0))
        for group in ("news", "films", "sport"):
            await plane.release(group, closed=True)
        assert bench.policies() == 4
        await plane.release("news", closed=False)
        assert bench.policies() == 3
        await plane.release("sport", closed=False)
        assert bench.policies() == 1
        await plane.close()
        assert bench.policies() == 0

    async def test_other_ports_and_sources_are_other_policies(self, bench: Bench) -> None:
        plane = bench.dataplane()
        for policy in (
            policy_for(Direction.IN),
            policy_for(Direction.IN, port=5001),
            policy_for(Direction.IN, source=SOURCE),
            policy_for(Direction.IN, destination=NEWS6),
            policy_for(Direction.IN, destination=NEWS6, source=SOURCE6),
        ):
            await plane.install_policy(policy)
        assert bench.policies() == 5
        await plane.close()
        assert bench.policies() == 0

    async def test_a_policy_for_every_protocol(self, bench: Bench) -> None:
        plane = bench.dataplane()
        for direction in Direction:
            await plane.install_policy(policy_for(direction, protocol=0, port=0))
            await plane.install_policy(
                policy_for(direction, protocol=0, port=0, source=None, destination=NEWS6)
            )
        assert bench.policies() == 4
        await plane.switch_output(policy_for(Direction.OUT, protocol=0, port=0, reqid=2))
        assert bench.policies() == 4
        await plane.close()
        assert bench.policies() == 0

    async def test_removing_twice_and_removing_the_unknown_is_no_error(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await plane.remove_policy(policy_for(Direction.IN))
        await plane.install_policy(policy_for(Direction.IN))
        await plane.remove_policy(policy_for(Direction.IN))
        await plane.remove_policy(policy_for(Direction.IN))
        await plane.remove_sa(sa_for(Direction.IN))
        await plane.close()

    async def test_an_sa_without_a_policy_is_refused(self, bench: Bench) -> None:
        plane = bench.dataplane()
        line = await refused(errno.ENOENT, plane.install_sa(sa_for(Direction.IN)))
        assert "policies come first" in line
        await plane.install_policy(policy_for(Direction.IN))
        for other in (
            sa_for(Direction.OUT),
            sa_for(Direction.IN, group="films"),
            sa_for(Direction.IN, destination=IPv4Address("239.1.1.2")),
            sa_for(Direction.IN, mode=Mode.TUNNEL),
        ):
            await refused(errno.ENOENT, plane.install_sa(other))
        await plane.close()
        assert bench.sas() == 0

    async def test_switching_needs_the_policy(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await refused(errno.ENOENT, plane.switch_output(policy_for(Direction.OUT)))
        await plane.install_policy(policy_for(Direction.IN))
        await refused(errno.ENOENT, plane.switch_output(policy_for(Direction.IN)))
        await plane.close()

    async def test_recover_removes_what_a_crash_left(self, bench: Bench) -> None:
        crashed = bench.dataplane()
        for direction in Direction:
            await crashed.install_policy(policy_for(direction))
            await crashed.install_policy(
                policy_for(direction, protocol=0, port=0, destination=NEWS6, source=None)
            )
        bench.crash(crashed)
        assert bench.policies() == 4

        plane = bench.dataplane()
        lines = await plane.recover()
        assert len(lines) == 4
        assert all(line.startswith("removed ") and "\n" not in line for line in lines)
        assert bench.policies() == 0
        assert await plane.recover() == []
        await plane.close()

    async def test_recover_can_keep_the_groups_closed_until_they_register(self, bench: Bench) -> None:
        crashed = bench.dataplane()
        for destination in (NEWS, IPv4Address("239.1.1.2")):
            await crashed.install_policy(
                policy_for(Direction.OUT, protocol=0, port=0, destination=destination, reqid=77)
            )
        bench.crash(crashed)

        plane = bench.dataplane()
        lines = await plane.recover(keep_closed=True)
        assert len(lines) == 2
        assert all(line.startswith("kept ") for line in lines)
        assert bench.policies() == 2
        await plane.install_policy(policy_for(Direction.OUT, protocol=0, port=0))
        assert bench.policies() == 2
        await plane.remove_policy(policy_for(Direction.OUT, protocol=0, port=0))
        assert bench.policies() == 1
        await plane.close()
        assert bench.policies() == 0

    async def test_recover_leaves_what_this_process_installed(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.IN))
        assert await plane.recover() == []
        assert bench.policies() == 1
        await plane.close()


class SaContract:
    """The part that needs ESP."""

    async def test_sas_come_and_go(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.IN))
        await plane.install_policy(policy_for(Direction.OUT))
        await plane.install_sa(sa_for(Direction.OUT))
        await plane.install_sa(sa_for(Direction.IN, spi=0x200, source=IPv4Address("10.9.0.2")))
        assert bench.sas() == 2
        await plane.remove_sa(sa_for(Direction.OUT))
        await plane.remove_sa(sa_for(Direction.OUT))
        assert bench.sas() == 1
        await plane.close()
        assert (bench.sas(), bench.policies()) == (0, 0)

    @pytest.mark.parametrize("window", [0, 1, 32, 33, 64, 1024, 4096])
    async def test_replay_windows(self, bench: Bench, window: int) -> None:
        plane = bench.dataplane()
        for direction, spi in ((Direction.IN, 0x100), (Direction.OUT, 0x101)):
            await plane.install_policy(policy_for(direction))
            await plane.install_sa(sa_for(direction, spi=spi, replay_window=window))
        await plane.close()

    @pytest.mark.parametrize(
        ("cipher", "integrity"),
        [
            (AES_GCM_16_256, None),
            (CHACHA20_POLY1305, None),
            (AES_CBC_128, HMAC_SHA2_256_128),
        ],
        ids=lambda algorithm: algorithm.name if algorithm else "",
    )
    async def test_algorithms(self, bench: Bench, cipher: Cipher, integrity: Integrity | None) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.IN))
        await plane.install_sa(sa_for(Direction.IN, cipher=cipher, integrity=integrity))
        assert bench.sas() == 1
        await plane.close()

    async def test_the_same_spi_on_a_destination_is_refused_whoever_sends(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.IN))
        await plane.install_policy(policy_for(Direction.IN, destination=NEWS6))
        first = sa_for(Direction.IN)
        await plane.install_sa(first)
        line = await refused(errno.EEXIST, plane.install_sa(first))
        assert "0x00000100" in line
        assert first.key.reveal().hex() not in line
        other = sa_for(Direction.IN, source=IPv4Address("10.9.0.2"), reqid=2)
        await refused(errno.EEXIST, plane.install_sa(other))
        await plane.install_sa(sa_for(Direction.IN, destination=NEWS6, source=SOURCE6))
        await plane.remove_sa(first)
        await plane.install_sa(other)
        await plane.close()
        assert bench.sas() == 0

    async def test_a_policy_takes_the_sas_under_it_along(self, bench: Bench) -> None:
        plane = bench.dataplane()
        await plane.install_policy(policy_for(Direction.IN))
        await plane.install_policy(policy_for(Direction.IN, port=5001))
        await plane.install_sa(sa_for(Direction.IN))
        await plane.remove_policy(policy_for(Direction.IN))
        assert bench.sas() == 1  # the other policy of the group covers it
        await plane.remove_policy(policy_for(Direction.IN, port=5001))
        assert (bench.sas(), bench.policies()) == (0, 0)
        await plane.close()

    async def test_recover_removes_sas_and_policies(self, bench: Bench) -> None:
        crashed = bench.dataplane()
        for direction, spi in ((Direction.IN, 0x100), (Direction.OUT, 0x101)):
            await crashed.install_policy(policy_for(direction))
            await crashed.install_sa(sa_for(direction, spi=spi))
        bench.crash(crashed)

        plane = bench.dataplane()
        lines = await plane.recover()
        assert len(lines) == 4
        assert "SA 0x00000100 to 239.1.1.1" in "".join(lines)
        assert (bench.sas(), bench.policies()) == (0, 0)
        await plane.install_policy(policy_for(Direction.IN))
        await plane.install_sa(sa_for(Direction.IN))
        assert await plane.recover() == []
        assert bench.sas() == 1
        await plane.close()
