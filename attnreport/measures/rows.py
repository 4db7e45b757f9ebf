"""Which rows of an attention count, and the sums that every measure is made of.

The conventions for odd rows live here and nowhere else, so that all measures keep the same ones:

- a row that sums to 0 was masked whole: it is left out of every mean;
- a row that holds NaN or infinity is left out too, and counted;
- a row that sums to less than 1 because of a sink is used as it is: a share is a share of all
  attention, the sink's part included, while a mean over where the weight lies (a distance, an
  entropy) is taken over the weight that reached a key. A row whose whole weight went to the sink
  was not masked: its shares are 0;
- where the layer does not normalise at all (sigmoid attention) a row is divided by its sum.

This module knows nothing of what is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Rows:
    """Hold the rows of one attention that can be measured.

    Attributes:
        weights: ``(head, query, key)`` float32 or float64; a row that is not usable is all 0.
        sums: ``(head, query)`` float64, the sum of every row of ``weights``.
        usable: ``(head, query)``, True where the row is finite and was not masked whole.
        broken: ``(head, query)``, True where the row, or its sink, holds NaN or infinity.
    """

    weights: NDArray[np.floating]
    sums: Array
    usable: Mask
    broken: Mask

    @property
    def lit(self) -> Mask:
        """Return ``(head, query)``: True where some key got weight."""
        return self.sums > 0

    @property
    def masked(self) -> NDArray[np.int64]:
        """Return ``(head,)``: rows in which everything was masked."""
        return np.asarray((~self.usable & ~self.broken).sum(axis=1), dtype=np.int64)

    @property
    def nonfinite(self) -> NDArray[np.int64]:
        """Return ``(head,)``: rows that hold NaN or infinity."""
        return np.asarray(self.broken.sum(axis=1), dtype=np.int64)

    def mean(self, values: Array, among: Mask | None = None) -> Array:
        """Return ``(head,)``: the mean of ``values[head, query]`` over the usable rows.

        Args:
            values: one number per row.
            among: ``(query,)`` or ``(head, query)``, the rows to look at; None for all.
        """
        used = self.usable if among is None else self.usable & among
        return ratio(np.where(used, values, 0.0).sum(axis=1), used.sum(axis=1))

    def share(self, pattern: Mask) -> Array:
        """Return ``(head,)``: the mean over rows of the weight on the keys in ``pattern``.

        Args:
            pattern: ``(query, key)``; a row in which no key is True is left out.
        """
        among = pattern.any(axis=1)
        # Rows that are not usable are 0, and rows with no key in the pattern add nothing.
        total = np.einsum("hqk,qk->h", self.weights, pattern.astype(np.float64))
        return ratio(total, (self.usable & among).sum(axis=1))

    def mean_over_weights(self, cost: Array, where: Mask | None = None) -> Array:
        """Return ``(head,)``: Σ w·cost / Σ w, over the pairs in ``where`` or over all.

        Args:
            cost: ``(query, key)``, finite everywhere.
            where: ``(query, key)``, the pairs to look at; None for all.
        """
        if where is None:
            return ratio(np.einsum("hqk,qk->h", self.weights, cost), self.sums.sum(axis=1))
        seen = where.astype(np.float64)
        total = np.einsum("hqk,qk->h", self.weights, cost * seen)
        return ratio(total, np.einsum("hqk,qk->h", self.weights, seen))


# Every measure asks for the rows of the same attentions; an entry goes when its attention does.
_KNOWN: WeakKeyDictionary[Attention, Rows] = WeakKeyDictionary()


def rows_of(attention: Attention) -> Rows:
    """Return the rows of an attention under the conventions of this module."""
    known = _KNOWN.get(attention)
    if known is None:
        known = _KNOWN[attention] = _sort_out(attention)
    return known


def ratio(above: Array, below: NDArray[np.floating] | NDArray[np.integer]) -> Array:
    """Return ``above / below`` as float64, NaN where ``below`` is 0."""
    found: Array = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=found, where=np.asarray(below) > 0)
    return found


def nothing(attention: Attention) -> Array:
    """Return ``(head,)`` of NaN, for a measure that has no meaning for this attention."""
    return np.full(attention.heads, np.nan)


def is_self(attention: Attention) -> bool:
    """Tell whether row and column of the same number stand for the same position."""
    return attention.kind == "self" and attention.queries == attention.keys


def _sort_out(attention: Attention) -> Rows:
    weights: NDArray[np.floating] = attention.weights
    with np.errstate(invalid="ignore"):  # infinity minus infinity is NaN, which is looked for
        sums = weights.sum(axis=2, dtype=np.float64)
        whole = sums if attention.sink is None else sums + attention.sink
    broken = ~np.isfinite(whole)
    if broken.any():
        weights = np.where(broken[:, :, None], np.float32(0), weights)
        sums = np.where(broken, 0.0, sums)
    usable = ~broken & (whole > 0)
    if not attention.normalised:
        lit = sums > 0
        weights = weights / np.where(lit, sums, 1.0)[:, :, None]
        sums = lit.astype(np.float64)
    return Rows(weights, sums, usable, broken)
