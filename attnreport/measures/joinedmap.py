"""A joined map: what several heads or layers say together, as one matrix.

It is shaped like the heads that it is drawn beside and it is none of them: no layer of the model
computed it. So it carries its own formula, what was assumed on the way, and what a reader must
know. Knows nothing of how it was made or is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.errors import InvalidMeasure
from attnreport.measures.registry import Description


@dataclass(frozen=True, eq=False, kw_only=True)
class JoinedMap:
    """Hold one map in the few variants that a reader can choose from.

    Attributes:
        name: what it is asked for by, e.g. ``"rollout"``; maps between other sequences share it.
        about: title, formula, range and source.
        queries: what the rows stand for.
        keys: what the columns stand for.
        choice: what the variants differ in, e.g. ``"head fusion"`` or ``"layer"``.
        variants: what each of them is called, e.g. ``("mean", "max", "min")``.
        values: ``(variant, query, key)`` float32, read-only, in the range that ``about`` states;
            they need not sum to 1 and may be negative. NaN where there is no value.
        assumed: name and value of every setting that was chosen, e.g. ``("residual", "0.5")``.
        notes: whole sentences that a reader must know.

    Raises:
        InvalidMeasure: shape or type of ``values`` does not fit the axes and variants.
    """

    name: str
    about: Description
    queries: Axis
    keys: Axis
    choice: str
    variants: tuple[str, ...]
    values: NDArray[np.float32]
    assumed: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expected = (len(self.variants), len(self.queries), len(self.keys))
        if self.values.dtype != np.float32 or self.values.shape != expected or not self.variants:
            raise InvalidMeasure(
                f"the map {self.name!r} should be float32 {expected}, one matrix for each variant, "
                f"got {self.values.dtype} {self.values.shape}"
            )
        self.values.flags.writeable = False

    @property
    def largest(self) -> float:
        """Return the largest finite absolute value, 0 where there is none."""
        return float(np.abs(self.values[np.isfinite(self.values)]).max(initial=0))

    @property
    def signed(self) -> bool:
        """Tell whether some values are negative: then they need colours on both sides of 0."""
        return bool((self.values < 0).any())
