"""A doorkeeper of a few lines: who has which ticket and password, and a list of what it was told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from gkmd.core.change import Change
from gkmd.core.effect import Ask, AskPassword
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.doorkeeper import PasswordCheck, PasswordVerdict
from gkmd.group.model import GroupPolicy, Refusal, SenderRule, Verdict

WELCOME = Verdict(None, receives=True)


@dataclass
class Porter:
    """``verdict`` decides about the groups in ``reserved``."""

    tickets: dict[Identity, SecretBytes] = field(default_factory=dict)
    passwords: dict[Identity, bytes] = field(default_factory=dict)
    gone_bad: dict[Identity | str, str] = field(default_factory=dict)  # tickets, names, grounds of passwords
    reserved: set[str] = field(default_factory=lambda: {"news"})
    verdict: Callable[[Ask], Verdict] = field(default=lambda ask: WELCOME)
    past: dict[Identity, GroupPolicy] = field(default_factory=dict)
    told: list[tuple[object, ...]] = field(default_factory=list)

    def knows(self, group: str) -> bool:
        return group in self.reserved

    def policy_of(self, group_id: Identity) -> GroupPolicy | None:
        return self.past.get(group_id)

    def sender(self, group: str, identity: Identity) -> SenderRule | None:
        return None

    def secret_of(self, identity: Identity) -> SecretBytes | None:
        return self.tickets.get(identity)

    def withdrawn(self, identity: Identity, grounds: str) -> str:
        return self.gone_bad.get(identity, self.gone_bad.get(grounds, ""))

    def password_of(self, ask: AskPassword, now: float) -> PasswordCheck:
        known = ask.identity in self.passwords
        return PasswordCheck(self.passwords.get(ask.identity, b"").hex(), known)

    def password_tried(self, ask: AskPassword, verdict: PasswordVerdict, now: float) -> tuple[Change, ...]:
        self.told.append(("tried", ask.identity, verdict.refusal))
        return ()

    def judged(self, ask: AskPassword) -> PasswordVerdict:
        """What the shell would find."""
        right = self.passwords.get(ask.identity) == ask.password.reveal()
        if not right:
            return PasswordVerdict(Refusal.WRONG_PASSWORD)
        return PasswordVerdict(None, grounds=f"account {ask.identity}")

    def decide(self, ask: Ask, policy: GroupPolicy, now: float) -> Verdict:
        return self.verdict(ask)

    def admitted(self, ask: Ask, verdict: Verdict, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        self.told.append(("admitted", ask.identity, ask.proof))
        return ()

    def refused(self, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        self.told.append(("refused", ask.identity, verdict.refusal))
        return ()

    def undone(self, ask: Ask, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        self.told.append(("undone", ask.identity))
        return ()

    def gone(self, group: str, identities: Iterable[Identity], now: float) -> tuple[Change, ...]:
        self.told += [("gone", identity) for identity in identities]
        return ()

    def rekeyed(self, group: str, now: float) -> None:
        pass
