"""The REST API: every operation is there, refusals are problem documents, and its document is true."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import msgspec
import pytest
from portal_rig import NOW, ORIGIN, START, Site
from software_authenticator import Authenticator

from gkmd.api.operations import OPERATIONS, Operation
from gkmd.api.problem import CODES
from gkmd.web.api_reference import reference
from gkmd.web.openapi import PREFIX, document

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = document()
BY_NAME = {one["operationId"]: one for methods in DOCUMENT["paths"].values() for one in methods.values()}


def headers(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def check_problem(answer: httpx.Response, status: int | None = None) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    assert status is None or answer.status_code == status, found
    assert found["code"] in CODES
    assert found["detail"]
    return found


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=lambda one: one.name)
def test_every_operation_is_at_its_path_and_refuses_strangers(site: Site, operation: Operation) -> None:
    path = PREFIX + operation.path
    for name in ("id", "import_id", "batch", "party", "provider"):
        path = path.replace(f"{{{name}}}", "some")
    path = path.replace("{login}", "some").replace("{name}", "some%20body")
    browser = site.browser()
    body = {} if operation.method in ("GET", "DELETE") else {"json": {}}
    answer = browser.send(operation.method, path, **body)
    if operation.name == "catalogue":
        assert answer.status_code == 200
        return
    found = check_problem(answer)
    assert site.daemon.calls[-1][2].origin == "192.0.2.7"
    asked, request, _ = site.daemon.calls[-1]
    if asked != operation.name:  # a field was missing
        assert (asked, request["operation"]) == ("refusal-report", operation.name)
        assert answer.status_code == 422
        assert found["fields"]
    for method in {"GET", "POST", "PUT", "PATCH", "DELETE"} - {
        one.method for one in OPERATIONS.values() if one.path == operation.path
    }:
        wrong = browser.send(method, path)
        # "check" and "challenge" could be ids, too, for other methods.
        known = (401, 404, 405) if operation.path.endswith(("/check", "/challenge")) else (404, 405)
        assert wrong.status_code in known, (method, wrong.status_code)


FREE = {"open": True}


def test_a_reservation_by_token(site: Site) -> None:
    token = site.token("studio", "read", "reserve", roles=("sender",))
    browser = site.browser()
    wanted = {"title": "Concert", "start": START, "duration": 60, "admission": FREE, "once": "w"}
    made = browser.post(f"{PREFIX}/reservations", json=wanted, headers=headers(token))
    assert made.status_code == 201
    one = made.json()
    assert browser.post(f"{PREFIX}/reservations", json=wanted, headers=headers(token)).json() == one
    path = f"{PREFIX}/reservations/{one['id']}"
    changed = browser.send("PATCH", path, json={"duration": 120, "version": 1}, headers=headers(token))
    assert changed.json()["duration"] == 120
    listed = browser.get(f"{PREFIX}/reservations?limit=1&state=coming", headers=headers(token)).json()
    assert [r["id"] for r in listed["reservations"]] == [one["id"]]
    checked = browser.post(f"{PREFIX}/reservations/check", json=wanted, headers=headers(token))
    assert checked.status_code == 201
    gone = browser.send("DELETE", f"{path}?reason=rain", headers=headers(token))
    assert gone.json()["state"] == "cancelled"
    stream = browser.get(f"{path}/statistics/stream", headers=headers(token))
    assert stream.text.startswith("event: statistics\n")
    check_problem(browser.get(f"{path}/statistics/stream"), 401)


def test_the_statement_as_csv_is_the_page_s(site: Site) -> None:
    token = site.token("studio", "read", "reserve", roles=("sender",))
    one = site.reserve(owner="studio")
    path = f"{PREFIX}/reservations/{one.id}/statement.csv"
    browser = site.browser()
    found = browser.get(path, headers=headers(token))
    assert found.status_code == 200
    assert found.headers["content-type"].startswith("text/csv")
    assert found.text.startswith("time,kind,receiver,name,gross,fee,net,currency\r\n")
    check_problem(browser.get(path), 401)
    other = site.token("other", "read", roles=("sender",))
    check_problem(browser.get(path, headers=headers(other)), 404)


def test_what_a_token_may_not_do(site: Site) -> None:
    token = site.token("studio", "read", roles=("sender",))
    browser = site.browser()
    wanted = {"title": "Concert", "start": START, "duration": 60, "admission": FREE}
    check_problem(browser.post(f"{PREFIX}/reservations", json=wanted, headers=headers(token)), 403)
    check_problem(browser.get(f"{PREFIX}/me/sessions", headers=headers(token)), 403)
    check_problem(browser.get(f"{PREFIX}/users", headers=headers(token)), 403)
    for value in ("Basic eDp5", "Bearer", "Bearer " + "a" * 300, "Bearer nonsense", "é".encode()):
        answer = browser.get(f"{PREFIX}/me", headers={"Authorization": value})
        check_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_a_page_at_another_port_of_the_host_signs_nobody_in_by_passkey(site: Site) -> None:
    """Its browser may be asked for the passkeys of this host: whoever has that port had the account."""
    key, alice = Authenticator(), headers(site.rig.caller("alice").token)
    client = site.browser()

    def post(path: str, origin: str, who: Any = None, **more: Any) -> httpx.Response:
        return client.post(f"/api/v1/{path}", json={"origin": origin, **more}, headers=who)

    begun = post("me/passkeys/challenge", ORIGIN, alice).json()
    made = {"challenge": begun["challenge"], "credential": key.create(begun["options"]), "name": "phone"}
    assert post("me/passkeys", ORIGIN, alice, **made).status_code == 201

    def sign_in(asked: str, claimed: str) -> int:
        options = post("sessions/passkey/challenge", asked)
        if options.status_code != 201:
            assert options.json()["fields"][0]["field"] == "origin"
            options = post("sessions/passkey/challenge", ORIGIN)
        begun = options.json()
        shown = {"challenge": begun["challenge"], "credential": key.get(begun["options"])}
        return post("sessions/passkey", claimed, **shown).status_code

    assert sign_in(ORIGIN, ORIGIN) == 201
    key.origin = f"{ORIGIN}:9999"
    for asked in (ORIGIN, key.origin):
        for claimed in (ORIGIN, key.origin):
            assert sign_in(asked, claimed) in (401, 422)


def test_a_cookie_is_no_token(site: Site) -> None:
    check_problem(site.user("alice").get(f"{PREFIX}/me"), 401)


def test_bad_requests(site: Site) -> None:
    browser = site.browser()
    path = f"{PREFIX}/sessions"
    kind = {"Content-Type": "application/json"}
    for body in (b"{", b"[]", b"5", b'{"login": "\xff"}', b"[" * 100_000, b'{"a":' * 20_000):
        check_problem(browser.post(path, content=body, headers=kind), 400)
    check_problem(browser.post(path, content=b"{}"), 415)
    check_problem(browser.post(path, {"login": "x"}), 415)
    check_problem(browser.post(path, content=b" " * 300_000, headers=kind), 413)
    check_problem(browser.post(f"{path}?login=x", json={"login": "x", "password": "y"}), 400)
    found = check_problem(browser.post(path, json={"login": 5, "password": "", "bogus": 1}), 422)
    assert {one["field"] for one in found["fields"]} == {"login", "password", "bogus"}
    check_problem(browser.get(f"{PREFIX}/transmissions?limit=0"), 422)
    check_problem(browser.get(f"{PREFIX}/transmissions?limit=many"), 422)
    check_problem(browser.get(f"{PREFIX}/transmissions?bogus=1"), 422)
    check_problem(browser.get(f"{PREFIX}/transmissions?limit=1&limit=2"), 400)
    check_problem(browser.get(f"{PREFIX}/transmissions/{'x' * 200}"), 422)
    check_problem(browser.send("GET", f"{PREFIX}/transmissions", json={}), 400)
    token = headers(site.token("studio", "reserve", roles=("sender",)))
    check_problem(browser.send("PATCH", f"{PREFIX}/reservations/a", json={"id": "b"}, headers=token), 400)
    check_problem(browser.get(f"{PREFIX}/nothing"), 404)
    check_problem(browser.send("PUT", f"{PREFIX}/sessions"), 405)
    wanted = {"title": "x", "start": START, "duration": 60}
    found = check_problem(browser.post(f"{PREFIX}/reservations", json=wanted, headers=token), 422)
    assert found["fields"][0]["field"] == "admission"
    nested = {**wanted, "admission": FREE, "senders": [{"label": "a"}, {"label": "/"}]}
    found = check_problem(browser.post(f"{PREFIX}/reservations", json=nested, headers=token), 422)
    assert found["fields"][0]["field"] == "senders.1.label"


def test_locked_out_says_when_to_come_back(site: Site) -> None:
    site.rig.user("alice")
    browser = site.browser()
    answer = browser.post(f"{PREFIX}/sessions", json={"login": "alice", "password": "x"})
    for _ in range(40):
        answer = browser.post(f"{PREFIX}/sessions", json={"login": "alice", "password": "x"})
    check_problem(answer, 429)
    assert int(answer.headers["retry-after"]) >= 1


def test_provider_calls_are_passed_on_as_they_came(site: Site) -> None:
    browser = site.browser()
    body = b'{"a":  1}\n'
    for name in ("Gkmd-Signature", "Stripe-Signature"):
        check_problem(browser.post(f"{PREFIX}/providers/pay", content=body, headers={name: "t=1,v1=x"}), 403)
        assert site.daemon.calls[-1][1] == {
            "provider": "pay",
            "body": body.decode(),
            "signature": "t=1,v1=x",
        }
    check_problem(browser.post(f"{PREFIX}/providers/pay", content=b"\xff"), 400)
    check_problem(browser.post(f"{PREFIX}/providers/pay", content=b"a" * 70_000), 413)


def test_the_document_is_served_whole_and_always_the_same(site: Site) -> None:
    served = site.browser().get(f"{PREFIX}/openapi.json")
    assert served.json() == json.loads(json.dumps(DOCUMENT))
    assert served.text == json.dumps(document(), indent=1, ensure_ascii=False)
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {*OPERATIONS, "statement-csv", "statistics-stream"} == set(BY_NAME)


def test_every_reference_of_the_document_leads_somewhere() -> None:
    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [one for part in value.values() for one in references(part)]
        return [one for part in value for one in references(part)] if isinstance(value, list) else []

    found = references(DOCUMENT)
    assert len(found) > 500
    for one in found:
        place: Any = DOCUMENT
        for part in one.removeprefix("#/").split("/"):
            place = place[part]
        assert place
    for name, schema in DOCUMENT["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        assert "." not in name


def test_results_are_as_the_document_says(site: Site) -> None:
    site.reserve()
    token = headers(site.token("root", "read", "operate", "tickets", "billing", roles=("operator", "sender")))
    browser = site.browser()
    checked = 0
    for path, methods in DOCUMENT["paths"].items():
        operation = methods.get("get")
        if operation is None or "{" in path or operation["operationId"] in ("health", "metrics"):
            continue
        answer = browser.get(PREFIX + path, headers=token)
        if answer.status_code == 403:
            continue
        assert answer.status_code == 200, answer.text
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        whole = {**schema, "components": DOCUMENT["components"]}
        jsonschema_rs.Draft202012Validator(whole).validate(answer.json())
        checked += 1
    assert checked >= 8


def test_docs_api_md_is_current() -> None:
    assert (ROOT / "docs" / "api.md").read_text() == reference(DOCUMENT), (
        "python -m gkmd.web.openapi > docs/api.md"
    )


def test_instants_are_plain_numbers(site: Site) -> None:
    found = site.browser().post(f"{PREFIX}/sessions", json={"login": "nobody", "password": "x"})
    assert msgspec.json.decode(found.content)["code"] == "sign-in-failed"
    one = site.reserve()
    assert site.browser().get(f"{PREFIX}/transmissions/{one.id}").json()["starts"] > NOW
