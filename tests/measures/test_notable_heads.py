from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measure_cases import attentions, mixed_axis, self_attention, stack, text_axis, with_weights

from attnreport import Axis, Run
from attnreport.measures import Alignment, all_head_scores, notable_heads


def attention_with(patterns, axis, layer=0):
    """One head per pattern: 0.93 of the weight where the pattern is, the rest spread evenly."""
    size = len(axis)
    weights = np.full((len(patterns), size, size), 0.07 / size, np.float32)
    for head, key_of in enumerate(patterns):
        for query in range(size):
            weights[head, query, min(max(key_of(query), 0), size - 1)] += 0.93
    return replace(self_attention(axis, layer=layer), weights=weights, head_numbers=())


def noise(axis, layer=0, heads=4, seed=3):
    """Heads that do nothing in particular."""
    weights = np.random.default_rng(seed).uniform(0.1, 1, (heads, len(axis), len(axis)))
    weights = (weights / weights.sum(axis=2, keepdims=True)).astype(np.float32)
    return replace(self_attention(axis, layer=layer), weights=weights, head_numbers=())


LONG = text_axis(words=[f"w{number}" for number in range(12)])


def test_reasons_are_sentences_with_figures():
    run = Run(
        (
            noise(LONG),
            attention_with([lambda q: q - 1, lambda q: q + 1, lambda q: q, lambda q: 5], LONG, 1),
        )
    )
    found = notable_heads(run)
    previous = all_head_scores(run)["previous_token"].values[1][0]
    assert [(each.layer, each.head, each.measure) for each in found] == [
        (1, 0, "previous_token"),
        (1, 1, "next_token"),
        (1, 2, "same_token"),
        (1, 3, "vertical"),
    ]
    assert found[0].value == previous
    assert found[0].reason == (
        f"layer 1 head 0 attends to the previous token, {previous:.2f} of its weight"
    )
    assert (
        found[3].reason == "layer 1 head 3 attends to one key from everywhere, 0.94 of its weight"
    )


def test_heads_that_do_nothing_in_particular_are_not_listed():
    assert notable_heads(Run((noise(LONG),))) == ()


def test_induction_comes_before_everything_else():
    words = ("a", "b", "c", "d", "e", "f") * 2
    axis = Axis.of_labels("text", words)
    run = Run((attention_with([lambda q: q - 1, lambda q: q - 5, lambda q: q - 6], axis),))
    found = notable_heads(run)
    assert [(each.head, each.measure) for each in found] == [
        (1, "induction"),
        (2, "duplicate_token"),
        (0, "previous_token"),
    ]
    assert "attends to what followed the same token before, 0.94" in found[0].reason


def test_the_list_shows_every_kind_before_a_second_of_one_kind():
    run = Run((attention_with([lambda q: q - 1] * 4 + [lambda q: q + 1], LONG),))
    found = notable_heads(run)
    assert [each.measure for each in found][:2] == ["previous_token", "next_token"]
    assert len({(each.layer, each.head) for each in found}) == len(found)
    assert [(each.head, each.measure) for each in found] == [
        (0, "previous_token"),
        (4, "next_token"),
        (1, "redundancy"),
        (2, "previous_token"),
        (3, "redundancy"),
    ]
    assert (
        found[2].reason
        == "layer 0 head 1 does nearly the same as head 0 of its layer, cosine 1.000"
    )


@pytest.mark.parametrize("limit", [0, 1, 2, 3])
def test_limit_is_kept_and_the_first_ones_stay(limit):
    run = Run((attention_with([lambda q: q - 1] * 4, LONG),))
    assert notable_heads(run, limit) == notable_heads(run)[:limit]


def test_the_head_that_follows_the_alignment_comes_first():
    pairs = frozenset((number, 12 - number) for number in range(1, 11))
    run = Run((noise(LONG), attention_with([lambda q: q - 1, lambda q: 12 - q], LONG, 1)))
    found = notable_heads(run, alignment=Alignment(LONG, LONG, pairs))
    assert (found[0].layer, found[0].head, found[0].measure) == (1, 1, "alignment_error_rate")
    assert "follows the given alignment, with an error rate of" in found[0].reason


def test_a_picture_that_is_most_of_the_input_is_no_reason():
    axis = mixed_axis()
    to_picture = attention_with([lambda q: 6 - q % 6], axis)
    assert [each.measure for each in notable_heads(Run((to_picture,)))] == []
    more = Axis("prompt", (*axis.positions, *axis.positions[7:], *axis.positions[7:]))
    found = notable_heads(Run((attention_with([lambda q: 6 - q % 6], more),)))
    assert [each.measure for each in found] == ["image_share"]


def test_even_and_sharp_heads_are_told_apart():
    axis = Axis.of_labels("text", map(str, range(12)))
    even = with_weights(self_attention(axis, 1), lambda w: w.fill(1 / 12))
    sharp = with_weights(
        self_attention(axis, 1, layer=1),
        lambda w: w.__setitem__(..., np.eye(12)[[7, 3, 9, 1, 11, 0, 5, 2, 10, 4, 8, 6]]),
    )
    reasons = [each.reason for each in notable_heads(Run((even, sharp)))]
    assert (
        "layer 1 head 0 is sharply focused: its entropy is 0.00 of the largest possible" in reasons
    )
    assert any(reason.startswith("layer 0 head 0 spreads evenly over all") for reason in reasons)


def test_small_inputs_have_no_notable_heads():
    assert notable_heads(stack(axis=Axis.numbered("text", 4))) == ()


def test_the_same_run_gives_the_same_list_and_scores_can_be_handed_in():
    run = Run(
        tuple(
            replace(attention, layer=layer) for layer, attention in enumerate(attentions().values())
        )
    )
    found = notable_heads(run, 30)
    assert found == notable_heads(run, 30, measured=all_head_scores(run))
    assert found
