"""The member's side of one group: grants and rekeys in, effects out. Pure.

States: NEW -> MEMBER by a grant; MEMBER -> EXCLUDED or CLOSED by the key server (or by the loss of all that
it could be reached with); back to MEMBER by another grant; LEFT is final. Only LEFT removes policies: until
then what was protected stays closed. ``registration_due`` says when a registration is wanted; carrying it
out, and its retries, are the endpoint's. Times are Unix seconds.
"""

from __future__ import annotations

import enum
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from gkmd.core.address import IpAddress
from gkmd.core.effect import Effect, InstallPolicy, InstallSa
from gkmd.core.errors import CryptoError, PeerError
from gkmd.core.rng import Rng
from gkmd.core.secret import SecretBytes
from gkmd.ike.grant import Delays, Grant, RekeyAuthentication, Update
from gkmd.ike.group_join import GroupJoin, GroupSettings, source_specific
from gkmd.ike.memberships import Membership, Memberships
from gkmd.ike.read_gikev2 import Known, read_deletion, read_inband, read_rekey
from gkmd.ike.read_policies import refused
from gkmd.ike.reason import Reason
from gkmd.ike.rekey_message import open_rekey_untrusted, peek_rekey_untrusted
from gkmd.ike.rekey_sas import HeldRekeySa, RekeySas
from gkmd.ike.rollover import Rollover
from gkmd.ike.selectors import read_selector
from gkmd.ike.turn import Turn
from wire.errors import WireError
from wire.gikev2 import GroupSaPolicy
from wire.message import Payload, first
from wire.registry import PayloadType, ProtocolId

_MOST_DATA_SAS: Final = 4096  # ours: each is held in the kernel, whatever lifetime the key server gives it


class State(enum.Enum):
    NEW = "new"
    MEMBER = "member"
    EXCLUDED = "excluded"
    CLOSED = "closed"
    LEFT = "left"


