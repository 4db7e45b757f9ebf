"""Who is joined with whom, where a page has no room for every position.

Only what is alike is joined: text with text that follows it, patches with patches that make a
rectangle with them. What is special stays by itself, so that a class token, a register and a patch
stay apart. Knows no weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

import numpy as np

from attnreport.axis import Axis, Box, Position
from attnreport.joining import SHORTEST, Groups

# Of a patch's side: by so much computed edges may miss each other.
_SLACK = 1e-3


def shape_of(block: int) -> tuple[int, int]:
    """Return how many patches a joined box has down and across: as square as can be, not more."""
    down = int(block**0.5)
    return down, block // down


def groups_of(axis: Axis, block: int) -> Groups:
    """Return which joined position each position belongs to, counted from 0 without gaps.

    Args:
        axis: of up to ``SHORTEST`` positions none are joined.
        block: how many positions to join, at most.
    """
    if len(axis) <= SHORTEST:
        return np.arange(len(axis))
    parts, count = [], 0
    for rows, columns in _grids(axis):
        parts.append(count + _tiled(rows, columns, block))
        count = int(parts[-1][-1]) + 1
    return np.concatenate(parts)


def _tiled(rows: int, columns: int, block: int) -> Groups:
    """Return the groups of a grid, row by row; where it is narrow, boxes are longer instead."""
    down = min(shape_of(block)[0], rows)
    across = min(block // down, columns)
    down = min(block // across, rows)
    high, wide = np.arange(rows) // down, np.arange(columns) // across
    groups: Groups = (high[:, None] * (wide[-1] + 1) + wide).ravel()
    return groups


def _grids(axis: Axis) -> Iterator[tuple[int, int]]:
    """Yield rows and columns of what is alike, in the axis's order; text is one row."""
    for (_, boxed, *_), alike in groupby(axis, _kind):
        run = list(alike)
        if boxed:
            yield from _patch_grids([position.box for position in run if position.box])
        else:
            yield 1, len(run)


def _kind(position: Position) -> tuple[str, bool, str, int | None]:
    # Padding is special as well: there may be hundreds of the same token.
    name = position.label if position.role == "special" else ""
    return position.role, position.box is not None, name, position.part


def _patch_grids(boxes: list[Box]) -> Iterator[tuple[int, int]]:
    rows: list[list[Box]] = []
    for box in boxes:
        if rows and _beside(rows[-1][-1], box):
            rows[-1].append(box)
        else:
            rows.append([box])
    grid = rows[:1]
    for row in rows[1:]:
        if not _below(grid[-1], row):
            yield len(grid), len(grid[0])
            grid = []
        grid.append(row)
    yield len(grid), len(grid[0])


def _beside(left: Box, right: Box) -> bool:
    """Tell whether a box goes on where another ends, as high and as deep."""
    slack = _SLACK * (left[2] - left[0])
    pairs = ((left[2], right[0]), (left[1], right[1]), (left[3], right[3]))
    return all(abs(one - other) <= slack for one, other in pairs)


def _below(upper: list[Box], lower: list[Box]) -> bool:
    """Tell whether a row of boxes goes on below another, in the same columns."""
    slack = _SLACK * (upper[0][3] - upper[0][1])
    return len(upper) == len(lower) and all(
        max(abs(high[3] - low[1]), abs(high[0] - low[0]), abs(high[2] - low[2])) <= slack
        for high, low in zip(upper, lower, strict=True)
    )
