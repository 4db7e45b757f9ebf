"""Hold what is kept of a capture within a stated amount of memory.

Weights are kept whole while they fit. When they no longer do, every two neighbouring positions are
joined, in all layers alike, and two of those again, until they fit. Those of long inputs wait to be
computed until it is known which. Knows sizes; no formulas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from attnreport.joining import SHORTEST
from attnreport.recording.apart import quietly
from attnreport.recording.reducing import Reduction
from attnreport.recording.room import Pool
from attnreport.recording.weights import COMBINATIONS

if TYPE_CHECKING:
    from attnreport.recording.found import Found
    from attnreport.recording.operands import Operands

# What is kept by default, in bytes.
MAX_MEMORY = 2_000_000_000
# While all weights together are less than this part of the limit they are computed at once.
_EARLY = 16
# Positions joined to one at most: more would leave nothing to see.
_COARSEST = 64
NO_WEIGHTS = np.empty((0, 0, 0), np.float32)
_BYTES = 4  # of a float32


class Memory:
    """Keep attentions, and reduce them all alike where they take more than is allowed.

    Args:
        limit: how many bytes may be kept; None for all there are.

    Attributes:
        whole: how many bytes all weights, and norms where asked for, have together.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._held: list[Found] = []
        self._block = 1
        self._norms = ""
        self._pool = Pool()
        self.whole = 0

    def may_wait(self, operands: Operands) -> bool:
        """Tell whether weights are better computed once it is known whether all can be kept."""
        if self._limit is None or max(operands.shape[1:]) <= SHORTEST:
            return False
        if self.reduces(operands.shape):
            return True
        early = _EARLY * (self.whole + _BYTES * math.prod(operands.shape)) <= self._limit
        return operands.small and not early

    @property
    def limited(self) -> bool:
        """Tell whether there is a limit at all."""
        return self._limit is not None

    def too_large(self, shape: Sequence[int]) -> bool:
        """Tell whether weights ``(head, query, key)`` take more than half of what is allowed."""
        if self._limit is None or max(shape[1:]) <= SHORTEST:
            return False
        return 2 * _BYTES * math.prod(shape) > self._limit

    def reduces(self, shape: Sequence[int]) -> bool:
        """Tell whether weights ``(head, query, key)`` would be reduced as soon as they come."""
        return self._block > 1 and max(shape[1:]) > SHORTEST

    def take(self, found: Found) -> None:
        """Count one more attention, and reduce it like the others."""
        self.whole += _size(found)
        if self._limit is None or found.rows is not None:
            # Queries were selected to save memory: what is left of them is what was asked for.
            return
        self._held.append(found)
        self._reduce(found)
        self._fit()
        if found.waiting is not None:
            found.waiting = found.waiting.copied()

    def release(self) -> None:
        """Give the memory back that was computed in."""
        self._pool = Pool()

    def waiting(self) -> list[Found]:
        """Return what still waits: by now it is known that all of it can be kept."""
        return [found for found in self._held if found.waiting is not None]

    def give_back(self, found: Found) -> None:
        """Count an attention no longer."""
        self.whole -= _size(found)
        self._held = [each for each in self._held if each is not found]

    def grow(self, found: Found, size: int) -> None:
        """Count so many bytes more of the norms of an attention that was taken already."""
        self.whole += size
        self._norms = " and norms"
        self._fit()

    def _fit(self) -> None:
        """Reduce all alike until they take no more than is allowed."""
        while self._limit is not None and self._used() > self._limit and self._block < _COARSEST:
            self._coarsen()

    def _coarsen(self) -> None:
        self._block *= 2
        for each in self._held:
            self._reduce(each)

    def _used(self) -> int:
        return sum(
            (found.weights.nbytes if found.waiting is None else _size(found))
            + (found.reduction.nbytes if found.reduction else 0)
            + _norms_size(found)
            for found in self._held
        )

    def _reduce(self, found: Found) -> None:
        """Join so many positions as in all others."""
        if self._block == 1:
            return
        if found.waiting is not None:
            with quietly(found.waiting.query):
                found.reduction, found.residual = found.waiting.reduced(self._pool, self._block)
            found.waiting = None
        elif found.reduction is None:
            if max(found.weights.shape[1:]) <= SHORTEST:
                return
            with quietly(torch.from_numpy(found.weights)):
                found.reduction = Reduction.of(found.weights, found.sink, self._pool)
            found.weights = NO_WEIGHTS
            found.value_norms = None
            found.unweighed = "neighbouring positions are joined"
        while found.reduction.block < self._block:
            found.reduction.coarsen(self._pool)

    @property
    def note(self) -> str:
        """Return what was done, for the run's notes; empty where all is kept."""
        reductions = [found.reduction for found in self._held if found.reduction is not None]
        if not reductions or self._limit is None:
            return ""
        limit = _megabytes(self._limit)
        coarser = any(each.block > self._block for each in reductions)
        more = ", and more of them where the ledger says so" if coarser else ""
        said = (
            f"All weights{self._norms} take {_megabytes(self.whole)}, more than the {limit} "
            f"allowed: every {self._block} neighbouring positions were joined to one while they "
            f"were captured, in sequences of more than {SHORTEST}{more}. "
        )
        if self._block == 1:
            said = (
                f"Some layers have weights that by themselves take more than half of the {limit} "
                "allowed: neighbouring positions were joined in them while they were captured, as "
                "the ledger says. "
            )
        return said + (
            "Weights of joined keys are added up, weights of joined queries averaged. Exact are "
            "the eight largest weights of every row, the sums of rows and columns, and the "
            "measures that are shown. Weights × values are held against what a layer returned in "
            f"{COMBINATIONS} random combinations of columns, and whole where these are not within "
            "the tolerance."
        )


def _size(found: Found) -> int:
    """Return how many bytes the weights have that were asked for, kept or not."""
    kept = found.reduction is None and found.waiting is None
    return found.weights.nbytes if kept else _BYTES * math.prod(found.shape)


def _norms_size(found: Found) -> int:
    norms = found.value_norms
    if norms is None:
        return 0
    arrays = (norms.heads, norms.mixed, norms.block)
    return sum(array.nbytes for array in arrays if array is not None)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
