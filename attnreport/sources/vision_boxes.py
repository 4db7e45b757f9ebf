"""Where one processed picture lies in the source picture, computed and then checked.

A processor resizes, then crops or pads. Undoing that gives every pixel that the model gets its box
in the source. The computed boxes are then held against the processor itself: a picture of two
ramps goes through it, and what arrives in each pixel must be the coordinates that its box says.
What does not agree has no boxes: nothing is guessed from a count. Knows no model family.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from attnreport.errors import one_line
from attnreport.pixels import box_grid

# A ramp has 255 steps; resampling and rounding to 8 bits may cost two of them.
STEPS = 255
TOLERANCE = 2.0
# A picture and options to what the model gets: an image processor, or a processor with its prompt.
Make = Callable[..., Mapping[str, Any]]


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

    def boxes(self) -> NDArray[np.float64]:
        """Return ``(y, x, 4)``: the box of every processed pixel; outside the source is padding."""
        across = self.source[0] / self.resized[0]
        down = self.source[1] / self.resized[1]
        width, height = self.processed
        region = (
            self.left * across,
            self.top * down,
            (self.left + width) * across,
            (self.top + height) * down,
        )
        return box_grid(region, height, width)


def placement(make: Make, image: Image.Image) -> Placement:
    """Return how the processor places a picture of this size.

    Raises:
        UnknownGeometry: what it makes is no one picture, or does not lie where resizing, cropping
            and padding around the centre would put it.
    """
    processed = _size(_pixels(make, image))
    resized = _size(_pixels(make, image, do_center_crop=False, do_pad=False))
    offsets = [
        _offset(make, before, after) for before, after in zip(resized, processed, strict=True)
    ]
    found = Placement(image.size, resized, processed, offsets[0], offsets[1])
    _check(make, found)
    return found


def made(make: Make, image: Image.Image, **options: Any) -> Mapping[str, Any]:
    """Return what a processor makes of a picture with options that it may not take.

    Raises:
        UnknownGeometry: it does not take them.
    """
    try:
        return make(images=image, return_tensors="pt", **options)
    except Exception as error:  # each processor raises what it likes
        raise UnknownGeometry(f"the processor cannot be asked: {one_line(error)}") from error


def tool_of(make: Make) -> Any:
    """Return the image processor itself, which knows its configuration."""
    processor = getattr(make, "func", make)
    return getattr(processor, "image_processor", processor)


def bare(make: Make) -> dict[str, bool]:
    """Return what is asked of a processor so that ramps arrive as they are."""
    options = {"do_rescale": False, "do_normalize": False}
    # ViViT's moves what it rescales.
    return options | ({"offset": False} if getattr(tool_of(make), "offset", None) else {})


def ramps(width: int, height: int) -> Image.Image:
    """Return a picture whose red grows to the right, whose green grows down, whose blue is full."""
    values = np.full((height, width, 3), STEPS, dtype=np.uint8)
    values[..., 0] = np.rint(STEPS * (np.arange(width) + 0.5) / width)
    values[..., 1] = np.rint(STEPS * (np.arange(height) + 0.5) / height)[:, None]
    return Image.fromarray(values)


def _offset(make: Make, before: int, after: int) -> int:
    """Return where the crop begins in one direction; negative where padding comes first."""
    if before >= after:
        # torchvision rounds halves to even, Pillow and NumPy cut them off.
        exact = (before - after) / 2
        return (
            round(exact)
            if getattr(tool_of(make), "backend", "pil") == "torchvision"
            else int(exact)
        )
    if getattr(tool_of(make), "do_center_crop", None):
        return -math.ceil((after - before) / 2)
    return 0  # padding alone goes to the right and below


def _pixels(make: Make, image: Image.Image, **options: Any) -> torch.Tensor:
    pixels = made(make, image, **options).get("pixel_values")
    if not isinstance(pixels, torch.Tensor) or pixels.dim() != 4 or len(pixels) != 1:
        shape = tuple(getattr(pixels, "shape", ()))
        raise UnknownGeometry(f"the processor makes pixels of shape {shape}, not one picture")
    return pixels


def _size(pixels: torch.Tensor) -> tuple[int, int]:
    return int(pixels.shape[3]), int(pixels.shape[2])


def _check(make: Make, found: Placement) -> None:
    """Send ramps through the processor and compare what arrives with what should."""
    values = (
        _pixels(make, ramps(*found.source), **bare(make))[0].double().numpy()
    )  # (channel, y, x)
    for axis, name in ((0, "across"), (1, "down")):
        offset = (found.left, found.top)[axis]
        side, resized = found.processed[axis], found.resized[axis]
        places = (np.arange(side) + 0.5 + offset) / resized  # of each pixel, as share of the source
        inside = (places > 0) & (places < 1)
        seen = _profile(values, axis)
        if np.abs(seen[inside] - STEPS * places[inside]).max(initial=0) > slack(found.source[axis]):
            raise UnknownGeometry(
                f"the processor does not place the picture {name} as its configuration says"
            )


def slack(side: int) -> float:
    """Return how many steps a ramp over a side of so many pixels may be off."""
    # Where the source has few pixels, half of the first and of the last is flat when enlarged.
    return TOLERANCE + 0.5 * STEPS / side


def _profile(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the ramp along one direction, over the middle line that no padding touches."""
    _, height, width = values.shape
    return values[0, height // 2, :] if axis == 0 else values[1, :, width // 2]
