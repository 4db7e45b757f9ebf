"""Measure what BertViz and CircuitsVis make of the same weights; page.py --peers prints it.

Each page is opened twice: as its users get it, without a network, and with the libraries that it
asks the network for at hand: BertViz's three from npm (so npm must be there), CircuitsVis's from
its own package.
"""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import os
import subprocess
import venv
from pathlib import Path

import numpy as np
from playwright.sync_api import Browser, Page

_NEEDED = ("torch==2.13.0", "ipython", "bertviz==1.4.1", "circuitsvis==1.43.3", "setuptools<81")
# What BertViz's page asks for by these names. Its jQuery 2.0.0 is not on npm: 2.1.1 stands in.
_LIBRARIES = {
    "**/require.min.js": ("requirejs@2.3.6", "requirejs/require.js"),
    "**/d3.min.js": ("d3@5.7.0", "d3/dist/d3.min.js"),
    "**/jquery.min.js": ("jquery@2.1.1", "jquery/dist/jquery.min.js"),
}
_MAKE = """
import sys, numpy as np, torch
from pathlib import Path
weights = np.load(sys.argv[1]); folder = Path(sys.argv[2])
labels = [str(index) for index in range(weights.shape[-1])]
from bertviz import head_view
page = head_view([torch.tensor(layer)[None] for layer in weights], labels, html_action="return")
(folder / "BertViz.html").write_text(page.data)
(folder / "BertViz-complete.html").write_text(page.data)
from circuitsvis.attention import attention_heads
page = attention_heads(attention=weights.reshape(-1, *weights.shape[-2:]), tokens=labels)
(folder / "CircuitsVis.html").write_text(page.cdn_src)
(folder / "CircuitsVis-complete.html").write_text(page.local_src)
"""
# Drawn is what has been there, in the same number, for half a second.
_DRAWN = """async (longest) => {
  const count = () => document.querySelectorAll("svg *, canvas, img").length;
  let [before, since] = [count(), performance.now()];
  while (performance.now() < longest) {
    await new Promise(requestAnimationFrame);
    if (count() !== before) [before, since] = [count(), performance.now()];
    if (before && performance.now() - since > 500) return [before, since];
  }
  return [count(), null];
}"""
_NEXT_LAYER = """async () => {
  const picker = document.querySelector("#layer");
  const start = performance.now();
  picker.selectedIndex = 5;
  picker.dispatchEvent(new Event("change"));
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  return performance.now() - start;
}"""
_LONGEST = 120_000


def peers(browser: Browser, weights: np.ndarray, folder: Path) -> None:
    """Install the peers beside us, and print what their pages weigh and when they show something.

    Args:
        browser: to open the pages in.
        weights: ``(layer, head, query, key)``.
        folder: an empty one, for environments and pages.
    """
    _make(weights, folder)
    for name in ("BertViz", "CircuitsVis"):
        _offline(browser, folder / f"{name}.html", name)
        _complete(browser, folder / f"{name}-complete.html", name, folder)


def _make(weights: np.ndarray, folder: Path) -> None:
    venv.create(folder / "peers", with_pip=True)
    python = folder / "peers" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", *_NEEDED], check=True)
    packages = [package for package, _ in _LIBRARIES.values()]
    npm = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder)]
    subprocess.run([*npm, *packages], check=True)
    np.save(folder / "weights.npy", weights)
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([python, "-c", _MAKE, folder / "weights.npy", folder], check=True, env=own)


def _offline(browser: Browser, path: Path, name: str) -> None:
    page = browser.new_page()
    failed: list[str] = []
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.goto(path.as_uri(), wait_until="domcontentloaded")
    page.wait_for_timeout(10_000)
    drawn, _ = page.evaluate(_DRAWN, 0)
    state = f"{drawn} elements drawn after 10 s" if drawn else "blank after 10 s"
    size = path.stat().st_size / 1e6
    print(f"{name}: {size:.2f} MB; without a network {state}, {len(failed)} requests failed")
    page.close()


def _complete(browser: Browser, path: Path, name: str, folder: Path) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(_LONGEST)
    for asked, (_, file) in _LIBRARIES.items():
        page.route(asked, _serving(folder / "node_modules" / file))
    page.goto(path.as_uri(), wait_until="commit")
    drawn, ready = page.evaluate(_DRAWN, _LONGEST)
    said = f"drawn in {ready:.0f} ms" if ready else f"not drawn after {_LONGEST / 1000:.0f} s"
    switch = f", next layer {_switched(page):.0f} ms" if name == "BertViz" and ready else ""
    print(f"{name}: with its libraries at hand {said}, {drawn} elements{switch}")
    page.close()


def _serving(path: Path):
    return lambda route: route.fulfill(path=path)


def _switched(page: Page) -> float:
    milliseconds: float = page.evaluate(_NEXT_LAYER)
    return milliseconds
