"""A sender's pages, as a browser without scripts uses them."""

from __future__ import annotations

import asyncio

import pytest
from portal_rig import START, Browser, Site, fields_of, form_of

from gkmd.api import requests as q

CONCERT: dict[str, object] = {"title": "Concert", "start": START, "ways": ["open"]}


@pytest.fixture
def sender(site: Site) -> Browser:
    return site.user("studio", "sender")


def reserve(browser: Browser, **values: object) -> str:
    """Path of the new reservation's page."""
    answer = browser.submit(
        "/reservations/new",
        "/reservations",
        **{"title": "Concert", "start": START, "ways": ["open"], **values},
    )
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"]).partition("?")[0]


def test_reserve_show_change_extend_cancel(site: Site, sender: Browser) -> None:
    path = reserve(
        sender,
        description="Two\nlines",
        time_zone="Europe/Berlin",
        duration="1h30m",
        ways=["names", "price", "vouchers"],
        price="2,50",
        senders="studio\nbackup fqdn:tx.example 192.0.2.9\nthird ipv4:192.0.2.7 192.0.2.8\nlast ipv6:fd00::7",
    )
    page = sender.get(path).text
    for text in (
        "Concert",
        "<span>2026-10-01</span> <span>18:00 CEST</span>",
        'title="2026-10-01 16:00:00 UTC"',
        "1h30m",
        "names on the list, or who pays 2.50 EUR, or who has a voucher",
        "fqdn:tx.example",
        "ipv4:192.0.2.7",
        "ipv6:fd00::7",
        "Ticket for studio",
    ):
        assert text in page, text
    assert "Ticket for backup" not in page

    form = sender.form(f"{path}/change")
    assert form["ways"] == ["names", "price", "vouchers"]
    assert (form["price"], form["start"], form["duration"]) == ("2.50", START, "1h30m")
    before = len(site.daemon.calls)
    sender.post(f"{path}/change", form)
    assert "reservation-change" not in [name for name, _, _ in site.daemon.calls[before:]]  # nothing differs

    form |= {"title": "Opera", "ways": ["open"], "start": "2026-10-01T19:00"}
    changed = sender.follow(sender.post(f"{path}/change", form)).text
    assert "The reservation was changed." in changed
    assert "<span>19:00 CEST</span>" in changed
    assert "everybody" in changed
    stale = sender.post(f"{path}/change", form | {"title": "Ballet"})
    assert stale.status_code == 409
    assert 'value="Ballet"' in stale.text

    sender.submit(path, f"{path}/extend", duration="2:00")
    assert "after 2h" in sender.get(path).text
    wrong = sender.submit(path, f"{path}/extend", duration="soon")
    assert wrong.status_code == 422
    assert "is no duration" in wrong.text

    assert "It cannot be undone." in sender.get(f"{path}/cancel").text
    sender.submit(f"{path}/cancel", reason="rain")
    after = sender.get(path).text
    assert "cancelled" in after
    assert "/extend" not in after
    assert "Opera" in sender.get("/reservations?state=cancelled").text


def test_a_form_posted_twice_reserves_once(site: Site, sender: Browser) -> None:
    form = sender.form("/reservations/new", "/reservations") | {
        "title": "Concert",
        "start": START,
        "ways": ["open"],
    }
    first, second = (sender.post("/reservations", form) for _ in range(2))
    assert first.headers["location"] == second.headers["location"]
    # Also when the portal has forgotten: the word went on to the platform.
    site.forget()
    third = sender.post("/reservations", form)
    assert third.headers["location"] == first.headers["location"]
    assert sender.get("/reservations").text.count('<a href="/reservations/concert-') == 1


