"""Keep of one long attention blocks of its weights, and what must stay exact of all of them.

Knows arrays; not why anything is reduced. What is read off the weights, and how, is the business of
reading.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.joining import SHORTEST, Groups, blocks, joined_axis, members, summed
from attnreport.recording.reading import Heads, Rows, joined_up
from attnreport.recording.room import Pool
from attnreport.reduced import FIGURES, LARGEST, Reduced

Floats = NDArray[np.float32]

# So many weights of a head are looked at together, but no fewer rows: two megabytes.
_TOGETHER, _FEWEST = 1 << 19, 16
# Under the logarithm, where a weight is 0; far too small to change another one.
_TINY = float(np.finfo(np.float32).tiny)


class Reduction:
    """Be an attention of which only blocks are kept, and what is exact.

    Args:
        shape: ``(head, query, key)`` of the weights.
        sink: ``(head, query)`` or None.
        block: how many neighbours are one, a power of 2.

    Attributes:
        sums: ``(head, query block, key block)``, the sum of all weights in it.
        columns: ``(head, key)`` float64; the others as in ``Reduced``.
    """

    def __init__(self, shape: Sequence[int], sink: Floats | None = None, block: int = 2) -> None:
        heads, queries, keys = self.shape = tuple(shape)
        self.block = block
        self.sink = sink
        kept = min(LARGEST, keys)
        self.largest = np.empty((heads, queries, kept), np.float32)
        self.largest_keys = np.empty((heads, queries, kept), np.int32)
        self.visible = np.empty(queries, np.float32)
        self.figures = np.zeros((len(FIGURES), heads, queries), np.float32)
        self.columns = np.zeros((heads, keys))
        self.sums: Floats = np.empty((heads, *self._blocks), np.float32)
        # Each thread has the rows of one head.
        self._heads = torch.get_num_threads()
        self._rows = max(_TOGETHER // max(keys, 1) // block * block, _FEWEST, block)

    @classmethod
    def of(cls, weights: Floats, sink: Floats | None, pool: Pool | None = None) -> Reduction:
        """Return the reduction of weights, ``(head, query, key)``, that are not kept."""
        whole = torch.from_numpy(weights)
        return cls.computed(
            weights.shape, lambda heads, rows: whole[heads, rows].contiguous(), sink, pool
        )

    @classmethod
    def computed(
        cls,
        shape: Sequence[int],
        part: Callable[[slice, slice], torch.Tensor],
        sink: Floats | None = None,
        pool: Pool | None = None,
        block: int = 2,
    ) -> Reduction:
        """Return the reduction of weights that are computed some heads and rows at a time.

        Args:
            shape: ``(head, query, key)``.
            part: returns those of some heads and rows, contiguous float32 in host memory.
            sink: ``(head, query)`` or None.
            pool: memory to compute in.
            block: how many neighbours are one, a power of 2.
        """
        reduction = cls(shape, sink, block)
        pool = pool or Pool()
        readers = [(heads, Heads(reduction, heads, pool)) for heads in reduction.some_heads()]
        for own in reduction.some_rows():
            # What is known of some rows is as large as they are: that of all is not held.
            rows = Rows(reduction, own, reduction.shape[2])
            for heads, reader in readers:
                weights = part(heads, own)
                reader.read(rows, weights, _logs(weights), weights @ rows.moments)
        for _, reader in readers:
            reader.finish()
        return reduction

    def joins(self, side: int) -> int:
        """Return how many neighbours of one side, 1 for queries and 2 for keys, are one."""
        return self.block if self.shape[side] > SHORTEST else 1

    @property
    def _blocks(self) -> list[int]:
        """Return how many blocks there are of queries, and of keys."""
        return [-(-self.shape[side] // self.joins(side)) for side in (1, 2)]

    def some_rows(self) -> Iterator[slice]:
        """Yield the rows that are read together, whole blocks of them."""
        queries = self.shape[1]
        for start in range(0, queries, self._rows):
            yield slice(start, min(start + self._rows, queries))

    def some_heads(self) -> Iterator[slice]:
        """Yield the heads that are read together."""
        heads = self.shape[0]
        for start in range(0, heads, self._heads):
            yield slice(start, min(start + self._heads, heads))

    def coarsen(self, pool: Pool) -> None:
        """Join two blocks to one, on both sides; ``pool`` is for what is between."""
        finer, self.block = torch.from_numpy(self.sums), 2 * self.block
        self.sums = np.empty((len(finer), *self._blocks), np.float32)
        for head, into in enumerate(torch.from_numpy(self.sums)):
            rows, columns = into.shape
            joined = joined_up(finer[head : head + 1], 1, rows, pool)
            into.copy_(joined_up(joined, 2, columns, pool)[0])

    @property
    def nbytes(self) -> int:
        """Return how much memory is kept."""
        arrays = (self.sums, self.largest, self.largest_keys, self.columns, self.figures)
        return sum(array.nbytes for array in arrays)

    def weights(self, *, normalised: bool) -> Floats:
        """Return the blocks as weights: keys added up, queries averaged.

        Where rows do not sum to 1 by themselves keys are averaged as well.
        """
        weights = self.sums.copy()
        if self.shape[1] > SHORTEST:
            weights /= members(self._groups(1))[:, None]
        if self.shape[2] > SHORTEST and not normalised:
            weights /= members(self._groups(2))
        return np.minimum(weights, 1, out=weights, where=np.isfinite(weights))

    @property
    def row_sums(self) -> Floats:
        """Return ``(head, query)``, how much each row sums to."""
        sums: Floats = self.figures[FIGURES.index("sum")]
        return sums

    def whole_rows(self) -> bool:
        """Tell whether no block has rows that saw nothing beside rows that did."""
        if self.shape[1] <= SHORTEST:
            return True
        blind = (self.row_sums == 0).astype(np.float32)
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
            columns=self.columns.astype(np.float32),
            visible=self.visible,
            figures=self.figures,
            sink=self.sink,
            normalised=normalised,
        )


def _logs(weights: torch.Tensor) -> torch.Tensor:
    """Return logarithms; NumPy's take a third of the time of torch's."""
    logs = torch.add(weights, _TINY)
    with np.errstate(invalid="ignore"):
        np.log(logs.numpy(), out=logs.numpy())
    return logs
