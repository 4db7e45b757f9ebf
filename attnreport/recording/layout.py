"""Where the chosen example and its heads are in an operand with any leading dimensions.

Knows shapes and the size of the batch, nothing else; what cannot be told is said, not guessed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from attnreport.recording.streams import Stream


@dataclass(frozen=True)
class Layout:
    """Pick one example of ``(…, position, width)`` and make it ``(head, position, width)``.

    Attributes:
        start: first row of the example on the first dimension.
        length: how many rows; None where there is no batch dimension at all.
        reasons: what had to be assumed, for the ledger.
        copies: how many times the example is among these rows, e.g. once for each beam; the heads
            of the first copy come first.
    """

    start: int
    length: int | None
    reasons: tuple[str, ...] = ()
    copies: int = 1

    def pick(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return the example's part, every leading dimension in one."""
        if self.length is not None:
            # One row for all examples: a mask, or keys that every example shares.
            start = 0 if tensor.shape[0] == 1 else self.start
            tensor = tensor[start : start + self.length]
        return tensor.reshape(math.prod(tensor.shape[:-2]), *tensor.shape[-2:])


@dataclass(frozen=True)
class Copied:
    """Say that each example of a batch has several rows: the beams of a search, or samples.

    Attributes:
        batch: how many examples.
        copies: how many rows each of them has, one after the other.
    """

    batch: int
    copies: int

    def layout(self, shape: Sequence[int], stream: Stream | None, example: int) -> Layout | str:
        """Return how to pick all rows of an example, or why not; arguments as in ``layout_of``."""
        if len(shape) < 3 or (stream is not None and stream.of_pictures):
            return layout_of(shape, stream, example)
        first, *rest = shape[:-2]
        rows = self.batch * self.copies
        if rest and first in (1, self.batch):
            return layout_of(shape, stream, example)
        if first % rows or (rest and first != rows):
            return f"the first dimension is {first}, the rows of the generation are {rows}"
        if example >= self.batch:
            return f"example {example} was asked for, the batch has {self.batch}"
        each = self.copies * (first // rows)
        return Layout(example * each, each, copies=self.copies)


def layout_of(shape: Sequence[int], stream: Stream | None, example: int) -> Layout | str:
    """Return how to pick an example, or in words why it cannot be told.

    Args:
        shape: of the weights, ``(…, query, key)``.
        stream: what the queries belong to; its batch size is what the first dimension is held
            against.
        example: which example.
    """
    *lead, queries, keys = shape
    batch = stream.batch if stream is not None else None
    if stream is not None and _at_each_position(lead, queries, keys, stream):
        return (
            f"it mixes {keys} things at each of the {stream.length} positions, "
            "not positions with each other"
        )
    if not lead:
        return Layout(0, None)
    first, *rest = lead
    if rest:
        return _batch_first(first, batch, example)
    if batch is None or batch == 1:
        reason = f"one leading dimension of {first}, read as heads of one example"
        return Layout(0, None, (reason,) if first > 1 else ())
    return _merged(first, batch, example)


def _at_each_position(lead: Sequence[int], queries: int, keys: int, stream: Stream) -> bool:
    """Tell whether the positions are not what is attended over, but what it happens at."""
    length, batch = stream.length, stream.batch
    if length is None or batch is None or max(queries, keys) >= length:
        return False
    return length in lead[1:] or tuple(lead) == (batch * length,)


def _batch_first(first: int, batch: int | None, example: int) -> Layout | str:
    if batch is not None and first not in (1, batch):
        return (
            f"the first dimension is {first}, the batch {batch}: windows, chunks, frames or beams, "
            "which could not be put back on their sequence"
        )
    if first != 1 and example >= first:
        return f"example {example} was asked for, the batch has {first}"
    return Layout(0 if first == 1 else example, 1)


def _merged(first: int, batch: int, example: int) -> Layout | str:
    """Split batch times heads, batch slower, as ``view(batch * heads, …)`` leaves them."""
    if first % batch:
        return f"one leading dimension of {first} is no multiple of the batch {batch}"
    if example >= batch:
        return f"example {example} was asked for, the batch has {batch}"
    heads = first // batch
    reason = f"batch of {batch} and {heads} heads came as one dimension, read as (batch, head)"
    return Layout(example * heads, heads, (reason,) if heads > 1 else ())


def heads_or_why_not(
    layout: Layout, lead: Sequence[int], values: torch.Tensor | None
) -> Layout | str:
    """Return the layout if all leading dimensions but the first are heads, else why it is not told.

    They are where heads share their values. Blocks of a sequence would make the same shapes.

    Args:
        layout: what the shape alone says.
        lead: the leading dimensions of the product.
        values: ``(…, key, width)`` as they were multiplied; None where they say nothing.
    """
    extra = [size for size in lead[1:] if size > 1]
    if len(lead) < 3 or len(extra) < 2:
        return layout
    if values is not None and _shared(values, len(lead)):
        return layout
    return (
        f"it has {len(lead)} leading dimensions, {tuple(lead)}, of which nothing tells the heads "
        "from the blocks of a sequence, which could not be put back"
    )


def _shared(values: torch.Tensor, leading: int) -> bool:
    """Tell whether several leading places have the same values."""
    sizes, strides = values.shape[1:-2], values.stride()[1:-2]
    return values.dim() < leading + 2 or any(
        size == 1 or stride == 0 for size, stride in zip(sizes, strides, strict=True)
    )
