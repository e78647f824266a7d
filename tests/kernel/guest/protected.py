"""A group under ESP on the hosts of a wire, as the member machines would install it."""

from __future__ import annotations

import dataclasses
from ipaddress import IPv4Address, IPv6Address

from kernel_contract import key_for
from kernel_hosts import Wire

from gkmd.core.address import IpAddress
from gkmd.core.algorithms import AES_GCM_16_128, Cipher, Integrity
from gkmd.core.esp import Direction, EspPolicy, EspSa, Mode
from gkmd.kernel.xfrm import XfrmDataplane

PORT = 5000
GROUP: dict[int, IpAddress] = {4: IPv4Address("239.1.1.1"), 6: IPv6Address("ff3e::8000:1")}


@dataclasses.dataclass(frozen=True)
class Protection:
    """How a group is protected; makes the SAs and policies of one epoch or the next."""

    version: int = 4
    mode: Mode = Mode.TRANSPORT
    cipher: Cipher = AES_GCM_16_128
    integrity: Integrity | None = None
    window: int = 64
    lifetime: float = 300.0

    @property
    def group(self) -> IpAddress:
        return GROUP[self.version]

    def policy(self, direction: Direction, source: IpAddress | None, reqid: int = 0) -> EspPolicy:
        return EspPolicy("news", source, self.group, 17, PORT, self.mode, direction, reqid)

    def sa(self, direction: Direction, spi: int, source: IpAddress | None, reqid: int) -> EspSa:
        return EspSa(
            group="news",
            spi=spi,
            source=source,
            destination=self.group,
            mode=self.mode,
            direction=direction,
            cipher=self.cipher,
            integrity=self.integrity,
            key=key_for(self.cipher, self.integrity, spi),
            reqid=reqid,
            replay_window=self.window,
            lifetime=self.lifetime,
        )


class Group:
    """One group on a wire: data planes of its hosts, opened when first used, closed together."""

    def __init__(self, wire: Wire, protection: Protection) -> None:
        self.wire = wire
        self.protection = protection
        self.planes: dict[str, XfrmDataplane] = {}

    def plane(self, name: str) -> XfrmDataplane:
        if name not in self.planes:
            self.planes[name] = self.wire[name].dataplane()
        return self.planes[name]

    def source(self, name: str) -> IpAddress:
        return self.wire[name].address(self.protection.version)

    async def close_receiver(self, name: str = "rx") -> None:
        """Close the receiver: policy first, nothing in clear from now on."""
        await self.plane(name).install_policy(self.protection.policy(Direction.IN, None))

    async def receive(self, spi: int, sender: str | None, name: str = "rx") -> None:
        source = self.source(sender) if sender else None
        await self.plane(name).install_sa(self.protection.sa(Direction.IN, spi, source, 0))

    async def send(self, name: str, spi: int, *, reqid: int = 1, shared: bool = False) -> None:
        """Open a sender: its policy, then its SA (with any source when senders share it)."""
        source = self.source(name)
        await self.plane(name).install_policy(self.protection.policy(Direction.OUT, source, reqid))
        sa = self.protection.sa(Direction.OUT, spi, None if shared else source, reqid)
        await self.plane(name).install_sa(sa)

    async def close(self) -> None:
        for name, plane in self.planes.items():
            await plane.close()
            assert self.wire[name].xfrm_is_empty()
