"""Which rows count, as ``rows`` decides it, where only what is exact of them was kept.

Knows ``Reduced`` and no measure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnreport.errors import InvalidMeasure
from attnreport.measures.rows import Array, Mask, ratio
from attnreport.reduced import Reduced
from attnreport.run import Run


@dataclass(frozen=True, eq=False)
class ReducedRows:
    """Hold the rows of an attention before its positions were joined.

    Attributes:
        reduced: what was kept.
        sums: ``(head, query)`` sum of every row, 0 where it is broken.
        usable: ``(head, query)``, True where the row is finite and was not masked whole.
        broken: ``(head, query)``, True where the row, or its sink, holds NaN or infinity.
    """

    reduced: Reduced
    sums: Array
    usable: Mask
    broken: Mask

    @classmethod
    def of(cls, reduced: Reduced) -> ReducedRows:
        """Return the rows of an attention under the conventions of ``rows``."""
        sums = reduced.figure("sum").astype(np.float64)
        whole = sums if reduced.sink is None else sums + reduced.sink
        broken = ~np.isfinite(whole)
        return cls(reduced, np.where(broken, 0.0, sums), ~broken & (whole > 0), broken)

    @property
    def masked(self) -> np.ndarray:
        """Return ``(head,)``: rows in which everything was masked."""
        return np.asarray((~self.usable & ~self.broken).sum(axis=1), dtype=np.int64)

    @property
    def nonfinite(self) -> np.ndarray:
        """Return ``(head,)``: rows that hold NaN or infinity."""
        return np.asarray(self.broken.sum(axis=1), dtype=np.int64)

    def mean(self, values: Array, among: Mask | None = None) -> Array:
        """Return ``(head,)``: the mean of ``values[head, query]`` over the usable rows."""
        used = self.usable if among is None else self.usable & among
        return ratio(np.where(used, values, 0.0).sum(axis=1), used.sum(axis=1))

    def share(self, figure: str) -> Array:
        """Return a figure of every row as share of its weight, ``(head, query)``."""
        values = self.reduced.figure(figure).astype(np.float64)
        if self.reduced.normalised:
            return values
        return values / np.where(self.sums > 0, self.sums, 1.0)


def refuse_reduced(run: Run, what: str) -> None:
    """Refuse what needs every single weight of a run.

    Raises:
        InvalidMeasure: positions of the run were joined while it was captured.
    """
    for attention in run.attentions:
        if attention.reduced is not None:
            raise InvalidMeasure(
                f"{what} needs all weights, but every {attention.reduced.block} neighbouring "
                f"positions of layer {attention.layer} were joined when it was captured; "
                "capture it with max_memory=None"
            )
