"""Chromium before the portal: windows of users, and what a page must keep to in every window."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import axe_playwright_python
import pytest
from lab.browser import ARGUMENTS, CHROMIUM, START_MS, Window
from portal_world import PortalWorld

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

AXE = Path(axe_playwright_python.__file__).parent / "axe.min.js"
LIGHT, PHONE = {"width": 1100, "height": 800}, {"width": 390, "height": 844}
PAGE_MS = 60_000.0
_RUN = """async (rules) => {
  const found = await axe.run(document, { resultTypes: ["violations"], ...rules });
  return found.violations.filter((one) => ["serious", "critical"].includes(one.impact))
    .map((one) => `${one.id}: ${one.nodes.slice(0, 3).map((node) => node.html).join(" | ")}`);
}"""
_CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
_REST = {"rules": {"color-contrast": {"enabled": False}}}


class Person(Window):
    """One user's window; ``login`` is "" for who is not signed in."""

    def __init__(self, context: BrowserContext, pictures: Path) -> None:
        super().__init__(context, pictures)
        self.context = context
        self.status = 0

    def open(self, path: str) -> None:
        answer = self.page.goto(path)
        self.status = answer.status if answer is not None else 0

    def button(self, name: str) -> None:
        """Press it in the page itself, and wait for the page that comes."""
        with self.page.expect_navigation():
            self.page.locator("main").get_by_role("button", name=name, exact=True).first.click()

    def heading(self) -> str:
        return self.page.locator("h1").inner_text()

    def faults(self) -> list[str]:
        """What is wrong with the page as it is shown now: in light, dark, and on a phone."""
        page = self.page
        found = [
            f"error: {one}" for one in self.errors if "the server responded with a status of 4" not in one
        ]
        self.errors.clear()
        if page.evaluate("typeof axe") == "undefined":
            page.evaluate(AXE.read_text())
        found += [f"light: {one}" for one in page.evaluate(_RUN, {})]
        page.emulate_media(color_scheme="dark")
        found += [f"dark: {one}" for one in page.evaluate(_RUN, _CONTRAST)]
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)  # type: ignore[arg-type]
        wide = page.evaluate("document.scrollingElement.scrollWidth")
        if wide > PHONE["width"]:
            found.append(f"phone: the page is {wide} px wide")
        found += [f"phone: {one}" for one in page.evaluate(_RUN, _REST)]
        page.set_viewport_size(LIGHT)  # type: ignore[arg-type]
        return found


class Desk:
    """One Chromium; leave the ``with`` block to end it. The portal's certificate is known to it by its key,
    so that all is as with a certificate of an authority that browsers trust.
    """

    def __init__(self, world: PortalWorld, pictures: Path) -> None:
        self.world = world
        self._pictures = pictures
        self._windows: list[Person] = []

    def __enter__(self) -> Desk:
        from playwright.sync_api import sync_playwright

        if not Path(CHROMIUM).exists():
            pytest.fail(f"no {CHROMIUM}: scripts/system lab installs it", pytrace=False)
        self._driver = sync_playwright().start()
        trusted = f"--ignore-certificate-errors-spki-list={self.world.spki()}"
        words = [*ARGUMENTS, trusted]
        self._browser = self._driver.chromium.launch(executable_path=CHROMIUM, args=words, timeout=START_MS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.close()
        self._driver.stop()

    def window(
        self,
        login: str = "",
        *,
        script: bool = True,
        phone: bool = False,
        dark: bool = False,
        token: str = "",
    ) -> Person:
        """``login``: who is signed in already, by a session of its own or that of ``token``."""
        options: dict[str, Any] = {"viewport": PHONE if phone else LIGHT}
        context = self._browser.new_context(
            base_url=self.world.origin,
            java_script_enabled=script,
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="UTC",
            accept_downloads=True,
            **options,
        )
        context.set_default_timeout(PAGE_MS)
        if login:
            value = token or self.world.token(login)
            cookie: Any = {"name": "__Host-gkmd-session", "value": value, "url": self.world.origin}
            context.add_cookies([cookie | {"secure": True, "httpOnly": True, "sameSite": "Lax"}])
        made = Person(context, self._pictures)
        self._windows.append(made)
        return made

    def close_windows(self) -> None:
        while self._windows:
            self._windows.pop().close()