def test_two_posts_at_the_same_time_are_one(site: Site, sender: Browser) -> None:
    form = sender.form("/reservations/new", "/reservations") | {
        "title": "Concert",
        "start": START,
        "ways": ["open"],
    }

    async def both() -> list[str]:
        answers = await asyncio.gather(*(sender.http.post("/reservations", data=form) for _ in range(5)))
        return [one.headers["location"] for one in answers]

    assert len(set(site.runner.run(both()))) == 1
    assert [name for name, _, _ in site.daemon.calls].count("reserve") == 1


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"title": ""}, "title"),
        ({"start": "2020-01-01T10:00"}, "start"),
        ({"start": "tomorrow"}, "start"),
        ({"start": "2026-03-29T02:30", "time_zone": "Europe/Berlin"}, "start"),
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"duration": "ever"}, "duration"),
        ({"duration": "1s"}, "duration"),
        ({"port": "many"}, "port"),
        ({"port": "70000"}, "port"),
        ({"address": "192.0.2.1"}, "address"),
        ({"address": "nonsense"}, "address"),
        ({"capacity": "-1"}, "capacity"),
        ({"ways": ["open", "price"], "price": "2"}, "ways"),
        ({"ways": ["price"], "price": "2.505"}, "price"),
        ({"ways": ["price"], "price": "-1"}, "price"),
        ({"ways": ["identities"], "identities": ""}, "identities"),
        ({"ways": ["identities"], "identities": "rubbish"}, "identities"),
        ({"rule": "{"}, "rule"),
        ({"rule": '{"bogus": true}'}, "rule"),
        ({"senders": "a b c d"}, "senders"),
        ({"cipher": "rot13"}, "cipher"),
        ({"supplied_spi": "x", "supplied_key": "00", "supplied_lifetime": "1h"}, "supplied_spi"),
    ],
)
def test_what_is_wrong_is_told_beside_its_input(
    sender: Browser, values: dict[str, object], place: str
) -> None:
    form = (
        sender.form("/reservations/new", "/reservations")
        | {"title": "Kept", "start": START, "ways": ["open"]}
        | values
    )
    answer = sender.post("/reservations", form)
    assert answer.status_code in (409, 422), answer.text
    assert f'id="e-{place}"' in answer.text, answer.text.split('class="trouble"')[1][:800]
    assert f'<a href="#f-{place}">' in answer.text
    if "title" not in values:
        assert 'value="Kept"' in answer.text
    checked = sender.post("/reservations/check", form)
    assert f'<a href="#f-{place}">' in checked.text


def test_who_is_admitted_has_to_be_chosen(sender: Browser) -> None:
    form = sender.form("/reservations/new", "/reservations")
    assert "ways" not in form
    answer = sender.post("/reservations", form | {"title": "Concert", "start": START})
    assert answer.status_code == 422
    assert 'id="e-ways"' in answer.text


def test_conflicts_are_shown_at_once(sender: Browser) -> None:
    reserve(sender, address="239.192.7.7")
    form = sender.form("/reservations/new", "/reservations")
    form |= {"title": "Other", "start": START, "address": "239.192.7.7"}
    checked = sender.post("/reservations/check", form)
    assert checked.status_code == 200  # htmx shows it
    assert "<html" not in checked.text
    assert '<a href="#f-address">' in checked.text
    free = sender.post("/reservations/check", form | {"address": ""}).text
    assert "It can be reserved" in free
    assert "when you have chosen who is admitted" in free
    decided = sender.post("/reservations/check", form | {"address": "", "ways": ["open"]}).text
    assert "when you have" not in decided
    refused = sender.post("/reservations", form | {"ways": ["open"]})
    assert refused.status_code in (409, 422)
    assert 'id="e-address"' in refused.text


def test_a_rule_that_ticks_cannot_say_is_kept(sender: Browser) -> None:
    rule = '{"any":[{"names":true},{"all":[{"classes":["gold"]},{"price":{"amount":250,"currency":"EUR"}}]}]}'
    path = reserve(sender, rule=rule, ways=None)
    assert "names on the list, or (subscribers of gold, and who pays 2.50 EUR)" in sender.get(path).text
    assert sender.form(f"{path}/change")["rule"] == rule


def test_keys_of_the_sender_are_never_shown(sender: Browser) -> None:
    key = "ab" * 36
    values = {"supplied_spi": "0x12345678", "supplied_key": key, "supplied_lifetime": "2h"}
    path = reserve(sender, **values)
    wrong = sender.submit("/reservations/new", "/reservations", **{**values, "title": "", "start": START})
    assert wrong.status_code == 422
    for page in (sender.get(path).text, sender.get(f"{path}/change").text, wrong.text):
        assert key not in page


