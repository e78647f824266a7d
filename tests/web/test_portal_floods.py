"""Requests that are small for who sends them, and would be large for the portal."""

from __future__ import annotations

import asyncio
import io
import logging
import time
from typing import Any

import pytest
from portal_rig import NOW, START, Site
from starlette.responses import Response

from gkmd.api.operations import OPERATIONS
from gkmd.api.problem import Problem
from gkmd.web.app import application
from gkmd.web.checked import check
from gkmd.web.client import Caller
from gkmd.web.imports import Imports
from gkmd.web.live import Streams
from gkmd.web.process import is_ours
from gkmd.web.repeats import Repeats


def test_a_refused_value_costs_no_more_than_its_length(site: Site) -> None:
    """It was 46 s for 200 kB: the message's path was looked for with a regular expression."""
    value = " - at `$" * 28_000
    begun = time.process_time()
    answer = site.browser().post("/api/v1/reservations/check", json={"visibility": value})
    assert answer.status_code == 422
    assert time.process_time() - begun < 10
    assert len(answer.content) < 2000


def test_a_refusal_is_not_larger_than_what_it_refuses(site: Site) -> None:
    body = {f"x{number}": 0 for number in range(20_000)}
    answer = site.browser().post("/api/v1/reservations/check", json=body)
    assert answer.status_code == 422
    assert len(answer.content) < 20_000


@pytest.mark.parametrize("wrap", [('{"any":[', "]}"), ('{"all":[', "]}")])
def test_a_rule_that_is_nested_as_deep_as_it_goes(site: Site, wrap: tuple[str, str]) -> None:
    token = site.token("studio", "reserve", roles=("sender",))
    begin = f'{{"title":"x","start":"{START}","duration":60,"admission":'
    for depth in (2, 30, 100, *range(150, 500, 7), *range(480, 505), 2000):
        body = f'{begin}{wrap[0] * depth}{{"open":true}}{wrap[1] * depth}}}'
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        answer = site.browser().post("/api/v1/reservations/check", content=body, headers=headers)
        assert answer.status_code in (201, 400, 422), (depth, answer.text[:300])


def test_the_deepest_request_that_can_be_decoded_is_refused_or_checked() -> None:
    outcomes = set()
    for depth in range(300, 520):
        rule: dict[str, Any] = {"open": True}
        for _ in range(depth):
            rule = {"any": [rule]}
        try:
            check(OPERATIONS["reserve"], {"title": "x", "start": START, "duration": 60, "admission": rule})
            outcomes.add("taken")
        except Problem as problem:
            outcomes.add(problem.code)
    assert outcomes <= {"taken", "bad-request"}
    assert "bad-request" in outcomes


def test_whole_numbers_that_no_machine_word_holds(site: Site) -> None:
    token = site.token("studio", "reserve", roles=("sender",))
    one = site.reserve(owner="studio")
    for number in ("9" * 25, "-" + "9" * 25, "9" * 4000, "1e400", "9" * 5000):
        answer = site.browser().send(
            "PATCH",
            f"/api/v1/reservations/{one.id}",
            content=f'{{"version": {number}, "duration": 7200}}',
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        assert answer.status_code in (400, 409, 422), (number[:30], answer.text[:300])


def test_files_that_are_not_there_ask_the_daemon_nothing(site: Site) -> None:
    browser = site.browser()
    browser.http.cookies.set("__Host-gkmd-session", "x" * 40)
    for method, path in (("GET", "/static/nothing"), ("POST", "/static/portal.css"), ("GET", "/static/")):
        before = len(site.daemon.calls)
        assert browser.send(method, path).status_code in (404, 405)
        assert len(site.daemon.calls) == before


@pytest.mark.parametrize(
    "charset", ["idna", "punycode", "unicode_escape", "utf-16", "zlib", "raw_unicode_escape"]
)
def test_a_form_in_a_strange_encoding(site: Site, charset: str) -> None:
    sender = site.user("studio", "sender")
    path = f"/reservations/{site.reserve(owner='studio').id}/names"
    part = b'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n%s\r\n'
    bodies = (b"\xff\xfe" * 9, b"\\ud800", b"a" * 70 + b"--", b"xn--a\x80")
    for body in bodies:
        answer = sender.post(
            path,
            content=part % body
            + b'--b\r\nContent-Disposition: form-data; name="lines"\r\n\r\nx\r\n--b--\r\n',
            headers={"Content-Type": f"multipart/form-data; boundary=b; charset={charset}"},
        )
        assert answer.status_code in (400, 403), answer.text[:300]


def test_a_form_that_is_none_writes_no_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    sender = site.user("studio", "sender")
    path = f"/reservations/{site.reserve(owner='studio').id}/names"
    ours = logging.Filter()
    ours.filter = is_ours  # type: ignore[method-assign]  # as the process does
    with caplog.at_level(logging.WARNING), caplog.filtering(ours):
        for body in (b"xx", b"--b\r\n" + b"a:b\r\n" * 100, b"--b\r\n\xff"):
            kind = {"Content-Type": "multipart/form-data; boundary=b"}
            assert sender.post(path, content=body, headers=kind).status_code in (400, 403, 422)
    assert not [one for one in caplog.records if one.levelno >= logging.WARNING]


def test_nobody_is_redirected_to_a_host_of_the_request(site: Site) -> None:
    for path in ("/transmissions/", "/sign-in/", "/api/v1/transmissions/"):
        answer = site.browser().get(path, headers={"Host": "evil.example"})
        assert "evil" not in answer.headers.get("location", "")
        assert answer.status_code == 404


def test_a_stream_whose_client_is_gone_before_it_begins_frees_its_place(site: Site) -> None:
    sender = site.user("studio", "sender")
    one = site.reserve(owner="studio")
    streams = Streams(seconds=0.0)
    site.app = application(site.config, site.daemon, streams, lambda: NOW)
    cookie = "; ".join(f"{name}={value}" for name, value in sender.http.cookies.items())
    path = f"/reservations/{one.id}/live/stream"

    said: list[Any] = []

    async def gone() -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"portal.example"), (b"cookie", cookie.encode())],
            "client": ("192.0.2.7", 1),
            "server": ("portal.example", 443),
        }

        async def receive() -> dict[str, str]:
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            said.append(dict(message["headers"])[b"content-type"])
            await asyncio.sleep(1)  # what was sent before is still on its way

        async with asyncio.timeout(60):
            await site.app(scope, receive, send)

    for _ in range(3):
        site.runner.run(gone())
    assert said == [b"text/event-stream; charset=utf-8"] * 3
    assert len(streams) == 0


