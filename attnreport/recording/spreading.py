"""Spread the weights of points over the cells of the maps that they are sampled from.

What bilinear sampling reads at a point is a mean of the four cells around it; a cell outside of the
map counts as zero. So each point's weight belongs to these cells, in the same shares. Plain tensors
in; nothing here knows where they come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attnreport.points import Points
from attnreport.recording.weights import to_host

Size = tuple[int, int]


class Maps:
    """Know where each point of each query lies.

    Args:
        sizes: height and width of each map.
        grids: of each map ``(head, query, point, 2)``, x and y from -1 to 1.
        corners: whether -1 and 1 are the centres of its outermost cells, instead of their edges.
    """

    def __init__(
        self, sizes: Sequence[Size], grids: Sequence[torch.Tensor], corners: Sequence[bool]
    ) -> None:
        self._sizes, self._corners = tuple(sizes), tuple(corners)
        self._grids = [grid.to(torch.promote_types(grid.dtype, torch.float32)) for grid in grids]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return how many heads, queries and cells there are."""
        heads, queries, *_ = self._grids[0].shape
        return heads, queries, sum(height * width for height, width in self._sizes)

    @property
    def points(self) -> int:
        """Return how many points a query has."""
        return sum(grid.shape[2] for grid in self._grids)

    def of(self, rows: Sequence[int] | slice) -> Maps:
        """Return those of some queries."""
        grids = [grid[:, rows] for grid in self._grids]
        return Maps(self._sizes, grids, self._corners)

    def spread(self, weights: torch.Tensor) -> torch.Tensor:
        """Return ``(head, query, cell)`` of the points' weights, ``(head, query, point)``."""
        precise = torch.promote_types(weights.dtype, torch.float32)
        spread = torch.zeros(self.shape, dtype=precise, device=weights.device)
        first, point = 0, 0
        for size, grid, corners in zip(self._sizes, self._grids, self._corners, strict=True):
            cells, points = size[0] * size[1], grid.shape[2]
            own = weights[..., point : point + points].to(precise)
            _spread(spread[..., first : first + cells], own, grid, size, corners=corners)
            first, point = first + cells, point + points
        return spread

    def told(self, weights: torch.Tensor) -> Points:
        """Return where the points are, and their weights ``(head, query, point)``."""
        shares = [
            _cells(grid, size, corners=corners).add(0.5) / grid.new_tensor(size[::-1])
            for grid, size, corners in zip(self._grids, self._sizes, self._corners, strict=True)
        ]
        levels = [torch.full((grid.shape[2],), level) for level, grid in enumerate(self._grids)]
        return Points(
            to_host(torch.cat(shares, dim=2)),
            to_host(weights),
            torch.cat(levels).to(torch.int32).numpy(),
            self._sizes,
        )


def _cells(grid: torch.Tensor, size: Size, *, corners: bool) -> torch.Tensor:
    """Return x and y counted in cells: whole numbers are their centres."""
    sides = grid.new_tensor(size[::-1])
    return (grid + 1) / 2 * (sides - 1) if corners else ((grid + 1) * sides - 1) / 2


def _spread(
    into: torch.Tensor, weights: torch.Tensor, grid: torch.Tensor, size: Size, *, corners: bool
) -> None:
    """Add the weights of one map's points to its cells, ``(head, query, cell)``."""
    height, width = size
    x, y = _cells(grid, size, corners=corners).unbind(-1)
    left, top = x.floor(), y.floor()
    for column, row in ((left, top), (left + 1, top), (left, top + 1), (left + 1, top + 1)):
        share = (1 - (x - column).abs()) * (1 - (y - row).abs())
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        cell = torch.where(inside, row * width + column, 0).long()
        into.scatter_add_(-1, cell, torch.where(inside, share * weights, 0))
    # A point that is nowhere makes all that is read there NaN.
    nowhere = ~(x.isfinite() & y.isfinite()).all(dim=-1, keepdim=True)
    into.masked_fill_(nowhere, torch.nan)
