"""A real Chromium for the page tests, and a watch over everything a page must not do."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
# Playwright reports these as requests though nothing leaves the machine.
_LOCAL = ("file:", "data:", "about:")
_COUNT_VIOLATIONS = """
window.__violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.__violations.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sample}`));
"""
_READY_MILLISECONDS = 20_000  # a machine that others use too can be slow; the benchmark has bars


def chromium() -> str:
    """Return the path of the system's browser; install Debian's where there is none."""
    return _found() or _installed()


def _found() -> str | None:
    return next((path for path in map(shutil.which, NAMES) if path), None)


def _installed() -> str:
    if not shutil.which("apt-get") or os.geteuid() != 0:
        raise RuntimeError(f"the page tests need one of {', '.join(NAMES)} on PATH: install one")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
        subprocess.run(["apt-get", "-qq", *command], check=True, env=environment)
    found = _found()
    if found is None:
        raise RuntimeError("chromium was installed and is not on PATH")
    return found


@dataclass
class Watch:
    """Open pages and note whatever a report must not do: talk, fail, ask for anything."""

    browser: Browser
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
        page.on("pageerror", lambda error: self.seen.append(f"error: {error}"))
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

    def _request(self, request) -> None:
        if not request.url.startswith(_LOCAL):
            self.seen.append(f"request: {request.url}")

    def _dialog(self, dialog) -> None:
        self.seen.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def wait_until_ready(page) -> None:
    """Wait until a page, or a frame, says that it is painted."""
    page.wait_for_selector("html[data-ready=true]", state="attached", timeout=_READY_MILLISECONDS)
