"""What becomes of IKE SAs whose peer could no longer authenticate as it did: its credentials were taken out
of the configuration.

RFC 7296 has no word on it; 2.8.3 leaves reauthentication to the local policy, and this is ours. A secret that
was changed is not seen here: the member learns the new one after the server, and would be cut off between.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from gkmd.group.directory import Directory
from gkmd.ike.authenticate import Authenticator
from gkmd.ike.half_open import HalfOpenTable
from gkmd.ike.registrar import Registrar
from gkmd.ike.removal import DELETE_IKE_SA, deletion_of
from gkmd.ike.sa import IkeSa, SaState
from gkmd.ike.sa_keeper import SaKeeper
from gkmd.ike.turn import Turn
from wire.message import Payload

EVENT: Final = "credential-withdrawn"


def end_disowned(
    turn: Turn,
    authenticator: Authenticator,
    now: float,
    *,
    half_open: HalfOpenTable,
    keeper: SaKeeper,
    registrar: Registrar,
    directory: Directory,
) -> None:
    """Delete the IKE SAs that rest on what ``authenticator`` no longer has. Their registrations end at once,
    and the members are told to delete the groups' keys first.

    After a restart, too: the configuration may have changed meanwhile, or the Delete not have arrived.
    """
    for half in half_open:
        if half.sa is not None and (reason := _reason(authenticator, half.sa)):
            # Its question of admission is open.
            half_open.remove(half, now)
            registrar.forget(half.sa)
            _tell(turn, half.sa, reason)
            turn.tells.append(half.sa.move(SaState.GONE, reason))
    for sa in keeper.table:
        if reason := _reason(authenticator, sa):
            registrar.forget(sa)
            exclude = list(_deletions(directory, directory.groups_over(sa.spi_r)))
            keeper.left(turn, directory.ike_sa_gone(sa.spi_r, now), now)
            if sa.state is not SaState.CLOSING:
                _tell(turn, sa, reason)
            keeper.close(turn, sa, [DELETE_IKE_SA], reason, now, exclude=exclude)


def _deletions(directory: Directory, groups: Sequence[str]) -> Iterator[list[Payload]]:
    """For each group the Delete of its SAs at the member. The end of an IKE SA leaves them alone: a member
    goes on with what it has.
    """
    for group in groups:
        sas = directory.sas(group)
        yield deletion_of(sas.data_sas, sas.rekey_sas, only_group=len(groups) == 1)


def _reason(authenticator: Authenticator, sa: IkeSa) -> str:
    return "" if sa.peer is None else authenticator.withdrawn(sa.peer, sa.grounds)


def _tell(turn: Turn, sa: IkeSa, reason: str) -> None:
    turn.tell(EVENT, "warning", peer=sa.peer_text, path=str(sa.path), spi=sa.spi_r.hex(), reason=reason)
