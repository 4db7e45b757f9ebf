"""Time the opening of a page that nobody inspects.

Playwright asks the browser for a copy of every response, which costs a page of 14 MB a tenth of a
second that no reader waits for. So pages are opened here beside it, through the protocol itself.
"""

from __future__ import annotations

import json
import time
from typing import Any

from playwright.sync_api import Browser

_POLL_SECONDS = 0.02
_PATIENCE_SECONDS = 60


class Unwatched:
    """A page in a context of its own that Playwright does not know."""

    def __init__(self, browser: Browser, width: int, height: int) -> None:
        self._browser = browser.new_browser_cdp_session()
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked = 0
        self._browser.on("Target.receivedMessageFromTarget", self._heard)
        self._context = self._browser.send("Target.createBrowserContext")["browserContextId"]
        place = {"url": "about:blank", "browserContextId": self._context}
        size = {"width": width, "height": height}
        self._target = self._browser.send("Target.createTarget", place | size)["targetId"]
        attached = self._browser.send(
            "Target.attachToTarget", {"targetId": self._target, "flatten": False}
        )
        self._session = attached["sessionId"]

    def open(self, address: str, first: str) -> None:
        """Go to an address; the script ``first`` runs before any of the page's."""
        self._ask("Page.enable")
        self._ask("Page.addScriptToEvaluateOnNewDocument", source=first)
        self._ask("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Return what an expression, or the promise that it is, comes to."""
        answer = self._ask(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def close(self) -> None:
        """Close the page and forget its context."""
        self._browser.send("Target.disposeBrowserContext", {"browserContextId": self._context})
        self._browser.detach()

    def _heard(self, event: dict[str, Any]) -> None:
        message = json.loads(event["message"])
        if "id" in message:
            self._answers[message["id"]] = message

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._asked += 1
        message = json.dumps({"id": self._asked, "method": method, "params": parameters})
        request = {"sessionId": self._session, "message": message}
        self._browser.send("Target.sendMessageToTarget", request)
        latest = time.monotonic() + _PATIENCE_SECONDS
        while self._asked not in self._answers:
            if time.monotonic() > latest:
                raise TimeoutError(f"the page did not answer {method}")
            time.sleep(_POLL_SECONDS)
            self._browser.send("Browser.getVersion")  # events are heard while something is sent
        answer = self._answers.pop(self._asked)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result
