"""Where weights are written: memory for what is kept, and memory that is used again.

Filling new memory for the first time can take as long as computing what is written there. Knows
nothing of what that is.
"""

from __future__ import annotations

import math

import numpy as np
import torch


def room(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return a new tensor with anything in it, in the dtype and on the device of ``like``.

    NumPy asks the system for large pages and torch does not: at 512 positions filling new memory
    for the first time costs a quarter of all that a capture does.
    """
    if like.device.type == "cpu" and like.dtype == torch.float32:
        return torch.from_numpy(np.empty(shape, np.float32))
    return like.new_empty(shape)


class Pool:
    """Hold memory that is written over again and again, so that none is new but the first."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.dtype], torch.Tensor] = {}
        self._last: dict[tuple[str, torch.dtype], torch.Tensor] = {}

    def room(
        self, name: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32
    ) -> torch.Tensor:
        """Return a tensor with anything in it; the last of this name is overwritten."""
        last = self._last.get((name, dtype))
        if last is not None and last.shape == shape:
            return last
        size, held = math.prod(shape), self._held.get((name, dtype))
        if held is None or held.numel() < size:
            held = self._held[name, dtype] = torch.empty(size, dtype=dtype)
        last = self._last[name, dtype] = held[:size].view(shape)
        return last
