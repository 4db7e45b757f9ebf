"""Small runs made of random numbers: whatever is drawn from them can be checked exactly."""

from __future__ import annotations

import numpy as np

from attnreport import Attention, Axis, LedgerEntry, Position, Provenance, Run


def softmax(shape, seed, *, causal=False):
    """Rows that sum to 1, shape (head, query, key), skewed as trained attention is."""
    scores = np.random.default_rng(seed).normal(0, 3, shape)
    if causal:
        scores[..., np.triu(np.ones(shape[-2:], dtype=bool), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def words(name, length):
    """An axis of short words, the first of them special."""
    first = Position("[CLS]", role="special")
    return Axis(name, (first, *(Position(f"{name[0]}{index}") for index in range(1, length))))


def small_run(layers=2, heads=3, queries=5, keys=None, *, causal=False, seed=0, **provenance):
    """A run of ``layers`` attentions: self, or cross where ``keys`` is given."""
    rows = words("target" if keys else "text", queries)
    columns = words("source", keys) if keys else rows
    attentions = tuple(
        Attention(
            softmax((heads, len(rows), len(columns)), seed + layer, causal=causal),
            f"encoder.layer.{layer}.attention",
            layer,
            "cross" if keys else "self",
            rows,
            columns,
            residual=1e-7,
        )
        for layer in range(layers)
    )
    ledger = tuple(
        LedgerEntry(attention.name, "scaled_dot_product_attention", attention.layer)
        for attention in attentions
    )
    fields = {"model": "tiny", "dtype": "float32", "device": "cpu", **provenance}
    return Run(attentions, ledger, Provenance(**fields))
