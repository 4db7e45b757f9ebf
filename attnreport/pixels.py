"""Which part of a picture each number of an input tensor was taken from.

A processor resizes, crops, pads, tiles; what it hands to the model is a tensor. ``Pixels`` says of
every number in it which box of the source picture it stands for. From there on the numbers are
followed through the model, so that every layer's positions get boxes of their own, whatever the
model merges, shifts or cuts. Knows no processor and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.errors import InvalidRun
from attnreport.picture import Picture


@dataclass(frozen=True, eq=False)
class Pixels:
    """Describe an input tensor that holds a picture.

    Attributes:
        picture: what the boxes count pixels of.
        boxes: ``(…, 4)`` float64: x0, y0, x1, y1 of each number of the tensor in pixels of the
            source picture; what stands before the 4 is broadcast to the tensor's shape. A box
            may lie outside the picture, wholly or in part: that is padding.
        parts: ``(…)`` int64, broadcast likewise: which of ``names`` each number belongs to.
        names: what the parts are called, where a picture is handed over in several: tiles and
            the whole, or the frames of a video.
        owners: which of the picture's own ``parts`` each of ``names`` is of; empty without any.
        corners: ``(part, 2)``: where the upper left corner of each part lies on the picture, where
            it shows the parts beside each other; boxes then count from there. None where the parts
            are of one place.
        size: width and height of each such part.
        name: what a sequence of its patches is called on the page.
    """

    picture: Picture
    boxes: NDArray[np.float64]
    parts: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ("",)
    owners: tuple[int, ...] = ()
    name: str = "picture"
    corners: NDArray[np.float64] | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.boxes.ndim < 2 or self.boxes.shape[-1] != 4:
            raise InvalidRun(f"boxes of pixels have shape {self.boxes.shape}, expected (…, 4)")

    def on_picture(
        self, box: NDArray[np.float64], part: int
    ) -> tuple[float, float, float, float] | None:
        """Return what of a box lies in its part, in pixels of the picture; None for nothing."""
        width, height = self.size or (self.picture.width, self.picture.height)
        x0, y0, x1, y1 = (float(side) for side in box)
        x0, y0, x1, y1 = max(0.0, x0), max(0.0, y0), min(float(width), x1), min(float(height), y1)
        if not (x0 < x1 and y0 < y1):
            return None
        across, down = (0.0, 0.0) if self.corners is None else map(float, self.corners[part])
        return x0 + across, y0 + down, x1 + across, y1 + down

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Tell whether the boxes can be broadcast to a tensor of this shape."""
        try:
            return np.broadcast_shapes(self.boxes.shape[:-1], shape) == shape
        except ValueError:
            return False

    @classmethod
    def stretched(cls, picture: Picture, height: int, width: int) -> Pixels:
        """Describe a tensor ``(…, height, width)`` that the whole picture was resized to."""
        return cls(picture, box_grid((0, 0, picture.width, picture.height), height, width))


def box_grid(
    region: tuple[float, float, float, float], height: int, width: int
) -> NDArray[np.float64]:
    """Return ``(height, width, 4)``: the boxes of an even grid of cells over a region."""
    x0, y0, x1, y1 = region
    across = x0 + (x1 - x0) * np.arange(width + 1) / width
    down = y0 + (y1 - y0) * np.arange(height + 1) / height
    boxes = np.empty((height, width, 4))
    boxes[..., 0], boxes[..., 2] = across[:-1], across[1:]
    boxes[..., 1], boxes[..., 3] = down[:-1, None], down[1:, None]
    return boxes
