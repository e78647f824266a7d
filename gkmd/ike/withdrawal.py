"""What becomes of IKE SAs whose peer could no longer authenticate as it did: its credentials were taken out
of the configuration.

RFC 7296 has no word on it; 2.8.3 leaves reauthentication to the local policy, and this is ours. A secret that
was changed is not seen here: the member learns the new one after the server, and would be cut off between.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from gkmd.core.change import Change, DropMember
from gkmd.core.effect import Proof
from gkmd.core.identity import Identity
from gkmd.group.directory import Directory
from gkmd.ike.authenticate import Authenticator, canonical
from gkmd.ike.grounds import proof_of, whose_password
from gkmd.ike.half_open import HalfOpen, HalfOpenTable
from gkmd.ike.registrar import Registrar
from gkmd.ike.removal import DELETE_IKE_SA, deletion_of
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.sa_keeper import SaKeeper
from gkmd.ike.turn import Turn
from wire.message import Payload

EVENT: Final = "credential-withdrawn"
_DISOWNED: Final = "the platform does not admit it any more"


class Withdrawal:
    """Deletes the IKE SAs of such peers. Their registrations end at once, and the members are told to delete
    the groups' keys first.
    """

    __slots__ = ("_directory", "_half_open", "_keeper", "_registrar")

    def __init__(
        self, half_open: HalfOpenTable, keeper: SaKeeper, registrar: Registrar, directory: Directory
    ) -> None:
        self._half_open: Final = half_open
        self._keeper: Final = keeper
        self._registrar: Final = registrar
        self._directory: Final = directory

    def of_credentials(self, turn: Turn, authenticator: Authenticator, now: float) -> None:
        """End what rests on what ``authenticator`` no longer has.

        After a restart, too: the configuration may have changed meanwhile, or the Delete not have arrived.
        """
        for half in self._half_open:
            if half.sa is not None and (reason := _reason(authenticator, half.sa)):
                self._end_half(turn, half, half.sa, reason, now)
        for sa in self._keeper.table:
            if reason := _reason(authenticator, sa):
                self._end(turn, sa, reason, (), now)

    def of_identities(
        self, turn: Turn, identities: Iterable[Identity], changes: Iterable[Change], now: float
    ) -> None:
        """End what the platform has taken its word back for. ``changes``: what it has done about it already,
        for the members that it has dropped are told all the same. Who has credentials of the configuration by
        the same name does not rest on the platform's word.
        """
        disowned = {canonical(identity) for identity in identities}
        if not disowned:
            return
        for half in self._half_open:
            if half.sa is None:
                continue
            login, proved = half.login, half.sa.peer is not None and _by_platform(half.sa)
            named = login.identity if login is not None else half.sa.peer if proved else None
            if named in disowned:
                self._end_half(turn, half, half.sa, _DISOWNED, now)
        left: dict[Identity, list[str]] = {}
        for change in changes:
            if isinstance(change, DropMember):
                left.setdefault(canonical(change.identity), []).append(change.group)
        for identity in disowned:
            for sa in filter(self._is_disowned, self._keeper.table.of_peer(identity)):
                self._end(turn, sa, _DISOWNED, left.get(identity, ()), now)

    def _is_disowned(self, sa: IkeSa) -> bool:
        """A name may be that of an account, and of a list: what another password of it opened goes on."""
        proof, doorkeeper = proof_of(sa.grounds), self._directory.doorkeeper
        if proof is not Proof.PASSWORD or sa.peer is None or doorkeeper is None:
            return proof is not Proof.CONFIGURED
        return doorkeeper.withdrawn(sa.peer, whose_password(sa.grounds)) != ""

    def _end_half(self, turn: Turn, half: HalfOpen, sa: IkeSa, reason: str, now: float) -> None:
        # Its question is open; the answer will find nothing.
        self._half_open.remove(half, now)
        self._registrar.forget(sa)
        _tell(turn, sa, reason)
        turn.tells.append(sa.move(SaState.GONE, reason))

    def _end(self, turn: Turn, sa: IkeSa, reason: str, left: Sequence[str], now: float) -> None:
        directory = self._directory
        self._registrar.forget(sa)
        groups = list(dict.fromkeys((*directory.groups_over(sa.spi_r), *left)))
        exclude = list(_deletions(directory, groups))
        self._keeper.left(turn, directory.ike_sa_gone(sa.spi_r, now), now)
        if sa.state is not SaState.CLOSING:
            _tell(turn, sa, reason)
        self._keeper.close(turn, sa, [DELETE_IKE_SA], reason, now, exclude=exclude)


def _deletions(directory: Directory, groups: Sequence[str]) -> Iterator[list[Payload]]:
    """For each group the Delete of its SAs at the member. The end of an IKE SA leaves them alone: a member
    goes on with what it has.
    """
    for group in groups:
        sas = directory.sas(group)
        yield deletion_of(sas.data_sas, sas.rekey_sas, only_group=len(groups) == 1)


def _reason(authenticator: Authenticator, sa: IkeSa) -> str:
    return "" if sa.peer is None else authenticator.withdrawn(sa.peer, sa.grounds)


def _by_platform(sa: IkeSa) -> bool:
    return proof_of(sa.grounds) is not Proof.CONFIGURED


def _tell(turn: Turn, sa: IkeSa, reason: str) -> None:
    turn.tell(EVENT, "warning", peer=sa.peer_text, path=str(sa.path), spi=sa.spi_r.hex(), reason=reason)
