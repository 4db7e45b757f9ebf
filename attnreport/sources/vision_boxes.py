"""Where a patch of the processed picture lies in the source picture, computed and then checked.

A processor resizes, then crops or pads around the centre; the model cuts what is left into
patches. Undoing that gives every patch its box. The computed boxes are then held against the
processor itself: a picture of two ramps goes through it, and what arrives in each patch must be
the coordinates that its box says. What does not agree has no boxes: nothing is guessed from a
count. Knows no model family.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from attnreport.axis import Box, Position

# A ramp has 255 steps; resampling and rounding to 8 bits may cost two of them.
_STEPS = 255
_TOLERANCE = 2.0


class UnknownGeometry(Exception):
    """Say why it is not known where the patches lie."""


@dataclass(frozen=True)
class Placement:
    """Say how the source picture lies in the processed one, in pixels.

    Attributes:
        source: width and height of the source picture.
        resized: width and height that it was resized to, before cropping or padding.
        processed: width and height of what the model gets.
        left: processed pixels from the left edge of the resized picture to that of the processed
            one: what was cropped, or negative where it was padded.
        top: likewise from above.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    processed: tuple[int, int]
    left: int
    top: int

    def box(self, x0: float, y0: float, x1: float, y1: float) -> Box | None:
        """Return a box of processed pixels in source pixels; None where it is all padding."""
        across = self.source[0] / self.resized[0]
        down = self.source[1] / self.resized[1]
        width, height = self.source
        found = (
            max(0.0, (x0 + self.left) * across),
            max(0.0, (y0 + self.top) * down),
            min(float(width), (x1 + self.left) * across),
            min(float(height), (y1 + self.top) * down),
        )
        return found if found[0] < found[2] and found[1] < found[3] else None


def placement(processor: Any, image: Image.Image) -> Placement:
    """Return how the processor places a picture of this size.

    Raises:
        UnknownGeometry: what it makes is no one picture, or does not lie where resizing, cropping
            and padding around the centre would put it.
    """
    processed = _size(_pixels(processor, image))
    resized = _size(_pixels(processor, image, do_center_crop=False, do_pad=False))
    offsets = [
        _offset(processor, before, after) for before, after in zip(resized, processed, strict=True)
    ]
    found = Placement(image.size, resized, processed, offsets[0], offsets[1])
    _check(processor, found)
    return found


def patches(found: Placement, patch: tuple[int, int]) -> tuple[Position, ...]:
    """Return one position per patch, row by row, as a convolution with stride reads them.

    Args:
        found: how the picture is placed.
        patch: width and height of a patch in processed pixels; what is left over at the right
            and below is not read by the model.
    """
    columns, rows = (side // size for side, size in zip(found.processed, patch, strict=True))
    width, height = patch
    positions = []
    for row in range(rows):
        for column in range(columns):
            x, y = column * width, row * height
            box = found.box(x, y, x + width, y + height)
            label = f"row {row} column {column}" + ("" if box else " (padding)")
            positions.append(Position(label, box=box, role="input" if box else "special"))
    return tuple(positions)


def _offset(processor: Any, before: int, after: int) -> int:
    """Return where the crop begins in one direction; negative where padding comes first."""
    if before >= after:
        # torchvision rounds halves to even, Pillow and NumPy cut them off.
        exact = (before - after) / 2
        return round(exact) if getattr(processor, "backend", "pil") == "torchvision" else int(exact)
    if getattr(processor, "do_center_crop", None):
        return -math.ceil((after - before) / 2)
    return 0  # padding alone goes to the right and below


def _pixels(processor: Any, image: Image.Image, **options: Any) -> torch.Tensor:
    pixels = processor(images=image, return_tensors="pt", **options).get("pixel_values")
    if not isinstance(pixels, torch.Tensor) or pixels.dim() != 4 or len(pixels) != 1:
        shape = tuple(getattr(pixels, "shape", ()))
        raise UnknownGeometry(f"the processor makes pixels of shape {shape}, not one picture")
    return pixels


def _size(pixels: torch.Tensor) -> tuple[int, int]:
    return int(pixels.shape[3]), int(pixels.shape[2])


def _check(processor: Any, found: Placement) -> None:
    """Send ramps through the processor and compare what arrives with what should."""
    width, height = found.source
    ramps = np.full((height, width, 3), _STEPS, dtype=np.uint8)
    ramps[..., 0] = np.rint(_STEPS * (np.arange(width) + 0.5) / width)
    ramps[..., 1] = np.rint(_STEPS * (np.arange(height) + 0.5) / height)[:, None]
    arrived = _pixels(processor, Image.fromarray(ramps), do_rescale=False, do_normalize=False)
    values = arrived[0].double().numpy()  # (channel, y, x)
    for axis, name in ((0, "across"), (1, "down")):
        offset = (found.left, found.top)[axis]
        side, resized = found.processed[axis], found.resized[axis]
        places = (np.arange(side) + 0.5 + offset) / resized  # of each pixel, as share of the source
        inside = (places > 0) & (places < 1)
        seen = _profile(values, axis)
        # Where the source has few pixels, half of the first and of the last is flat when enlarged.
        tolerance = _TOLERANCE + 0.5 * _STEPS / found.source[axis]
        if np.abs(seen[inside] - _STEPS * places[inside]).max(initial=0) > tolerance:
            raise UnknownGeometry(
                f"the processor does not place the picture {name} as its configuration says"
            )


def _profile(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the ramp along one direction, over the middle line that no padding touches."""
    _, height, width = values.shape
    return values[0, height // 2, :] if axis == 0 else values[1, :, width // 2]
