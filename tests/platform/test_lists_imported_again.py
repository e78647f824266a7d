"""A list that is imported again has other verifiers for the same passwords: whose a name is stays."""

from __future__ import annotations

import pytest
from platform_rig import CHEAP, PASSWORD, Rig
from test_door_groups import reserve

from gkmd.api import requests as q
from gkmd.api.nouns import Rule
from gkmd.core.secret import SecretBytes
from gkmd.crypto.passwords import hash_password
from gkmd.group.platform.outcome import Caller
from gkmd.group.platform.records import ListedName


def imported(rig: Rig, id: str, sender: Caller, *names: str, mode: str = "replace") -> None:
    begun = rig.do("names-begin", q.ById(id), sender)
    entries = tuple(
        q.NameEntry(name, hash_password(SecretBytes(PASSWORD.encode()), rig.rng, CHEAP)) for name in names
    )
    rig.do("names-add", q.NamesAdd(id, begun.import_id, entries), sender)
    rig.do("names-commit", q.NamesCommit(id, begun.import_id, len(names), mode), sender)  # type: ignore[arg-type]


def stage() -> tuple[Rig, str, Caller, q.IssueTicket]:
    """``ra`` has a ticket by ``anna`` and her password."""
    rig = Rig()
    sender = rig.caller("tx", "sender")
    id = reserve(rig, sender, admission=Rule(names=True))
    imported(rig, id, sender, "anna")
    request = q.IssueTicket(id, listed="anna", password=PASSWORD)
    rig.do("ticket-issue", request, rig.caller("ra"))
    return rig, id, sender, request


@pytest.mark.parametrize("mode", ["replace", "append"])
def test_the_name_stays_with_who_has_it(mode: str) -> None:
    rig, id, sender, request = stage()
    (before,) = rig.facts(ListedName)
    imported(rig, id, sender, "anna", "bert", mode=mode)
    after = {one.name: one for one in rig.facts(ListedName)}
    assert after["anna"].verifier != before.verifier
    assert after["anna"].held == before.held == rig.platform.accounts.named("ra").id
    assert after["bert"].held == ""
    assert rig.refused("ticket-issue", request, rig.caller("rb")).code == "conflict"
    rig.do("ticket-issue", request, rig.sign_in("ra"))


@pytest.mark.parametrize("how", ["removed", "forgotten"])
def test_and_is_free_again(how: str) -> None:
    rig, id, sender, request = stage()
    if how == "removed":
        rig.do("name-remove", q.NameRemove(id, "Anna"), sender)
        imported(rig, id, sender, "anna", mode="append")
    else:
        rig.do("user-forget", q.ByLogin("ra"))
        assert [one.held for one in rig.facts(ListedName)] == [""]
    rig.do("ticket-issue", request, rig.caller("rb"))
