"""Members as RFC 9838 2.4.1.4 describes them, reduced to when they hold which SA; data is a question of
SPIs.
"""

from __future__ import annotations

from dataclasses import dataclass

from gkmd.core.change import DataSa
from gkmd.core.identity import Identity
from gkmd.group.model import GroupView, RekeyOrder, gone_at


@dataclass
class Held:
    """An SA at a member: opens traffic from ``since`` until ``until``."""

    sa: DataSa
    since: float
    until: float


class Member:
    """It follows the letter: higher message ids only, timers from the moment of hearing, nothing kept
    longer.
    """

    def __init__(self, identity: Identity, view: GroupView, sends: bool = False) -> None:
        self.identity = identity
        self.policy = view.policy
        self.excluded = False
        self.held = {sa.spi: Held(sa, view.now, gone_at(sa)) for sa in view.data_sas}
        self.rekey_sas = {view.rekey_sa.spi: view.rekey_sa.next_message_id}  # least acceptable message id
        # What it sends on from which time. A new sender waits as at every change, and until all know its SA.
        own = self._own(view.data_sas)[-1:] if sends else []
        span = self.policy.rekey_repeats * self.policy.rekey_interval
        self.outbound = [(view.now + self.policy.activation_delay + span, sa.spi) for sa in own]

    def _own(self, sas: tuple[DataSa, ...]) -> list[DataSa]:
        return [sa for sa in sas if sa.sender in (None, self.identity) and sa.removed_at is None]

    def hear(self, order: RekeyOrder, now: float) -> None:
        least = self.rekey_sas.get(order.under.spi)
        if least is None or order.message_id < least:
            return
        self.rekey_sas[order.under.spi] = order.message_id + 1
        if order.close:
            self.excluded = True
            return
        if order.new_rekey_sa is not None:
            self.rekey_sas[order.new_rekey_sa.spi] = 0
        removal = now + self.policy.deactivation_delay
        for sa in order.data_sas:
            if sa.spi not in self.held:
                self.held[sa.spi] = Held(sa, now, sa.expires)
                if self.outbound and sa.sender in (None, self.identity):
                    self.outbound.append((now + self.policy.activation_delay, sa.spi))
        for spi in order.deleted_spis:
            if spi in self.held:
                self.held[spi].until = min(self.held[spi].until, removal)

    def sends_on(self, now: float) -> int | None:
        """The SPI of its traffic at this instant."""
        begun = [spi for since, spi in self.outbound if since <= now]
        return begun[-1] if begun else None

    def opens(self, spi: int, now: float) -> bool:
        held = self.held.get(spi)
        return held is not None and held.since <= now < held.until
