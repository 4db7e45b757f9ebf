"""How spread out the weight of a head is: over the keys of a row, and over the columns."""

from __future__ import annotations

import numpy as np

from attnreport.attention import Attention
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, ratio, rows_of

_TINY = np.float32(np.finfo(np.float32).tiny)


@measure(
    "entropy",
    title="Entropy",
    formula="mean over q of −Σₖ p log p / log n, where p = w / Σₖ w and n keys are visible to q",
    range=(0.0, 1.0),
    source="Clark et al. 2019, What Does BERT Look At?, §3.3 (there not normalised)",
    link="https://aclanthology.org/W19-4828/",
    reading="High means that the head spreads its weight evenly over the keys it may look at.",
)
def entropy(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]: how evenly a row's weight lies on the keys it can see.

    The weights alone do not hold the mask. A key counts as visible to a query if at least one
    head of the layer gives it a weight above 0: a softmax gives 0 only to what was masked, or to
    what is so unlikely that it underflows, and that seldom happens in every head at once. A row
    that sees one key (the first of a causal model) has no choice to make and is left out, so that
    an even spread scores 1 there too; a head that has no other rows scores 0.
    """
    rows = rows_of(attention)
    # 0·log 0 is 0: the floor under the logarithm keeps it finite and the weight makes it 0.
    logs = np.log(np.maximum(rows.weights, _TINY))
    with_logs = np.einsum("hqk,hqk->hq", rows.weights, logs, dtype=np.float64)
    visible = np.count_nonzero(rows.weights.max(axis=0, initial=0.0) > 0, axis=1)
    sums = np.where(rows.lit, rows.sums, 1.0)
    # −Σ p log p with p = w / s is log s − Σ w log w / s: no divided copy of the weights is made.
    found = np.log(sums) - with_logs / sums
    choice = visible > 1  # (query,)
    normalised = found / np.log(np.where(choice, visible, 2))
    mean = rows.mean(np.clip(normalised, 0.0, 1.0), choice & rows.lit)
    return np.where(np.isnan(mean) & rows.lit.any(axis=1), 0.0, mean)


@measure(
    "vertical",
    title="Vertical concentration",
    formula="max over k of Σ_q w(q, k) / Σ_q Σₖ w(q, k)",
    range=(0.0, 1.0),
    source="after the verticality of Yang et al. 2020, Understanding Self-Attention of "
    "Self-Supervised Audio Transformers (there the entropy of the column means)",
    link="https://arxiv.org/abs/2006.03265",
    reading="High means that most queries look at one and the same key: a vertical line.",
)
def vertical(attention: Attention) -> Array:
    """Return ``(head,)`` in [1/K, 1]: share of all weight that lies on the heaviest key."""
    rows = rows_of(attention)
    columns = rows.weights.sum(axis=1, dtype=np.float64)
    return ratio(columns.max(axis=1, initial=0.0), columns.sum(axis=1))
