"""The seam between the groups and the platform that decides who is admitted to a reserved transmission.

``Directory`` asks its doorkeeper about groups that stem from reservations; groups of the configuration file
are decided by their own patterns. ``gkmd.group.platform.platform.Platform`` is the one implementation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from gkmd.core.change import Change
from gkmd.core.effect import Ask, AskPassword
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.model import GroupPolicy, Refusal, SenderRule, Verdict


@dataclass(frozen=True, slots=True)
class PasswordCheck:
    """What an AskPassword comes to: compare with ``verifier``, or do not even try because of ``refusal``.

    ``verifier`` is an argon2id string; for a name that does not exist that of nobody's password, so that the
    answer takes as long. ``grounds``: whose password it is, a list's or an account's. A name alone does not
    say: every sender makes lists with names and passwords of his choice, and the IKE SA may ask for groups
    of others. ``identity``: the one form of the name, however it was written; who has it is one member.
    """

    verifier: str
    known: bool
    refusal: Refusal | None = None
    come_back: float | None = None
    grounds: str = ""
    identity: Identity | None = None


@dataclass(frozen=True, slots=True)
class PasswordVerdict:
    """The shell's answer to an AskPassword. ``refusal`` None: it is the password. ``grounds`` and
    ``identity`` are those of the check; the IKE SA keeps them, and every Ask over it has them.
    """

    refusal: Refusal | None
    come_back: float | None = None
    grounds: str = ""
    identity: Identity | None = None


class Doorkeeper(Protocol):
    """All methods are pure and quick; changes are journalled in the same transaction as the member."""

    def knows(self, group: str) -> bool:
        """Whether a group stems from a reservation."""

    def policy_of(self, group_id: Identity) -> GroupPolicy | None:
        """The policy of a reservation whose group is no more (over, cancelled): who would be admitted is
        told so. None when there never was one.
        """

    def sender(self, group: str, identity: Identity) -> SenderRule | None:
        """The rule by which this identity may send to a reservation's group, None when it may not. Asked
        again for members that are there already, when the reservation has changed and after a restart.
        """

    def secret_of(self, identity: Identity) -> SecretBytes | None:
        """The pre-shared key of the ticket with this KEY_ID, None when there is none. A revoked one still has
        its key, so that its holder can be told; ``decide`` lets it in nowhere.
        """

    def withdrawn(self, identity: Identity, grounds: str) -> str:
        """Why this ticket, or the password of these ``grounds``, must not be used any more; "" when it may
        be.
        """

    def password_of(self, ask: AskPassword, now: float) -> PasswordCheck: ...

    def password_tried(self, ask: AskPassword, verdict: PasswordVerdict, now: float) -> tuple[Change, ...]:
        """A password was right or wrong: lock-out, statistics, audit."""

    def decide(self, ask: Ask, policy: GroupPolicy, now: float) -> Verdict:
        """Who may receive or send, and what it costs. Changes nothing. The group's own state (not yet open,
        closed, full) is looked at by the group itself, after this.
        """

    def admitted(self, ask: Ask, verdict: Verdict, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        """The group takes the member in this very turn: charge, count, audit; once per receiver. Raises
        Refused when it cannot be charged after all; then nothing has changed.
        """

    def refused(self, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        """Count and audit a refusal, bounded: a stranger must not fill the journal."""

    def undone(self, ask: Ask, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        """A fault of ours after ``admitted`` in the same turn: what was charged by it is given back."""

    def gone(self, group: str, identities: Iterable[Identity], now: float) -> tuple[Change, ...]:
        """These are no longer members, for whatever reason."""

    def rekeyed(self, group: str, now: float) -> None:
        """A rekey was made; counted, not journalled by itself."""
