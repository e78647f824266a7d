"""A doorkeeper without a platform: it says what the test wants, and remembers what it was told."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from gkmd.core.change import Change, Put
from gkmd.core.effect import Ask, AskPassword
from gkmd.core.identity import Identity
from gkmd.core.secret import SecretBytes
from gkmd.group.doorkeeper import PasswordCheck, PasswordVerdict
from gkmd.group.model import GroupPolicy, Refusal, Refused, SenderRule, Verdict
from gkmd.group.platform.records import AuditLine


@dataclass(frozen=True)
class Note:
    KIND = AuditLine.KIND  # the journal reads archives only

    text: str

    @property
    def key(self) -> str:
        return self.text


class Keeper:
    """``refusals`` by identity; ``charge_fails`` raises in ``admitted``. Everybody else is admitted."""

    def __init__(self, *reserved: GroupPolicy) -> None:
        self.reserved = {policy.name: policy for policy in reserved}
        self.senders: dict[Identity, SenderRule] = {}
        self.refusals: dict[Identity, Refusal] = {}
        self.charge_fails = False
        self.admissions: list[Identity] = []
        self.undoings: list[Identity] = []
        self.refused_with: list[tuple[Identity, Refusal | None]] = []
        self.gone_from: list[tuple[str, Identity]] = []
        self.rekeys = 0

    def knows(self, group: str) -> bool:
        return group in self.reserved

    def policy_of(self, group_id: Identity) -> GroupPolicy | None:
        return next((policy for policy in self.reserved.values() if policy.group_id == group_id), None)

    def sender(self, group: str, identity: Identity) -> SenderRule | None:
        return self.senders.get(identity)

    def secret_of(self, identity: Identity) -> SecretBytes | None:
        return None

    def withdrawn(self, identity: Identity, grounds: str) -> str:
        return ""

    def password_of(self, ask: AskPassword, now: float) -> PasswordCheck:
        raise NotImplementedError

    def password_tried(self, ask: AskPassword, verdict: PasswordVerdict, now: float) -> tuple[Change, ...]:
        raise NotImplementedError

    def decide(self, ask: Ask, policy: GroupPolicy, now: float) -> Verdict:
        refusal = self.refusals.get(ask.identity)
        return Verdict(refusal, receives=not ask.wants_to_send, sends=ask.wants_to_send)

    def admitted(self, ask: Ask, verdict: Verdict, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        if self.charge_fails:
            raise Refused(Refusal.PAYMENT_REQUIRED)
        self.admissions.append(ask.identity)
        return (Put(Note(f"admitted {ask.identity}")),)

    def refused(self, ask: Ask, verdict: Verdict, now: float) -> tuple[Change, ...]:
        self.refused_with.append((ask.identity, verdict.refusal))
        return (Put(Note(f"refused {ask.identity}")),)

    def undone(self, ask: Ask, policy: GroupPolicy, now: float) -> tuple[Change, ...]:
        self.undoings.append(ask.identity)
        return (Put(Note(f"undone {ask.identity}")),)

    def gone(self, group: str, identities: Iterable[Identity], now: float) -> tuple[Change, ...]:
        self.gone_from += [(group, identity) for identity in identities]
        return ()

    def rekeyed(self, group: str, now: float) -> None:
        self.rekeys += 1
