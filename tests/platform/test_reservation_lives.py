"""Any order of reserving, changing, cancelling, waiting and dying: groups and members follow."""

from __future__ import annotations

import ipaddress

from hypothesis import given, settings
from hypothesis import strategies as st
from platform_rig import NOW, Rig
from reservation_requests import HOUR, ask_by, join, request, reserve, ticket

from gkmd.api import requests as q
from gkmd.api.problem import Problem
from gkmd.group.model import Refused
from gkmd.group.platform import schedule
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import Reservation

TENTH = HOUR // 10
acts = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 10), st.integers(1, 10), st.integers(0, 900)),
        st.tuples(st.just("change"), st.integers(0, 9), st.integers(1, 15), st.integers(0, 900)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("join"), st.integers(0, 9)),
        st.tuples(st.just("wait"), st.integers(1, 5)),
        st.tuples(st.just("away"), st.integers(0, 5)),
        st.tuples(st.just("die"), st.sampled_from(["reserve", "change", "cancel"]), st.integers(0, 9)),
    ),
    min_size=3,
    max_size=16,
)


class Life:
    def __init__(self) -> None:
        self.rig = Rig()
        self.anna: Caller = self.rig.caller("anna", "sender")
        self.rig.user("bert")
        self.ids: list[str] = []

    def act(self, act: tuple[object, ...]) -> None:
        rig = self.rig
        match act:
            case ("reserve", int(start), int(tenths), int(lead)):
                begins, duration = rig.now + start * TENTH, tenths * TENTH
                self.ids.append(reserve(rig, self.anna, begins, duration=duration, lead=lead).id)
            case ("change", int(which), int(tenths), int(lead)) if self.ids:
                change = q.ChangeReservation(self._id(which), duration=tenths * TENTH, lead=lead)
                rig.do("reservation-change", change, self.anna)
            case ("cancel", int(which)) if self.ids:
                rig.do("reservation-cancel", q.CancelReservation(self._id(which)), self.anna)
            case ("join", int(which)) if self.ids:
                id = self._id(which)
                join(rig, ask_by(ticket(rig, id, "bert").id, id, ipaddress.ip_address("192.0.2.7")))
            case ("wait", int(tenths)):
                rig.pass_time(tenths * TENTH)
            case ("away", int(tenths)):
                rig.now += tenths * TENTH
                rig.restart()
                rig.pass_time(0)

            case ("die", str(what), int(which)) if self.ids:
                # Killed after the operation and before its changes were journalled: it never was.
                id = self._id(which)
                requests = {
                    "reserve": ("reserve", request(rig.now + TENTH)),
                    "change": ("reservation-change", q.ChangeReservation(id, duration=TENTH)),
                    "cancel": ("reservation-cancel", q.CancelReservation(id)),
                }
                before = dict(rig.journal)
                rig.begin(*requests[what], self.anna)
                assert rig.journal == before
                rig.restart()
                rig.pass_time(0)

    def _id(self, which: int) -> str:
        return self.ids[which % len(self.ids)]

    def look(self) -> None:
        rig = self.rig
        for one in rig.facts(Reservation):
            status, state = rig.directory.status(one.id), schedule.state(one, rig.now)
            if state in (schedule.OPEN, schedule.ON):
                assert status is not None
                # Opened by a tick that is due now, at the latest.
                assert status.opened or schedule.opens(one) == rig.now
            elif state == schedule.COMING:
                assert status is not None
                assert (status.members, status.opened) == (0, False)
            else:
                assert status is None or (status.members, status.opened) == (0, False)
                assert not any(group == one.id for group, _ in rig.members)
        held = {
            (member.group, member.identity) for group in rig.groups for member in rig.directory.members(group)
        }
        assert held == set(rig.members)


@settings(max_examples=40, deadline=None)
@given(acts)
def test_groups_follow_their_reservations(script: list[tuple[object, ...]]) -> None:
    life = Life()
    refusals = set()
    for act in script:
        try:
            life.act(act)
        except Problem as problem:
            refusals.add(problem.code)
        except Refused as refused:
            refusals.add(refused.refusal.value)
        life.look()
    assert refusals <= {"invalid", "conflict", "not-admitted", "not-yet-open", "closed", "cancelled"}
    life.rig.pass_time(NOW + 60 * HOUR - life.rig.now)
    assert not life.rig.groups
    assert not life.rig.members


def test_changed_a_thousand_times_it_is_looked_after_once() -> None:
    life = Life()
    life.act(("reserve", 10, 1, 0))
    for number in range(1000):
        change = q.ChangeReservation(life.ids[0], duration=HOUR + number % 7)
        life.rig.do("reservation-change", change, life.anna)
    assert len(life.rig.platform.reservations._alarms._heap) < 100
    life.rig.pass_time(4 * HOUR)
    assert not life.rig.groups
