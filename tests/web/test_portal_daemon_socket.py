"""The portal's end of the daemon's socket, against a peer that behaves in every way it should not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gkmd.api.problem import Problem
from gkmd.web.client import Caller, DaemonClient, ask

Peer = Callable[[dict[str, Any]], Awaitable[bytes | None]]
CALLER = Caller("secret-token", "192.0.2.7")


def run(tmp_path: Path, peer: Peer, use: Callable[[DaemonClient], Awaitable[None]], **more: Any) -> int:
    """Serve ``peer`` (None from it hangs up) while ``use`` runs; how many connections there were."""
    path = tmp_path / "platform.sock"
    tasks: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        while line := await reader.readline():
            answer = await peer(json.loads(line))
            if answer is None:
                break
            writer.write(answer)
        writer.close()

    async def both() -> None:
        server = await asyncio.start_unix_server(serve, path)
        client = DaemonClient(path, **more)
        try:
            await use(client)
        finally:
            await client.close()
            server.close()
            await asyncio.wait(tasks)
            await server.wait_closed()

    asyncio.run(both())
    return len(tasks)


async def echo(request: dict[str, Any]) -> bytes:
    return json.dumps({"id": 1, "ok": True, "result": request}).encode() + b"\n"


def test_what_is_sent_and_what_comes_back(tmp_path: Path) -> None:
    async def use(client: DaemonClient) -> None:
        for _ in range(3):
            assert await client.call("me", {"a": "é\n"}, CALLER) == {
                "id": 1,
                "command": "platform",
                "operation": "me",
                "request": {"a": "é\n"},
                "token": "secret-token",
                "origin": "192.0.2.7",
            }

    assert run(tmp_path, echo, use) == 1
    assert "secret" not in repr(CALLER)


def test_requests_at_once_share_a_few_connections(tmp_path: Path) -> None:
    async def use(client: DaemonClient) -> None:
        found = await asyncio.gather(*(client.call("me", {"n": n}, CALLER) for n in range(50)))
        assert [one["request"]["n"] for one in found] == list(range(50))

    assert run(tmp_path, echo, use, connections=4) <= 4


def test_a_refusal_is_the_daemon_s_problem(tmp_path: Path) -> None:
    problem = Problem("locked-out", "too often", come_back=5.0)

    async def peer(request: dict[str, Any]) -> bytes:
        return json.dumps({"ok": False, "error": "x", "problem": problem.as_json()}).encode() + b"\n"

    async def use(client: DaemonClient) -> None:
        with pytest.raises(Problem) as caught:
            await client.call("sign-in", {}, CALLER)
        assert (caught.value.code, caught.value.detail, caught.value.come_back) == (
            "locked-out",
            "too often",
            5.0,
        )

    run(tmp_path, peer, use)


@pytest.mark.parametrize(
    "answer", [b"rubbish\n", b"[]\n", b"\xff\n", b'{"ok": false}\n', b"{}\n", None, b"half"]
)
def test_answers_that_make_no_sense(tmp_path: Path, answer: bytes | None) -> None:
    async def peer(request: dict[str, Any]) -> bytes | None:
        return answer

    async def use(client: DaemonClient) -> None:
        for operation in ("me", "reserve"):
            with pytest.raises(Problem) as caught:
                await client.call(operation, {}, CALLER)
            assert caught.value.code == "unavailable"

    run(tmp_path, peer, use, seconds=0.2)


def test_a_result_of_another_version_is_told(tmp_path: Path) -> None:
    async def use(client: DaemonClient) -> None:
        with pytest.raises(Problem, match="another version"):
            await ask(client, "me", {}, CALLER, int)

    run(tmp_path, echo, use)


def test_a_daemon_that_was_started_again_is_found_again(tmp_path: Path) -> None:
    answered = 0

    async def peer(request: dict[str, Any]) -> bytes | None:
        nonlocal answered
        answered += 1
        return await echo(request) if answered % 2 else None

    async def use(client: DaemonClient) -> None:
        for _ in range(4):
            assert await client.call("me", {}, CALLER)  # asked again on a new connection
        # What changes something is not asked again: it may have been carried out.
        await client.call("me", {}, CALLER)
        with pytest.raises(Problem, match="not reachable"):
            await client.call("reserve", {}, CALLER)

    assert run(tmp_path, peer, use) > 2


def test_nobody_there(tmp_path: Path) -> None:
    async def both() -> None:
        with pytest.raises(Problem) as caught:
            await DaemonClient(tmp_path / "none").call("me", {}, CALLER)
        assert caught.value.code == "unavailable"

    asyncio.run(both())


def test_who_waits_too_long_is_told_and_the_connection_is_not_used_again(tmp_path: Path) -> None:
    told = asyncio.Event()

    async def peer(request: dict[str, Any]) -> bytes:
        if request["request"].get("slow"):
            await told.wait()
        return await echo(request)

    async def use(client: DaemonClient) -> None:
        with pytest.raises(Problem, match="in time"):
            await client.call("me", {"slow": True}, CALLER)
        told.set()  # too late
        client._seconds = 60.0
        assert (await client.call("me", {"slow": False}, CALLER))["request"] == {"slow": False}

    assert run(tmp_path, peer, use, connections=1, seconds=0.1) == 2


def test_a_flood_of_sign_ins_leaves_connections_for_the_others(tmp_path: Path) -> None:
    held = asyncio.Event()

    async def busy(request: dict[str, Any]) -> bytes:
        if request["operation"] in ("sign-in", "audit-verify"):
            await held.wait()
        return await echo(request)

    async def use(client: DaemonClient) -> None:
        request = {"login": "alice", "password": "x"}
        flood = [asyncio.create_task(client.call("sign-in", request, CALLER)) for _ in range(50)]
        flood += [asyncio.create_task(client.call("audit-verify", {}, CALLER)) for _ in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(60):
            for _ in range(3):
                assert await client.call("catalogue", {}, CALLER)
        held.set()
        await asyncio.gather(*flood)

    assert run(tmp_path, busy, use, connections=4) <= 4


def test_a_request_that_is_too_long_is_the_caller_s_fault(tmp_path: Path) -> None:
    """The daemon would hang up, and seem to be away."""

    async def use(client: DaemonClient) -> None:
        with pytest.raises(Problem) as refused:
            await client.call("passkey-add", {"credential": [1e15] * 45_000}, CALLER)
        assert refused.value.code == "bad-request"
        assert await client.call("me", {}, CALLER)

    assert run(tmp_path, echo, use) == 1
