"""Make one position of several neighbouring ones: the axis, and what their weights come to.

A joined position is an honest one: its label names the first and the last of its members, its span
and its box go around theirs. Knows nothing of runs, and not why anybody joins.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attnreport.axis import Axis, Box, Position, Span

# A sequence this short is never joined: nothing would be left to see.
SHORTEST = 16

Floats = NDArray[np.float32]


def joined_axis(axis: Axis, block: int) -> Axis:
    """Return an axis of every ``block`` neighbours of this one; a short one as it is."""
    if len(axis) <= SHORTEST:
        return axis
    positions = axis.positions
    starts = range(0, len(positions), block)
    return replace(
        axis, positions=tuple(_position(positions[start : start + block]) for start in starts)
    )


def summed(values: Floats, block: int, axis: int) -> Floats:
    """Return the sums over every ``block`` neighbours along one dimension of an array."""
    starts = np.arange(0, values.shape[axis], block)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ stays NaN, which is drawn as such
        total: Floats = np.add.reduceat(values, starts, axis=axis)
    return total


def members(length: int, block: int) -> Floats:
    """Return how many positions each joined one has: the last may have fewer."""
    starts = np.arange(0, length, block)
    return np.minimum(block, length - starts).astype(np.float32)


def _position(members: tuple[Position, ...]) -> Position:
    first, last = members[0], members[-1]
    if first is last:
        return first
    return replace(
        first,
        label=f"{first.label}…{last.label}",
        span=_span([member.span for member in members if member.span]),
        box=_box([member.box for member in members if member.box]),
    )


def _span(spans: list[Span]) -> Span | None:
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


def _box(boxes: list[Box]) -> Box | None:
    if not boxes:
        return None
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))
