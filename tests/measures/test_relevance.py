"""Relevance against the paper's equations written out as loops over plain floats."""

from __future__ import annotations

import numpy as np
import pytest
from measure_cases import cross_attention, encoder_decoder, self_attention, stack, text_axis

from attnreport import Axis, Run
from attnreport.errors import InvalidMeasure
from attnreport.measures.relevance import relevance


def gradients_of(run, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(0, 1, each.weights.shape).astype(np.float32) for each in run.attentions]


def product(left, right):
    return [
        [sum(row[k] * right[k][j] for k in range(len(right))) for j in range(len(right[0]))]
        for row in left
    ]


def added(left, right):
    return [[a + b for a, b in zip(x, y, strict=True)] for x, y in zip(left, right, strict=True)]


def unit(size):
    return [[float(i == j) for j in range(size)] for i in range(size)]


def barred(matrix):
    out = []
    for i, row in enumerate(matrix):
        hat = [value - (i == j) for j, value in enumerate(row)]
        total = sum(hat)
        out.append([(v / total if total else v) + (i == j) for j, v in enumerate(hat)])
    return out


def reference(run, gradients):
    """R[(s, q)] by axis names; absent blocks are all 0, as the paper initialises them."""
    sizes = {axis.name: len(axis) for axis in run.axes}
    R = {  # noqa: N806 - the paper's letter
        (s, q): unit(n) if s == q else [[0.0] * m for _ in range(n)]
        for s, n in sizes.items()
        for q, m in sizes.items()
    }
    for attention, gradient in zip(run.attentions, gradients, strict=True):
        heads, rows, columns = attention.weights.shape
        A = [  # noqa: N806 - the paper's letter
            [
                sum(
                    max(float(gradient[h, i, j]) * float(attention.weights[h, i, j]), 0.0)
                    for h in range(heads)
                )
                / heads
                for j in range(columns)
            ]
            for i in range(rows)
        ]
        s, q = attention.queries.name, attention.keys.name
        if s == q:
            new = {(s, x): added(R[s, x], product(A, R[s, x])) for x in sizes}
        else:
            transposed = [list(column) for column in zip(*barred(R[s, s]), strict=True)]
            brought = product(transposed, product(A, barred(R[q, q])))
            new = {
                (s, q): added(R[s, q], brought),
                (s, s): added(R[s, s], product(A, R[q, s])),
            }
        R.update(new)
    return R


def both_ways():
    """Two streams that look at themselves and at each other, as in a co-attention model."""
    text, image = text_axis("text"), Axis.numbered("image", 6)
    return Run(
        (
            self_attention(text, layer=0),
            self_attention(image, seed=1, layer=1),
            cross_attention(text, image, seed=2, layer=2),
            cross_attention(image, text, seed=3, layer=3),
            self_attention(text, seed=4, layer=4),
            cross_attention(text, image, seed=5, layer=5),
        )
    )


@pytest.mark.parametrize(
    "run",
    [stack(), stack(causal=True), encoder_decoder(), both_ways()],
    ids=["self", "causal", "encoder-decoder", "both ways"],
)
def test_relevance_equals_the_papers_equations(run):
    gradients = gradients_of(run)
    expected = reference(run, gradients)
    for axis in run.axes:
        parts = relevance(run, gradients, axis)
        found = {part.keys.name: part.weights for part in parts}
        assert parts[0].keys == axis
        for other in run.axes:
            block = np.array(expected[axis.name, other.name])
            got = found.get(other.name, np.zeros_like(block))
            np.testing.assert_allclose(got, block, rtol=1e-9, atol=1e-6)


def test_permuting_heads_changes_nothing_and_what_is_not_a_number_counts_nothing():
    run = stack(1)
    (gradient,) = gradients_of(run)
    broken = gradient.copy()
    broken[0, 2, 3] = np.nan
    silent = gradient.copy()
    silent[0, 2] = 0
    np.testing.assert_array_equal(
        relevance(run, [broken])[0].weights, relevance(run, [silent])[0].weights
    )
    assert (relevance(run, [-np.abs(gradient)])[0].weights == np.eye(10)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given[:1], "a gradient for each of 3 attentions, got 1"),
        (lambda given: [None, *given[1:]], r"attention 0: .* shape \(3, 10, 10\), got none"),
        (lambda given: [given[0][:1], *given[1:]], r"got \(1, 10, 10\)"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(change, message):
    run = stack()
    with pytest.raises(InvalidMeasure, match=message):
        relevance(run, change(gradients_of(run)))
