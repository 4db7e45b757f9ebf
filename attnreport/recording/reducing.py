"""Reduce the weights of one long attention to blocks, and read off what must stay exact.

One pass over all weights, some rows of every head at a time, small enough to stay in the
processor's cache. Knows arrays; not why anything is reduced.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.joining import SHORTEST, Groups, blocks, joined_axis, members, summed
from attnreport.reduced import FIGURES, LARGEST, Reduced

Floats = NDArray[np.float32]

# So many weights are looked at together: a megabyte.
_TOGETHER = 1 << 18
# A row's largest weights are looked for among the largest of so many groups.
_GROUP = 16
# Under the logarithm, where a weight is 0; far too small to change another one.
_TINY = 1e-38


class Reduction:
    """Be an attention of which only blocks are kept, and what is exact.

    Args:
        weights: ``(head, query, key)``; not kept.
        sink: ``(head, query)`` or None.

    Attributes:
        shape: of the weights.
        block: how many neighbours are one.
        sums: ``(head, query block, key block)``, the sum of all weights in it.
    """

    def __init__(self, weights: Floats, sink: Floats | None) -> None:
        self.shape: tuple[int, ...] = weights.shape
        self.block = 2
        self.sink = sink
        heads, queries, keys = weights.shape
        kept = min(LARGEST, keys)
        self.largest = np.empty((heads, queries, kept), np.float32)
        self.largest_keys = np.empty((heads, queries, kept), np.int32)
        self.visible = np.empty(queries, np.float32)
        self.figures = np.zeros((len(FIGURES), heads, queries), np.float32)
        columns = torch.zeros(heads, keys, dtype=torch.float64)
        blocks = []
        for rows, part in _parts(torch.from_numpy(weights), self.block):
            self._read(rows, part)
            joined = _halved(part, 1) if queries > SHORTEST else part
            columns += joined.sum(dim=1)
            blocks.append((_halved(joined, 2) if keys > SHORTEST else joined).numpy())
        self.columns = columns.to(torch.float32).numpy()
        self.sums: Floats = np.concatenate(blocks, axis=1)

    def _read(self, rows: slice, part: torch.Tensor) -> None:
        """Read off what is exact of some rows, ``(head, query, key)``."""
        largest, places = _largest(part, self.largest.shape[2])
        self.largest[:, rows], self.largest_keys[:, rows] = largest.numpy(), places.numpy()
        self.visible[rows] = (part.amax(dim=0) > 0).sum(dim=-1).numpy()
        for place, figure in enumerate(_figures(part, rows.start)):
            self.figures[place, :, rows] = figure.numpy()

    def coarsen(self) -> None:
        """Join two blocks to one, on both sides."""
        for side in (1, 2):
            if self.shape[side] > SHORTEST:
                self.sums = summed(self.sums, blocks(self.sums.shape[side], 2), axis=side)
        self.block *= 2

    @property
    def nbytes(self) -> int:
        """Return how much memory is kept."""
        arrays = (self.sums, self.largest, self.largest_keys, self.columns, self.figures)
        return sum(array.nbytes for array in arrays)

    def weights(self, *, normalised: bool) -> Floats:
        """Return the blocks as weights: keys added up, queries averaged.

        Where rows do not sum to 1 by themselves keys are averaged as well.
        """
        weights = self.sums
        if self.shape[1] > SHORTEST:
            weights = weights / members(self._groups(1))[:, None]
        if self.shape[2] > SHORTEST and not normalised:
            weights = weights / members(self._groups(2))
        within = np.where(np.isfinite(weights), np.minimum(weights, 1), weights)
        return within.astype(np.float32)

    def whole_rows(self) -> bool:
        """Tell whether no block has rows that saw nothing beside rows that did."""
        if self.shape[1] <= SHORTEST:
            return True
        blind = (self.figures[FIGURES.index("sum")] == 0).astype(np.float32)
        share = summed(blind, self._groups(1), axis=1) / members(self._groups(1))
        return bool(((share == 0) | (share == 1)).all())

    def joined_sink(self) -> Floats | None:
        """Return the sink's share of each block of queries, averaged."""
        if self.sink is None or self.shape[1] <= SHORTEST:
            return self.sink
        rows = self._groups(1)
        return (summed(self.sink, rows, axis=1) / members(rows)).astype(np.float32)

    def joined(self, axis: Axis) -> Axis:
        """Return the axis of the blocks of this one."""
        if len(axis) <= SHORTEST:
            return axis
        return joined_axis(axis, blocks(len(axis), self.block))

    def _groups(self, side: int) -> Groups:
        return blocks(self.shape[side], self.block)

    def exact(self, queries: Axis, keys: Axis, *, normalised: bool) -> Reduced:
        """Return what is exact, with the axes of all positions."""
        return Reduced(
            block=self.block,
            queries=queries,
            keys=keys,
            largest=self.largest,
            largest_keys=self.largest_keys,
            columns=self.columns,
            visible=self.visible,
            figures=self.figures,
            sink=self.sink,
            normalised=normalised,
        )


