"""Time and weigh the picture view of 12 layers × 12 heads over four patch grids.

Run ``python tests/benchmarks/overlay.py``. The weights are those of a trained DINOv2 (ViT-S/14, its
six heads on each of two photographs make twelve), see ``dinov2.py``; it has no registers, so these
get the class token's rows and columns, rows scaled to 1 again. With ``--made`` no package is
needed: each head looks around a place of its own, with noise. Bars: the view ready in under 1 s,
another query in under 50 ms, and for 197 tokens a file of at most 2.5 MB beside the picture.
Timings are medians, painted.
"""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent.parent))

import timm_beside_cpu_torch  # lies one folder up, as the next does
from browser import ARGUMENTS, chromium
from painted import REPEATS, opened, opening
from playwright.sync_api import sync_playwright

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.picture import Picture

LAYERS, HEADS = 12, 12
SIDE = 14
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
# Columns, rows, registers: ViT at 224 pixels, DINOv2 with registers, a tall one, DINOv2 at 518.
GRIDS = [(14, 14, 0), (16, 16, 4), (24, 36, 0), (37, 37, 0)]
_SWITCH = """async ([across, down]) => {
  const frame = () => new Promise(requestAnimationFrame);
  const live = document.querySelector("#overlay-live");
  const image = live.querySelector("svg image");
  const box = image.getBoundingClientRect();
  const place = { clientX: box.x + across * box.width, clientY: box.y + down * box.height };
  let changed = false; // a map that is no even grid is rectangles, not an image
  const watch = new MutationObserver(() => { changed = true; });
  watch.observe(live, { subtree: true, childList: true, attributes: true });
  const start = performance.now();
  image.dispatchEvent(new MouseEvent("click", { bubbles: true, ...place }));
  while (!changed) await frame();
  await frame();
  watch.disconnect();
  return performance.now() - start;
}"""


def grid_run(columns: int, rows: int, registers: int, *, made: bool = False) -> Run:
    """Return a run over a photograph, or over made shapes, in patches of 14 pixels."""
    names = ["[CLS]", *(f"[register {nth}]" for nth in range(registers))]
    positions = [Position(name, role="special") for name in names]
    positions += [
        Position(f"row {row} column {column}",
                 box=(SIDE * column, SIDE * row, SIDE * column + SIDE, SIDE * row + SIDE))
        for row in range(rows) for column in range(columns)
    ]  # fmt: skip
    image = photo(SIDE * columns, SIDE * rows) if made else photograph(columns, rows)
    axis = Axis("picture", tuple(positions), picture=Picture.of(image))
    weights = made_weights(axis) if made else trained_weights(columns, rows, registers)
    return Run(tuple(
        Attention(each, f"layer.{layer}", layer, "self", axis, axis, residual=1e-7)
        for layer, each in enumerate(weights)
    ))  # fmt: skip


def photograph(columns: int, rows: int) -> Image.Image:
    """Return the first of the two photographs."""
    from dinov2 import picture  # noqa: PLC0415 - lies beside; seconds to import

    return picture(PHOTOGRAPHS[0], columns, rows)


def trained_weights(columns: int, rows: int, registers: int) -> Iterator[np.ndarray]:
    """Yield (12, token, token) of each layer of the trained model."""
    from dinov2 import attentions, dinov2, picture  # noqa: PLC0415 - as above

    model = dinov2()
    both = [attentions(model, picture(name, columns, rows)) for name in PHOTOGRAPHS]
    for parts in zip(*both, strict=True):
        weights = np.concatenate(parts)
        if registers:
            places = [0] * registers + list(range(weights.shape[1]))
            weights = weights[:, places][:, :, places]
            weights /= weights.sum(axis=2, keepdims=True)
        yield weights


def photo(width: int, height: int) -> Image.Image:
    """Return soft shapes and fine noise, which no PNG makes small: as a photo is."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (height // 48 + 2, width // 48 + 2, 3), dtype=np.uint8)
    soft = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    noisy = np.asarray(soft) + rng.normal(0, 6, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def made_weights(axis: Axis) -> Iterator[np.ndarray]:
    """Yield (12, token, token) of each layer: softly around places, more sharply in high ones."""
    rng = np.random.default_rng(0)
    boxes = np.array([position.box or (-1e4,) * 4 for position in axis], dtype=np.float32)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    for layer in range(LAYERS):
        weights = np.empty((HEADS, len(axis), len(axis)), dtype=np.float32)
        for head in weights:
            goals = middles + rng.normal(0, 40, 2)
            distance = ((goals[:, None] - middles[None]) ** 2).sum(axis=2) / 64**2
            noise = rng.normal(0, 0.5 + layer / 6, head.shape)
            scores = np.exp(noise - np.minimum(distance, 8) * (0.3 + layer / 12))
            head[:] = scores / scores.sum(axis=1, keepdims=True)
        yield weights


def shown(browser, path: Path) -> tuple[list[float], list[float]]:
    """Return milliseconds until the view is ready, and milliseconds to another query."""
    ready, switches = [], []
    for _ in range(REPEATS):
        address = f"{path.as_uri()}#view=overlay&query=0"
        ready.append(opening(browser, address)[1])
        page = opened(browser, address)
        places = [(0.3, 0.4), (0.7, 0.2), (0.9, 0.9), (0.1, 0.6)]
        switches += [page.evaluate(_SWITCH, place) for place in places]
        page.close()
    return ready, switches


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--made", action="store_true", help="made weights, no package needed")
    made = parser.parse_args().made
    timm_beside_cpu_torch.install()
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        for columns, rows, registers in GRIDS:
            run = grid_run(columns, rows, registers, made=made)
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
