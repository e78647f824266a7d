"""A member's Data-Security SAs and when each is sent on, and ends: the timeline of RFC 9838 2.4.1.4 and
4.4.3.1.1.

Receivers take a new SA at once; a sender installs it at once and sends on it after the activation delay, by
pointing its policy at the new SA's reqid. An SA ends the deactivation delay after its Delete came, or with
its lifetime. Policies come before SAs and stay when SAs end: without an SA nothing passes, in either
direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from gkmd.core.address import IpAddress
from gkmd.core.effect import Effect, InstallPolicy, InstallSa, RemovePolicy, RemoveSa, SwitchOutput, Tell
from gkmd.core.esp import Direction, EspPolicy, EspSa, Mode
from gkmd.ike.closing import closing_policies
from gkmd.ike.grant import DataGrant, Flow
from gkmd.ike.group_join import GroupJoin, GroupSettings

_KERNEL_LIFETIME_MAX = float(2**32 - 1)  # the kernel's counter of seconds

Output: TypeAlias = tuple[IpAddress | None, Flow]
"""What one outbound policy covers: its source selector and the flow."""


@dataclass(slots=True)
class HeldSa:
    """One SA that is installed. ``usable_at`` is None for SAs that only receive."""

    grant: DataGrant
    sa: EspSa
    serial: int  # the order in which SAs came
    usable_at: float | None
    expires: float
    soft_at: float
    removed_at: float = math.inf
    reason: str = "expired"  # why it ends, unless something else comes first

    @property
    def ends(self) -> float:
        return min(self.expires, self.removed_at)


class Rollover:
    """The data SAs of one group on this member. Every verb returns effects in the order to carry them out."""

    def __init__(self, join: GroupJoin, settings: GroupSettings, reqids: Callable[[], int]) -> None:
        self._join = join
        self._settings = settings
        self._reqids = reqids
        self._serial = 0
        self._held: dict[int, HeldSa] = {}
        self._closing = closing_policies(join)
        self._policies: list[EspPolicy] = list(self._closing)
        self._mode: Mode | None = None
        self._active: dict[Output, int] = {}  # SPI of the SA that is sent on
        self._soft: float | None = None
        self._soft_known = False  # any change forgets it; strangers make us ask for it far more often
        self.unreplaced_end = False  # an SA has ended with its lifetime and nothing has taken its place

    @property
    def held(self) -> tuple[HeldSa, ...]:
        return tuple(self._held.values())

    @property
    def mode(self) -> Mode | None:
        """The mode of the policies that a key server's grants brought; None when there are none."""
        return self._mode

    @property
    def active_spis(self) -> frozenset[int]:
        return frozenset(self._active.values())

    def direction(self, grant: DataGrant, own: IpAddress | None) -> Direction | None:
        """What this member does with an SA; None: nothing.

        RFC 9838 2.3.3: inbound only unless the member sends on it; outbound only for one that does not
        receive. An SA that senders share serves both ways as one kernel state (it is never receive-only
        then).
        """
        if self._join.sends and (grant.source is None or grant.source == own):
            return Direction.OUT
        return Direction.IN if self._join.receives else None

    def conflict(self, grants: Iterable[DataGrant]) -> int | None:
        """An SPI that is held with another key or another flow: the kernel could not take it."""
        for grant in grants:
            held = self._held.get(grant.spi)
            if held is not None and (held.grant.key != grant.key or held.grant.flow != grant.flow):
                return grant.spi
        return None

    def install(
        self,
        grants: Iterable[DataGrant],
        own: IpAddress | None,
        activation: float,
        soft: Callable[[float], float],
        now: float,
    ) -> list[Effect]:
        """New SAs by a rekey. ``soft`` tells how long to wait for a replacement of an SA that lives so long
        (seconds).

        ``tick`` has to follow: it does the switches that are due at once.
        """
        wanted = [g for g in grants if g.spi not in self._held]
        plan: list[tuple[DataGrant, Direction, float | None]] = []
        for grant in sorted(wanted, key=_lifetime):
            direction = self.direction(grant, own)
            if direction is not None:
                # RFC 9838 4.4.3.1.1: wait before sending on it, if there is something to send on meanwhile.
                plan.append((grant, direction, now + activation if direction is Direction.OUT else None))
        return self._carry_out(plan, own, soft, now)

    def replace_all(
        self,
        grants: Iterable[DataGrant],
        own: IpAddress | None,
        activation: float,
        soft: Callable[[float], float],
        now: float,
    ) -> list[Effect]:
        """What a registration brought takes the place of everything (RFC 9838 2.3.3), without a gap.

        SAs that are granted again stay as they are, and others go after the new ones have come.
        """
        grants = sorted(grants, key=_lifetime)
        effects: list[Effect] = []
        changed = any(p.mode is not g.mode for p in self._policies for g in grants)
        if changed:
            # Another mode needs other policies for the same traffic, which the kernel does not keep side by
            # side.
            effects += self.remove_all("replaced")
        again = {g.spi for g in grants if self._unchanged(g, own)}
        gone = [h for spi, h in self._held.items() if spi not in again]
        granted = {g.spi for g in grants}
        for held in gone:
            if held.grant.spi in granted:  # with another key: the kernel cannot change one
                effects += self._end(held, "replaced")
        plan: list[tuple[DataGrant, Direction, float | None]] = []
        for grant in grants:
            if grant.spi in again:
                held = self._held[grant.spi]
                # Never longer than known before: the kernel counts from the first time.
                held.expires = min(held.expires, now + _lifetime(grant))
                held.removed_at, held.reason = math.inf, "expired"
                held.soft_at = now + soft(held.expires - now)
                continue
            direction = self.direction(grant, own)
            if direction is Direction.IN:
                plan.append((grant, direction, None))
            elif direction is Direction.OUT:
                usable_at = self._registered_output(grant, grants, again, own, activation, now)
                if usable_at is not None:
                    plan.append((grant, direction, usable_at))
        effects += self._carry_out(plan, own, soft, now)
        for held in gone:
            held.removed_at, held.reason = now, "replaced"
        self._soft_known = False
        self.unreplaced_end = False
        return effects + self.tick(now)

    def _unchanged(self, grant: DataGrant, own: IpAddress | None) -> bool:
        held = self._held.get(grant.spi)
        return (
            held is not None
            and self.conflict([grant]) is None
            and held.sa.direction is self.direction(grant, own)
        )

    def _registered_output(
        self,
        grant: DataGrant,
        grants: list[DataGrant],
        again: set[int],
        own: IpAddress | None,
        activation: float,
        now: float,
    ) -> float | None:
        """When a granted SA is sent on, None: never. Of an output the newest is what lives longest."""
        output = self._output(grant, own)
        rivals = [
            g for g in grants if self.direction(g, own) is Direction.OUT and self._output(g, own) == output
        ]
        newest = rivals[-1]  # sorted by lifetime
        if grant is not newest:
            # An older SA that other senders use, too, can be sent on while the newest one spreads. One with a
            # sender of its own cannot be taken up again: its sequence numbers would begin anew.
            return now if grant.shared else None
        older = [g for g in rivals[:-1] if g.spi in again or g.shared]
        bridged = any(_lifetime(g) >= activation for g in older)
        return now + activation if bridged else now

    def delete(self, spis: Iterable[int], at: float) -> None:
        """A Delete came for these SAs: they go at this instant."""
        self._soft_known = False
        for spi in spis:
            held = self._held.get(spi)
            if held is not None and at < held.removed_at:
                held.removed_at, held.reason = at, "deleted"

    def stop(self, reason: str, send_until: float, receive_until: float) -> None:
        """No SA is to be used any longer than this; policies stay closed."""
        self._soft_known = False
        for held in self._held.values():
            until = receive_until if held.usable_at is None else send_until
            if until < held.removed_at:
                held.removed_at, held.reason = until, reason

    def remove_all(self, reason: str, *, keep_closed: bool = False) -> list[Effect]:
        """SAs, then policies; nothing is left, except, if wanted, what this member keeps closed by itself."""
        effects: list[Effect] = []
        for held in self.held:
            effects += self._end(held, reason)
        kept = [p for p in self._policies if keep_closed and any(_same_selector(p, c) for c in self._closing)]
        effects += [RemovePolicy(policy) for policy in self._policies if policy not in kept]
        self._policies = kept
        self._active.clear()
        self._mode = None
        return effects

    def forget(self, refused: EspSa | EspPolicy) -> None:
        """The kernel did not take it: the next registration has to install it again."""
        if isinstance(refused, EspSa):
            held = self._held.get(refused.spi)
            if held is not None and held.sa == refused:
                del self._held[refused.spi]
                self._soft_known = False
                # Its policy names a reqid that will not come: the next SA needs a switch, whatever its SPI.
                self._active = {o: 0 if spi == refused.spi else spi for o, spi in self._active.items()}
            return
        self._policies = [p for p in self._policies if not _same_selector(p, refused)]
        self._mode = self._mode if self._policies else None
        if refused.direction is Direction.OUT:
            flow = refused.destination, refused.protocol, refused.port
            self._active.pop((refused.source, flow), None)

    def tick(self, now: float) -> list[Effect]:
        """Ends what is over and switches the output where it is time."""
        over = [held for held in self._held.values() if held.ends <= now]
        newest = self._newest() if over else {}
        for held in over:
            if held.expires < held.removed_at and newest[_kind(held)] == held.serial:
                self.unreplaced_end = True
            del self._held[held.grant.spi]
            self._soft_known = False
        effects: list[Effect] = []
        for output in list(self._active):
            effects += self._switch(output, now)
        for held in over:
            reason = held.reason if held.removed_at <= held.expires else "expired"
            effects += [RemoveSa(held.sa), _told("data-sa-removed", held, reason)]
        return effects

    def deadline(self) -> float | None:
        """When ``tick`` has something to do: the next end or the next activation."""
        instants = [held.ends for held in self._held.values()]
        for output, spi in self._active.items():
            active = self._held.get(spi)
            waiting = [
                h.usable_at for h in self._outputs(output) if active is None or h.serial > active.serial
            ]
            instants += [at for at in waiting if at is not None]
        soonest = min(instants, default=math.inf)
        return None if math.isinf(soonest) else soonest

    def soft_deadline(self) -> float | None:
        """When an SA that nothing replaces calls for a new registration (RFC 9838 2.4.1.4)."""
        if not self._soft_known:
            newest = self._newest()
            unreplaced = (h for h in self._held.values() if newest[_kind(h)] == h.serial)
            self._soft = min((h.soft_at for h in unreplaced if math.isinf(h.removed_at)), default=None)
            self._soft_known = True
        return self._soft

    def _newest(self) -> dict[tuple[IpAddress | None, Flow], int]:
        """Of each sender's SAs, or of those that senders share, the one that came last."""
        newest: dict[tuple[IpAddress | None, Flow], int] = {}
        for held in self._held.values():
            newest[_kind(held)] = max(held.serial, newest.get(_kind(held), 0))
        return newest

    def _carry_out(
        self,
        plan: list[tuple[DataGrant, Direction, float | None]],
        own: IpAddress | None,
        soft: Callable[[float], float],
        now: float,
    ) -> list[Effect]:
        # All policies first: not one packet passes in clear beside an SA.
        held = [
            self._hold(grant, direction, usable_at, own, soft, now) for grant, direction, usable_at in plan
        ]
        effects: list[Effect] = []
        for new in held:
            effects += self._policies_for(new, own, now)
        for new in held:
            effects += [InstallSa(new.sa), _told("data-sa-installed", new, None)]
        return effects

    def _hold(
        self,
        grant: DataGrant,
        direction: Direction,
        usable_at: float | None,
        own: IpAddress | None,
        soft: Callable[[float], float],
        now: float,
    ) -> HeldSa:
        lifetime = _lifetime(grant)
        kernel = self._settings.unlimited_lifetime if math.isinf(lifetime) else lifetime
        # A tunnel takes its outer source from the SA, which for an SA of several senders is not in the grant.
        tunnels_out = direction is Direction.OUT and grant.mode is Mode.TUNNEL
        sa = EspSa(
            self._join.name,
            grant.spi,
            own if tunnels_out else grant.source,
            grant.destination,
            grant.mode,
            direction,
            grant.cipher,
            grant.integrity,
            grant.key,
            self._reqids(),  # a new one for each: the kernel sends on an SA only when a policy names it
            0 if grant.shared else self._join.replay_window,
            # The kernel's end is the backstop behind ours.
            min(kernel + self._settings.kernel_margin, _KERNEL_LIFETIME_MAX),
        )
        self._serial += 1
        held = HeldSa(grant, sa, self._serial, usable_at, now + lifetime, now + soft(lifetime))
        self._held[grant.spi] = held
        self._soft_known = False
        return held

    def _policies_for(self, new: HeldSa, own: IpAddress | None, now: float) -> list[Effect]:
        grant, policies = new.grant, list[EspPolicy]()
        if self._join.receives:
            # Any source: whoever sends to the group in clear is not heard.
            policies.append(self._policy(grant, None, Direction.IN, 0))
        if new.usable_at is not None:
            output = self._output(grant, own)
            if output not in self._active:
                best = self._best(output, now)
                assert best is not None
                self._active[output] = best.grant.spi
                policies.append(self._policy(grant, output[0], Direction.OUT, best.sa.reqid))
        effects: list[Effect] = []
        self._mode = grant.mode
        for other in [p for p in self._policies if p.mode is not grant.mode]:
            # Closed by ourselves in another mode than the group turns out to have.
            self._policies.remove(other)
            effects.append(RemovePolicy(other))
        for policy in policies:
            installed = next((p for p in self._policies if _same_selector(policy, p)), None)
            if installed is None:
                self._policies.append(policy)
                effects.append(InstallPolicy(policy))
            elif installed.reqid != policy.reqid:
                # Closed by ourselves so far: it opens with the first SA to send on.
                self._policies[self._policies.index(installed)] = policy
                effects.append(SwitchOutput(policy))
        return effects

    def _switch(self, output: Output, now: float) -> list[Effect]:
        best = self._best(output, now)
        if best is None or best.grant.spi == self._active[output]:
            return []  # with none left the policy stays and nothing passes
        self._active[output] = best.grant.spi
        policy = self._policy(best.grant, output[0], Direction.OUT, best.sa.reqid)
        self._policies = [policy if _same_selector(policy, p) else p for p in self._policies]
        return [SwitchOutput(policy), _told("output-switched", best, None)]

    def _best(self, output: Output, now: float) -> HeldSa | None:
        """The newest SA whose time to be sent on has come; without one, that whose time comes first."""
        candidates = self._outputs(output)
        ready = [h for h in candidates if h.usable_at is not None and h.usable_at <= now]
        if ready:
            return max(ready, key=lambda h: h.serial)
        return min(candidates, key=lambda h: (h.usable_at or 0.0, h.serial), default=None)

    def _outputs(self, output: Output) -> list[HeldSa]:
        return [h for h in self._held.values() if h.usable_at is not None and self._output_of(h) == output]

    def _output_of(self, held: HeldSa) -> Output:
        return (held.sa.source if held.grant.mode is Mode.TUNNEL else None), held.grant.flow

    def _output(self, grant: DataGrant, own: IpAddress | None) -> Output:
        # In transport mode the policy covers every source of this host: what is sent to the group from
        # another of its addresses finds no SA and stops, where a narrower policy would let it out in clear.
        return (own if grant.mode is Mode.TUNNEL else None), grant.flow

    def _policy(
        self, grant: DataGrant, source: IpAddress | None, direction: Direction, reqid: int
    ) -> EspPolicy:
        return EspPolicy(
            self._join.name,
            source,
            grant.destination,
            grant.protocol,
            grant.port,
            grant.mode,
            direction,
            reqid,
        )

    def _end(self, held: HeldSa, reason: str) -> list[Effect]:
        del self._held[held.grant.spi]
        self._soft_known = False
        return [RemoveSa(held.sa), _told("data-sa-removed", held, reason)]


def _lifetime(grant: DataGrant) -> float:
    return math.inf if grant.lifetime is None else grant.lifetime


def _kind(held: HeldSa) -> tuple[IpAddress | None, Flow]:
    return held.grant.source, held.grant.flow


def _same_selector(one: EspPolicy, other: EspPolicy) -> bool:
    return replace(one, reqid=0, mode=other.mode) == replace(other, reqid=0)


def _told(event: str, held: HeldSa, reason: str | None) -> Tell:
    sa = held.sa
    fields: dict[str, object] = {
        "group": sa.group,
        "spi": f"0x{sa.spi:08x}",
        "direction": sa.direction.value,
        "source": str(sa.source) if sa.source else "any",
    }
    if reason is not None:
        fields["reason"] = reason
    return Tell(event, "info", fields)
