from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_cases import attentions, cross_attention, self_attention, text_axis, with_weights
from measure_references import REFERENCES
from measure_references import alignment_error_rate as reference_error_rate

from attnreport import Axis, Position, Run
from attnreport.errors import InvalidMeasure
from attnreport.measures import Alignment, all_head_scores, head_scores, known_measures

CASES = attentions()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", REFERENCES)
def test_measure_equals_its_definition(name, case):
    measured = head_scores(Run((CASES[case],)), name).values[0]
    np.testing.assert_allclose(measured, REFERENCES[name](CASES[case]), rtol=0, atol=1e-6)


def test_every_measure_has_a_reference():
    plain = {name for name, found in known_measures().items() if not (found.needs or found.wants)}
    assert plain == set(REFERENCES)  # the others have their references beside their own tests


@pytest.mark.parametrize("name", REFERENCES)
def test_some_case_gives_each_measure_a_number(name):
    found = [head_scores(Run((case,)), name).values[0] for case in CASES.values()]
    assert np.isfinite(np.concatenate(found)).any()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", REFERENCES)
def test_odd_cases_stay_in_range(name, case):
    low, high = known_measures()[name].range
    scores = head_scores(Run((CASES[case],)), name).values[0]
    assert not (scores < low - 1e-12).any()
    assert high is None or not (scores > high + 1e-6).any()


@pytest.mark.parametrize(("queries", "keys"), [(0, 4), (4, 0), (0, 0)])
def test_no_positions_give_no_numbers(queries, keys):
    attention = cross_attention(Axis.numbered("q", queries), Axis.numbered("k", keys))
    gold = Alignment(attention.queries, attention.keys, frozenset())
    for name, scores in all_head_scores(Run((attention,)), alignment=gold).items():
        assert np.isnan(scores.values[0]).all(), name


weights = st.integers(0, 2**32 - 1).flatmap(
    lambda seed: st.tuples(st.just(seed), st.integers(1, 5), st.booleans())
)


@given(weights)
@settings(max_examples=40, deadline=None)
def test_scores_stay_in_their_range(drawn):
    seed, heads, causal = drawn
    attention = self_attention(text_axis(), heads, seed, causal=causal)
    for name in REFERENCES:
        low, high = known_measures()[name].range
        scores = head_scores(Run((attention,)), name).values[0]
        scores = scores[~np.isnan(scores)]
        assert (scores >= low - 1e-12).all()
        assert high is None or (scores <= high + 1e-6).all(), name


@given(weights, st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_permuting_heads_permutes_scores(drawn, random):
    seed, heads, causal = drawn
    attention = self_attention(text_axis(), heads, seed, causal=causal)
    order = list(range(heads))
    random.shuffle(order)
    moved = replace(attention, weights=attention.weights[order].copy())
    for name in REFERENCES:
        before = head_scores(Run((attention,)), name).values[0]
        after = head_scores(Run((moved,)), name).values[0]
        np.testing.assert_allclose(after, before[order], rtol=0, atol=1e-12)


def test_an_even_spread_has_entropy_1_even_when_causal():
    axis = Axis.numbered("tokens", 7)
    even = with_weights(
        self_attention(axis, causal=True),
        lambda w: w.__setitem__(..., np.tril(np.ones((7, 7))) / np.arange(1, 8)[:, None]),
    )
    np.testing.assert_allclose(head_scores(Run((even,)), "entropy").values[0], 1, atol=1e-6)


def test_shares_of_text_picture_special_and_sink_sum_to_1():
    for case in ("plain", "mixed", "sink", "sigmoid", "cross"):
        run = Run((CASES[case],))
        names = ("text_share", "image_share", "special_share", "sink_share")
        parts = [np.nan_to_num(head_scores(run, name).values[0]) for name in names]
        np.testing.assert_allclose(sum(parts), 1, atol=1e-6)


def test_identical_heads_are_fully_redundant():
    found = head_scores(Run((CASES["same heads"],)), "redundancy").values[0]
    np.testing.assert_allclose(found, 1, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    ["previous_token", "next_token", "same_token", "distance", "induction", "duplicate_token"],
)
def test_cross_attention_has_no_previous_token(name):
    # The labels are the same on both sides, yet the sequences are not.
    attention = cross_attention(text_axis("a"), text_axis("b"))
    assert np.isnan(head_scores(Run((attention,)), name).values[0]).all()


def test_an_input_that_does_not_repeat_has_no_induction_score():
    attention = self_attention(Axis.of_labels("text", "abcdef"))
    assert np.isnan(head_scores(Run((attention,)), "induction").values[0]).all()


def test_rows_left_out_are_counted():
    masked = head_scores(Run((CASES["masked rows"],)), "entropy")
    assert masked.masked[0].tolist() == [2, 1, 1]
    assert masked.nonfinite[0].tolist() == [0, 0, 0]
    broken = head_scores(Run((CASES["NaN and infinity"],)), "entropy")
    assert broken.masked[0].tolist() == [0, 0, 0]
    assert broken.nonfinite[0].tolist() == [1, 10, 1]
    assert np.isnan(broken.values[0]).tolist() == [False, True, False]


def word_alignment():
    source = text_axis("source")
    target = Axis("target", (*map(Position, "abcd"), Position("</s>", role="special")))
    sure = frozenset({(0, 1), (1, 2), (2, 3)})
    return Alignment(target, source, sure, frozenset({(2, 4), (3, 4), (3, 5)}))


def test_error_rate_equals_its_definition():
    gold = word_alignment()
    sharp = with_weights(
        cross_attention(gold.queries, gold.keys, heads=6),
        lambda weights: [
            weights.__setitem__((head, query), np.eye(10)[(query + head) % 10])
            for head in range(5)
            for query in range(5)
        ],
    )
    broken = with_weights(sharp, lambda w: (w.__setitem__((0, 0), np.nan), w[1].fill(0)))
    tied = with_weights(sharp, lambda weights: weights.fill(0.1))
    for attention in (sharp, broken, tied):
        found = head_scores(Run((attention,)), "alignment_error_rate", alignment=gold).values[0]
        np.testing.assert_allclose(found, reference_error_rate(attention, gold), atol=1e-12)


def test_a_head_that_follows_the_alignment_has_error_rate_0():
    gold = word_alignment()

    def follow(weights):
        weights[0] = 0
        for query, key in ((0, 1), (1, 2), (2, 3), (3, 5), (4, 9)):
            weights[0, query, key] = 1

    attention = with_weights(cross_attention(gold.queries, gold.keys), follow)
    run = Run((attention, self_attention(gold.keys, layer=1)))
    found = head_scores(run, "alignment_error_rate", alignment=gold)
    assert found.values[0][0] == 0
    assert np.isnan(found.values[1]).all()


def test_an_alignment_outside_the_axes_is_refused():
    axis = Axis.numbered("axis", 3)
    with pytest.raises(InvalidMeasure, match="links query 1 with key 3, but there are 3 queries"):
        Alignment(axis, axis, frozenset({(1, 3)}))


def test_a_whole_row_in_the_sink_counts_for_the_sink_alone():
    attention = CASES["sink"]
    ones = np.ones_like(attention.sink)
    run = Run((with_weights(attention, lambda weights: weights.fill(0), sink=ones),))
    assert head_scores(run, "sink_share").values[0].tolist() == [1, 1, 1]
    assert head_scores(run, "special_share").values[0].tolist() == [0, 0, 0]
    assert head_scores(run, "sink_share").masked[0].tolist() == [0, 0, 0]
    assert np.isnan(head_scores(run, "entropy").values[0]).all()
