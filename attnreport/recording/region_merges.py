"""What convolutions, pooling and sums make of the regions they merge: where the result lies.

A convolution whose kernel is no larger than its stride covers what it covers: the result is the
hull of its window. With a larger kernel neighbours overlap: then the result is a cell as wide as
the stride, around the middle of its window. Knows boxes and windows, nothing of attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.following import Called, methods
from attnreport.recording.regions import Book, Field, Regions

Boxes = NDArray[np.float64]
Kinds = NDArray[np.int64]


def merged(book: Book, numbers: torch.Tensor, dimensions: Sequence[int]) -> torch.Tensor:
    """Return the numbers with these dimensions of size 1: the hull of what was along them."""
    for dimension in dimensions:
        first = numbers.narrow(dimension, 0, 1)
        if numbers.stride(dimension) == 0 or bool((numbers == first).all()):
            numbers = first
            continue
        shape = list(numbers.shape)
        shape[dimension] = 1
        boxes, kinds = book.read(_once(numbers, [dimension % numbers.dim()]))
        numbers = book.enter(*_hull(boxes, kinds, dimension % numbers.dim())).expand(shape)
    return numbers


def _once(numbers: torch.Tensor, kept: Sequence[int] = ()) -> torch.Tensor:
    """Return the numbers with every dimension of size 1 that makes no difference.

    What is one region must stay one: heads and examples have the same ones.
    """
    for dimension in range(numbers.dim()):
        first = numbers.narrow(dimension, 0, 1)
        if dimension not in kept and bool((numbers == first).all()):
            numbers = first
    return numbers


def _hull(boxes: Boxes, kinds: Kinds, dimension: int) -> tuple[Boxes, Kinds]:
    low = np.fmin.reduce(boxes[..., :2], axis=dimension, keepdims=True)
    high = np.fmax.reduce(boxes[..., 2:], axis=dimension, keepdims=True)
    return np.concatenate([low, high], axis=-1), _first_known(kinds, dimension)


def _first_known(kinds: Kinds, dimension: int) -> Kinds:
    """Return the first origin along a dimension; what is nowhere counts only if all is."""
    place = np.argmax(kinds[..., :1] >= 0, axis=dimension)
    return np.take_along_axis(kinds, np.expand_dims(place, dimension), axis=dimension)


def _convolve(regions: Regions, call: Called) -> Field | None:
    """Convolve: all channels are merged, and each spatial dimension is slid over."""
    kernel = call.args[1].shape[2:] if len(call.args) > 1 else call.kwargs["weight"].shape[2:]
    stride, dilation = call.argument(3, "stride", 1), call.argument(5, "dilation", 1)
    padding = call.argument(4, "padding", 0)
    if isinstance(padding, str):
        # "same" puts what is missing on both sides, more of it after.
        steps = _each(dilation, len(kernel))
        same = padding == "same"
        padding = [(size - 1) * step // 2 * same for size, step in zip(kernel, steps, strict=True)]
    return _slide(regions, call, kernel, stride, padding, dilation, channels=True)


def _pool(regions: Regions, call: Called) -> Field | None:
    """Pool: as a convolution of each channel by itself."""
    kernel = call.argument(1, "kernel_size", 1)
    stride = call.argument(2, "stride", None) or kernel
    dilation = call.argument(4, "dilation", 1) if "max" in call.function.__name__ else 1
    return _slide(regions, call, kernel, stride, call.argument(3, "padding", 0), dilation)


def _slide(  # noqa: PLR0913, PLR0917 - what a convolution has
    regions: Regions,
    call: Called,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    *,
    channels: bool = False,
) -> Field | None:
    field = regions.of(call.args[0] if call.args else call.kwargs.get("input"))
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    if field is None:
        return None
    spatial = len(kernel) if channels else _spatial(call)
    numbers = field.numbers
    if channels:
        numbers = merged(regions.book, numbers, [-spatial - 1])
    grid = range(numbers.dim() - spatial, numbers.dim())
    boxes, kinds = regions.book.read(_once(numbers, grid))
    sizes = zip(*(_each(x, spatial) for x in (kernel, stride, padding, dilation)), strict=True)
    for place, (width, step, before, spread) in enumerate(sizes):
        dimension = numbers.dim() - spatial + place
        length = output.shape[dimension - numbers.dim()]
        reach = spread * (width - 1)
        starts = np.arange(length) * step - before
        if reach < step:
            window = starts[:, None] + spread * np.arange(width)
            boxes, kinds = _windows(boxes, kinds, dimension, window)
        else:
            boxes, kinds = _cells(boxes, kinds, dimension, starts + reach / 2, step)
    return Field(regions.book.enter(boxes, kinds).expand(output.shape), field.rank)


def _spatial(call: Called) -> int:
    return int(next(digit for digit in call.function.__name__ if digit.isdigit()))


def _each(value: Any, count: int) -> list[int]:
    values = list(value) if isinstance(value, (tuple, list)) else [value]
    return values * count if len(values) == 1 else values


def _windows(
    boxes: Boxes, kinds: Kinds, dimension: int, window: NDArray[np.int64]
) -> tuple[Boxes, Kinds]:
    """Return the hull of each window ``(result, member)``; members outside are nowhere."""
    length = boxes.shape[dimension]
    inside = (window >= 0) & (window < length)
    lines = np.moveaxis(boxes, dimension, 0)[window.clip(0, length - 1)]
    origins = np.moveaxis(kinds, dimension, 0)[window.clip(0, length - 1)]
    lines[~inside], origins[~inside] = np.nan, -1
    low, origin = _hull(lines, origins, 1)
    return np.moveaxis(low[:, 0], 0, dimension), np.moveaxis(origin[:, 0], 0, dimension)


def _cells(
    boxes: Boxes, kinds: Kinds, dimension: int, middles: NDArray[np.float64], step: float
) -> tuple[Boxes, Kinds]:
    """Return a cell around each middle, in places along a dimension, that is ``step`` wide."""
    lines = np.moveaxis(boxes, dimension, 0)
    length = len(lines)
    middles = middles.clip(0, length - 1)
    before = np.floor(middles).astype(np.int64)
    after = np.minimum(before + 1, length - 1)
    share = (middles - before).reshape(-1, *[1] * (lines.ndim - 1))
    centres, sizes = (lines[..., :2] + lines[..., 2:]) / 2, lines[..., 2:] - lines[..., :2]
    # How far the picture moves from one place to the next: across, down, or not at all.
    moves = np.abs(np.diff(centres, axis=0, append=centres[-1:]))
    if length > 1:
        moves[-1] = moves[-2]
    centre = centres[before] * (1 - share) + centres[after] * share
    size = sizes[before] * (1 - share) + sizes[after] * share + moves[before] * (step - 1)
    cells = np.concatenate([centre - size / 2, centre + size / 2], axis=-1)
    nearest = np.moveaxis(kinds, dimension, 0)[np.rint(middles).astype(np.int64)]
    return np.moveaxis(cells, 0, dimension), np.moveaxis(nearest, 0, dimension)


def _adapt(regions: Regions, call: Called) -> Field | None:
    """Pool to a size: window i of n reaches from ⌊i·length/n⌋ to ⌈(i+1)·length/n⌉."""
    field = regions.of(call.args[0])
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    if field is None:
        return None
    grid = range(output.dim() - _spatial(call), output.dim())
    boxes, kinds = regions.book.read(_once(field.numbers, grid))
    for dimension in grid:
        length, count = boxes.shape[dimension], output.shape[dimension]
        starts = [place * length // count for place in range(count)]
        stops = [math.ceil((place + 1) * length / count) for place in range(count)]
        widest = max(stop - start for start, stop in zip(starts, stops, strict=True))
        window = np.array(
            [[x if x < stop else -1 for x in range(start, start + widest)]
             for start, stop in zip(starts, stops, strict=True)]
        )  # fmt: skip
        boxes, kinds = _windows(boxes, kinds, dimension, window)
    return Field(regions.book.enter(boxes, kinds).expand(output.shape), field.rank)


def _resize(regions: Regions, call: Called) -> Field | None:
    """Enlarge or shrink a grid: each result is a cell around the place it is read from."""
    field = regions.of(call.args[0] if call.args else call.kwargs.get("input"))
    if field is None:
        return None
    numbers, output = field.numbers, call.output
    grid = range(2, output.dim())
    boxes, kinds = regions.book.read(_once(numbers, grid))
    for dimension in grid:
        length, count = boxes.shape[dimension], output.shape[dimension]
        if call.argument(4, "align_corners", None) and count > 1:
            middles = np.arange(count) * (length - 1) / (count - 1)
        else:
            middles = (np.arange(count) + 0.5) * length / count - 0.5
        boxes, kinds = _cells(boxes, kinds, dimension, middles, length / count)
    return Field(regions.book.enter(boxes, kinds).expand(output.shape), field.rank)


def _reduce(regions: Regions, call: Called) -> Any:
    """Take the mean, maximum or sum over some dimensions: the hull of what was along them."""
    field = regions.of(call.args[0])
    dimensions = call.argument(1, "dim", None)
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    if field is None or isinstance(dimensions, torch.Tensor) or dimensions is None:
        return None
    if isinstance(dimensions, int):
        dimensions = [dimensions]
    rank = field.numbers.dim()
    numbers = merged(regions.book, field.numbers, [each % rank for each in dimensions])
    return (Field(numbers.reshape(output.shape), field.rank),)


_CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d, F.conv1d, F.conv2d, F.conv3d)
_POOLS = [
    getattr(owner, f"{prefix}{kind}_pool{count}d")
    for owner in (F, torch, torch._C._nn)
    for prefix in ("", "_")
    for kind in ("max", "avg")
    for count in (1, 2, 3)
    if hasattr(owner, f"{prefix}{kind}_pool{count}d")
]
_ADAPTING = [
    getattr(owner, f"adaptive_{kind}_pool{count}d")
    for owner in (F, torch, torch._C._nn)
    for kind in ("max", "avg")
    for count in (1, 2, 3)
    if hasattr(owner, f"adaptive_{kind}_pool{count}d")
]
MERGES: dict[Any, Callable[[Regions, Called], Any]] = (
    dict.fromkeys(_CONVOLUTIONS, _convolve)
    | dict.fromkeys(_POOLS, _pool)
    | dict.fromkeys(_ADAPTING, _adapt)
    | {F.interpolate: _resize}
    | dict.fromkeys(methods("mean", "amax", "amin", "max", "min", "sum"), _reduce)
)
