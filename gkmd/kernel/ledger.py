"""The rules that every data plane keeps, over six primitives that only put, drop and list.

``LedgerDataplane`` checks a request, keeps the order (policy before SA, SA away before policy), remembers
what this process installed and finds what an earlier one left. XFRM and the recording twin differ in the
primitives alone, so that a test against the twin says something about the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspPolicy, EspSa, Mode
from gkmd.kernel.names import describe_policy, describe_sa, kernel_cipher, kernel_integrity

# 1 to 255 are reserved (RFC 4303 2.1).
FIRST_SPI: Final = 256
# The kernel's bitmap of a replay window is at most 4096 bits (XFRMA_REPLAY_ESN_MAX).
REPLAY_WINDOW_MAX: Final = 4096
# The kernel counts whole seconds; the wire carries 32 bits of them.
LIFETIME_MAX: Final = 2**32 - 1

SaKey: TypeAlias = tuple[IpAddress, int]
PolicyKey: TypeAlias = tuple[Direction, IpAddress | None, IpAddress, int, int]

_Key = TypeVar("_Key")
_Entry = TypeVar("_Entry")


def sa_key(sa: EspSa) -> SaKey:
    """What the kernel tells SAs apart by: destination and SPI. Not the source, unlike RFC 4301 4.1."""
    return sa.destination, sa.spi


def policy_key(policy: EspPolicy) -> PolicyKey:
    return policy.direction, policy.source, policy.destination, policy.protocol, policy.port


@dataclass(frozen=True, slots=True)
class LeftSa:
    """An SA in the kernel that carries our marks."""

    description: str
    key: SaKey


@dataclass(frozen=True, slots=True)
class LeftPolicy:
    """A policy in the kernel that carries our marks; ``handle`` is for the implementation that listed it."""

    description: str
    key: PolicyKey
    handle: object


def check_sa(sa: EspSa) -> None:
    """Refuse (EINVAL) an SA that the kernel would take the wrong way or refuse with a riddle."""

    def refuse(why: str) -> None:
        raise DataplaneError(f"{describe_sa(sa)}: {why}", errno.EINVAL)

    _check_addresses(describe_sa(sa), sa.source, sa.destination)
    if not FIRST_SPI <= sa.spi < 2**32:
        refuse(f"SPI outside {FIRST_SPI} to 2^32-1")
    if not 0 <= sa.replay_window <= REPLAY_WINDOW_MAX:
        refuse(f"replay window {sa.replay_window} is outside 0 to {REPLAY_WINDOW_MAX}")
    if not (math.isfinite(sa.lifetime) and 0 < sa.lifetime <= LIFETIME_MAX):
        refuse(f"lifetime {sa.lifetime} s is over or too long")
    if kernel_cipher(sa.cipher) is None:
        refuse(f"no kernel name for cipher {sa.cipher.name}")
    if sa.cipher.aead and sa.integrity is not None:
        refuse(f"{sa.cipher.name} has its own integrity, {sa.integrity.name} does not go with it")
    if not sa.cipher.aead and (sa.integrity is None or kernel_integrity(sa.integrity) is None):
        refuse(f"{sa.cipher.name} needs an integrity algorithm that the kernel knows")
    expected = sa.cipher.key_octets + (sa.integrity.key_octets if sa.integrity else 0)
    if len(sa.key) != expected:
        refuse(f"key of {len(sa.key)} octets, {sa.cipher.name} takes {expected}")
    if sa.mode is Mode.TUNNEL and sa.direction is Direction.OUT and sa.source is None:
        # The outer source is taken from the SA (RFC 5374 3.1 preserves it); 0.0.0.0 would go out.
        refuse("a tunnel that sends needs its source address")


def check_policy(policy: EspPolicy) -> None:
    """Refuse (EINVAL) a policy that would not do what it says."""

    def refuse(why: str) -> None:
        raise DataplaneError(f"{describe_policy(policy)}: {why}", errno.EINVAL)

    _check_addresses(describe_policy(policy), policy.source, policy.destination)
    if not 0 <= policy.protocol <= 255 or not 0 <= policy.port <= 65535:
        refuse("protocol is 0 to 255, port 0 to 65535")
    if policy.port and policy.protocol == 0:
        refuse("a port needs a protocol")


def _check_addresses(what: str, source: IpAddress | None, destination: IpAddress) -> None:
    if not destination.is_multicast:
        raise DataplaneError(f"{what}: {destination} is no multicast address", errno.EINVAL)
    if source is not None and source.version != destination.version:
        raise DataplaneError(f"{what}: source {source} is of another IP version", errno.EINVAL)
    if source is not None and (source.is_multicast or source.is_unspecified):
        raise DataplaneError(f"{what}: {source} is no source address", errno.EINVAL)


class LedgerDataplane(ABC):
    """A Dataplane (see ``dataplane.py``) over the primitives below. One call at a time."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._policies: dict[PolicyKey, EspPolicy] = {}
        self._sas: dict[SaKey, EspSa] = {}
        self._kept: dict[PolicyKey, LeftPolicy] = {}
        self._released: dict[PolicyKey, str] = {}  # of those that are kept: whose they were in this process

    # What an implementation offers. Each raises DataplaneError; to drop what is not there is no error.
    @abstractmethod
    async def _put_policy(self, policy: EspPolicy, *, replace: bool) -> None: ...
    @abstractmethod
    async def _drop_policy(self, policy: EspPolicy) -> None: ...
    @abstractmethod
    async def _put_sa(self, sa: EspSa) -> None: ...
    @abstractmethod
    async def _drop_sa(self, key: SaKey) -> None: ...
    @abstractmethod
    async def _drop_left_policy(self, policy: LeftPolicy) -> None: ...
    @abstractmethod
    def _handle(self, policy: EspPolicy) -> object:
        """The handle of a LeftPolicy for a policy that was put by us."""

    @abstractmethod
    async def _leftovers(self) -> tuple[list[LeftSa], list[LeftPolicy]]:
        """SAs and policies with our marks, whoever of us installed them."""

    @property
    def policies(self) -> tuple[EspPolicy, ...]:
        """The policies that this process has installed."""
        return tuple(self._policies.values())

    @property
    def sas(self) -> tuple[EspSa, ...]:
        """The SAs that this process has installed; the kernel may have ended some by their lifetime."""
        return tuple(self._sas.values())

    async def install_policy(self, policy: EspPolicy) -> None:
        check_policy(policy)
        async with self._lock:
            key = policy_key(policy)
            before = self._policies.get(key)
            # Entered first: if the caller is cancelled half-way, close() still removes it.
            self._policies[key] = policy
            try:
                # What an earlier gkmd left is replaced in one step: not an instant in clear.
                await self._put_policy(policy, replace=key in self._kept)
            except DataplaneError:
                _restore(self._policies, key, before)
                raise
            self._kept.pop(key, None)
            self._released.pop(key, None)

    async def remove_policy(self, policy: EspPolicy) -> None:
        async with self._lock:
            installed = self._policies.get(policy_key(policy))
            if installed is None:
                return
            others = [p for p in self._policies.values() if p is not installed]
            for sa in list(self._sas.values()):
                if _covers(installed, sa) and not any(_covers(p, sa) for p in others):
                    await self._forget_sa(sa)
            await self._drop_policy(installed)
            del self._policies[policy_key(installed)]

    async def install_sa(self, sa: EspSa) -> None:
        check_sa(sa)
        async with self._lock:
            # Without a policy the kernel sends in clear beside the SA (fail closed: policy before SA).
            if not any(_covers(policy, sa) for policy in self._policies.values()):
                raise DataplaneError(
                    f"{describe_sa(sa)}: no {sa.direction.value} policy covers it, policies come first",
                    errno.ENOENT,
                )
            key = sa_key(sa)
            before = self._sas.get(key)
            self._sas[key] = sa
            try:
                await self._put_sa(sa)
            except DataplaneError:
                _restore(self._sas, key, before)
                raise

    async def remove_sa(self, sa: EspSa) -> None:
        async with self._lock:
            installed = self._sas.get(sa_key(sa))
            if installed is not None:
                await self._forget_sa(installed)

    async def switch_output(self, policy: EspPolicy) -> None:
        check_policy(policy)
        async with self._lock:
            key = policy_key(policy)
            if policy.direction is not Direction.OUT or key not in self._policies:
                raise DataplaneError(
                    f"{describe_policy(policy)}: not installed, nothing to switch", errno.ENOENT
                )
            await self._put_policy(policy, replace=True)
            self._policies[key] = policy

    async def release(self, group: str, *, closed: bool) -> None:
        async with self._lock:
            for sa in [one for one in self._sas.values() if one.group == group]:
                await self._forget_sa(sa)
            for key, policy in [item for item in self._policies.items() if item[1].group == group]:
                if closed:
                    self._kept[key] = LeftPolicy(describe_policy(policy), key, self._handle(policy))
                    self._released[key] = group
                else:
                    await self._drop_policy(policy)
                del self._policies[key]
            for key in [] if closed else [k for k, whose in self._released.items() if whose == group]:
                await self._drop_left_policy(self._kept[key])
                del self._kept[key], self._released[key]

    async def recover(self, *, keep_closed: bool = False) -> list[str]:
        async with self._lock:
            lines = []
            sas, policies = await self._leftovers()
            for sa in sas:
                if sa.key in self._sas:
                    continue
                await self._drop_sa(sa.key)
                lines.append(f"removed {sa.description}, left by an earlier gkmd")
            for policy in policies:
                if policy.key in self._policies:
                    continue
                if keep_closed:
                    self._kept[policy.key] = policy
                    lines.append(f"kept {policy.description} closed, left by an earlier gkmd")
                else:
                    await self._drop_left_policy(policy)
                    lines.append(f"removed {policy.description}, left by an earlier gkmd")
            return lines

    async def close(self) -> None:
        async with self._lock:
            # One failure does not keep the rest installed; the first is told at the end.
            failures: list[DataplaneError] = []
            for sa in list(self._sas.values()):
                try:
                    await self._forget_sa(sa)
                except DataplaneError as error:
                    failures.append(error)
            for key, policy in list(self._policies.items()):
                try:
                    await self._drop_policy(policy)
                    del self._policies[key]
                except DataplaneError as error:
                    failures.append(error)
            for key, leftover in list(self._kept.items()):
                try:
                    await self._drop_left_policy(leftover)
                    del self._kept[key]
                    self._released.pop(key, None)
                except DataplaneError as error:
                    failures.append(error)
            if failures:
                raise failures[0]

    async def _forget_sa(self, sa: EspSa) -> None:
        await self._drop_sa(sa_key(sa))
        del self._sas[sa_key(sa)]


def _covers(policy: EspPolicy, sa: EspSa) -> bool:
    """Whether the policy keeps the SA's traffic closed."""
    return (
        policy.group == sa.group
        and policy.destination == sa.destination
        and policy.direction is sa.direction
        and policy.mode is sa.mode
        and (policy.source is None or sa.source is None or policy.source == sa.source)
    )


def _restore(entries: dict[_Key, _Entry], key: _Key, before: _Entry | None) -> None:
    if before is None:
        entries.pop(key, None)
    else:
        entries[key] = before
