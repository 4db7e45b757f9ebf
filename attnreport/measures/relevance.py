"""Relevance: attention joined over layers, each weight counted by the gradient that it got.

What the gradient is of (a logit, a loss) is for the caller to choose: ``capture`` with
``gradients=True`` puts it into the run during a backward pass. This module reads arrays and no
model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnreport.attention import Attention, Weights
from attnreport.axis import Axis
from attnreport.errors import InvalidMeasure
from attnreport.measures.chain import Part, Sequences, chains, find_axis
from attnreport.measures.registry import Description
from attnreport.measures.rows import Array, is_self
from attnreport.run import Run

RELEVANCE = Description(
    title="Relevance",
    formula="Ā = mean over heads of (∂y/∂A ⊙ A)⁺; self-attention of s: R_sx ← R_sx + Ā·R_sx; "
    "cross-attention from s to q: R_sq ← R_sq + R̄_ssᵀ·Ā·R̄_qq and R_ss ← R_ss + Ā·R_qs, where "
    "R̄ is R − I with rows divided by their sums, plus I",
    range=(0.0, None),
    source="Chefer, Gur & Wolf 2021, Generic Attention-model Explainability, eqs. 5–11",
    link="https://arxiv.org/abs/2103.15679",
    reading="High means that the number which was differentiated rests on that key, by this path.",
)


def relevance(
    run: Run, gradients: Sequence[Weights | None] | None = None, axis: Axis | str | None = None
) -> tuple[Part, ...]:
    """Join the layers of a run into the relevance that every input position has in each row.

    Every attention reads the newest state of its keys' sequence: where two sequences look at each
    other at the same time, the second look is joined after the first. A row of R − I that is all
    0 stays 0 when it is normalised.

    Args:
        run: whose weights.
        gradients: of one number with respect to each attention's weights; None for those that
            the run holds.
        axis: the sequence whose rows are wanted, itself or by name; None for that of the last
            attention.

    Returns:
        One part per input sequence, ``(query, key)`` 0 or more, the queries' own first.

    Raises:
        InvalidMeasure: a gradient is missing or does not fit, or nothing can be joined.
    """
    if gradients is None:
        gradients = [attention.gradient for attention in run.attentions]
    if len(gradients) != len(run.attentions):
        raise InvalidMeasure(
            f"expected a gradient for each of {len(run.attentions)} attentions, "
            f"got {len(gradients)}"
        )
    wanted = find_axis(run, axis)
    sequences = Sequences()
    # state[s][q] is (position of s, position of q), sequences by their numbers.
    state: dict[int, dict[int, Array]] = {}
    for attention, gradient in zip(run.attentions, gradients, strict=True):
        if not chains(attention):
            continue
        fused = positive_products(attention, gradient).mean(axis=0)
        own, other = (sequences.number(each) for each in (attention.queries, attention.keys))
        for new in {own, other} - set(state):
            state[new] = {new: np.eye(len(sequences.axes[new]))}
        if is_self(attention):
            state[own] = {to: R + fused @ R for to, R in state[own].items()}
        else:
            _cross(state, own, other, fused)
    shares = state[sequences.number(wanted)]
    return tuple(Part(sequences.axes[source], weights) for source, weights in shares.items())


def positive_products(attention: Attention, gradient: Weights | None) -> Array:
    """Return ``(head, query, key)`` float64: what is positive in gradient × weights, else 0.

    Raises:
        InvalidMeasure: the gradient is missing or does not fit.
    """
    if gradient is None or gradient.shape != attention.weights.shape:
        got = "none" if gradient is None else str(gradient.shape)
        raise InvalidMeasure(
            f"attention {attention.layer}: expected a gradient of shape "
            f"{attention.weights.shape}, got {got}"
        )
    product = gradient.astype(np.float64) * attention.weights
    # A row with NaN or infinity in it says nothing: it passes on only itself.
    finite = np.isfinite(product).all(axis=2, keepdims=True)
    return np.asarray(np.where(finite, product, 0.0).clip(min=0.0))


def _cross(state: dict[int, dict[int, Array]], own: int, other: int, fused: Array) -> None:
    """Add what the queries' sequence takes from the keys', eqs. 10 and 11, both at once."""
    old, seen = state[own], state[other]
    brought = _normalised(old[own]).T @ fused @ _normalised(seen[other])  # (s, s) (s, q) (q, q)
    new = dict(old)
    new[other] = old[other] + brought if other in old else brought
    if own in seen:
        new[own] = old[own] + fused @ seen[own]  # (s, q) @ (q, s)
    state[own] = new


def _normalised(relevances: Array) -> Array:
    """Return R − I with its rows divided by their sums, plus I: eqs. 8 and 9."""
    identity = np.eye(len(relevances))
    rest = relevances - identity
    sums = rest.sum(axis=1, keepdims=True)
    return np.asarray(rest / np.where(sums > 0, sums, 1.0) + identity)
