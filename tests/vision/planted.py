"""Runs with attention planted in a picture, and what a page really shows of it, read by pixel."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from attnreport import Attention, Axis, Position, Run
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
    taken = Image.open(io.BytesIO(page.screenshot(clip=box)))
    return np.asarray(taken.convert("RGB"), dtype=float)


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
    with_map = screenshot(page)
    changed = np.abs(with_map - (uncovered(page) if plain is None else plain)).sum(axis=2)
    rows, columns = np.nonzero(changed > 0.25 * changed.max())
    assert changed.max() > 60, "nothing was laid over the picture"
    height, width = changed.shape
    return (columns.mean() + 0.5) / width * size[0], (rows.mean() + 0.5) / height * size[1]


def show_layer(page, layer, query):
    """Go to another layer by the address, as a shared link does, and wait until it shows."""
    page.evaluate(
        "([layer, query]) => { location.hash = `view=overlay&layer=${layer}&query=${query}` }",
        [layer, query],
    )
    page.wait_for_timeout(350)


def slide(page, opacity):
    """Set the opacity as a hand on the slider does, and wait until it shows."""
    page.locator("#opacity").fill(str(opacity))
    page.wait_for_timeout(350)
