"""Where tiles, frames and ready-made patches lie in the source picture.

Some processors hand over a picture in several: tiles of it and the whole once more, or a list of
patches. Which part each is of, the processor itself says: a picture of two ramps goes through it,
and what arrives are coordinates. Tiles are fitted to them, to about a thousandth of the picture's
side; lists of patches are computed from the grid that comes with them, and checked. What is not
straight has no boxes. Knows no model family.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.picture import Part
from attnreport.picture_file import Opened
from attnreport.pixels import Pixels, box_grid
from attnreport.sources.vision_boxes import (
    STEPS,
    TOLERANCE,
    Make,
    UnknownGeometry,
    bare,
    made,
    placement,
    ramps,
    slack,
    tool_of,
)

_WHOLE = 0.98
_TILES = "tiles"
_OUTSIDE = (-2.0, -2.0, -1.0, -1.0)


def pixels_of(make: Make, opened: Opened, inputs: Any) -> Pixels:
    """Describe the ``pixel_values`` that a processor made of a picture.

    Args:
        make: the processor, for further pictures.
        opened: the picture.
        inputs: what ``make`` made of it.

    Raises:
        UnknownGeometry: they are no picture that could be found in the source.
    """
    shape = tuple(inputs["pixel_values"].shape)
    if "image_grid_thw" in inputs or "spatial_shapes" in inputs:
        return _patch_list(make, opened, inputs)
    if len(shape) == 4 and shape[0] == 1:
        try:
            return Pixels(opened.picture, placement(make, opened.image).boxes())
        except UnknownGeometry:
            pass  # e.g. padded all around: the ramps tell
    if len(shape) not in (4, 5) or (len(shape) == 5 and shape[0] != 1):
        raise UnknownGeometry(f"the processor makes pixels of shape {shape}, no picture")
    return _tiles(make, opened, shape)


def _arrived(make: Make, opened: Opened) -> Any:
    return made(make, ramps(*opened.image.size), **bare(make))


def _tiles(make: Make, opened: Opened, shape: tuple[int, ...]) -> Pixels:
    arrived = _arrived(make, opened)["pixel_values"]
    if tuple(arrived.shape) != shape:
        raise UnknownGeometry("the processor cuts pictures of one size in different ways")
    tiles = arrived.reshape(-1, *shape[-3:]).double().numpy()  # (tile, channel, y, x)
    regions = [_region(tile, opened.image.size) for tile in tiles]
    boxes = np.stack([box_grid(region, *shape[-2:]) for region in regions])
    names = _names(regions, opened.image.size)
    levels = [_TILES if name.startswith("tile ") else name for name in names]
    distinct = sorted(set(levels), key=lambda level: (level != _TILES, levels.index(level)))
    picture, (width, height) = opened.picture, opened.image.size
    if len(distinct) > 1:
        parts = tuple(Part(level, (0, 0, width, height)) for level in distinct)
        picture = replace(picture, parts=parts)
    return Pixels(
        picture,
        boxes[:, None],  # (tile, channel, y, x, 4)
        np.arange(len(tiles)).reshape(-1, 1, 1, 1),
        names,
        tuple(map(distinct.index, levels)) if picture.parts else (),
    )


def _names(regions: Sequence[tuple[float, ...]], size: tuple[int, int]) -> tuple[str, ...]:
    if len(regions) == 1:
        return ("",)
    if all(region == regions[0] for region in regions):
        return tuple(f"frame {place + 1}" for place in range(len(regions)))
    shares = [(x1 - x0) * (y1 - y0) / (size[0] * size[1]) for x0, y0, x1, y1 in regions]
    return tuple(
        "whole picture" if share > _WHOLE else f"tile {place + 1}"
        for place, share in enumerate(shares)
    )


def _region(tile: NDArray[np.float64], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return what a tile ``(channel, y, x)`` of ramps shows of the source, x0, y0, x1, y1."""
    # The end of a ramp is flat where it was enlarged, and padding has another blue.
    low, high = slack(max(size)), STEPS - slack(max(size))
    own = np.abs(tile[2] - STEPS) <= TOLERANCE
    if own.mean() < 0.5 / max(tile.shape[1:]):
        return _OUTSIDE
    edges = []
    for values, along, side in ((tile[0], 1, size[0]), (tile[1], 0, size[1])):
        places = np.broadcast_to(
            np.arange(values.shape[along]).reshape((1, -1) if along else (-1, 1)), values.shape
        )
        used = own & (values > low) & (values < high)
        if len(np.unique(places[used])) < 2:
            raise UnknownGeometry("a tile of the processor shows too little of the picture")
        slope, start = np.polyfit(places[used], values[used], 1)
        if np.abs(slope * places + start - values)[used].max() > slack(side):
            raise UnknownGeometry("the processor does not place the picture along straight lines")
        # The middle of pixel p shows STEPS · (x / side), so that its edges lie half a pixel off.
        edges.append([(slope * (place - 0.5) + start) / STEPS * side
                      for place in (0, values.shape[along])])  # fmt: skip
    (x0, x1), (y0, y1) = edges
    return x0, y0, x1, y1


def _patch_list(make: Make, opened: Opened, inputs: Any) -> Pixels:
    """Describe ``(patch, numbers)``: a grid of patches, in blocks where the model merges them."""
    shape = tuple(inputs["pixel_values"].shape)
    count = shape[-2]
    if "image_grid_thw" in inputs:
        _, rows, columns = (int(side) for side in inputs["image_grid_thw"][0])
        block = int(getattr(tool_of(make), "merge_size", 1))
    else:
        rows, columns = (int(side) for side in inputs["spatial_shapes"][0])
        block = 1
    size = opened.image.size
    grid = box_grid((0, 0, *size), rows, columns)
    blocks = grid.reshape(rows // block, block, columns // block, block, 4)
    boxes = blocks.swapaxes(1, 2).reshape(-1, 4)
    if len(boxes) > count:
        raise UnknownGeometry(f"the processor makes {count} patches of {rows} × {columns}")
    padding = np.tile(_OUTSIDE, (count - len(boxes), 1))
    boxes = np.concatenate([boxes, padding])
    arrived = _arrived(make, opened)["pixel_values"].reshape(count, -1)[: rows * columns]
    _check_patches(arrived, boxes[: rows * columns], size)
    # (1, patch, numbers, 4) where there is a batch
    return Pixels(opened.picture, boxes.reshape(*[1] * (len(shape) - 2), count, 1, 4))


def _check_patches(
    arrived: torch.Tensor, boxes: NDArray[np.float64], size: tuple[int, int]
) -> None:
    """Hold the mean red and green of each patch against the middle of its box."""
    # A patch is written channel by channel, or pixel by pixel.
    count = len(arrived)
    for channels in (arrived.view(count, 3, -1), arrived.view(count, -1, 3).mT):
        seen = channels.double().mean(dim=2).numpy()[:, :2]
        wanted = STEPS * (boxes[:, :2] + boxes[:, 2:]) / 2 / size
        if (np.abs(seen - wanted) <= [slack(side) for side in size]).all():
            return
    raise UnknownGeometry("the processor does not cut patches in the order of its grid")
