"""A member's client at the real portal: the same words on both sides."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import pytest
from platform_rig import PASSWORD
from portal_carrier import Carrier
from portal_rig import ORIGIN, SETTINGS, Site

from gkmd.core.secret import SecretBytes
from gkmd.daemon.portal_client import PortalClient, PortalError, PortalLogin
from gkmd.daemon.portal_link import tls_context
from gkmd.daemon.portal_tickets import PortalSettings, PortalTickets, Round
from gkmd.daemon.ticket_file import LocalChoices

TLS = tls_context(None)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site(settings=replace(SETTINGS, server_addresses=(ipaddress.ip_address("192.0.2.1"),)))
    yield made
    made.close()


def member(site: Site, login: PortalLogin, *, free: bool = False) -> PortalTickets:
    client = PortalClient(login, TLS)
    client._opener = cast(Any, Carrier(site))
    return PortalTickets(client, PortalSettings(login, get_free=free), LocalChoices("eth0"))


def look(site: Site, tickets: PortalTickets) -> Round:
    return tickets.look(site.rig.now)


def test_a_token_has_its_tickets_and_gets_free_ones(site: Site) -> None:
    opera = site.reserve(title="Opera")
    priced = site.reserve(title="Film", admission={"price": {"amount": 250, "currency": "EUR"}})
    token = SecretBytes(site.token("ann", "tickets", "read").encode())
    login = PortalLogin(ORIGIN, token)
    assert look(site, member(site, login)) == Round({}, {})
    willing = member(site, login, free=True)
    found = look(site, willing)
    assert found.complaints == {}
    (ticket,) = found.tickets.values()
    assert (ticket.group, ticket.title, ticket.join.interface) == (opera.id, "Opera", "eth0")
    assert ticket.ends == opera.ends
    assert priced.id not in {one.group for one in found.tickets.values()}
    again = look(site, willing)  # what it has it does not get again
    assert set(again.tickets) == set(found.tickets)
    # Revoked there, it is gone here.
    gone = site.browser().send(
        "DELETE",
        f"/api/v1/tickets/{ticket.id}",
        headers={"Authorization": f"Bearer {token.reveal().decode()}"},
    )
    assert gone.status_code == 200
    assert look(site, member(site, login)).tickets == {}
    assert look(site, willing).tickets == {}  # nor is it got again


def test_a_token_that_may_not(site: Site) -> None:
    token = SecretBytes(site.token("ann", "read").encode())
    with pytest.raises(PortalError) as caught:
        look(site, member(site, PortalLogin(ORIGIN, token)))
    assert caught.value.status == 403
    with pytest.raises(PortalError) as caught:
        look(site, member(site, PortalLogin(ORIGIN, SecretBytes(b"no-token"))))
    assert caught.value.status == 401


def test_a_login_by_password(site: Site) -> None:
    site.reserve(title="Opera")
    site.rig.user("ann")
    good = PortalLogin(ORIGIN, login="ann", password=SecretBytes(PASSWORD.encode()))
    assert len(look(site, member(site, good, free=True)).tickets) == 1
    bad = PortalLogin(ORIGIN, login="ann", password=SecretBytes(b"something else"))
    with pytest.raises(PortalError, match="401"):
        look(site, member(site, bad))
