"""More than a password: passkeys by Chromium's own authenticator, one-time codes."""

from __future__ import annotations

import pyotp
from portal_world import PortalWorld
from test_browser_plain import sign_in
from windows import Desk, Person


def give_authenticator(person: Person) -> None:
    """A phone or a laptop that keeps passkeys, and knows its owner."""
    session = person.context.new_cdp_session(person.page)
    session.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True}
    options |= {"hasUserVerification": True, "isUserVerified": True, "automaticPresenceSimulation": True}
    session.send("WebAuthn.addVirtualAuthenticator", {"options": options})


def test_a_passkey(desk: Desk, world: PortalWorld) -> None:
    person = desk.window("carla", token=world.new_token("carla"))
    give_authenticator(person)
    person.open("/account")
    person.page.locator("#f-passkey").fill("Carla's laptop")
    with person.page.expect_navigation(url="**/account?done=passkey"):
        person.page.get_by_role("button", name="Register a passkey").click()
    assert "Carla's laptop" in person.text()
    assert person.faults() == []
    person.press("Sign out", "header")

    person.open("/sign-in?next=/balance")
    with person.page.expect_navigation(url="**/balance"):
        person.page.get_by_role("button", name="Sign in with a passkey").click()
    assert person.text(".who a") == "carla"
    person.open("/account")
    assert "by passkey" in person.text("[aria-labelledby=s-sessions]")
    person.button("Remove")
    assert "The passkey is removed." in person.text()
    person.press("Sign out", "header")

    # The authenticator still offers it; the key server does not know it any more.
    person.open("/sign-in")
    person.page.get_by_role("button", name="Sign in with a passkey").click()
    person.page.locator("#passkey-sign-in [role=alert]").wait_for()
    person.open("/balance")
    assert person.heading() == "Sign in"


def test_who_does_not_confirm_is_told(desk: Desk) -> None:
    person = desk.window("deniz")
    person.open("/account")
    person.page.evaluate(
        "void (navigator.credentials.create = () => Promise.reject(new DOMException('', 'NotAllowedError')))"
    )
    person.page.get_by_role("button", name="Register a passkey").click()
    person.page.get_by_text("It was not confirmed.").wait_for()


def test_one_time_codes(desk: Desk, world: PortalWorld) -> None:
    world.call("user-add", login="frida", password="a quiet harbour", roles=["receiver"])
    person = desk.window(script=False)
    sign_in(person, "frida")
    person.open("/account")
    person.button("Set up one-time codes")
    secret = person.text("code.secret").replace(" ", "")
    box = person.page.locator("main svg").bounding_box()
    assert box is not None
    assert box["width"] > 100
    person.enter("code", "000000")
    person.button("Confirm")
    assert person.page.locator("#trouble").count() == 1
    assert person.text("code.secret").replace(" ", "") == secret
    # A code is good once, and for a step before and after its own: this one is of this step, the other of the
    # next, and both are good still when a step ends meanwhile.
    totp = pyotp.TOTP(secret)
    person.enter("code", totp.at(int(world.now)))
    person.button("Confirm")
    assert "One-time codes are asked for from now on." in person.text()
    person.press("Sign out", "header")

    sign_in(person, "frida")
    assert person.heading() == "One-time code"
    person.enter("code", "000000")
    person.button("Go on")
    assert person.heading() == "One-time code"
    person.enter("code", totp.at(int(world.now) + 30))
    person.button("Go on")
    assert person.text(".who a") == "frida"

    scripted = desk.window()
    sign_in(scripted, "frida")
    assert scripted.heading() == "One-time code"
    assert scripted.faults() == []
    scripted.open("/balance")
    assert scripted.heading() == "Sign in"
