"""Make one position of several: the axis, and what their weights come to.

A joined position is an honest one: its label names the first and the last of its members, its span
goes around theirs, and it has a box where theirs make a rectangle. Who is joined with whom is said
by groups: an array with the joined position of each position, 0, 1, … in order of first use. Knows
nothing of runs, and not why anybody joins.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from attnreport.axis import Axis, Box, Position, Span

# A sequence this short is never joined: nothing would be left to see.
SHORTEST = 16

Floats = NDArray[np.float32]
Groups = NDArray[np.int64]

# Of its area: by so much boxes may miss their rectangle, for they were computed and rounded.
_SLACK = 1e-3


def blocks(length: int, block: int) -> Groups:
    """Return the groups of every ``block`` neighbours; the last may have fewer."""
    return np.arange(length) // block


def joined_axis(axis: Axis, groups: Groups) -> Axis:
    """Return an axis with one position for each group; the same one where all are alone."""
    count = int(groups.max(initial=-1)) + 1
    if count == len(axis):
        return axis
    members: list[list[Position]] = [[] for _ in range(count)]
    for position, group in zip(axis, groups, strict=True):
        members[group].append(position)
    return replace(axis, positions=tuple(map(_position, members)))


def summed(values: Floats, groups: Groups, axis: int) -> Floats:
    """Return the sums over each group along one dimension of an array."""
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=-1))
    if (ordered != groups).any():  # members lie apart, as those of a box do
        values = values.take(order, axis)
    with np.errstate(invalid="ignore"):  # ∞ − ∞ stays NaN, which is drawn as such
        total: Floats = np.add.reduceat(values, starts, axis=axis)
    return total


def members(groups: Groups) -> Floats:
    """Return how many positions each group has."""
    return np.bincount(groups).astype(np.float32)


def _position(members: list[Position]) -> Position:
    first, last = members[0], members[-1]
    if len(members) == 1:
        return first
    box = _box([member.box for member in members])
    return replace(
        first,
        label=f"{first.label}…{last.label}",
        span=_span([member.span for member in members if member.span]),
        box=box,
        part=first.part if box is not None and first.part == last.part else None,
    )


def _span(spans: list[Span]) -> Span | None:
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


def _box(boxes: list[Box | None]) -> Box | None:
    """Return the rectangle that boxes make, or None where one is missing or they leave gaps."""
    known = [box for box in boxes if box is not None]
    if len(known) < len(boxes):
        return None
    lefts, tops, rights, bottoms = zip(*known, strict=True)
    around = (min(lefts), min(tops), max(rights), max(bottoms))
    area = sum(map(_area, known))
    return around if abs(area - _area(around)) <= _SLACK * _area(around) else None


def _area(box: Box) -> float:
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)
