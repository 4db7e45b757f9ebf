"""Show a video to a model: its frames, beside each other in one picture.

Where a model makes one position of several frames, their mean stands for them. Where a frame lies
in what the processor made, a picture that stands still has told. Knows no model family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from attnreport.picture import Part, Picture
from attnreport.pixels import Pixels
from attnreport.sources.vision_boxes import UnknownGeometry

# How much wider than high the frames are together, and which part of a side is between them.
_WIDE, _GAP = 1.6, 1 / 40


@dataclass(frozen=True)
class Still:
    """Call a processor of videos with one picture, as a video that stands still.

    Attributes:
        func: the processor, by the name that ``functools.partial`` has for it.
        frames: how many the model looks at.
    """

    func: Any
    frames: int

    def __call__(self, *, images: Image.Image, **options: Any) -> Any:
        """Return what the processor makes of it."""
        return self.func([images] * self.frames, **options)


def frames_wanted(config: Any) -> int:
    """Return how many frames a model looks at at once; 1 for one of pictures."""
    frames = getattr(config, "num_frames", None)
    return frames if isinstance(frames, int) else 1


def on_sheet(pixels: Pixels, frames: Sequence[Image.Image], config: Any) -> Pixels:
    """Return pixels of a video that stands still as those of these frames, beside each other.

    Raises:
        UnknownGeometry: the processor made another number of frames.
    """
    if len(pixels.names) != len(frames):
        raise UnknownGeometry(f"of {len(frames)} frames the processor made {len(pixels.names)}")
    size = getattr(config, "tubelet_size", 1)
    each = int(size[0] if isinstance(size, (list, tuple)) else size)  # frames in one position
    (width, height), count = frames[0].size, -(-len(frames) // each)
    across = max(1, min(count, round((count * height / width * _WIDE) ** 0.5)))
    gap = max(2, round(max(width, height) * _GAP))
    pitch = np.array([width + gap, height + gap])
    cells = np.array([divmod(cell, across)[::-1] for cell in range(count)])  # column and row
    sheet = Image.new("RGB", tuple(cells.max(axis=0) * pitch + (width, height)), "white")
    for cell, (x, y) in enumerate((cells * pitch).tolist()):
        sheet.paste(_mean(frames[cell * each : (cell + 1) * each]), (x, y))
    owners = [frame // each for frame in range(len(frames))]
    names = [_name(cell * each, each, len(frames)) for cell in range(count)]
    corners = (cells * pitch).astype(np.float64)
    parts = tuple(
        Part(name, (x, y, x + width, y + height))
        for name, (x, y) in zip(names, corners.tolist(), strict=True)
    )
    return replace(
        pixels,
        picture=replace(Picture.of(sheet), parts=parts),
        names=tuple(names[owner] for owner in owners),
        owners=tuple(owners),
        corners=corners[owners],
        size=(width, height),
        name="video",
    )


def _name(first: int, each: int, count: int) -> str:
    last = min(first + each, count)
    return f"frame {last}" if each == 1 else f"frames {first + 1}–{last}"


def _mean(frames: Sequence[Image.Image]) -> Image.Image:
    if len(frames) == 1:
        return frames[0]
    values = np.mean([np.asarray(frame, dtype=np.float32) for frame in frames], axis=0)
    return Image.fromarray(np.rint(values).astype(np.uint8))
