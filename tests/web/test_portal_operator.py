"""An operator's pages."""

from __future__ import annotations

import pytest
from portal_rig import PASSWORD, Browser, Site

from gkmd.api.problem import Problem


@pytest.fixture
def operator(site: Site) -> Browser:
    return site.user("root", "operator")


PAGES = ("users", "users/new", "users/root", "members", "audit", "ledger", "ledger/entries", "vouchers")


def test_pages_are_for_operators_only(site: Site, operator: Browser) -> None:
    sender = site.user("studio", "sender")
    for page in PAGES:
        assert operator.get(f"/operator/{page}").status_code == 200, page
        assert sender.get(f"/operator/{page}").status_code == 403, page
        assert site.browser().get(f"/operator/{page}").status_code == 303, page


def test_a_user_is_added_changed_credited_and_forgotten(site: Site, operator: Browser) -> None:
    form = operator.form("/operator/users/new", "/operator/users")
    form |= {"login": "bob", "password": PASSWORD, "classes": "gold, silver", "credit_limit": "50"}
    answers = [operator.post("/operator/users", form) for _ in range(2)]
    assert [one.headers["location"] for one in answers] == ["/operator/users/bob?done=user-added"] * 2
    path = "/operator/users/bob"
    assert operator.form(path)["credit_limit"] == "50.00 EUR"
    taken = operator.submit("/operator/users/new", "/operator/users", login="bob", password=PASSWORD)
    assert taken.status_code in (409, 422)
    wrong = operator.submit(path, credit_limit="lots", name="Bob")
    assert wrong.status_code == 422
    assert 'value="lots"' in wrong.text
    assert 'value="Bob"' in wrong.text
    operator.submit(path, name="Bob", confirmed="on", roles=["receiver", "sender"])
    again = operator.form(path)
    assert (again["name"], again["confirmed"], again["roles"]) == ("Bob", ["on"], ["receiver", "sender"])
    assert "bob" in operator.get("/operator/users?search=bo").text

    book = operator.form(path, f"{path}/booking") | {"amount": "10", "reference": "bank-1"}
    for _ in range(2):
        assert operator.post(f"{path}/booking", book).headers["location"] == f"{path}?done=booked"
    assert "<dt>Balance</dt><dd>10.00 EUR</dd>" in operator.get(path).text
    entries = operator.get("/operator/ledger/entries").text
    assert entries.count("bank-1") == 1
    assert "The books are balanced" in operator.get("/operator/ledger").text
    none = operator.post(f"{path}/booking", book | {"amount": "x", "booking": "gift"})
    assert none.status_code == 422
    assert 'id="e-booking"' in none.text
    assert "Bob" in none.text  # the other form shows what is

    owed = operator.submit(f"{path}/forget", again="bob")
    assert owed.status_code == 409  # there is money on the balance

    site.rig.user("eve")
    assert operator.submit("/operator/users/eve/forget", again="ev").status_code == 422
    assert "is forgotten" in operator.submit("/operator/users/eve/forget", again="eve").text
    assert operator.get("/operator/users/eve").status_code == 404


def test_the_audit_log_is_verified_by_a_button(operator: Browser, site: Site) -> None:
    page = operator.submit("/operator/audit", "/operator/audit/verify").text
    assert "lines fit together" in page
    assert "sign-in" in page
    line = site.rig.audit_lines()[0]
    object.__setattr__(line, "actor", "somebody")
    assert "was tampered with" in operator.submit("/operator/audit", "/operator/audit/verify").text


def test_vouchers_that_are_worth_money_are_made_once(site: Site, operator: Browser) -> None:
    form = operator.form("/operator/vouchers") | {"amount": "5", "count": "2"}
    pages = [operator.post("/operator/vouchers", form).text for _ in range(2)]
    assert pages[0] == pages[1]
    assert [name for name, _, _ in site.daemon.calls].count("value-voucher-create") == 1
    site.forget()  # the portal was started anew, and knows the form no more
    again = operator.post("/operator/vouchers", form).text
    assert "sent before" in again
    assert len(site.rig.do("value-voucher-list").batches) == 1
    assert operator.submit("/operator/vouchers", amount="x", count="0").status_code == 422
    listed = operator.get("/operator/vouchers").text
    batch = listed.split("/vouchers/")[-1].split("/revoke")[0]
    operator.submit("/operator/vouchers", f"/operator/vouchers/{batch}/revoke")
    assert "revoked" in operator.get("/operator/vouchers").text


def test_health_and_metrics_need_an_operator(site: Site, operator: Browser) -> None:
    health = {
        "version": "1", "uptime": 90061.0, "identity": "fqdn:gcks.example", "groups": 1, "members": 2,
        "ike_sas": 3, "half_open": 0, "passwords_waiting": 0, "journal_error": "disk full",
        "ledger_balanced": False, "audit_lines": 9, "reservations": 4, "sign_up": True, "currency": "EUR",
    }  # fmt: skip
    inner = site.daemon.call

    async def call(operation: str, request: object, caller: object) -> object:
        # The daemon itself answers these two, not the platform.
        if operation == "health":
            return health
        if operation == "metrics":
            if not caller.token:  # type: ignore[attr-defined]
                raise Problem("sign-in-required", "for operators")
            return {"text": "gkmd_up 1\n"}
        return await inner(operation, request, caller)  # type: ignore[arg-type]

    site.daemon.call = call  # type: ignore[method-assign, assignment]
    page = operator.get("/operator/health").text
    for text in ("disk full", "not balanced", "1d1h1m1s"):
        assert text in page
    token = site.token("watcher", "operate", roles=("operator",))
    found = site.browser().get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert (found.status_code, found.text) == (200, "gkmd_up 1\n")
    assert found.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert site.browser().get("/metrics").status_code == 401


def test_an_operator_sees_all_reservations(site: Site, operator: Browser) -> None:
    site.user("studio", "sender")
    site.reserve(owner="studio")
    assert "studio" in operator.get("/reservations").text
    assert "There are none" in operator.get("/reservations?owner=root").text
