"""What a head does where the input repeats itself.

Tokens are the same if their labels are. Only text is compared: a separator that occurs twice, or
two patches, is no repetition. Where the input does not repeat the scores are NaN: a head that was
never asked has not answered no.
"""

from __future__ import annotations

import numpy as np

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, Mask, is_self, nothing, rows_of
from attnreport.measures.share import sort_of


@measure(
    "duplicate_token",
    title="Duplicate token",
    formula="mean over q that occurred before of Σ w(q, k) over k < q with the same label",
    range=(0.0, 1.0),
    source="Wang et al. 2023, Interpretability in the Wild, §3 (duplicate token heads)",
    link="https://arxiv.org/abs/2211.00593",
    reading="High means that a repeated token looks back at where it occurred before.",
)
def duplicate_token(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN if no token repeats or the axes differ."""
    if not is_self(attention):
        return nothing(attention)
    return rows_of(attention).share(earlier_occurrences(attention.keys))


@measure(
    "induction",
    title="Induction",
    formula="mean over q that occurred before of Σ w(q, k) over k < q where k − 1 has q's label",
    range=(0.0, 1.0),
    source="Olsson et al. 2022, In-context Learning and Induction Heads (prefix matching)",
    link="https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html",
    reading="High means that a repeated token looks at what followed it the last time.",
)
def induction(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN if no token repeats or the axes differ.

    The query itself is never the token that followed, so ``aa`` says nothing by its second a.
    """
    if not is_self(attention):
        return nothing(attention)
    return rows_of(attention).share(followers(attention.keys))


def earlier_occurrences(axis: Axis) -> Mask:
    """Return ``(query, key)``, True where the key is before the query and has its label."""
    numbers: dict[str, int] = {}
    codes = np.array(
        [
            numbers.setdefault(position.label, len(numbers)) if sort_of(position) == "text" else -1
            for position in axis
        ],
        dtype=np.int64,
    )
    same = (codes[:, None] == codes[None, :]) & (codes >= 0)[:, None]
    return np.tril(same, k=-1)


def followers(axis: Axis) -> Mask:
    """Return ``(query, key)``, True where the key follows an earlier occurrence of the query."""
    after = np.zeros((len(axis), len(axis)), dtype=bool)
    after[:, 1:] = earlier_occurrences(axis)[:, :-1]
    return np.tril(after, k=-1)
