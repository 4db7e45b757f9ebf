"""Charts as arrays to train on: drawn once, then seen a little differently every time.

Knows the size that ``demo:vision`` looks at, and nothing of its layers.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from charts import KINDS, draw
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by

from attnreport.demos.vision import SIDE, contrast

# Drawn larger than they are seen, so that a shifted and scaled view of them is sharp.
STORED = 120


@dataclass(frozen=True)
class Pictures:
    """Hold drawn charts.

    Attributes:
        pixels: ``(picture, 4, STORED, STORED)``, uint8: red, green, blue, and 255 where a mark is.
        kinds: ``(picture,)``, index into the sorted names of ``KINDS``.
    """

    pixels: Tensor
    kinds: Tensor


def drawn(first: int, count: int, *, kept: Path | None = None) -> Pictures:
    """Draw ``count`` charts of the training data sets, as many of each kind.

    Args:
        first: seed of the first; the others follow.
        count: how many.
        kept: a file to keep them in; if it is there, they come from it.
    """
    if kept is not None and kept.exists():
        pixels = np.load(kept)[:count]
    else:
        # Vega runs in an engine of its own that does not survive a fork.
        with multiprocessing.get_context("spawn").Pool() as pool:
            seeds = range(first, first + count)
            pixels = np.stack(list(pool.imap(_stored, seeds, chunksize=16)))
        if kept is not None:
            np.save(kept, pixels)
    kinds = torch.arange(first, first + len(pixels)) % len(KINDS)
    return Pictures(torch.from_numpy(pixels), kinds)


def kind_of(seed: int) -> str:
    """Return the kind of chart that has this seed: they take turns."""
    return sorted(KINDS)[seed % len(KINDS)]


def _stored(seed: int) -> NDArray[np.uint8]:
    drawing = draw(seed, kind_of(seed), held_out=False)
    image = drawing.image.resize((STORED, STORED), Image.Resampling.BILINEAR)
    marks = Image.fromarray(drawing.marks).convert("L")
    marks = marks.resize((STORED, STORED), Image.Resampling.BILINEAR)
    layers = np.dstack((np.asarray(image), np.asarray(marks)))
    return np.ascontiguousarray(layers.transpose(2, 0, 1))


def seen(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Return the pictures as one may see them too: shifted, scaled, mirrored, in other colours.

    Args:
        pixels: ``(picture, 4, STORED, STORED)``, uint8.
        generator: what decides.

    Returns:
        ``(picture, 4, SIDE, SIDE)``, float32 in [0, 1]: contrast to the ground, and marks.
    """
    count = len(pixels)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    # Rows of an affine map from what is seen to what is stored, both from −1 to 1.
    place = torch.zeros(count, 2, 3)
    for side in (0, 1):
        mirrored = torch.where(between(0, 1) < 0.5, -1.0, 1.0)
        place[:, side, side] = mirrored * between(0.8, 1.1)
        place[:, side, 2] = between(-0.12, 0.12)
    grid = F.affine_grid(place, [count, 4, SIDE, SIDE], align_corners=False)
    whole = pixels.float() / 255
    layers = torch.cat((contrast(whole[:, :3]), whole[:, 3:]), dim=1)
    found = F.grid_sample(layers, grid, align_corners=False)  # outside lies the ground: 0

    order = between(0, 1, 3).argsort(dim=1)
    colours = found[:, :3].gather(1, order[:, :, None, None].expand(-1, -1, SIDE, SIDE))
    colours = (colours * between(0.7, 1.3, 1, 1, 1)).clamp(0, 1)
    return torch.cat((colours, found[:, 3:]), dim=1)
