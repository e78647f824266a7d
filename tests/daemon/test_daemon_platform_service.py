"""Operations over the control sockets: who the caller is, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from platform_stage import Stage, client, code_of, play, raw

from gkmd.api import results as r
from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.core.errors import LocalError
from gkmd.daemon.control import CONNECTIONS
from gkmd.daemon.platform_service import LINE_OCTETS, decoded
from gkmd.group.platform.outcome import Done

# Callers


def test_who_the_caller_is(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator, client(folder, "portal") as portal:
            for one in (operator, portal):
                assert one.call("me", {}) == {}
                one.call("me", {}, token="t", origin="192.0.2.1")

    play(tmp_path, stage, work)
    callers = [(call.caller.unix_user, call.caller.token, call.caller.origin) for call in stage.calls]
    assert callers == [
        (os.getuid(), "", ""),
        (None, "t", "192.0.2.1"),
        (None, "", ""),
        (None, "t", "192.0.2.1"),
    ]


DEEP_RULE = b'{"any":[' * 480 + b'{"open":true}' + b"]}" * 480
RESERVE = b'{"title":"x","start":"2026-10-01T18:00","duration":60,"admission":'


@pytest.mark.parametrize(
    "line",
    [
        b'{"command":"platform","request":' + b"[" * 100_000,
        b'{"command":"platform","operation":"reserve","request":' + RESERVE + DEEP_RULE + b"}}",
        b'{"id":' + b"[" * 985 + b"]" * 985 + b',"command":"platform","operation":"me"}',
        b'{"command":"platform","operation":"me","token":"\xed\xa0\x80"}',
        b'{"command":"platform","operation":"me","token":"\\ud800"}',
    ],
    ids=["no end", "a deep rule", "a deep number", "half a character", "half a pair"],
)
def test_who_has_the_portal_s_socket_is_answered_whatever_is_sent(
    tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """And writes no log with it."""
    stage, told = Stage(), []
    play(tmp_path, stage, lambda folder: told.append(raw(folder / "portal.sock", line + b"\n")))
    (reply,) = told
    assert isinstance(reply["ok"], bool)
    assert stage.faults == []
    assert not caplog.records


def test_the_portal_has_one_command_only(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        for name in ("status", "events", "metrics", "rekey", "recent"):
            with client(folder, "portal") as portal, pytest.raises(LocalError, match=r"one of platform$"):
                portal.request(name)
        with client(folder) as operator:
            assert operator.request("status") == {"fine": True}

    play(tmp_path, stage, work)
    assert stage.calls == []


def test_operators_changes_are_logged_without_their_contents(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator:
            operator.call("me", {})
            operator.call("user-add", {"login": "rx", "password": "very secret"})

    play(tmp_path, stage, work)
    (line,) = stage.events.recent()
    assert (line["event"], line["command"], line["uid"]) == (
        "operator-command",
        "platform user-add",
        os.getuid(),
    )
    assert "secret" not in str(line)


def test_only_the_portal_reports(tmp_path: Path) -> None:
    """Lines of the audit log about refusals elsewhere are the portal's to cause, nobody else's."""
    stage = Stage()
    reports: list[tuple[str, dict[str, Any]]] = [
        ("refusal-report", {"operation": "reserve", "code": "invalid", "fields": ["price"]}),
        ("provider-report", {"id": "pay-1", "found": "late"}),
    ]

    def work(folder: Path) -> None:
        with client(folder) as operator, client(folder, "portal") as portal:
            for name, request in reports:
                assert (
                    code_of(lambda name=name, request=request: operator.call(name, request)) == "bad-request"
                )
                assert portal.call(name, request, token="t") == {}

    play(tmp_path, stage, work)
    assert [call.operation for call in stage.calls] == [name for name, _ in reports]


def test_a_request_that_cannot_be_read_is_about_what_it_names(tmp_path: Path) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator:
            for id in ("opera", 7, None):
                request = {"id": id, "duration": "long"}
                assert (
                    code_of(lambda request=request: operator.call("reservation-change", request)) == "invalid"
                )

    play(tmp_path, stage, work)
    assert stage.unread == [
        ("reservation-change", "opera"),
        ("reservation-change", ""),
        ("reservation-change", ""),
    ]


# Requests


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "no-such"},
        {"operation": 7},
        {"operation": ["me"]},
        {"request": {}},
        {"operation": "me", "request": []},
        {"operation": "me", "request": None},
        {"operation": "me", "token": 7},
        {"operation": "me", "token": "x" * 201},
        {"operation": "me", "origin": "x" * 65},
        {"operation": "me", "origin": None},
        {"operation": "me", "more": 1},
    ],
)
def test_what_is_no_call(tmp_path: Path, wrong: dict[str, Any]) -> None:
    stage = Stage()

    def work(folder: Path) -> None:
        for name in ("operator", "portal"):
            reply = raw(
                folder / f"{name}.sock", json.dumps({"command": "platform", **wrong}).encode() + b"\n"
            )
            assert reply["ok"] is False
            assert reply["problem"]["code"] == "bad-request"

    play(tmp_path, stage, work)
    assert stage.calls == []


def test_requests_are_of_their_types_or_refused_by_field(tmp_path: Path) -> None:
    reserve = {"title": "Opera", "start": "2026-12-24T18:00", "duration": 3600, "admission": {"open": True}}
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("reserve", {**reserve, "duration": "long"}, "duration"),
        ("reserve", {**reserve, "duration": True}, "duration"),
        ("reserve", {**reserve, "duration": 1e300}, "duration"),
        ("reserve", {**reserve, "senders": [{"label": "a"}, {"label": "not an id"}]}, "senders.1.label"),
        ("reserve", {**reserve, "admission": {"any": [{"opne": True}]}}, "admission.any.0.opne"),
        ("reserve", {"title": "Opera", "start": "2026-12-24T18:00"}, "duration"),
        ("reserve", {name: reserve[name] for name in ("title", "start", "duration")}, "admission"),
        ("reserve", {**reserve, "owners": ""}, "owners"),
        ("me", {"id": "x"}, "id"),
        ("user-show", {"login": "not a login"}, "login"),
    ]
    for operation, request, name in wrong:
        with pytest.raises(Problem) as refused:
            decoded(OPERATIONS[operation], request)
        problem = refused.value
        assert (problem.code, [one.field for one in problem.fields]) == ("invalid", [name])
    with pytest.raises(Problem) as refused:
        decoded(OPERATIONS["password-change"], {"old": "hunter2", "new": "2short"})
    assert "2short" not in str(refused.value.as_json())
    assert "hunter2" not in str(refused.value.as_json())

    stage = Stage()

    def work(folder: Path) -> None:
        with client(folder) as operator:
            assert code_of(lambda: operator.call("reserve", {**reserve, "port": -1})) == "invalid"
            operator.call("reserve", reserve)

    play(tmp_path, stage, work)
    (call,) = stage.calls
    assert (call.request.title, call.request.port) == ("Opera", 5004)
    # What the platform has to say about a request that could not be read is written as well.
    assert len(stage.applied) == 2


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from(sorted(OPERATIONS)), st.data())
def test_whatever_comes_is_decoded_or_refused_by_field(name: str, data: st.DataObject) -> None:
    operation = OPERATIONS[name]
    fields = [one.encode_name for one in msgspec.structs.fields(operation.request)]
    known = st.dictionaries(st.sampled_from(fields or ["x"]), VALUES, max_size=8)
    request = data.draw(known | st.dictionaries(st.text(max_size=8), VALUES, max_size=3))
    problem: Problem | None = None
    found: Any = None
    try:
        found = decoded(operation, request)
    except Problem as refused:
        problem = refused
    if problem is None:
        assert isinstance(found, operation.request)
        return
    assert problem.code == "invalid"
    (one,) = problem.fields
    assert one.text
    assert {one.field.partition(".")[0]} <= {"", *fields, *request} or "." in "".join(request)


def test_half_a_surrogate_does_not_come_in(tmp_path: Path) -> None:
    """It could not be written as UTF-8, and would fail the transaction of everybody."""
    stage = Stage()

    def work(folder: Path) -> None:
        for text in (r"\ud800", r"\ud800 and more text", r"\udc00\ud800xxxxxxxx"):
            line = f'{{"command": "platform", "operation": "user-add", "request": {{"name": "{text}"}}}}\n'
            assert not raw(folder / "portal.sock", line.encode())["ok"]

    play(tmp_path, stage, work)
    assert stage.calls == []


def test_an_import_has_room_and_more_has_not(tmp_path: Path) -> None:
    stage = Stage(outcome=lambda call: Done(r.Import("i", len(call.request.entries))))
    entries = [{"name": "ä" * 100, "verifier": "v" * 200} for _ in range(200)]

    def work(folder: Path) -> None:
        with client(folder, "portal") as portal:
            request = {"id": "opera", "import_id": "i", "entries": entries}
            assert portal.call("names-add", request) == {"import_id": "i", "count": 200}
            with pytest.raises(LocalError, match="at most 262144 octets"):
                portal.call("names-add", {**request, "id": "x" * LINE_OCTETS})

    play(tmp_path, stage, work)


def test_too_many_connections(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(client(folder, "portal")).call("me", {})
            with (
                client(folder, "portal") as more,
                pytest.raises(LocalError, match="too many control connections"),
            ):
                more.call("me", {})
            # The operator's socket has places of its own.
            with client(folder) as operator:
                assert operator.request("status")

    play(tmp_path, Stage(), work)
