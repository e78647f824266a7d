"""The twin of the kernel's data plane for tests: same rules, same errors, no packets.

kernel = RecordedKernel()
dataplane = RecordingDataplane(kernel)      # another one over the same kernel is gkmd after a crash
assert dataplane.history == [("install-policy", policy), ("install-sa", sa)]
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.errors import DataplaneError
from gkmd.core.esp import Direction, EspPolicy, EspSa
from gkmd.kernel.ledger import LedgerDataplane, LeftPolicy, LeftSa, PolicyKey, SaKey, policy_key, sa_key
from gkmd.kernel.names import describe_policy, describe_sa, kernel_reqid

Event: TypeAlias = tuple[str, EspPolicy | EspSa]


@dataclass(slots=True)
class RecordedKernel:
    """What outlives the process: installed policies and SAs. ``refusal`` makes every installation fail."""

    policies: dict[PolicyKey, EspPolicy] = field(default_factory=dict)
    sas: dict[SaKey, EspSa] = field(default_factory=dict)
    refusal: DataplaneError | None = None

    def expire(self, destination: IpAddress, spi: int) -> None:
        """The SA's lifetime ends: the kernel removes it and nobody is told."""
        del self.sas[destination, spi]

    def output_sa(self, source: IpAddress | None, destination: IpAddress) -> EspSa | None:
        """The SA that a packet would leave by: the newest with the policy's reqid; None: nothing leaves."""
        for policy in self.policies.values():
            if policy.direction is Direction.OUT and policy.destination == destination:
                if policy.source not in (None, source):
                    continue
                for sa in reversed(self.sas.values()):
                    if (
                        sa.direction is Direction.OUT
                        and sa.destination == destination
                        and sa.source in (None, source)
                        and sa.mode is policy.mode
                        and kernel_reqid(sa.reqid) == kernel_reqid(policy.reqid)
                    ):
                        return sa
        return None


class RecordingDataplane(LedgerDataplane):
    """A Dataplane that remembers. ``history`` lists (verb, what) in the order in which it happened:
    install-policy, remove-policy, install-sa, remove-sa, switch-output."""

    def __init__(self, kernel: RecordedKernel | None = None) -> None:
        super().__init__()
        self.kernel = RecordedKernel() if kernel is None else kernel
        self.history: list[Event] = []

    async def _put_policy(self, policy: EspPolicy, *, replace: bool) -> None:
        key = policy_key(policy)
        self._refuse()
        if key in self.kernel.policies and not replace:
            raise DataplaneError(f"{describe_policy(policy)}: File exists (EEXIST)", errno.EEXIST)
        self.kernel.policies[key] = policy
        taken_over = key in self._kept
        self.history.append(("switch-output" if replace and not taken_over else "install-policy", policy))

    async def _drop_policy(self, policy: EspPolicy) -> None:
        if self.kernel.policies.pop(policy_key(policy), None) is not None:
            self.history.append(("remove-policy", policy))

    async def _put_sa(self, sa: EspSa) -> None:
        self._refuse()
        # Not told apart by source (the kernel's look-up is by destination, SPI and protocol).
        if sa_key(sa) in self.kernel.sas:
            raise DataplaneError(f"{describe_sa(sa)}: File exists (EEXIST)", errno.EEXIST)
        self.kernel.sas[sa_key(sa)] = sa
        self.history.append(("install-sa", sa))

    async def _drop_sa(self, key: SaKey) -> None:
        sa = self.kernel.sas.pop(key, None)
        if sa is not None:
            self.history.append(("remove-sa", sa))

    def _handle(self, policy: EspPolicy) -> object:
        return policy

    async def _leftovers(self) -> tuple[list[LeftSa], list[LeftPolicy]]:
        sas = [LeftSa(f"SA 0x{spi:08x} to {to}", (to, spi)) for to, spi in self.kernel.sas]
        policies = [LeftPolicy(describe_policy(p), key, p) for key, p in self.kernel.policies.items()]
        return sas, policies

    async def _drop_left_policy(self, policy: LeftPolicy) -> None:
        assert isinstance(policy.handle, EspPolicy)
        await self._drop_policy(policy.handle)

    def _refuse(self) -> None:
        if self.kernel.refusal is not None:
            raise self.kernel.refusal
