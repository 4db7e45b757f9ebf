"""How much of its weight a head puts on the neighbour of a query, on itself, on the first key."""

from __future__ import annotations

import numpy as np

from attnreport.attention import Attention
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, is_self, nothing, rows_of

_CLARK = "Clark et al. 2019, What Does BERT Look At?, §3.1"
_CLARK_LINK = "https://aclanthology.org/W19-4828/"


@measure(
    "previous_token",
    title="Previous token",
    formula="mean over q ≥ 1 of w(q, q − 1)",
    range=(0.0, 1.0),
    source=_CLARK,
    link=_CLARK_LINK,
    reading="High means that every position looks at the one just before it.",
)
def previous_token(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN unless queries and keys are the same."""
    return _weight_on_neighbour(attention, -1)


@measure(
    "next_token",
    title="Next token",
    formula="mean over q ≤ Q − 2 of w(q, q + 1)",
    range=(0.0, 1.0),
    source=_CLARK,
    link=_CLARK_LINK,
    reading="High means that every position looks at the one just after it.",
)
def next_token(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1], 0 where the model is causal; NaN unless axes are the same."""
    return _weight_on_neighbour(attention, 1)


@measure(
    "same_token",
    title="Same token",
    formula="mean over q of w(q, q)",
    range=(0.0, 1.0),
    source=_CLARK,
    link=_CLARK_LINK,
    reading="High means that every position looks at itself.",
)
def same_token(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN unless queries and keys are the same."""
    return _weight_on_neighbour(attention, 0)


@measure(
    "first_token",
    title="First token",
    formula="mean over q of w(q, 0); without q = 0 where queries and keys are the same",
    range=(0.0, 1.0),
    source="Xiao et al. 2024, Efficient Streaming Language Models with Attention Sinks, §3.1",
    link="https://arxiv.org/abs/2309.17453",
    reading="High means that weight which has nowhere better to go is parked on the first key.",
)
def first_token(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; the first query's look at itself is not counted."""
    rows = rows_of(attention)
    if not len(attention.keys):
        return nothing(attention)
    among = np.arange(len(attention.queries)) >= (1 if is_self(attention) else 0)
    return rows.mean(rows.weights[:, :, 0].astype(np.float64), among)


def _weight_on_neighbour(attention: Attention, offset: int) -> Array:
    """Return the mean of w(q, q + offset) over the rows that have such a key."""
    if not is_self(attention):
        return nothing(attention)
    rows = rows_of(attention)
    query = np.arange(len(attention.queries))
    key = query + offset
    inside = (key >= 0) & (key < len(attention.keys))
    values = np.zeros(rows.sums.shape)
    values[:, inside] = rows.weights[:, query[inside], key[inside]]
    return rows.mean(values, inside)
