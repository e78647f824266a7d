"""A real browser on a host of the lab: Debian's Chromium, driven by Playwright.

The scenario is the user: it fills in forms by their labels, presses buttons by name, and takes pictures.
Chromium and its driver live in the host's namespace, so that their packets take the host's way.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lab.namespaces import inside
from lab.topology import Host

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

CHROMIUM = "/usr/bin/chromium"
# Nothing but the pages that it is sent to, no sandbox (it is root in a guest), no shared memory to speak of.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--disable-features=MediaRouter,OptimizationHints,Translate",
)
PAGE_MS = 120_000.0  # a guest on a busy machine takes its time
START_MS = 240_000.0


class Browser:
    """Open windows with ``window``; close everything by leaving the ``with`` block."""

    def __init__(self, host: Host, pictures: Path) -> None:
        self._host = host
        self._pictures = pictures
        pictures.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Browser:
        from playwright.sync_api import sync_playwright

        with inside(self._host.namespace):
            self._driver = sync_playwright().start()
            self._browser = self._driver.chromium.launch(
                executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=START_MS
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.close()
        self._driver.stop()

    def window(self, base: str, *, script: bool = True, phone: bool = False, dark: bool = False) -> Window:
        """A user of its own: no cookies of the others. ``script``: with JavaScript."""
        context = self._browser.new_context(
            base_url=base,
            ignore_https_errors=True,  # the lab's own authority; what TLS is worth is tested elsewhere
            java_script_enabled=script,
            viewport={"width": 390, "height": 844} if phone else {"width": 1100, "height": 800},
            color_scheme="dark" if dark else "light",
            locale="en-GB",
            timezone_id="UTC",
            accept_downloads=True,
        )
        context.set_default_timeout(PAGE_MS)
        return Window(context, self._pictures)


class Window:
    """One user's window."""

    def __init__(self, context: BrowserContext, pictures: Path) -> None:
        self._context = context
        self._pictures = pictures
        self.page: Page = context.new_page()
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._heard)

    def _heard(self, message: object) -> None:
        if getattr(message, "type", "") == "error":
            self.errors.append(str(getattr(message, "text", "")))

    def open(self, path: str) -> None:
        self.page.goto(path)

    def enter(self, name: str, text: str) -> None:
        """Fill in the field of this name."""
        self.page.locator(f"main [name='{name}']").first.fill(text)

    def tick(self, name: str, value: str, wanted: bool) -> None:
        self.page.locator(f"main [name='{name}'][value='{value}']").set_checked(wanted)

    def press(self, name: str, within: str = "body") -> None:
        """A button or a link by its name, and wait for the page that comes."""
        place = self.page.locator(within)
        button = place.get_by_role("button", name=name, exact=True)
        target = button if button.count() else place.get_by_role("link", name=name, exact=True)
        with self.page.expect_navigation():
            target.first.click()

    def text(self, selector: str = "main") -> str:
        return self.page.locator(selector).first.inner_text()

    def picture(self, name: str) -> None:
        self.page.screenshot(path=str(self._pictures / f"{name}.png"), full_page=True)

    def close(self) -> None:
        self._context.close()
