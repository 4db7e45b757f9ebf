"""Runs with attention planted in a picture, and what a page really shows of it, read by pixel."""

from __future__ import annotations

import io
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import pytest
from browser import screenshot as picture_of
from PIL import Image

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.picture import Picture


def grid_axis(width, height, columns, rows, *, prefix=("[CLS]",), image=None):
    """An axis of even patches over a dark picture."""
    image = image or Image.new("RGB", (width, height), (20, 30, 60))
    across, down = width / columns, height / rows
    patches = tuple(
        Position(f"r{row} c{column}",
                 box=(column * across, row * down, (column + 1) * across, (row + 1) * down))
        for row in range(rows) for column in range(columns)
    )  # fmt: skip
    before = tuple(Position(name, role="special") for name in prefix)
    return Axis("picture", before + patches, picture=Picture.of(image))


def planted_run(axis, links, *, keys=None, share=0.9):
    """One head whose query ``q`` gives ``share`` to key ``k`` for each ``q: k`` of ``links``."""
    keys = keys or axis
    weights = np.full((1, len(axis), len(keys)), 1 / len(keys), dtype=np.float32)
    for query, key in links.items():
        weights[0, query] = (1 - share) / (len(keys) - 1)
        weights[0, query, key] = share
    kind = "self" if keys is axis else "cross"
    return Run((Attention(weights, "layer", 0, kind, axis, keys, residual=0.0),))


def screenshot(page):
    """The picture of the overlay as it stands on the screen, RGB, without its axes."""
    page.locator("#overlay-live").scroll_into_view_if_needed()
    box = page.locator("#overlay-live svg image").first.bounding_box()
    taken = Image.open(io.BytesIO(picture_of(page, clip=box)))
    return np.asarray(taken.convert("RGB"), dtype=float)


def at_rest(page):
    """The picture once two screenshots of it are the same: what is drawn may be painted later."""
    before, after = None, screenshot(page)
    while before is None or not np.array_equal(before, after):
        page.wait_for_timeout(60)
        before, after = after, screenshot(page)
    return after


def uncovered(page):
    """The picture as it stands on the screen with nothing over it."""
    slide(page, 0)
    plain = screenshot(page)
    slide(page, 80)
    return plain


def covered_at(page, size, plain=None):
    """Where the overlay covers most: the middle of it, in pixels of a picture of that size.

    The same page without cover is taken away, so that only the overlay is left; ``plain`` is a
    screenshot of it, where there is one already.
    """
    with_map = at_rest(page)
    changed = np.abs(with_map - (uncovered(page) if plain is None else plain)).sum(axis=2)
    rows, columns = np.nonzero(changed > 0.25 * changed.max())
    assert changed.max() > 60, "nothing was laid over the picture"
    height, width = changed.shape
    return (columns.mean() + 0.5) / width * size[0], (rows.mean() + 0.5) / height * size[1]


@dataclass(frozen=True)
class Lit:
    """A spot lit in a picture, and the position that the model itself says it reached.

    Attributes:
        name: of the model, for a message.
        axis: the positions, over the picture before it was lit.
        place: index of the position that changed.
        spot: the middle of what was lit, in the picture's pixels.
        slack: by what share of its size a position's box may miss the spot.
    """

    name: str
    axis: Axis
    place: int
    spot: tuple[float, float]
    slack: float = 0.05

    @property
    def size(self):
        """Width and height of the picture."""
        return self.axis.picture.width, self.axis.picture.height


def check_page(open_page, found):
    """A page, a layer for each: what is covered, read from its pixels, holds the lit spot.

    Which position the spot reached, the model said; how large a position is, its box does.
    """
    found = sorted(found, key=lambda each: each.size)
    queries, layers = Axis("query", (Position("looks"),)), []
    for layer, each in enumerate(found):
        weights = np.full((1, 1, len(each.axis)), 0.1 / (len(each.axis) - 1), dtype=np.float32)
        weights[0, 0, each.place] = 0.9
        layers.append(
            Attention(weights, each.name, layer, "cross", queries, each.axis, residual=0.0)
        )
    html = Report(Run(tuple(layers))).html()
    check_layers(open_page(html, fragment="#view=overlay&query=0"), found)


def check_layers(page, found):
    """Every layer of the page covers its lit spot."""
    for _, same in groupby(enumerate(found), key=lambda pair: pair[1].axis.picture):
        plain = None
        for layer, each in same:
            size = each.size
            part = each.axis.positions[each.place].part
            layered = each.axis.picture.layered
            show_layer(page, layer, f"&part={part}" if layered else "")
            plain = uncovered(page) if plain is None else plain
            x, y = covered_at(page, size, plain)
            message = each.name, size, (x, y), each.spot
            x0, y0, x1, y1 = each.axis.positions[each.place].box
            pixel = max(size) / 400  # of the screen, at least, and half of one on either side
            middle = pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2), abs=1 + 2 * pixel)
            assert (x, y) == middle, message
            reach = 0.5 + each.slack
            assert abs(x - each.spot[0]) <= reach * (x1 - x0) + 2 * pixel, message
            assert abs(y - each.spot[1]) <= reach * (y1 - y0) + 2 * pixel, message


_SETTLED = """async (hash) => {
  const live = document.getElementById("overlay-live");
  let last = performance.now() + 1000; // until something changes
  const watch = new MutationObserver(() => { last = performance.now(); });
  watch.observe(live, { subtree: true, childList: true, attributes: true });
  location.hash = hash;
  while (performance.now() < last + 120) await new Promise(requestAnimationFrame);
  watch.disconnect();
}"""


def show_layer(page, layer, more=""):
    """Go to another layer by the address, as a shared link does, and wait until it stands still."""
    page.evaluate(_SETTLED, f"view=overlay&layer={layer}&query=0{more}")


def slide(page, opacity):
    """Set the opacity as a hand on the slider does, and wait until it shows."""
    page.locator("#opacity").fill(str(opacity))
    page.wait_for_timeout(350)
