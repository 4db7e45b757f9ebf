"""Both browsers behind one interface: contexts, media, fingers, paper and clipboard.

Playwright drives Chromium by its own protocol and Firefox by WebDriver BiDi, which leaves half of
this out in silence. What it leaves out is asked of Firefox itself (``firefox_relay``), so that a
test means the same in both.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import firefox_relay
from playwright.sync_api import Browser, BrowserContext, CDPSession, Page, Playwright
from websockets.sync.client import connect

Point = tuple[float, float]
_CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


class Chromium:
    """The system's Chromium."""

    arguments = _CHROMIUM_ARGUMENTS

    def __init__(self, playwright: Playwright, executable: str) -> None:
        self._browser = playwright.chromium.launch(
            executable_path=executable, args=list(self.arguments)
        )
        self._fingers: dict[Page, CDPSession] = {}

    def new_context(self, **options) -> BrowserContext:
        """Open a context with Playwright's options."""
        return self._browser.new_context(**options)

    def emulate_media(self, page: Page, **features: str) -> None:
        """Have a page think that it is printed, or that its reader likes other colours."""
        page.emulate_media(**features)

    def touch(self, page: Page, kind: str, points: Sequence[Point]) -> None:
        """Put fingers down (``start``), move them (``move``), or lift all (``end``)."""
        places = [{"x": x, "y": y, "id": finger} for finger, (x, y) in enumerate(points)]
        if page not in self._fingers:
            self._fingers[page] = page.context.new_cdp_session(page)
        touched = {"type": f"touch{kind.capitalize()}", "touchPoints": places}
        self._fingers[page].send("Input.dispatchTouchEvent", touched)

    def double_click(self, page: Page, x: float, y: float) -> None:
        """Click twice at one place, as fast as a hand does."""
        page.mouse.dblclick(x, y)

    def pdf(self, page: Page) -> bytes:
        """Return the page as it is printed."""
        return page.pdf()

    def saved(self, page: Page, act: Callable[[], None]) -> tuple[str, bytes]:
        """Return the name and the content of the file that an act makes the page save."""
        with page.expect_download() as download:
            act()
        return download.value.suggested_filename, download.value.path().read_bytes()

    def allow_clipboard(self, page: Page) -> None:
        """Let the page read and write the clipboard unasked."""
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])

    def close(self) -> None:
        """End the browser."""
        self._browser.close()


# What a preference must be for each value of a media feature.
_PREFERENCES = {
    "color_scheme": ("layout.css.prefers-color-scheme.content-override", {"dark": 0, "light": 1}),
    "reduced_motion": ("ui.prefersReducedMotion", {"reduce": 1, "no-preference": 0}),
    "forced_colors": ("browser.display.document_color_use", {"active": 2, "none": 1}),
}
_PLAIN = {"color_scheme": "light", "reduced_motion": "no-preference", "forced_colors": "none"}
_DOWN, _UP = ({"type": f"pointer{way}", "button": 0} for way in ("Down", "Up"))
_SET_MEDIUM = """
for (const { gBrowser } of Services.wm.getEnumerator("navigator:browser"))
  for (const { browsingContext } of gBrowser.browsers) browsingContext.mediumOverride = "%s";
"""


