"""How far a head looks: in positions, in the picture, and away from the diagonal."""

from __future__ import annotations

import numpy as np

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, is_self, nothing, rows_of


@measure(
    "distance",
    title="Attention distance",
    formula="Σ_q Σₖ w·|q − k| / Σ_q Σₖ w",
    range=(0.0, None),
    unit="positions",
    source="Vig & Belinkov 2019, Analyzing the Structure of Attention in a Transformer Language "
    "Model, attention distance (here without sign, for models that look ahead)",
    link="https://aclanthology.org/W19-4808/",
    reading="High means that the head looks at positions far from its own.",
)
def distance(attention: Attention) -> Array:
    """Return ``(head,)`` in positions, 0 to K − 1; NaN unless queries and keys are the same."""
    if not is_self(attention):
        return nothing(attention)
    index = np.arange(len(attention.keys), dtype=np.float64)
    return rows_of(attention).mean_over_weights(np.abs(index[:, None] - index[None, :]))


@measure(
    "box_distance",
    title="Distance in the picture",
    formula="Σ w·‖c(q) − c(k)‖ / (d·Σ w) over pairs with boxes; c: centre of a box, d: diagonal "
    "of the rectangle around all boxes",
    range=(0.0, 1.0),
    source="Dosovitskiy et al. 2021, An Image is Worth 16x16 Words, appendix D.7 (there in pixels)",
    link="https://arxiv.org/abs/2010.11929",
    reading="High means that the head gathers from all over the picture, low that it looks nearby.",
)
def box_distance(attention: Attention) -> Array:
    """Return ``(head,)`` as share of the picture's diagonal; NaN without boxes on both axes.

    A run does not hold the picture's size, so its diagonal is that of the rectangle around the
    boxes of both axes, which tile the picture. A position without a box (a class token) is left
    out on either side.
    """
    queries, keys = _boxes(attention.queries), _boxes(attention.keys)
    boxes = np.concatenate([queries, keys])
    seen = np.isfinite(boxes).all(axis=1)
    if not (seen[: len(queries)].any() and seen[len(queries) :].any()):
        return nothing(attention)
    size = boxes[seen, 2:].max(axis=0) - boxes[seen, :2].min(axis=0)
    diagonal = float(np.hypot(*size))
    if diagonal == 0:
        return nothing(attention)
    apart = _centres(queries)[:, None, :] - _centres(keys)[None, :, :]
    cost = np.hypot(apart[..., 0], apart[..., 1]) / diagonal  # (query, key)
    where = np.isfinite(cost)
    return rows_of(attention).mean_over_weights(np.where(where, cost, 0.0), where)


@measure(
    "diagonality",
    title="Diagonality",
    formula="1 − Σ_q Σₖ w·|q/(Q − 1) − k/(K − 1)| / Σ_q Σₖ w",
    range=(0.0, 1.0),
    source="after the diagonality of Yang et al. 2020, Understanding Self-Attention of "
    "Self-Supervised Audio Transformers (here scaled so that queries and keys may differ)",
    link="https://arxiv.org/abs/2006.03265",
    reading="High means that the weight follows the diagonal: both sequences are read in step.",
)
def diagonality(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN where one side has a single position."""
    queries, keys = len(attention.queries), len(attention.keys)
    if queries < 2 or keys < 2:
        return nothing(attention)
    down, across = np.linspace(0.0, 1.0, queries), np.linspace(0.0, 1.0, keys)
    return 1.0 - rows_of(attention).mean_over_weights(np.abs(down[:, None] - across[None, :]))


def _boxes(axis: Axis) -> Array:
    """Return ``(position, 4)``, NaN where a position has no box."""
    missing = (np.nan,) * 4
    boxes = [missing if position.box is None else position.box for position in axis]
    return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def _centres(boxes: Array) -> Array:
    """Return ``(position, 2)``: x and y of the middle of each box."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2
