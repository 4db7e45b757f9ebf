"""The table of strongest links: for every query the keys it looks at most, with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnreport.attention import Attention

STRONGEST = 3
LONGEST = 100  # rows of a table that is not folded
UNFOLDED = 20  # rows of a longer one that are seen first


@dataclass(frozen=True)
class LinkRow:
    """Hold one query and the keys it looks at most, with their weights; None for no other key."""

    query: str
    special: bool
    keys: tuple[tuple[str, str] | None, ...]


@dataclass(frozen=True)
class LinkPart:
    """Hold rows of the table, and whether they are folded away until somebody asks for them."""

    rows: tuple[LinkRow, ...]
    folded: bool


def parts_of(rows: tuple[LinkRow, ...]) -> tuple[LinkPart, ...]:
    """Return the table as it is laid out: of a long one all but the first rows are folded."""
    if len(rows) <= LONGEST:
        return (LinkPart(rows, folded=False),)
    return LinkPart(rows[:UNFOLDED], folded=False), LinkPart(rows[UNFOLDED:], folded=True)


def strongest_links(attention: Attention, head: int) -> tuple[LinkRow, ...]:
    """Return for every query the ``STRONGEST`` keys it looks at most, strongest first.

    A key that it does not look at at all is none of them: None stands there instead.
    """
    weights = attention.weights[head]
    # What is not a number must not hide behind weights: it comes first.
    sizes = np.where(np.isnan(weights), np.inf, weights)
    order = np.argsort(-sizes, axis=1, kind="stable")[:, :STRONGEST]
    return tuple(
        LinkRow(
            query=position.label,
            special=position.role == "special",
            keys=tuple(
                (attention.keys.positions[key].label, weight_text(float(weights[row, key])))
                if weights[row, key] != 0
                else None
                for key in order[row]
            ),
        )
        for row, position in enumerate(attention.queries)
    )


def weight_text(weight: float) -> str:
    """Return a weight with four decimals; ``< 0.0001`` for less, ``NaN`` as it is."""
    if not np.isfinite(weight):
        return "NaN" if np.isnan(weight) else "infinite"
    if 0 < weight < 0.0001:
        return "< 0.0001"
    return f"{weight:.4f}"
