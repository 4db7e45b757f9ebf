"""Value-weighted attention of the norms that a run holds, against plain loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measure_cases import stack

from attnreport.errors import InvalidMeasure, InvalidRun
from attnreport.heads import ranked
from attnreport.measures import all_head_scores, joined_maps, layers, left_out
from attnreport.valuenorms import ValueNorms


def with_norms(run, *, without=(), seed=0):
    rng = np.random.default_rng(seed)
    attentions = []
    for each in run.attentions:
        heads, queries, keys = each.weights.shape
        norms = ValueNorms(
            rng.random((heads, keys), dtype=np.float32),
            rng.random((queries, keys), dtype=np.float32),
        )
        attentions.append(each if each.layer in without else replace(each, value_norms=norms))
    return replace(run, attentions=tuple(attentions))


def maps_of(run):
    return [found for found in joined_maps(run) if found.name == "value_weighted"]


def test_the_score_is_the_mean_over_queries_of_what_keys_send():
    run = with_norms(stack())
    for attention, scores in zip(run.attentions, run.measure("value_weighted").values, strict=True):
        heads, queries, keys = attention.weights.shape
        for head in range(heads):
            sums = [
                sum(
                    float(attention.weights[head, query, key])
                    * float(attention.value_norms.heads[head, key])
                    for key in range(keys)
                )
                for query in range(queries)
            ]
            assert scores[head] == pytest.approx(sum(sums) / queries, abs=1e-6)


def test_each_layer_is_a_variant_and_what_is_missing_is_said():
    run = with_norms(stack(), without=(1,))
    (found,) = maps_of(run)
    assert found.variants == ("0", "2")
    np.testing.assert_array_equal(found.values[1], run.attentions[2].value_norms.mixed)
    assert any("Layer 1 is left out" in note for note in found.notes)
    assert np.isnan(run.measure("value_weighted").values[1]).all()


def test_a_run_without_norms_has_neither_map_nor_score(monkeypatch):
    assert not maps_of(stack())
    assert "value_weighted" not in all_head_scores(stack())
    with pytest.raises(InvalidMeasure, match="--values"):
        ranked(stack(), "value_weighted")
    monkeypatch.setattr(layers, "_MOST_VALUES", 299)
    assert not maps_of(with_norms(stack()))
    assert any("Value-weighted" in sentence for sentence in left_out(with_norms(stack())))


def test_norms_that_do_not_fit_are_no_run():
    attention = with_norms(stack(1)).attentions[0]
    wrong = ValueNorms(attention.value_norms.heads[:1].copy(), attention.value_norms.mixed.copy())
    with pytest.raises(InvalidRun, match=r"shapes \(3, 10\) and \(10, 10\), got \(1, 10\)"):
        replace(attention, value_norms=wrong)


def test_blocks_are_a_map_of_their_own_and_say_where_a_norm_is_in_them():
    run = with_norms(stack())
    blocks = [np.full(each.weights.shape[1:], 0.5, np.float32) for each in run.attentions]
    attentions = tuple(
        each
        if each.layer == 1
        else replace(
            each,
            value_norms=replace(each.value_norms, block=block, normed=each.layer == 2),
        )
        for each, block in zip(run.attentions, blocks, strict=True)
    )
    (found,) = [
        each
        for each in joined_maps(replace(run, attentions=attentions))
        if each.name == "value_weighted_block"
    ]
    assert found.variants == ("0", "2")
    np.testing.assert_array_equal(found.values, np.stack([blocks[0], blocks[2]]))
    words = " ".join(found.notes)
    assert "The norm is taken in of layer 2" in words
    assert "No norm is taken in of layer 0" in words
    assert "Layer 1 is left out" in words
    assert not any(each.name == "value_weighted_block" for each in joined_maps(run))


def test_a_block_that_does_not_fit_is_no_run():
    attention = with_norms(stack(1)).attentions[0]
    wrong = replace(attention.value_norms, block=np.zeros((9, 10), np.float32))
    with pytest.raises(InvalidRun, match=r"block of shape \(10, 10\), got \(9, 10\)"):
        replace(attention, value_norms=wrong)