class Firefox:
    """The system's Firefox. Its media features and scripts are those of all its pages at once."""

    def __init__(self, playwright: Playwright, executable: str, folder: Path) -> None:
        relay, door = folder / "firefox", folder / "door"
        self._downloads = folder / "downloads"
        self._downloads.mkdir()
        relay.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{firefox_relay.__file__}" "$@"\n')
        relay.chmod(0o755)
        named = {firefox_relay.EXECUTABLE: executable, firefox_relay.DOOR: str(door)}
        self._browser: Browser = playwright.firefox.launch(
            channel="moz-firefox",
            downloads_path=self._downloads,
            executable_path=relay,
            env={**os.environ, **named},
            firefox_user_prefs={"dom.events.testing.asyncClipboard": True},
        )
        self._open = ExitStack()
        self._door = self._open.enter_context(connect(door.read_text(), max_size=None, proxy=None))
        self._asked = 0
        tree = self._ask("browsingContext.getTree", **{"moz:scope": "chrome"})
        self._window = tree["contexts"][0]["context"]

    def new_context(self, *, java_script_enabled: bool = True, **options) -> BrowserContext:
        """Open a context with those of Playwright's options that the tests use."""
        features = {name: options.pop(name, plain) for name, plain in _PLAIN.items()}
        options.pop("has_touch", None)  # fingers are there anyway
        self._prefer("Bool", "javascript.enabled", str(java_script_enabled).lower())
        self._set_features(features)
        return self._browser.new_context(**options)

    def emulate_media(self, page: Page, *, media: str | None = None, **features: str) -> None:
        """Have a page think that it is printed, or that its reader likes other colours."""
        if media is not None:
            self._run(_SET_MEDIUM % ("" if media == "screen" else media))
        self._set_features(features)
        page.wait_for_timeout(100)  # a page without scripts tells no frame

    def touch(self, page: Page, kind: str, points: Sequence[Point]) -> None:
        """Put fingers down (``start``), move them (``move``), or lift all (``end``)."""
        if kind == "end":
            self._ask("input.releaseActions", context=self._context(page))
            return
        press = [_DOWN] if kind == "start" else []
        fingers = [
            _pointer("touch", f"finger{finger}", [_to(*point), *press])
            for finger, point in enumerate(points)
        ]
        self._ask("input.performActions", context=self._context(page), actions=fingers)

    def double_click(self, page: Page, x: float, y: float) -> None:
        """Click twice at one place, as fast as a hand does: Firefox counts those of one command."""
        acts = [_pointer("mouse", "hand", [_to(x, y), _DOWN, _UP, _DOWN, _UP])]
        self._ask("input.performActions", context=self._context(page), actions=acts)

    def pdf(self, page: Page) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(
            self._ask("browsingContext.print", context=self._context(page))["data"]
        )

    def saved(self, page: Page, act: Callable[[], None]) -> tuple[str, bytes]:
        """Return the name and the content of the file that an act makes the page save."""
        for old in self._downloads.iterdir():
            old.unlink()
        act()
        for _ in range(200):
            # Until it is whole, Firefox writes beside an empty file of its name.
            found = [path for path in self._downloads.iterdir() if path.stat().st_size]
            if found and not list(self._downloads.glob("*.part")):
                return found[0].name, found[0].read_bytes()
            page.wait_for_timeout(50)
        raise AssertionError("Firefox saved no file")

    def allow_clipboard(self, page: Page) -> None:
        """Let the page read and write the clipboard unasked, as a preference does already."""

    def close(self) -> None:
        """End the browser."""
        self._open.close()
        self._browser.close()

    def _set_features(self, features: dict[str, str]) -> None:
        for name, value in features.items():
            preference, numbers = _PREFERENCES[name]
            self._prefer("Int", preference, numbers[value])

    def _prefer(self, kind: str, preference: str, value: object) -> None:
        self._run(f'Services.prefs.set{kind}Pref("{preference}", {value})')

    def _run(self, script: str) -> None:
        """Run a script as the browser itself."""
        answer = self._ask(
            "script.evaluate",
            expression=script,
            target={"context": self._window},
            awaitPromise=True,
        )
        assert answer["type"] == "success", answer

    def _context(self, page: Page) -> str:
        contexts = self._ask("browsingContext.getTree", maxDepth=0)["contexts"]
        return [each["context"] for each in contexts if each["url"] == page.url][-1]

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self._asked += 1
        asked = {"id": self._asked, "method": method, "params": parameters}
        self._door.send(json.dumps(asked))
        answer = json.loads(self._door.recv(30))
        assert answer["type"] == "success", answer
        return answer["result"]


def _to(x: float, y: float) -> dict[str, Any]:
    return {"type": "pointerMove", "x": round(x), "y": round(y)}


def _pointer(kind: str, name: str, acts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what one pointer does, as WebDriver BiDi has it."""
    return {"type": "pointer", "id": name, "parameters": {"pointerType": kind}, "actions": acts}
