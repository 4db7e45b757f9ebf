"""Open a report in Chromium and measure what a reader waits for: milliseconds, each painted.

Shared by the benchmarks of this folder; knows reports, not what they are of.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page
from unwatched import Unwatched

REPEATS = 5
# From the start of the navigation to the second frame after the shown head and the overview.
READY = """
new MutationObserver((_, observer) => {
  if (document.documentElement?.dataset.ready !== "true") return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.__ready = performance.now(); }));
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
# When a page is ready: its first paint, and that moment.
_OPENING = """new Promise((resolve) => {
  const look = () => {
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    if (window.__ready) resolve([paint.startTime, window.__ready]);
    else setTimeout(look, 50);
  };
  look();
})"""
_WIDTH, _HEIGHT = 1440, 900
_SWITCH = """async (head) => {
  const frame = () => new Promise(requestAnimationFrame);
  const image = () => document.querySelector("#heatmap-live svg image").getAttribute("href");
  const picker = document.getElementById("head-select");
  const before = image();
  const start = performance.now();
  picker.value = String(head);
  picker.dispatchEvent(new Event("change"));
  while (image() === before) await frame();
  await frame();
  return performance.now() - start;
}"""
# Begins where a frame begins, so that the task after it comes when that frame is painted: what is
# measured is work, not waiting for a frame.
_HOVER = """([across, down]) => new Promise((resolve) => {
  const live = document.getElementById("heatmap-live");
  const box = live.querySelector("svg image").getBoundingClientRect();
  const place = { clientX: box.x + across * box.width, clientY: box.y + down * box.height };
  const words = () => document.getElementById("readout").textContent;
  const before = words();
  requestAnimationFrame(() => {
    const start = performance.now();
    const after = new MessageChannel();
    after.port1.onmessage = () => {
      if (words() === before) throw new Error("expected another cell to be read, got the same");
      resolve(performance.now() - start);
    };
    const move = new PointerEvent("pointermove", { bubbles: true, ...place });
    live.querySelector("svg").dispatchEvent(move);
    after.port2.postMessage(null);
  });
})"""
_HEADS = (1, 5, 11, 3)
_PLACES = ((0.3, 0.4), (0.62, 0.8), (0.2, 0.9), (0.48, 0.5))


@dataclass(frozen=True)
class Figures:
    """Hold medians in milliseconds, and the heap in bytes after all of it."""

    first_paint: float
    ready: float
    switch: float
    hover: float
    heap: int

    def __str__(self) -> str:
        """Say them in one line."""
        return (
            f"first paint {self.first_paint:.0f} ms, ready {self.ready:.0f} ms, "
            f"head switch {self.switch:.0f} ms, hover {self.hover:.1f} ms, "
            f"heap {self.heap / 1e6:.0f} MB"
        )


def figures(browser: Browser, path: Path) -> Figures:
    """Return what opening and using a report takes, each time in a new page."""
    paints, ready, switches, hovers, heaps = [], [], [], [], []
    for _ in range(REPEATS):
        first_paint, when = opening(browser, path.as_uri())
        paints.append(first_paint)
        ready.append(when)
        page = opened(browser, path.as_uri())
        switches += [page.evaluate(_SWITCH, head) for head in _HEADS]
        hovers += [page.evaluate(_HOVER, place) for place in _PLACES]
        heaps.append(_heap(page))
        page.close()
    medians = (statistics.median(each) for each in (paints, ready, switches, hovers))
    return Figures(*medians, heap=max(heaps))


def opening(browser: Browser, address: str) -> tuple[float, float]:
    """Return when a page first paints and when it is ready, milliseconds from its navigation."""
    page = Unwatched(browser, _WIDTH, _HEIGHT)
    page.open(address, READY)
    first_paint, ready = page.evaluate(_OPENING)
    page.close()
    return first_paint, ready


def opened(browser: Browser, address: str) -> Page:
    """Return a page that is ready and has come to rest."""
    page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
    page.goto(address)
    page.wait_for_selector("html[data-ready=true]", state="attached")
    page.wait_for_timeout(300)
    return page


def _heap(page: Page) -> int:
    """Return how many bytes JavaScript holds once its garbage is gone."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    usage = session.send("Runtime.getHeapUsage")
    return int(usage["usedSize"] + usage.get("backingStorageSize", 0))
