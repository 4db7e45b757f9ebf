"""Where the positions after a convolution are: each at the middle of what it was made of.

Knows the arguments of torch's convolutions; what is kept of them is the business of moves.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnreport.recording.steps import Unclear, agreed

# The order in which torch takes them, after the input and its weight.
_NAMES = ("bias", "stride", "padding", "dilation")


@dataclass(frozen=True)
class Windows:
    """Hold which positions a convolution takes for each of its own, along every dimension.

    Attributes:
        firsts: the middle of the first of them, below 0 in the padding.
        steps: how far it is to the next one.
        alone: whether each is a single position, so that it is a projection.
    """

    firsts: tuple[int, ...]
    steps: tuple[int, ...]
    alone: bool

    def pick(self, numbers: torch.Tensor, after: Sequence[int]) -> torch.Tensor:
        """Return the numbers of the middles, ``after`` being the shape of the result.

        Args:
            numbers: ``(example, channel, …)`` before.
            after: ``(example, channel, …)``.

        Raises:
            Unclear: channels have different numbers, or a middle is in the padding.
        """
        picked = agreed(numbers, 1)
        for place, (first, step) in enumerate(zip(self.firsts, self.steps, strict=True), start=2):
            last = first + (after[place] - 1) * step
            if first < 0 or last >= numbers.shape[place]:
                raise Unclear
            kept = torch.arange(first, last + 1, step)
            picked = picked.index_select(place, kept)
        return picked.expand(*after)


def windows_of(weight: torch.Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Windows | None:
    """Return the windows of a convolution, or None where it pads in a way that is only named.

    Args:
        weight: ``(channel, channel, …)``.
        args: what else it was called with by place, from the bias on.
        kwargs: the same by name.
    """
    given = dict(zip(_NAMES, args, strict=False)) | kwargs
    sizes = tuple(weight.shape[2:])
    stride, padding, dilation = (
        _each(given.get(name, usual), len(sizes))
        for name, usual in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    if stride is None or padding is None or dilation is None:
        return None
    # Of an even number of places the middle is the earlier one.
    middles = [(size - 1) // 2 * wide for size, wide in zip(sizes, dilation, strict=True)]
    firsts = tuple(middle - pad for middle, pad in zip(middles, padding, strict=True))
    alone = all(size == 1 for size in (*sizes, *stride)) and not any(padding)
    return Windows(firsts, stride, alone)


def _each(value: Any, count: int) -> tuple[int, ...] | None:
    """Return one number for each dimension."""
    if isinstance(value, str):
        return None
    each = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return each * count if len(each) == 1 else each
