"""Real browsers for the page tests, and a watch over everything a page must not do.

Chromium and Firefox are the system's own; ``drivers`` drives them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from drivers import Chromium, Firefox
from playwright.sync_api import BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = Chromium.arguments
# A test that asks for the fixture ``browser`` or ``page_of`` runs in each of these.
BOTH = ("chromium", "firefox")
_FIREFOX_NAMES = ("firefox-esr", "firefox")
# Playwright reports these as requests though nothing leaves the machine.
_LOCAL = ("file:", "data:", "about:")
_COUNT_VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""
# The style ("body {}") that Playwright tries to add to a page in Firefox before a screenshot.
_SCREENSHOT_STYLE = "sha256-YjaKGiklmzC6wjXA513HAMmzus8VE61XCOT+SmwNZWA="
_READY_MILLISECONDS = 20_000  # a machine that others use too can be slow; the benchmark has bars


def chromium() -> str:
    """Return the path of the system's Chromium; install Debian's where there is none."""
    return _found(NAMES) or _installed("chromium", NAMES)


def firefox() -> str:
    """Return the path of the system's Firefox; install Debian's where there is none."""
    return _found(_FIREFOX_NAMES) or _installed("firefox-esr", _FIREFOX_NAMES)


def install(package: str) -> None:
    """Install a Debian package, as root."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise RuntimeError(f"the tests need {package}: install it, or run them as root on Debian")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (Path(tempfile.gettempdir()) / "attnreport-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests may run in several processes
        for command in (["update"], ["install", "-y", "--no-install-recommends", package]):
            subprocess.run(["apt-get", "-qq", *command], check=True, env=environment)


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for path in map(shutil.which, names) if path), None)


def _installed(package: str, names: tuple[str, ...]) -> str:
    install(package)
    found = _found(names)
    if found is None:
        raise RuntimeError(f"{package} was installed and is not on PATH")
    return found


@dataclass
class Watch:
    """Open pages and note whatever a report must not do: talk, fail, ask for anything."""

    browser: Chromium | Firefox
    contexts: list[BrowserContext] = field(default_factory=list)
    pages: list[Page] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    def open(
        self,
        path: Path,
        *,
        fragment: str = "",
        ready: bool = True,
        expected: tuple[str, ...] = (),
        **options,
    ) -> Page:
        """Open a file in a context of its own; ``options`` are those of ``new_context``.

        Console messages that begin as one of ``expected`` does are the browser's, not the page's.
        """
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        context = self.browser.new_context(**options)
        self.contexts.append(context)
        context.on("request", self._request)
        context.add_init_script(_COUNT_VIOLATIONS)
        page = context.new_page()
        self.pages.append(page)
        page.on("console", lambda message: self._console(message, expected))
        page.on("pageerror", self._error)
        page.on("dialog", self._dialog)
        page.goto(path.as_uri() + fragment)
        if ready:
            wait_until_ready(page)
        return page

    def close(self) -> list[str]:
        """Close everything and return what was seen, frames' violations included."""
        for page in self.pages:
            for frame in page.frames:
                self.seen += frame.evaluate("window.__violations ?? []")
        for context in self.contexts:
            context.close()
        return self.seen

    def _console(self, message, expected: tuple[str, ...]) -> None:
        if not message.text.startswith(expected or "\0"):
            self.seen.append(f"console: {message.text}")

    def _error(self, error) -> None:
        if _SCREENSHOT_STYLE not in str(error):
            self.seen.append(f"error: {error}")

    def _request(self, request) -> None:
        if not request.url.startswith(_LOCAL):
            self.seen.append(f"request: {request.url}")

    def _dialog(self, dialog) -> None:
        self.seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def screenshot(page: Page, **options) -> bytes:
    """Return a picture of the page as PNG, without a trace in its ``Watch``."""
    before = page.evaluate("window.__violations.length")
    content = page.screenshot(**options)
    page.evaluate("before => { window.__violations.length = before; }", before)
    return content


def wait_until_ready(page) -> None:
    """Wait until a page, or a frame, says that it is painted."""
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=_READY_MILLISECONDS)
