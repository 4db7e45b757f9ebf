"""What one query of a head looks at in a picture, or in one part of it, and how that is said.

A picture that is shown to a model in several has parts: frames beside each other, or tiles and the
whole, which lie over each other and would hide each other. Knows nothing of how it is drawn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.axis import Axis, Box
from attnreport.picture import Picture

# More than what boxes miss each other by when they are computed.
_OVERLAP = 1.01
# How every part at once is called, where a part is chosen by its name.
ALL_PARTS = "all"
# With more, each part's share would make no sentence.
_MOST_TOLD = 4


@dataclass(frozen=True)
class Look:
    """Hold what one query of a head, or their mean, looks at in a picture.

    Attributes:
        picture: what the boxes of the keys count pixels of.
        axis: the keys; some have a box.
        weights: ``(key,)`` float32, in [0, 1] where finite.
        who: what they are the weights of, in words.
        chosen: box of the query in the same picture, or None.
        part: which part of the picture is shown; None for all of it.
    """

    picture: Picture
    axis: Axis
    weights: NDArray[np.float32]
    who: str
    chosen: Box | None
    part: int | None

    @property
    def shown(self) -> NDArray[np.bool_]:
        """Tell which keys lie in what is shown, ``(key,)``."""
        return self._in(self.part)

    @property
    def largest(self) -> float:
        """Return the largest finite weight that is shown, above 0: it gets the full colour."""
        weights = self.weights[self.shown]
        return float(weights[np.isfinite(weights)].max(initial=0)) or 1.0

    @property
    def region(self) -> Box:
        """Return what of the picture is shown, in its pixels."""
        if self.part is None:
            return (0.0, 0.0, float(self.picture.width), float(self.picture.height))
        return self.picture.parts[self.part].box

    @property
    def words(self) -> str:
        """Return what is shown, in words."""
        whole, part, parts = self.axis.seen
        several = parts_of(self.axis)
        shares = ", ".join(
            f"{self._share(one):.1%} on {self._name(one)}"
            for one in (several if len(several) <= _MOST_TOLD else [self.part])
            if one is not None
        )
        name = "" if self.part is None else self._name(self.part)
        return (
            f"{self.who}: {self._share(None):.1%} of its attention falls on the {whole}"
            + (f", {shares}" if shares else "")
            + (f"; shown here is {name}" if name else "")
            + f"; full colour stands for {self.largest:.4f}, the largest {part}"
            + (f"; {parts} lie over each other, so colours mix" if self.mixed else "")
        )

    def _name(self, part: int) -> str:
        return self.picture.parts[part].name

    def _share(self, part: int | None) -> float:
        # Rounded weights, as a report may hold, can add up to a little more than 1.
        return float(self.weights[self._in(part)].sum()) / max(1.0, float(self.weights.sum()))

    def _in(self, part: int | None) -> NDArray[np.bool_]:
        """Tell which keys lie in a part of the picture, or in all of it, ``(key,)``."""
        alike = [part is None or position.part == part for position in self.axis]
        boxed = [position.box is not None for position in self.axis]
        return np.logical_and(alike, boxed)

    @property
    def mixed(self) -> bool:
        """Tell whether boxes lie over each other: together they have more area than is around."""
        shown = zip(self.axis, self.shown, strict=True)
        boxes = np.array([position.box for position, own in shown if own])
        around = (boxes[:, 2].max() - boxes[:, 0].min()) * (boxes[:, 3].max() - boxes[:, 1].min())
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return bool(areas.sum() > _OVERLAP * around)


def first_query(queries: Axis) -> int | None:
    """Return whose look is shown first: a place among the queries, or None for the mean of all.

    Of a text it is the last token, from which what follows is written: a first one that sees
    nothing but itself would look at no picture. Otherwise it is the first position where that is
    special, as a class token is, which gathers what the whole picture shows.
    """
    if any(position.span for position in queries):
        places = [place for place, position in enumerate(queries) if position.box is None]
        return places[-1] if places else None
    return 0 if queries.positions[0].role == "special" else None


def parts_of(axis: Axis) -> list[int]:
    """Return which parts of its picture an axis has positions in, in order; none of just one."""
    found = {position.part for position in axis if position.box is not None}
    several = sorted(part for part in found if part is not None)
    return several if len(several) > 1 else []


def first_part(axis: Axis) -> int | None:
    """Return which part is shown first: of those that lie over each other one, else all."""
    several = parts_of(axis)
    layered = axis.picture is not None and axis.picture.layered
    return several[0] if several and layered else None


def look_of(
    attention: Attention, head: int, query: int | None = None, part: str | None = None
) -> Look | None:
    """Return what a query looks at, or None where no key has a box in a kept picture.

    Args:
        attention: with the queries and keys.
        head: index of the head, from 0.
        query: its place among the queries; by default that of ``first_query``.
        part: name of the part of the picture to show, or ``"all"``; by default ``first_part``.

    Raises:
        KeyError: the keys have no positions in a part of that name.
    """
    keys = attention.keys
    if keys.picture is None or not keys.pictured:
        return None
    weights, queries = attention.weights[head], attention.queries
    query = first_query(queries) if query is None else query
    if query is None:
        row, who, chosen = weights.mean(axis=0), "what is looked at, mean over all queries", None
    else:
        row, position = weights[query], queries.positions[query]
        who = f"what {position.label} looks at"
        chosen = position.box if queries.picture == keys.picture else None
    return Look(keys.picture, keys, row, who, chosen, _part(keys, part))


def part_names(axis: Axis) -> tuple[str, ...]:
    """Return the names by which parts of an axis's picture are chosen; none where it has one."""
    picture = axis.picture
    names = [picture.parts[part].name for part in parts_of(axis)] if picture else []
    return (*names, ALL_PARTS) if names else ()


def _part(keys: Axis, name: str | None) -> int | None:
    if name is None:
        return first_part(keys)
    if name not in (names := part_names(keys)):
        raise KeyError(name)
    return None if name == ALL_PARTS else parts_of(keys)[names.index(name)]
