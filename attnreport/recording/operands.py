"""What the weights of one attention are computed from, now or later.

Weights of a long input take many times the memory of what they are made of, so that this is kept
until it is known whether all of them can be. Plain tensors; nothing here knows where they come
from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import torch

from attnreport.attention import RESIDUAL_TOLERANCE
from attnreport.recording.by_rows import reduced_softmax
from attnreport.recording.reducing import Reduction
from attnreport.recording.room import Pool
from attnreport.recording.weights import attend, distance

_Read = TypeVar("_Read")
# Further from the output than this, rounding in float32 may be why.
_ROUNDED = RESIDUAL_TOLERANCE["float32"]


@dataclass(frozen=True, eq=False)
class Operands:
    """Hold one call of softmax attention, of one example.

    Attributes:
        query: ``(head, query, width)``.
        key: ``(key head, key, width)``; fewer key heads are shared by groups of heads.
        value: the same.
        output: what was really returned, ``(head, query, width)``; None where dropout changed it.
        scale: see ``softmax_weights``, as for the rest.
        mask: broadcasts to ``(head, query, key)``.
        causal: whether no query sees later keys.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    output: torch.Tensor | None
    scale: float | None = None
    mask: torch.Tensor | None = None
    causal: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return ``(head, query, key)`` of the weights."""
        heads, queries, _ = self.query.shape
        return heads, queries, self.key.shape[1]

    @property
    def small(self) -> bool:
        """Tell whether they take less than a quarter of the memory that their weights take."""
        held = (self.query, self.key, self.value, self.output, self.mask)
        size = sum(_own_numbers(each) * each.itemsize for each in held if each is not None)
        return size <= math.prod(self.shape)

    def copied(self) -> Operands:
        """Return them in memory of their own: the model may write over what it was called with."""
        return replace(
            self,
            query=_copy(self.query),
            key=_copy(self.key),
            value=_copy(self.value),
            output=None if self.output is None else _copy(self.output),
            mask=None if self.mask is None else _copy(self.mask),
        )

    def weights(self) -> tuple[torch.Tensor, float | None]:
        """Return weights ``(head, query, key)`` and their residual, as in ``Found``.

        Where scores are so large that their rounding shows, they are computed in float64.
        """
        return self._nearer(self._read_by(attend), Operands._weights_in_double)

    def reduced(self, pool: Pool) -> tuple[Reduction, float | None]:
        """Return what is kept of the weights where they are too many, and their residual."""
        read = partial(reduced_softmax, pool=pool)
        return self._nearer(self._read_by(read), lambda each: each._in_double()._read_by(read))

    def _nearer(
        self,
        single: tuple[_Read, float | None],
        read: Callable[[Operands], tuple[_Read, float | None]],
    ) -> tuple[_Read, float | None]:
        """Return what float32 made, or what float64 does if that is nearer to the output."""
        before = single[1]
        if before is None or before <= _ROUNDED or self.query.dtype != torch.float32:
            return single
        double = read(self)
        after = double[1]
        return double if after is not None and after < before else single

    def _in_double(self, heads: slice = slice(None), groups: slice = slice(None)) -> Operands:
        """Return some heads of them in float64, and the key heads that these share."""
        mask = None if self.mask is None else self.mask.expand(self.shape)[heads]
        return replace(
            self,
            query=self.query[heads].double(),
            key=self.key[groups].double(),
            value=self.value[groups].double(),
            output=None if self.output is None else self.output[heads],
            mask=mask,
        )

    def _weights_in_double(self) -> tuple[torch.Tensor, float | None]:
        """Return weights rounded to float32; in float64 there are those of one key head."""
        weights = self.query.new_empty(self.shape)
        mixed = self.query.new_empty(*self.shape[:2], self.value.shape[2], dtype=torch.float64)
        each = len(self.query) // len(self.key)
        for group in range(len(self.key)):
            heads = slice(group * each, (group + 1) * each)
            own = self._in_double(heads, slice(group, group + 1))
            weights[heads], mixed[heads] = own._computed_by(attend)
        return weights, None if self.output is None else distance(mixed, self.output)

    def _read_by(
        self, read: Callable[..., tuple[_Read, torch.Tensor]]
    ) -> tuple[_Read, float | None]:
        found, mixed = self._computed_by(read)
        return found, None if self.output is None else distance(mixed, self.output)

    def _computed_by(
        self, read: Callable[..., tuple[_Read, torch.Tensor]]
    ) -> tuple[_Read, torch.Tensor]:
        return read(
            self.query, self.key, self.value, scale=self.scale, mask=self.mask, causal=self.causal
        )


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy; what lies in memory once, for all heads, does so again."""
    once = tuple(slice(None) if stride else slice(0, 1) for stride in tensor.stride())
    return tensor.detach()[once].clone().expand(tensor.shape)


def _own_numbers(tensor: torch.Tensor) -> int:
    """Return how many numbers lie in memory: those of a stride of 0 lie there once."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride)
