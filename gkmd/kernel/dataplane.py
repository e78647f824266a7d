"""What a driver asks of the kernel for ESP, whichever kernel it is: XFRM, or the recording twin.

The promises, kept by ``ledger.LedgerDataplane`` for every implementation:

- policy before SA: an SA without a policy of its group, destination and direction is refused, because
  the kernel would let the traffic pass in clear beside it; SAs go first and policies last;
- nothing is half installed: a refused call leaves things as they were;
- removal is idempotent: an SA that its lifetime has ended already, or that was never there, is no error;
- every refusal is a DataplaneError with one clear line, the system's number in ``errno`` and no key in it.
"""

from __future__ import annotations

from typing import Protocol

from gkmd.core.esp import EspPolicy, EspSa


class Dataplane(Protocol):
    """ESP policies and SAs of this host. Calls are carried out one after the other, in order."""

    async def install_policy(self, policy: EspPolicy) -> None:
        """From now on this traffic is ESP or nothing. EEXIST: its selector and direction are taken."""

    async def remove_policy(self, policy: EspPolicy) -> None:
        """Let the traffic go. SAs that no other policy of the group covers are removed before it."""

    async def install_sa(self, sa: EspSa) -> None:
        """Install one SA. EEXIST: the destination has an SA with this SPI; ENOENT: no policy covers it.

        An SA for output becomes the one that is sent on at once if the policy names its reqid, else at
        ``switch_output``: give a new SA a new reqid.
        """

    async def remove_sa(self, sa: EspSa) -> None:
        """Remove the SA with this destination and SPI if this process installed it."""

    async def switch_output(self, policy: EspPolicy) -> None:
        """Send on the SA of ``policy.reqid`` from the next packet on. ENOENT: no such policy is installed."""

    async def release(self, group: str, *, closed: bool) -> None:
        """Nobody answers for this group any more: its SAs go. With ``closed`` its policies stay, until
        ``close`` or until ``install_policy`` takes one over; without, they go, those released before, too.
        """

    async def recover(self, *, keep_closed: bool = False) -> list[str]:
        """Remove what an earlier gkmd left behind, SAs first; returns one line for the log for each thing.

        With ``keep_closed`` its policies stay, so that between a crash and the new registration nothing
        passes in clear: ``install_policy`` takes over the one with its selector, ``close`` removes the rest.
        """

    async def close(self) -> None:
        """Remove all that this process installed or kept, SAs first, policies last. Can be repeated."""