def test_lists_that_are_sent_at_once_are_few(site: Site) -> None:
    """Each takes temporary disk until it was read: two of an account, some in all."""
    sender = site.user("studio", "sender")
    path = f"/reservations/{site.reserve(owner='studio').id}/names"
    word = sender.form(path)["csrf"]
    kind = {"Content-Type": "multipart/form-data; boundary=b"}

    async def all_at_once() -> list[int]:
        full = asyncio.Event()

        async def body() -> Any:
            yield b'--b\r\nContent-Disposition: form-data; name="csrf"\r\n\r\n' + word.encode()
            yield b'\r\n--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nanna\r\n'
            await full.wait()
            yield b"--b--\r\n"

        async def send() -> int:
            answer = await sender.http.post(path, content=body(), headers=kind)
            if answer.status_code == 503:
                full.set()
            return answer.status_code

        return await asyncio.gather(*(send() for _ in range(3)))

    async def within(seconds: float) -> list[int]:
        async with asyncio.timeout(seconds):
            return await all_at_once()

    assert sorted(site.runner.run(within(60)))[-1] == 503
    again = site.runner.run(within(60))  # the places are free again
    assert sorted(again)[-1] == 503
    assert sorted(again)[0] != 503


def test_one_account_does_not_take_all_places_of_imports(site: Site) -> None:
    imports = Imports(site.daemon)

    async def begin() -> list[str]:
        found = []
        for number, owner in enumerate(("a-1", "a-1", "a-1", "a-2", "a-2", "a-3")):
            try:
                imports.begin(f"r-{number}", "replace", io.BytesIO(b"anna\n"), Caller(), owner)
                found.append("begun")
            except Problem as problem:
                found.append(problem.code)
        await imports.close()
        return found

    assert site.runner.run(begin()) == ["begun", "begun", "busy", "begun", "begun", "busy"]


def test_answers_that_are_kept_take_so_much_memory_and_no_more() -> None:
    now = 0.0
    repeats = Repeats(lambda: now, most_octets=1000)

    async def all_of_them() -> list[int]:
        async def make() -> Response:
            return Response(b"a" * 400)

        found = []
        for number in range(20):
            await repeats.run("alice", f"word-{number}", make)
            found.append(len(repeats))
        return found

    assert max(asyncio.run(all_of_them())) <= 4


def test_a_form_s_word_stands_for_its_own_path_alone(site: Site) -> None:
    """Codes of one reservation are no answer to a form of another."""
    sender = site.user("studio", "sender")
    one, other = (site.reserve(owner="studio", title=title) for title in ("One", "Other"))
    form = sender.form(f"/reservations/{one.id}/vouchers") | {"count": "2", "once": "the same word"}
    first, again, second = (
        sender.post(f"/reservations/{id}/vouchers", form).text for id in (one.id, one.id, other.id)
    )
    assert codes_of(first) == codes_of(again)
    assert not any(code in second for code in codes_of(first))
    assert "used for another request" in second


def test_nobody_is_given_the_answer_of_another_session(site: Site) -> None:
    sender, operator = site.user("studio", "sender"), site.user("root", "operator", "sender")
    one = site.reserve(owner="studio")
    path = f"/reservations/{one.id}/vouchers"
    pages = [
        browser.post(path, browser.form(path) | {"count": "2", "once": "the same word"})
        for browser in (sender, operator)
    ]
    assert codes_of(pages[0].text) != codes_of(pages[1].text)


def codes_of(page: str) -> list[str]:
    found = page.partition('name="codes"')[2].partition(">")[2].partition("</textarea>")[0].split()
    assert len(found) == 2, page
    return found
