"""What a page carries of a run, and in words what it does not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnreport.joining import SHORTEST
from attnreport.measures import (
    JoinedMap,
    Measured,
    NotableHead,
    all_head_scores,
    joined_maps,
    notable_heads,
)
from attnreport.page.grouping import shape_of
from attnreport.page.pack import Packed
from attnreport.page.refining import EXACT_TO, LARGEST
from attnreport.page.shrinking import picture_words
from attnreport.run import Run

UNREDUCED = "No weight was rounded, pooled or left out on the way into this page."


@dataclass(frozen=True)
class MeasuredRun:
    """Hold a run with what its measures say, which takes longer than all the rest of a page."""

    run: Run
    scores: dict[str, Measured]
    notable: tuple[NotableHead, ...]
    maps: tuple[JoinedMap, ...]

    @classmethod
    def of(cls, run: Run) -> MeasuredRun:
        """Return the run with every map made, and every measure that says something of a head."""
        scores = all_head_scores(run)
        told = {name: each for name, each in scores.items() if not np.isnan(each.array).all()}
        return cls(run, told, notable_heads(run, measured=scores), joined_maps(run))


@dataclass(frozen=True)
class Form:
    """Hold what a page carries of a run: its positions one by one or joined, and packed.

    Attributes:
        run: what is drawn.
        packed: the same as bytes.
        block: how many neighbouring positions of the run were joined to one.
    """

    run: Run
    packed: Packed
    block: int

    @property
    def reductions(self) -> tuple[str, ...]:
        """Return in words what the page lacks of the run; nothing where it has all."""
        return (*self._joining(), *self._rounding(), *picture_words(self.run))

    def _joining(self) -> tuple[str, ...]:
        if self.block == 1:
            return ()
        boxed = any(position.box for axis in self.run.axes for position in axis)
        quick = " and quick to open" if boxed else ""
        down, across = shape_of(self.block)
        patches = f", patches in boxes of {down} × {across}" if boxed else ""
        return (
            f"To keep the file below its largest size{quick}, every {self.block} neighbouring "
            f"positions of a kind were joined to one, in sequences of more than {SHORTEST}{patches}"
            "; special positions stay alone. Weights of joined keys are added up, weights of "
            "joined queries averaged. Heads were measured before.",
        )

    def _rounding(self) -> tuple[str, ...]:
        if self.packed.exact:
            return ()
        largest = (
            f"; the {LARGEST} largest of every row are right to {EXACT_TO:.6f}"
            if self.packed.refined
            else ""
        )
        pooled = "" if self.block > 1 else " and nothing was pooled"
        return (
            f"Weights were rounded to {self.packed.levels} steps of √w on the way into this page"
            f"{largest}; no head was left out{pooled}.",
        )