class GroupMember:
    """One group on this member. ``reqids`` is the process's counter of XFRM reqids, shared by all groups."""

    def __init__(self, join: GroupJoin, rng: Rng, settings: GroupSettings, reqids: Callable[[], int]) -> None:
        self.join = join
        self._rng = rng
        self._settings = settings
        self._state = State.NEW
        self._data = Rollover(join, settings, reqids)
        self._rekeys = RekeySas(join.name)
        self._authentication: RekeyAuthentication | None = None
        self._delays = Delays()
        self._sender_ids: tuple[int, ...] = ()
        self._key_path = Update().key_path
        self._own: IpAddress | None = join.source
        self._memberships = Memberships(join.name, join.interface)
        self._wanted_at: float | None = 0.0  # a registration is wanted, apart from SAs that grow old
        self.refusal: Reason | None = None  # why the key server did not take us last; None once it has

    # --- questions
    # -------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        return self._state

    @property
    def registered(self) -> bool:
        """Holds a grant that is in force."""
        return self._state is State.MEMBER

    @property
    def rekey_spis(self) -> tuple[bytes, ...]:
        """SPIs of 16 octets on which rekeys for this group come."""
        return tuple(held.grant.spi for held in self._rekeys.held)

    @property
    def sender_ids(self) -> tuple[int, ...]:
        """For information: the kernel chooses IVs by itself, so a sender has an SA of its own (ADR 3)."""
        return self._sender_ids

    @property
    def registration_due(self) -> float | None:
        """When a registration is wanted; in the past when it is wanted now, None when not at all."""
        soft = (self._data.soft_deadline(), self._rekeys.soft_deadline()) if self.registered else ()
        return min((at for at in (self._wanted_at, *soft) if at is not None and at < math.inf), default=None)

    def deadline(self) -> float | None:
        """When ``tick`` is to be called; ``registration_due`` is not in it."""
        return min(
            (at for at in (self._data.deadline(), self._rekeys.deadline()) if at is not None), default=None
        )

    def concerned(self, payloads: Sequence[Payload]) -> bool:
        """Whether an inband rekey is for this group: it names a destination or an SPI that is held here."""
        gsa = first(payloads, PayloadType.GSA)
        policies = [p for p in gsa.policies if isinstance(p, GroupSaPolicy)] if gsa else []
        destinations = {h.grant.destination for h in self._data.held}
        rekey_destinations = {h.grant.address for h in self._rekeys.held}
        for policy in policies:
            try:
                address = read_selector(policy.destination).address
            except ValueError:
                continue
            rekey = policy.protocol == ProtocolId.GIKE_UPDATE
            if address in (rekey_destinations if rekey else destinations):
                return True
        deletion = read_deletion(payloads)
        spis = {h.grant.spi for h in self._data.held}
        return bool(spis & set(deletion.data_spis) or set(self.rekey_spis) & set(deletion.rekey_spis))

    def status(self, now: float) -> dict[str, object]:
        """For the control socket: what is held, for how long; no keys."""
        active = self._data.active_spis
        return {
            "group": self.join.name,
            "state": self._state.value,
            "data_sas": [
                {
                    "spi": f"0x{h.grant.spi:08x}",
                    "source": str(h.grant.source) if h.grant.source else "any",
                    "destination": str(h.grant.destination),
                    "direction": h.sa.direction.value,
                    "sending": h.grant.spi in active,
                    "seconds_left": round(h.ends - now, 3) if h.ends < math.inf else None,
                }
                for h in self._data.held
            ],
            "rekey_sas": [
                {
                    "spi": h.grant.spi.hex(),
                    "next_message_id": h.next_message_id,
                    "seconds_left": round(h.ends - now, 3),
                }
                for h in self._rekeys.held
            ],
            "sender_ids": list(self._sender_ids),
            "registration_due": self.registration_due,
            "refused": self.refusal.plain() if self.refusal else None,
        }

    # --- what happens
    # ----------------------------------------------------------------------------------------

    def admit(self, grant: Grant, now: float, local: IpAddress | None = None) -> list[Effect]:
        """A registration has succeeded. ``local`` is our address on the IKE SA's path, the sender's address
        unless the configuration names one.
        """
        turn = Turn()
        if self._state is State.LEFT:
            turn.tell("grant-after-leave", "debug", group=self.join.name)
            return turn.effects()
        if self._rekeys.outdated(grant.rekey):
            # RFC 9838 2.3.3: answered before a rekey that came in between. What we hold is newer; whatever
            # made us ask will make us ask again.
            turn.tell("grant-outdated", "info", group=self.join.name)
            return turn.effects()
        self._own = self.join.source or local or self._own
        self._delays = grant.delays
        self._authentication = grant.authentication
        self._sender_ids = grant.sender_ids
        self._key_path = grant.key_path
        turn.extend(
            self._data.replace_all(grant.data, self._own, grant.delays.activation, self._soft_after, now)
        )
        if grant.rekey is None:
            turn.extend(self._rekeys.clear())
        else:
            self._rekeys.install(grant.rekey, self._soft_after, now)
            self._rekeys.retire_others(now)
            turn.extend(self._rekeys.tick(now))
        self._wanted_at = None
        turn.extend(self._memberships.follow(self._wanted_memberships(), leave=True))
        self._enter(State.MEMBER, "registered", turn)
        if self.join.sends and not any(h.usable_at is not None for h in self._data.held):
            turn.tell("no-sa-to-send-on", "warning", group=self.join.name)
        return turn.effects()

    def receive_rekey_untrusted(self, data: bytes, now: float) -> list[Effect]:
        """A datagram for one of ``rekey_spis``. Nothing escapes, and nothing changes unless it is authentic
        and new.
        """
        turn = Turn()
        turn.extend(self.tick(now))
        digest = hashlib.sha256(data).digest()
        if self._rekeys.seen(digest):
            # RFC 9838 2.4.1.3: copies are the same octets. Recognised before anything else, because a copy of
            # a message that changed the signature key would no longer verify.
            turn.tell("rekey-duplicate", "debug", group=self.join.name)
            return turn.effects()
        try:
            header = peek_rekey_untrusted(data)
            via = self._rekeys.find(header.spi_i + header.spi_r)
            if via is None or self._authentication is None:
                raise WireError("unknown-spi")
            # The order of RFC 9838 2.4.1.4: decrypt and check the ICV, the signature, the Message ID, the
            # content.
            opened = open_rekey_untrusted(data, via.protection, self._authentication)
        except WireError as error:
            self._drop(turn, error.reason, str(error))
            return turn.effects()
        except CryptoError as error:
            self._drop(turn, "not-authentic", str(error))
            return turn.effects()
        if opened.message_id < via.next_message_id:
            self._drop(turn, "old-message-id", f"{opened.message_id}, expected {via.next_message_id}")
            return turn.effects()
        self._rekeys.remember(digest)
        try:
            update = read_rekey(opened.payloads, self._known(via.protection.gsk_w, via), self.join)
            self._check(update)
        except PeerError as error:
            # Authentic, and not acceptable: all of it is refused and its Message ID is not consumed. Others
            # may have taken it, so what we hold will soon be of no use: ask for the policy once more.
            self._want(self._jitter(now))
            turn.tell("rekey-refused", "warning", group=self.join.name, reason=str(error))
            return turn.effects()
        via.next_message_id = opened.message_id + 1
        turn.tell("rekey-received", group=self.join.name, message_id=opened.message_id)
        self._apply(update, now, turn)
        return turn.effects()

    def inband(self, payloads: Sequence[Payload], gsk_w: SecretBytes, now: float) -> list[Effect]:
        """A GSA_INBAND_REKEY request (RFC 9838 2.4.2). PeerError when it is not acceptable; nothing has
        changed then.
        """
        current = self._rekeys.current
        update = read_inband(payloads, self._known(gsk_w, current), self.join)
        self._check(update)
        turn = Turn()
        turn.extend(self.tick(now))
        turn.tell("rekey-received", group=self.join.name, inband=True)
        self._apply(update, now, turn)
        return turn.effects()

    def excluded(self, reason: str, now: float) -> list[Effect]:
        """We are out: the key server said so, or the IKE SA is gone and there is no Rekey SA (RFC 9838
        2.3.3).
        """
        turn = Turn()
        if self._state is not State.LEFT:
            self._exclude(State.EXCLUDED, reason, now, now, now, turn)
        return turn.effects()

    def leave(self, now: float) -> list[Effect]:
        """Take everything away; the group is left for good. Telling the key server is the endpoint's part."""
        turn = Turn()
        # Out of the groups first, policies last: nothing in clear is heard or said while anything is left.
        turn.extend(self._memberships.leave_all())
        turn.extend(self._data.remove_all("left", keep_closed=True))
        turn.extend(self._rekeys.clear())
        self._wanted_at = None
        self._authentication = None
        self._key_path = ()
        self._sender_ids = ()
        self._enter(State.LEFT, "left", turn)
        return turn.effects()

    def not_installed(self, effect: InstallSa | InstallPolicy) -> None:
        """The kernel refused it. It is forgotten, so that another grant asks for it once more."""
        self._data.forget(effect.sa if isinstance(effect, InstallSa) else effect.policy)

    def tick(self, now: float) -> list[Effect]:
        """Switches, ends and expiries that are due."""
        turn = Turn()
        turn.extend(self._data.tick(now))
        turn.extend(self._rekeys.tick(now))
        if self.registered and (self._data.unreplaced_end or self._rekeys.unreplaced_end):
            self._data.unreplaced_end = self._rekeys.unreplaced_end = False
            self._want(now)
            turn.tell("sa-ended-unreplaced", "warning", group=self.join.name)
        turn.extend(self._memberships.leave_old_rekeys(self._rekey_memberships()))
        return turn.effects()

    # --- the inside
    # ------------------------------------------------------------------------------------------

    def _known(self, gsk_w: SecretBytes, via: HeldRekeySa | None) -> Known:
        return Known(
            gsk_w,
            via.grant.key_wrap if via else None,
            self._authentication,
            self._data.mode,
            self._own,
            self._sender_ids,
            self._key_path,
        )

    def _check(self, update: Update) -> None:
        if len(self._data.held) + len(update.data) > _MOST_DATA_SAS:
            raise refused(f"more than {_MOST_DATA_SAS} data SAs")
        spi = self._data.conflict(update.data)
        if spi is not None:
            raise refused(f"SPI 0x{spi:08x} is in use with another key")
        if update.rekey is not None and self._rekeys.conflict(update.rekey):
            raise refused("the Rekey SA's SPI is in use with another key")

    def _apply(self, update: Update, now: float, turn: Turn) -> None:
        self._delays = update.delays or self._delays
        deletion, until = update.deletion, now + self._delays.deactivation
        if deletion.closed:
            self._exclude(State.CLOSED, "the group has ended", now, until, now, turn)
            return
        if deletion.excluded:
            self._exclude(State.EXCLUDED, "the key server excluded us", now, until, now, turn)
            return
        if update.unreachable:
            # RFC 9838 3.3: no path, so excluded. Or an earlier key update was lost, and all is well after the
            # next registration: until the others switch what we have still serves.
            self._exclude(State.EXCLUDED, "no key path", until, until, now, turn)
            return
        before = [held.grant.spi for held in self._data.held]
        turn.extend(
            self._data.install(update.data, self._own, self._delays.activation, self._soft_after, now)
        )
        if update.rekey is not None:
            self._rekeys.install(update.rekey, self._soft_after, now)
            self._rekeys.retire_others(until)
            turn.tell("rekey-sa-installed", group=self.join.name, spi=update.rekey.spi.hex())
        if update.auth_key and self._authentication is not None:
            # RFC 9838 table 9 note 4: for all rekeys that follow, on whichever Rekey SA.
            self._authentication = replace(self._authentication, public_key=update.auth_key)
        self._key_path = update.key_path
        # RFC 9838 2.4.1.4: what the Delete names, after the delay. "All" is what was there before this
        # message.
        announced = {grant.spi for grant in update.data}
        named = before if deletion.all_data else [s for s in deletion.data_spis if s in before]
        self._data.delete([spi for spi in named if spi not in announced], until)
        for spi in deletion.rekey_spis:
            self._rekeys.delete(spi, until)
        turn.extend(self._memberships.follow(self._wanted_memberships(), leave=False))
        turn.extend(self.tick(now))

    def _exclude(
        self, state: State, reason: str, send_until: float, receive_until: float, now: float, turn: Turn
    ) -> None:
        # Receivers go on for the deactivation delay (RFC 9838 4.4.3.1.1): what was sent before is still under
        # way.
        self._data.stop(reason, send_until, receive_until)
        turn.extend(self._rekeys.clear())
        self._enter(state, reason, turn)
        if state is State.EXCLUDED:
            # RFC 9838 2.4.3: after a random time, or the key server would hear from everybody at once.
            self._wanted_at = self._jitter(now)
        elif self._settings.closed_retry is None:
            self._wanted_at = None
        else:
            self._wanted_at = now + self._settings.closed_retry * (1 + self._random())
        turn.extend(self.tick(now))

    def _enter(self, state: State, reason: str, turn: Turn) -> None:
        if state is not self._state:
            turn.tell(
                "group-state",
                group=self.join.name,
                before=self._state.value,
                state=state.value,
                reason=reason,
            )
            self._state = state

    def _drop(self, turn: Turn, reason: str, detail: str) -> None:
        turn.tell("rekey-dropped", "debug", group=self.join.name, reason=reason, detail=detail)

    def _want(self, at: float) -> None:
        self._wanted_at = at if self._wanted_at is None else min(self._wanted_at, at)

    def _random(self) -> float:
        return int.from_bytes(self._rng(4), "big") / 2**32

    def _jitter(self, now: float) -> float:
        return now + self._settings.exclusion_spread * self._random()

    def _soft_after(self, lifetime: float) -> float:
        """How long to wait for a replacement of an SA with this lifetime before we ask (RFC 9838 2.4.1.4)."""
        if math.isinf(lifetime):
            return math.inf
        # A key server that is well has replaced an SA and told so a deactivation delay before its end;
        # members that missed it come one by one.
        window = max(float(self._delays.deactivation), self._settings.soft_margin)
        after = lifetime - window * (1 - self._random() / 2)
        return max(after, min(self._settings.registration_pause, lifetime / 2))

    # --- multicast memberships
    # ---------------------------------------------------------------------------------

    def _wanted_memberships(self) -> list[Membership]:
        return [*self._rekey_memberships(), *self._data_memberships()]

    def _rekey_memberships(self) -> list[Membership]:
        return [
            (
                h.grant.address,
                h.grant.port,
                h.grant.source if source_specific(h.grant.address) else None,
            )
            for h in self._rekeys.held
        ]

    def _data_memberships(self) -> list[Membership]:
        if not self.join.receives:
            return []
        return [
            (h.grant.destination, 0, h.grant.source if source_specific(h.grant.destination) else None)
            for h in self._data.held
        ]
