"""The points at which deformable attention samples its feature maps. Plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.errors import InvalidRun


@dataclass(frozen=True, eq=False)
class Points:
    """Hold where each query of each head looks, and how much.

    Source: Zhu et al. 2021, Deformable DETR: Deformable Transformers for End-to-End Object
    Detection, §4.1 https://arxiv.org/abs/2010.04159

    Attributes:
        locations: ``(head, query, point, 2)`` float32, read-only: x and y as shares of the width
            and height of the point's feature map, from its upper left corner. Outside [0, 1] is
            outside the map.
        weights: ``(head, query, point)`` float32, read-only: what the sampled value is multiplied
            by. They sum to 1.
        levels: ``(point,)`` int32, read-only: which feature map each point is on, from 0.
        sizes: of each feature map its height and width; its cells are keys, row by row, those of
            the first map first.
    """

    locations: NDArray[np.float32]
    weights: NDArray[np.float32]
    levels: NDArray[np.int32]
    sizes: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if self.weights.ndim != 3:
            raise InvalidRun(
                f"points: expected weights (head, query, point), got {self.weights.shape}"
            )
        heads, queries, points = self.weights.shape
        wrong = self.locations.shape != (heads, queries, points, 2)
        if wrong or self.levels.shape != (points,):
            raise InvalidRun(
                f"points: expected locations {(heads, queries, points, 2)} and levels {(points,)}, "
                f"got {self.locations.shape} and {self.levels.shape}"
            )
        if points and not 0 <= self.levels.min() <= self.levels.max() < len(self.sizes):
            raise InvalidRun(f"points: a level that is none of the {len(self.sizes)} maps")
        for array in (self.locations, self.weights, self.levels):
            array.flags.writeable = False

    def check(self, where: str, shape: tuple[int, ...]) -> None:
        """Refuse weights ``(head, query, key)`` of another shape.

        Raises:
            InvalidRun: it is another one; ``where`` says whose.
        """
        cells = sum(height * width for height, width in self.sizes)
        if (*self.weights.shape[:2], cells) != shape:
            raise InvalidRun(
                f"{where}: points of {self.weights.shape[0]} heads and {self.weights.shape[1]} "
                f"queries on {cells} cells do not fit weights {shape}"
            )

    def chosen(self, heads: list[int] | None, queries: list[int] | None) -> Points:
        """Return those of some heads and queries; of all without."""
        some = slice(None) if heads is None else heads
        rows = slice(None) if queries is None else queries
        return Points(
            self.locations[some][:, rows], self.weights[some][:, rows], self.levels, self.sizes
        )
