"""The table of strongest links: for every query the keys it looks at most, with their weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attnreport.run import Attention

STRONGEST = 3


@dataclass(frozen=True)
class LinkRow:
    """Hold one query and the keys it looks at most, with their weights."""

    query: str
    special: bool
    keys: tuple[tuple[str, str], ...]


def strongest_links(attention: Attention, head: int) -> tuple[LinkRow, ...]:
    """Return for every query the ``STRONGEST`` keys it looks at most, strongest first."""
    weights = attention.weights[head]
    # NaN sorts first and infinity after every weight: what is not a number must not hide.
    order = np.argsort(-weights, axis=1, kind="stable")[:, :STRONGEST]
    return tuple(
        LinkRow(
            query=position.label,
            special=position.role == "special",
            keys=tuple(
                (attention.keys.positions[key].label, weight_text(float(weights[row, key])))
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
