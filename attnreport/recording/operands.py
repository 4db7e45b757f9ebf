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

from attnreport.attention import tolerance_of
from attnreport.recording.by_rows import reduced_softmax
from attnreport.recording.reducing import Reduction
from attnreport.recording.room import Pool
from attnreport.recording.weights import attend, combinations, combined_distance, distance

_Read = TypeVar("_Read")
# Further from the output than this, rounding in float32 may be why.
_ROUNDED = tolerance_of("float32")


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
        weights, before = self._read_by(attend)
        if not self._may_be_nearer(before):
            return weights, before
        after = self._write_in_double(weights)
        # They were written over: a second copy is as large as all that is kept of a layer.
        return (weights, after) if _is_nearer(after, before) else self._read_by(attend)

    def reduced(self, pool: Pool, block: int) -> tuple[Reduction, float | None]:
        """Return what is kept of the weights where they are too many, and their residual.

        Held against the output are a few combinations of its columns; all of them only where these
        are not within the tolerance.
        """
        read = partial(reduced_softmax, pool=pool, block=block)
        single = self._read_in_combinations(read)
        if self.output is None or (single[1] is not None and single[1] <= self._tolerance):
            return single
        single = self._read_by(read)
        if not self._may_be_nearer(single[1]):
            return single
        double = self._in_double()._read_by(read)
        return double if _is_nearer(double[1], single[1]) else single

    def _read_in_combinations(
        self, read: Callable[..., tuple[_Read, torch.Tensor]]
    ) -> tuple[_Read, float | None]:
        """Return what is read, and the residual as a few combinations of columns tell it."""
        precise = torch.promote_types(self.query.dtype, torch.float32)
        factors = combinations(self.value.shape[2]).to(precise)
        found, mixed = replace(self, value=self.value.to(precise) @ factors)._computed_by(read)
        if self.output is None:
            return found, None
        output = self.output.to(precise)
        return found, combined_distance(mixed, output @ factors, output)

    @property
    def _tolerance(self) -> float:
        return tolerance_of(str(self.query.dtype).removeprefix("torch."))

    def _may_be_nearer(self, residual: float | None) -> bool:
        """Tell whether float64 may make weights that are nearer to the output."""
        rounded = residual is not None and residual > _ROUNDED
        return rounded and self.query.dtype == torch.float32

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

    def _write_in_double(self, weights: torch.Tensor) -> float | None:
        """Write weights rounded to float32, return their residual; one key head at a time."""
        mixed = self.query.new_empty(*self.shape[:2], self.value.shape[2], dtype=torch.float64)
        each = len(self.query) // len(self.key)
        for group in range(len(self.key)):
            heads = slice(group * each, (group + 1) * each)
            own = self._in_double(heads, slice(group, group + 1))
            weights[heads], mixed[heads] = own._computed_by(attend)
        return None if self.output is None else distance(mixed, self.output)

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


def _is_nearer(after: float | None, before: float | None) -> bool:
    return after is not None and before is not None and after < before


def _copy(tensor: torch.Tensor) -> torch.Tensor:
    """Return a copy; what lies in memory once, for all heads, does so again."""
    once = tuple(slice(None) if stride else slice(0, 1) for stride in tensor.stride())
    return tensor.detach()[once].clone().expand(tensor.shape)


def _own_numbers(tensor: torch.Tensor) -> int:
    """Return how many numbers lie in memory: those of a stride of 0 lie there once."""
    sizes = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size for size, stride in sizes if stride)
