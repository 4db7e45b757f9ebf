"""Time and weigh the picture view of 12 layers × 12 heads over four patch grids.

Run ``python tests/benchmarks/overlay.py``. The weights are made: each head looks around a place of
its own, with noise, softly in low layers and sharply in high ones; trained models differ, and so
does what their weights weigh. Bars: the view ready in under 1 s, another query in under 50 ms, and
for 197 tokens a file of at most 2.5 MB beside the picture. Timings are medians, painted.
"""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

from browser import ARGUMENTS, chromium  # lies one folder up
from playwright.sync_api import sync_playwright

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.picture import Picture

LAYERS, HEADS, REPEATS = 12, 12, 5
# Columns, rows, registers: ViT at 224 pixels, DINOv2 with registers, a tall one, DINOv2 at 518.
GRIDS = [(14, 14, 0), (16, 16, 4), (24, 36, 0), (37, 37, 0)]
_READY = """
new MutationObserver((_, observer) => {
  if (document.documentElement?.dataset.ready !== "true") return;
  observer.disconnect();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.__ready = performance.now(); }));
}).observe(document, { subtree: true, childList: true, attributes: true });
"""
_SWITCH = """async ([across, down]) => {
  const frame = () => new Promise(requestAnimationFrame);
  const images = () => [...document.querySelectorAll("#overlay-live svg image")];
  const map = () => images()[images().length - 1].getAttribute("href");
  const box = images()[0].getBoundingClientRect();
  const place = { clientX: box.x + across * box.width, clientY: box.y + down * box.height };
  const before = map();
  const start = performance.now();
  images()[0].dispatchEvent(new MouseEvent("click", { bubbles: true, ...place }));
  while (map() === before) await frame();
  await frame();
  return performance.now() - start;
}"""


def grid_run(columns: int, rows: int, registers: int) -> Run:
    """Return a run over a photo-like picture with patches of 16 pixels."""
    width, height = 16 * columns, 16 * rows
    names = ["[CLS]", *(f"[register {nth}]" for nth in range(registers))]
    positions = [Position(name, role="special") for name in names]
    positions += [
        Position(f"row {row} column {column}",
                 box=(16 * column, 16 * row, 16 * column + 16, 16 * row + 16))
        for row in range(rows) for column in range(columns)
    ]  # fmt: skip
    axis = Axis("picture", tuple(positions), picture=Picture.of(photo(width, height)))
    rng = np.random.default_rng(0)
    attentions = [_attention(layer, axis, rng) for layer in range(LAYERS)]
    return Run(tuple(attentions))


def photo(width: int, height: int) -> Image.Image:
    """Return soft shapes and fine noise, which no PNG makes small: as a photo is."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (height // 48 + 2, width // 48 + 2, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(soft) + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _attention(layer: int, axis: Axis, rng: np.random.Generator) -> Attention:
    boxes = np.array([position.box or (-1e4,) * 4 for position in axis], dtype=np.float32)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    weights = np.empty((HEADS, len(axis), len(axis)), dtype=np.float32)
    for head in weights:
        goals = middles + rng.normal(0, 40, 2)
        distance = ((goals[:, None] - middles[None]) ** 2).sum(axis=2) / 64**2
        noise = rng.normal(0, 0.5 + layer / 6, head.shape)
        scores = np.exp(noise - np.minimum(distance, 8) * (0.3 + layer / 12))
        head[:] = scores / scores.sum(axis=1, keepdims=True)
    return Attention(weights, f"layer.{layer}", layer, "self", axis, axis, residual=1e-7)


def shown(browser, path: Path) -> tuple[list[float], list[float]]:
    """Return milliseconds until the view is ready, and milliseconds to another query."""
    ready, switches = [], []
    for _ in range(REPEATS):
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.add_init_script(_READY)
        page.goto(f"{path.as_uri()}#view=overlay&query=0")
        page.wait_for_selector("html[data-ready=true]", state="attached")
        page.wait_for_timeout(300)
        ready.append(page.evaluate("window.__ready"))
        places = [(0.3, 0.4), (0.7, 0.2), (0.9, 0.9), (0.1, 0.6)]
        switches += [page.evaluate(_SWITCH, place) for place in places]
        page.close()
    return ready, switches


def main() -> None:
    """Print every figure."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        for columns, rows, registers in GRIDS:
            run = grid_run(columns, rows, registers)
            path = Path(name) / "overlay.html"
            start = time.perf_counter()
            report = Report(run)
            size = report.save(path, force=True)
            seconds = time.perf_counter() - start
            picture = len(run.axes[0].picture.content) * 4 / 3
            ready, switches = shown(browser, path)
            print(
                f"{columns} × {rows} patches and {1 + registers} others: "
                f"{(size - picture) / 1e6:.2f} MB and a picture of {picture / 1e6:.2f} MB, "
                f"written in {seconds:.1f} s, ready in {statistics.median(ready):.0f} ms, "
                f"another query in {statistics.median(switches):.0f} ms"
                + "".join(f"\n  {reduction}" for reduction in report.reductions)
            )
        browser.close()


if __name__ == "__main__":
    main()
