"""What ``gkmd ctl`` shows of a member: its groups, whether they are wanted, and their SAs."""

from __future__ import annotations

from typing import Any

from gkmd.core.errors import LocalError
from gkmd.daemon.member_crew import MemberCrew
from gkmd.daemon.ticket_desk import TicketDesk
from gkmd.daemon.wishes import Wish, Wishes
from gkmd.ike.group_join import GroupJoin
from gkmd.ike.group_member import GroupMember, State


def group_rows(crew: MemberCrew, wishes: Wishes, desk: TicketDesk, now: float) -> list[dict[str, Any]]:
    """All groups of all endpoints, then the tickets that have no endpoint yet."""
    rows = []
    for name, group in crew.groups.items():
        post = crew.holder(name)
        ticket = "" if post is None else post.name
        row = _row(group.join, ticket, wishes) | _of(group, wishes.wish(name), now)
        row["registration_due"] = None if post is None else post.endpoint.due(name)
        rows.append(row)
    for name, held in desk.held.items():
        if not held.hired:
            rows.append(_row(held.ticket.join, name, wishes) | {"state": "no route"})
    for row in rows:
        known = desk.held.get(row["ticket"])
        if known is not None:
            row |= {"title": known.ticket.title, "starts": known.ticket.starts, "ends": known.ticket.ends}
    return rows


def _row(join: GroupJoin, ticket: str, wishes: Wishes) -> dict[str, Any]:
    roles = [role for role, has in (("receiver", join.receives), ("sender", join.sends)) if has]
    return {
        "name": join.name,
        "id": str(join.group_id),
        "state": "",
        "role": "+".join(roles),
        "interface": join.interface,
        "ticket": ticket,
        "address": "" if join.flow is None else str(join.flow[0]),
        "port": None if join.flow is None else join.flow[2],
        "wanted": wishes.wish(join.name).value,
        "programs": wishes.programs(join.name),
    }


def _of(group: GroupMember, wish: Wish, now: float) -> dict[str, Any]:
    state = group.status(now)
    waits = group.state is State.LEFT and wish is Wish.WAITING
    refusal = None if group.registered or group.state is State.LEFT else group.refusal
    return {
        "state": "waiting" if waits else state["state"],
        "data_sas": len(state["data_sas"]),  # type: ignore[arg-type]
        "rekey_sas": len(state["rekey_sas"]),  # type: ignore[arg-type]
        "sender_ids": state["sender_ids"],
        "refused": "" if refusal is None else refusal.code,
        "price": "" if refusal is None or refusal.price is None else str(refusal.price),
        "come_back": None if refusal is None else refusal.come_back,
    }


def sa_rows(crew: MemberCrew, group: str, now: float) -> list[dict[str, Any]]:
    """The SAs of one group, or of all. LocalError when there is no such group."""
    states = [one.status(now) for name, one in crew.groups.items() if group in ("", name)]
    if not states and group:
        raise LocalError(f"there is no group {group!r}")
    found: list[dict[str, Any]] = []
    for state in states:
        name = state["group"]
        found += [{"group": name, "kind": "rekey"} | sa for sa in state["rekey_sas"]]  # type: ignore[attr-defined]
        found += [{"group": name, "kind": "esp"} | sa for sa in state["data_sas"]]  # type: ignore[attr-defined]
    return found