def test_a_sender_s_host_gets_its_ticket(sender: Browser) -> None:
    path = reserve(sender, senders="studio")
    page = sender.submit(path, f"{path}/sender-ticket")
    assert "Ticket for studio" in page.text
    assert page.headers["cache-control"] == "no-store"
    # Senders are admitted without a record of it: nobody knows whether it was used.
    mine = sender.get("/tickets").text
    assert "for the sending host studio" in mine
    assert "not used yet" not in mine


def test_list_of_names(site: Site, sender: Browser) -> None:
    path = reserve(sender, ways=["names"])
    form = sender.form(f"{path}/names")

    def send(text: bytes, **more: str) -> str:
        files = {"file": ("list.csv", text, "text/csv")}
        data = sender.form(f"{path}/names") | more
        answer = sender.post(f"{path}/names", data, files=files)
        assert answer.status_code == 303, answer.text
        where = str(answer.headers["location"])
        for _ in range(2000):
            page = sender.get(where, headers={"HX-Request": "true"}).text
            if "hx-get" not in page:
                return page
            site.runner.run(asyncio.sleep(0.005))
        raise AssertionError(page)

    assert "All 3 names are on the list." in send(b"name,password\nann,one\nbob,two\ncat\n")
    page = sender.get(f"{path}/names").text
    assert "3 names" in page
    assert "cat <span" in page.replace("\n", " ")

    broken = send(b"dora,x\n,y\neve,a,b\ndora,z\n")
    assert "Nothing was imported" in broken
    for line in ("line 2: the name is missing", "line 3:", "line 4:"):
        assert line in broken
    assert [one.detail for one in site.rig.audit_lines("names-abort")] == [{"broken": 3}]
    assert "Nothing was imported" in send("é,x\n".encode("latin-1"))
    assert "Nothing was imported" in send(
        b"f,$argon2id$v=19$m=9999999,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\n"
    )
    assert "3 names" in sender.get(f"{path}/names").text

    good = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI"
    assert "All 1 names" in send(f'gus,"{good}"\n'.encode(), mode="append")
    sent = [r["entries"] for name, r, _ in site.daemon.calls if name == "names-add"][-1]
    assert sent == [{"name": "gus", "verifier": good}]
    assert "4 names" in sender.get(f"{path}/names").text
    assert "one" not in str([r for name, r, _ in site.daemon.calls if name == "names-add"])

    sender.submit(f"{path}/names", f"{path}/names/remove", name="gus")
    assert "3 names" in sender.get(f"{path}/names").text
    assert "choose a file" in sender.post(f"{path}/names", form, files={"file": ("", b"")}).text
    foreign = site.user("other", "sender")
    job = sender.post(f"{path}/names", sender.form(f"{path}/names"), files={"file": ("l", b"x\n")})
    assert foreign.get(job.headers["location"]).status_code == 404
    assert foreign.get(f"{path}/names").status_code == 404


def test_vouchers_are_shown_once(sender: Browser) -> None:
    path = reserve(sender, ways=["vouchers"])
    form = sender.form(f"{path}/vouchers") | {"count": "3"}
    page = sender.post(f"{path}/vouchers", form)
    codes = page.text.split('class="secret">')[1].split("</textarea>")[0].split()
    assert len(codes) == 3
    assert sender.post(f"{path}/vouchers", form).text == page.text
    listed = sender.get(f"{path}/vouchers").text
    assert codes[0] not in listed
    assert listed.count("Revoke what is left") == 1
    word = form["csrf"]
    file = sender.post(f"{path}/vouchers/file", {"csrf": word, "codes": "\n".join([*codes, "<script>"])})
    assert file.text.split() == codes
    assert file.headers["content-disposition"].startswith("attachment")
    batch = listed.split("/vouchers/")[-1].split("/revoke")[0]
    sender.submit(f"{path}/vouchers", f"{path}/vouchers/{batch}/revoke")
    assert "revoked" in sender.get(f"{path}/vouchers").text
    assert sender.submit(f"{path}/vouchers", count="0").status_code == 422


