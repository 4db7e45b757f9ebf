"""How much the heads of one layer resemble each other."""

from __future__ import annotations

import numpy as np

from attnreport.attention import Attention
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, ratio, rows_of

# Weights that are turned to float64 at a time: 8 MB, about what stays in a cache.
_BLOCK = 2**20


@measure(
    "redundancy",
    title="Redundancy",
    formula="max over the other heads g of the layer of mean over q of cos(w_h(q, ·), w_g(q, ·))",
    range=(0.0, 1.0),
    source="Bian et al. 2021, On Attention Redundancy: A Comprehensive Study of BERT",
    link="https://aclanthology.org/2021.naacl-main.72/",
    reading="High means that another head of the same layer looks at nearly the same keys.",
)
def redundancy(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN for the only head of a layer."""
    similar = head_similarity(attention)
    np.fill_diagonal(similar, np.nan)
    # fmax passes over NaN, and leaves NaN where there is nothing else.
    return np.asarray(np.fmax.reduce(similar, axis=1))


def head_similarity(attention: Attention) -> Array:
    """Return ``(head, head)`` in [0, 1]: mean over rows of the cosine between two heads' rows.

    A row counts for a pair if it has weight in both heads; NaN where no row does.
    """
    rows = rows_of(attention)
    heads, queries, keys = rows.weights.shape
    step = max(1, _BLOCK // max(1, heads * keys))
    total = np.zeros((heads, heads))
    for start in range(0, queries, step):
        block = rows.weights[:, start : start + step].astype(np.float64)
        block = block.transpose(1, 0, 2)  # (query, head, key)
        products = block @ block.transpose(0, 2, 1)  # (query, head, head)
        lengths = np.sqrt(np.einsum("qhh->qh", products))
        scale = lengths[:, :, None] * lengths[:, None, :]
        cosines = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
        total += cosines.sum(axis=0)
    lit = rows.lit.astype(np.float64)
    return np.minimum(ratio(total, lit @ lit.T), 1.0)
