"""Draw a sound as its model gets it, with time across, and say where its features lie on it.

Features over bins become a spectrogram, low bins below; bare samples become their outline. What an
extractor put behind the end of the sound lies outside the picture: that is padding. Knows no model
family.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attnreport.picture import Picture, Scale
from attnreport.pixels import Pixels
from attnreport.sources.sound_frames import Frames
from attnreport.sources.vision_boxes import UnknownGeometry

# What one sees of it, and what boxes count: wide, for time is what one looks at.
WIDTH, HEIGHT = 1000, 320
_OUTLINE_ROWS = 160
_GROUND, _LINE = 24, 200
# Each number is followed on its own.
_MOST_NUMBERS = 4_000_000


def pixels_of_sound(features: NDArray[np.float32], frames: Frames, seconds: float) -> Pixels:
    """Describe the features of a sound: the picture of them, and where each lies on it.

    Args:
        features: what the model gets, of ``frames.shape``.
        frames: how it lies in time.
        seconds: how long the sound is; what lies behind is padding.

    Raises:
        UnknownGeometry: it is too long to be followed.
    """
    if features.size > _MOST_NUMBERS:
        raise UnknownGeometry(
            f"its features are {features.size:,} numbers, followed are up to {_MOST_NUMBERS:,}; "
            "take a shorter sound"
        )
    values = frames.arranged(features)  # (frame, bin)
    edges = frames.edges()
    return Pixels(_picture(values, edges, seconds), _boxes(frames, edges, seconds), name="sound")


def _boxes(frames: Frames, edges: NDArray[np.float64], seconds: float) -> NDArray[np.float64]:
    """Return the box of every feature, ``(…, 4)``, broadcast to the shape of the features."""
    across = edges / seconds * WIDTH
    bins = 1 if frames.bins is None else frames.shape[frames.bins]
    down = HEIGHT * (1 - np.arange(bins + 1) / bins)  # the lowest bin lies at the bottom
    boxes = np.empty((len(across) - 1, bins, 4))
    boxes[..., 0], boxes[..., 2] = across[:-1, None], across[1:, None]
    boxes[..., 1], boxes[..., 3] = down[1:], down[:-1]
    shape = [1] * len(frames.shape)
    shape[frames.time] = len(boxes)
    if frames.bins is not None:
        shape[frames.bins] = bins
        if frames.bins < frames.time:
            boxes = boxes.swapaxes(0, 1)
    return boxes.reshape(*shape, 4)


def _picture(values: NDArray[np.float32], edges: NDArray[np.float64], seconds: float) -> Picture:
    inside = max(1, int(np.searchsorted(edges[:-1], seconds)))
    columns = min(WIDTH, inside)
    # The frames that fall in each column: from that of its left edge on.
    starts = np.searchsorted(edges[1:inside], np.arange(columns) / columns * seconds, side="right")
    own = values[:inside]
    time = Scale(0.0, seconds, after=" s", digits=2 if seconds > 1 else 3)
    if values.shape[1] == 1:
        most = float(np.abs(own).max()) or 1.0
        return Picture.drawn(
            _outline(own[:, 0] / most, starts), WIDTH, HEIGHT, time, Scale(most, -most, digits=2)
        )
    loudest = np.maximum.reduceat(own, starts, axis=0)  # (column, bin)
    low, high = float(own.min()), float(own.max())
    shades = (loudest - low) / ((high - low) or 1.0) * 255
    image = Image.fromarray(np.rint(shades.T[::-1]).astype(np.uint8))
    bins = Scale(float(values.shape[1]), 0.0, before="bin ")
    return Picture.drawn(image, WIDTH, HEIGHT, time, bins)


def _outline(values: NDArray[np.float32], starts: NDArray[np.int64]) -> Image.Image:
    """Return a picture of samples in [-1, 1]: in each column from the least to the largest."""
    rows = np.linspace(1, -1, _OUTLINE_ROWS)[:, None]
    high, low = (reduce.reduceat(values, starts) for reduce in (np.maximum, np.minimum))
    half = 1 / _OUTLINE_ROWS
    inside = (rows <= high + half) & (rows >= low - half)
    return Image.fromarray(np.where(inside, _LINE, _GROUND).astype(np.uint8))