def test_live_statement_and_receivers(site: Site, sender: Browser) -> None:
    path = reserve(sender)
    live = sender.get(f"{path}/live").text
    assert f'data-stream="{path}/live/stream"' in live
    assert '<meta http-equiv="refresh"' in live
    sender.submit(f"{path}/cancel")
    stream = sender.get(f"{path}/live/stream")
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert stream.text.startswith("event: statistics\ndata: {")
    assert "event: over" in stream.text
    assert "Nobody was charged" in sender.get(f"{path}/statement").text
    assert sender.get(f"{path}/statement.json").json()["receivers"] == 0
    csv = sender.get(f"{path}/statement.csv")
    assert csv.text.startswith("time,kind,receiver")
    assert csv.headers["content-type"].startswith("text/csv")
    assert "Nobody was admitted" in sender.get(f"{path}/receivers").text


def test_nobody_else_comes_in(site: Site, sender: Browser) -> None:
    path = reserve(sender, visibility="private")
    other, receiver = site.user("other", "sender"), site.user("rec")
    for page in (
        "",
        "/change",
        "/cancel",
        "/names",
        "/vouchers",
        "/receivers",
        "/live",
        "/statement",
        "/live/stream",
    ):
        assert other.get(path + page).status_code == 404, page
        assert receiver.get(path + page).status_code in (403, 404), page
        assert site.browser().get(path + page).status_code == 303, page
    word = other.form("/account", "/account/password")["csrf"]
    for action in ("/extend", "/cancel", "/sender-ticket", "/vouchers"):
        data = {"csrf": word, "duration": "2h", "count": "1", "label": "sender", "version": "0"}
        assert other.post(path + action, data).status_code == 404


def test_a_number_without_a_unit_is_asked_about(site: Site, sender: Browser) -> None:
    wrong = sender.submit("/reservations/new", "/reservations", **CONCERT, duration="90", lead="15")
    assert wrong.status_code == 422
    assert "90 of what? write 90m for minutes, 90s for seconds" in wrong.text
    assert "15 of what?" in wrong.text
    path = reserve(sender, duration="90m", lead="0")
    assert "90 of what?" in sender.submit(path, f"{path}/extend", duration="90").text
    assert sender.submit(path, f"{path}/extend", duration="1:45").status_code == 303
    (made,) = site.rig.do("reservation-list", q.ListReservations()).reservations
    assert (made.duration, made.lead) == (6300, 0)


def test_what_is_reserved_already_is_asked_about(site: Site, sender: Browser) -> None:
    assert 'name="twice"' not in sender.get("/reservations/new").text
    path = reserve(sender)
    fresh = sender.form("/reservations/new", "/reservations") | CONCERT
    checked = sender.post("/reservations/check", fresh).text
    answer = sender.post("/reservations", fresh)
    assert answer.status_code == 409
    for text in (checked, answer.text):
        assert "Reserved already" in text
        assert path.rpartition("/")[2] in text
        assert 'name="twice"' in text
        assert 'href="#f-twice"' in text
        assert 'id="f-twice"' in text
    asked = fields_of(form_of(answer.text, "/reservations"))
    assert "twice" not in asked
    assert "It can be reserved" in sender.post("/reservations/check", asked | {"twice": "on"}).text
    sure = sender.post("/reservations", asked | {"twice": "on"})
    assert sure.status_code == 303
    assert sure.headers["location"].partition("?")[0] != path
    reserve(sender, start="2026-10-01T19:00")  # the next one of the evening


def test_distinguished_names_have_commas_and_spaces(site: Site, sender: Browser) -> None:
    path = reserve(
        sender,
        ways=["identities"],
        identities="dn:*,O=Example GmbH, C=DE\nfqdn:*.example, email:*@example",
        senders="studio dn:CN=Studio 1,O=Example 192.0.2.9\nspare dn:CN=Studio 2,O=Example",
    )
    (made,) = site.rig.do("reservation-list", q.ListReservations()).reservations
    assert made.admission.identities == ("dn:*,O=Example GmbH, C=DE", "fqdn:*.example", "email:*@example")
    assert [(one.identity, one.source) for one in made.senders] == [
        ("dn:CN=studio 1,O=example", "192.0.2.9"),
        ("dn:CN=studio 2,O=example", ""),
    ]
    before = len(site.daemon.calls)
    sender.post(f"{path}/change", sender.form(f"{path}/change"))
    assert "reservation-change" not in [name for name, _, _ in site.daemon.calls[before:]]
