"""Gradient × attention and relevance of the gradients that a run holds, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measure_cases import cross_attention, encoder_decoder, stack, text_axis

from attnreport import Run
from attnreport.errors import InvalidMeasure, InvalidRun
from attnreport.heads import ranked
from attnreport.measures import all_head_scores, joined_maps, layers, left_out, relevance


def with_gradients(run, *, without=(), seed=0):
    """The run with random gradients, none at the layers ``without``."""
    rng = np.random.default_rng(seed)
    attentions = tuple(
        each
        if each.layer in without
        else replace(each, gradient=rng.normal(0, 1, each.weights.shape).astype(np.float32))
        for each in run.attentions
    )
    return replace(run, attentions=attentions, target="the loss")


def maps_called(run, name):
    return [found for found in joined_maps(run) if found.name == name]


def product(attention, head, query, key):
    """The positive part of gradient × weight, in float64."""
    weight, slope = (
        float(array[head, query, key]) for array in (attention.weights, attention.gradient)
    )
    return max(weight * slope, 0.0)


def test_the_map_is_the_mean_over_heads_of_what_is_positive():
    run = with_gradients(stack())
    (found,) = maps_called(run, "gradient_attention")
    assert found.variants == ("0", "1", "2")
    for layer, attention in enumerate(run.attentions):
        heads, rows, columns = attention.weights.shape
        for query in range(rows):
            for key in range(columns):
                mean = sum(product(attention, h, query, key) for h in range(heads)) / heads
                assert found.values[layer, query, key] == pytest.approx(mean, abs=1e-6)
    assert "y is the loss." in found.notes


def test_the_score_is_the_mean_over_queries_of_the_sum_over_keys():
    run = with_gradients(stack())
    measured = run.measure("gradient_attention")
    for attention, scores in zip(run.attentions, measured.values, strict=True):
        heads, rows, columns = attention.weights.shape
        for head in range(heads):
            sums = [
                sum(product(attention, head, query, key) for key in range(columns))
                for query in range(rows)
            ]
            assert scores[head] == pytest.approx(sum(sums) / rows, abs=1e-6)


def test_permuting_heads_permutes_scores():
    run = with_gradients(stack(1))
    (attention,) = run.attentions
    order = [2, 0, 1]
    turned = replace(
        attention, weights=attention.weights[order], gradient=attention.gradient[order]
    )
    (before,), (after,) = (
        each.measure("gradient_attention").values
        for each in (run, replace(run, attentions=(turned,)))
    )
    np.testing.assert_array_equal(after, before[order])


def test_relevance_stands_without_what_each_position_counts_for_itself():
    run = with_gradients(encoder_decoder())
    target = run.attentions[-1].queries
    own, other = relevance(run, axis=target)
    shown = [found for found in maps_called(run, "relevance") if found.queries == target]
    np.testing.assert_allclose(shown[0].values[0], own.weights - np.eye(len(target)), atol=1e-6)
    np.testing.assert_allclose(shown[1].values[0], other.weights, atol=1e-6)


def test_a_layer_that_nothing_arrived_at_is_passed_over_and_said():
    run = with_gradients(stack(), without=(1,))
    silent = np.zeros_like(run.attentions[1].weights)
    filled = replace(run.attentions[1], gradient=silent)
    whole = replace(run, attentions=(run.attentions[0], filled, run.attentions[2]))
    (found,), (expected,) = (maps_called(each, "relevance") for each in (run, whole))
    np.testing.assert_array_equal(found.values, expected.values)
    assert any("No gradient of y arrived at layer 1" in note for note in found.notes)
    assert np.isnan(run.measure("gradient_attention").values[1]).all()
    assert maps_called(run, "gradient_attention")[0].variants == ("0", "2")
    with pytest.raises(InvalidMeasure, match="attention 1"):
        relevance(run)


def test_a_run_without_gradients_has_neither_map_nor_score():
    run = stack()
    assert not maps_called(run, "relevance") + maps_called(run, "gradient_attention")
    assert "gradient_attention" not in all_head_scores(run)
    with pytest.raises(InvalidMeasure, match="--target-class or --target-token"):
        ranked(run, "gradient_attention")


def test_what_would_take_too_much_room_is_left_out_and_said(monkeypatch):
    run = with_gradients(stack())
    monkeypatch.setattr(layers, "_MOST_VALUES", 299)
    assert not maps_called(run, "gradient_attention")
    assert maps_called(run, "relevance")
    assert any("Gradient × attention" in sentence for sentence in left_out(run))


def test_cross_attention_has_a_map_of_its_own():
    source, target = text_axis("source"), text_axis("target", ("ein", "Hund"))
    run = with_gradients(
        Run((cross_attention(target, source), cross_attention(target, source, seed=1, layer=1)))
    )
    (found,) = maps_called(run, "gradient_attention")
    assert (found.queries, found.keys) == (target, source)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda weights: weights[:1], r"shape \(3, 10, 10\), got float32 \(1, 10, 10\)"),
        (lambda weights: weights.astype(np.float64), "got float64"),
    ],
)
def test_a_gradient_that_does_not_fit_is_no_run(wrong, message):
    attention = stack(1).attentions[0]
    with pytest.raises(InvalidRun, match=message):
        replace(attention, gradient=wrong(attention.weights.copy()))


def test_gradients_and_target_come_back_from_the_file(tmp_path):
    run = with_gradients(stack(), without=(1,))
    run.save(tmp_path / "run.safetensors")
    read = Run.load(tmp_path / "run.safetensors")
    assert read.target == "the loss"
    assert read.attentions[1].gradient is None
    for before, after in zip(run.attentions[::2], read.attentions[::2], strict=True):
        np.testing.assert_array_equal(after.gradient, before.gradient)
        assert not after.gradient.flags.writeable
