"""What stays exact of an attention whose positions were joined while it was captured.

Plain arrays. A long input has too many weights to keep: of these, neighbouring positions are
joined, and here is what was read off all of them before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.errors import InvalidRun

# How many of the largest weights of every row are kept.
LARGEST = 8

FIGURES = ("sum", "entropy", "distance", "first", "previous", "same", "next")


@dataclass(frozen=True, eq=False)
class Reduced:
    """Hold exact numbers of every row and column, in float32, read-only.

    Attributes:
        block: how many neighbouring positions of a side were joined to one; a side of up to
            ``joining.SHORTEST`` positions was left as it was.
        queries: every position that asked, before any was joined.
        keys: every position that answered.
        largest: ``(head, query, 8)`` largest weights of every row, falling; fewer where there are
            fewer keys.
        largest_keys: ``(head, query, 8)`` int32, which keys these are.
        columns: ``(head, key)`` sum over the queries.
        visible: ``(query,)`` how many keys get a weight above 0 from at least one head.
        figures: ``(figure, head, query)``, one number per row for each of ``FIGURES``: its sum;
            the entropy −Σ p·log p of p = w / sum in nats; Σ w·|q − k|; the weight on key 0, on key
            q − 1, q and q + 1, 0 where there is no such key.
        sink: ``(head, query)`` share that went to a learned sink, or None.
        normalised: whether the layer makes its rows sum to 1.
    """

    block: int
    queries: Axis
    keys: Axis
    largest: NDArray[np.float32]
    largest_keys: NDArray[np.int32]
    columns: NDArray[np.float32]
    visible: NDArray[np.float32]
    figures: NDArray[np.float32]
    sink: NDArray[np.float32] | None = None
    normalised: bool = True

    def __post_init__(self) -> None:
        if self.block < 2:
            raise InvalidRun(f"expected blocks of at least 2 positions, got {self.block}")
        heads, queries, keys = self.shape
        kept = min(LARGEST, keys)
        wanted = {
            "largest": (heads, queries, kept),
            "largest_keys": (heads, queries, kept),
            "columns": (heads, keys),
            "visible": (queries,),
            "figures": (len(FIGURES), heads, queries),
            "sink": (heads, queries),
        }
        for name, shape in wanted.items():
            array = getattr(self, name)
            if array is None:
                continue
            if array.shape != shape:
                raise InvalidRun(f"expected {name} of shape {shape}, got {array.shape}")
            array.flags.writeable = False
        if self.largest_keys.size and not (
            self.largest_keys.min() >= 0 and self.largest_keys.max() < keys
        ):
            raise InvalidRun(f"expected largest_keys from 0 to {keys - 1}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return ``(head, query, key)`` before positions were joined."""
        return len(self.columns), len(self.queries), len(self.keys)

    def figure(self, name: str) -> NDArray[np.float32]:
        """Return one of ``FIGURES`` as ``(head, query)``."""
        figure: NDArray[np.float32] = self.figures[FIGURES.index(name)]
        return figure
