"""A crash at every commit point: no charge without admission, no admission without charge, neither twice."""

from __future__ import annotations

import pytest
from door_rig import NOW, DoorRig, agreed, policy_named
from hypothesis import given, settings
from hypothesis import strategies as st

from gkmd.core.effect import Ask
from gkmd.group.model import Refusal
from gkmd.group.platform.audit import Chain
from gkmd.group.platform.records import Admission, AuditLine, Entry, Reservation, Voucher

MONEY = {"rx": 1000, "ry": 500, "rz": 249}
PRICE = 250
RULE = {"any": [{"vouchers": True}, {"price": {"amount": PRICE, "currency": "EUR"}}]}


class Crash:
    """A rig of which any number of last transactions may never have reached the disk."""

    def __init__(self) -> None:
        self.rig = DoorRig("crash")
        self.rig.user("tx")
        self.rig.reserve(RULE, fee_points=1000, fee_fixed=1)
        self.code = self.rig.code()
        for login, money in MONEY.items():
            self.rig.user(login, money)
        self.asks: dict[str, Ask] = {
            login: self.rig.by_password(
                login, evidence=agreed(PRICE, voucher=self.code if login != "rx" else "")
            )
            for login in MONEY
        }
        self.rig.write(self.rig.facts.commit())
        self.start = len(self.rig.transactions)

    def crash(self, lost: int) -> None:
        """Start again without the last ``lost`` transactions; what everything is made of stays."""
        rig = self.rig
        kept = rig.transactions[: max(self.start, len(rig.transactions) - lost)]
        rig.journal, rig.transactions = {}, []
        for transaction in kept:
            rig.write(transaction)
        rig.restart()

    def register(self, login: str) -> Refusal | None:
        return self.rig.register(self.asks[login]).refusal

    def fault(self, login: str) -> None:
        """Admission, and a fault of ours in the same turn: one transaction."""
        ask, rig = self.asks[login], self.rig
        verdict = rig.decide(ask)
        if verdict.refusal is None:
            changes = rig.door.admitted(ask, verdict, policy_named(ask), NOW)
            rig.write((*changes, *rig.door.undone(ask, policy_named(ask), NOW)))

    def refund(self, login: str) -> None:
        rig = self.rig
        admission = rig.assessor.admission("talk", f"a-{login}")
        reservation = rig.facts.get(Reservation, "talk")
        if admission is not None and reservation is not None:
            rig.billing.refund(reservation, admission, "refund", NOW)
            rig.write(rig.facts.commit())

    def check(self) -> None:
        """Of the journal alone, as a server that starts now would find it."""
        rig = self.rig
        admissions = {one.party: one for one in rig.stored(Admission)}
        charged: dict[str, int] = {}
        for charge in (charge for one in admissions.values() for charge in one.charges):
            if charge.refunded is None:
                assert charge.party not in charged, "charged twice"
                charged[charge.party] = charge.amount
        owed = {party: one.amount for party, one in admissions.items() if one.amount and one.refunded is None}
        assert charged == owed
        spent: dict[str, int] = {}
        for entry in rig.stored(Entry):
            assert sum(posting.amount for posting in entry.postings) == 0
            for posting in entry.postings:
                spent[posting.account] = spent.get(posting.account, 0) - posting.amount
        for login, money in MONEY.items():
            assert spent[f"balance:a-{login}"] == money - charged.get(f"a-{login}", 0)
        by_voucher = [one for one in admissions.values() if one.by == "vouchers" and one.refunded is None]
        used = [one.held for one in rig.stored(Voucher) if one.used is not None]
        assert [one.party for one in by_voucher] == used
        for kind in (Entry, AuditLine):
            assert [one.number for one in rig.stored(kind)] == list(range(1, len(rig.stored(kind)) + 1))
        chain = Chain()
        chain.follow(rig.stored(AuditLine))
        assert chain.why == ""


@pytest.mark.parametrize("lost", range(12))
def test_after_any_crash_everybody_is_admitted_and_charged_once(lost: int) -> None:
    run = Crash()
    for act in (run.register, run.fault, run.register, run.refund, run.register):
        for login in MONEY:
            act(login)
            run.check()
    run.crash(lost)
    run.check()
    assert [run.register(login) for login in MONEY] == [None, None, Refusal.VOUCHER_INVALID]
    run.check()
    admitted = {one.party: one.by for one in run.rig.stored(Admission) if one.refunded is None}
    assert admitted == {"a-rx": "price", "a-ry": "vouchers"}
    assert run.rig.balance("rx") == MONEY["rx"] - PRICE
    assert run.rig.balance("ry") == MONEY["ry"]


_LOGINS = st.sampled_from(sorted(MONEY))
_ACTS = st.one_of(
    st.tuples(st.sampled_from(["register", "register", "fault", "refund"]), _LOGINS),
    st.tuples(st.just("crash"), st.integers(0, 6)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_ACTS, max_size=14))
def test_any_history_with_any_crashes_keeps_charge_and_admission_together(
    acts: list[tuple[str, str | int]],
) -> None:
    run = Crash()
    for name, what in acts:
        getattr(run, name)(what)
        run.check()
    # A run of lost commits is made up for by the next one: the same changes in one transaction.
    everything = tuple(change for one in run.rig.transactions[run.start :] for change in one)
    run.rig.transactions[run.start :] = [everything]
    run.crash(0)
    run.check()