def _parts(weights: torch.Tensor, block: int) -> Iterator[tuple[slice, torch.Tensor]]:
    """Yield some rows of all heads at a time, whole blocks of them."""
    heads, queries, keys = weights.shape
    step = max(_TOGETHER // (heads * keys) // block, 1) * block
    for start in range(0, queries, step):
        rows = slice(start, min(start + step, queries))
        yield rows, weights[:, rows]


def _halved(values: torch.Tensor, dimension: int) -> torch.Tensor:
    """Return the sums of every two neighbours along a dimension; the last may stand alone."""
    length = values.shape[dimension]
    pairs = length // 2
    shape = (*values.shape[:dimension], pairs, 2, *values.shape[dimension + 1 :])
    even = values.narrow(dimension, 0, 2 * pairs).reshape(shape)
    total: torch.Tensor = even.select(dimension + 1, 0) + even.select(dimension + 1, 1)
    if length % 2:
        total = torch.cat([total, values.narrow(dimension, length - 1, 1)], dimension)
    return total


def _largest(part: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the largest weights of every row and their keys.

    They lie in those groups of keys that have the largest maxima: of each row only these are
    sorted, which is a tenth of it.
    """
    keys = part.shape[-1]
    groups = keys // _GROUP
    if groups <= 2 * count:
        found = part.topk(count, dim=-1)
        return found.values, found.indices
    # A group are keys that lie `groups` apart: its maximum is taken over whole rows at once.
    grouped = part[..., : groups * _GROUP].reshape(*part.shape[:2], _GROUP, groups)
    best = grouped.amax(dim=-2).topk(count, dim=-1, sorted=False).indices
    candidates = best.unsqueeze(-2) + groups * torch.arange(_GROUP).unsqueeze(-1)
    candidates = candidates.flatten(-2)
    rest = torch.arange(groups * _GROUP, keys).expand(*candidates.shape[:-1], -1)
    candidates = torch.cat([candidates, rest], dim=-1)
    found = part.gather(-1, candidates).topk(count, dim=-1)
    return found.values, candidates.gather(-1, found.indices)


def _figures(part: torch.Tensor, start: int) -> Iterator[torch.Tensor]:
    """Yield ``FIGURES`` of rows that begin at position ``start``, each ``(head, query)``."""
    _, queries, keys = part.shape
    sums = part.sum(dim=-1)
    yield sums
    # −Σ p·log p with p = w / s is log s − Σ w·log w / s.
    logs = torch.add(part, _TINY).log_().mul_(part)
    entropy = sums.log() - logs.sum(dim=-1) / sums
    yield torch.where(sums == 0, 0.0, entropy)
    asked = torch.arange(start, start + queries)
    apart = (asked.unsqueeze(-1) - torch.arange(keys)).abs().to(part.dtype)
    yield torch.mul(part, apart, out=logs).sum(dim=-1)
    yield part[..., 0]
    for offset in (-1, 0, 1):
        answering = asked + offset
        there = (answering >= 0) & (answering < keys)
        on = part.gather(
            -1, answering.clamp(0, keys - 1).unsqueeze(-1).expand(len(part), queries, 1)
        )
        yield torch.where(there, on.squeeze(-1), 0.0)
