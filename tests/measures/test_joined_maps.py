"""The maps that a page shows unasked: the same numbers as their definitions, and the words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from measure_cases import broken_stack, encoder_decoder, self_attention, stack, text_axis
from measure_references import rollout_row

from attnreport import Axis, LedgerEntry, Run
from attnreport.errors import InvalidMeasure
from attnreport.measures import ROLLOUT, JoinedMap, flow, joined_maps, left_out, maps

AXIS = text_axis()


def maps_of(run, name):
    return [found for found in joined_maps(run) if found.name == name]


def pairs(maps):
    return [(each.queries.name, each.keys.name) for each in maps]


@pytest.mark.parametrize(
    "run",
    [stack(), stack(causal=True), broken_stack(), encoder_decoder()],
    ids=["stack", "causal", "broken", "encoder-decoder"],
)
def test_every_rollout_map_follows_every_path(run):
    for found in maps_of(run, "rollout"):
        assert found.choice == "head fusion"
        for variant, fusion in enumerate(found.variants):
            for query in range(len(found.queries)):
                row = rollout_row(run, found.queries, query, fusion=fusion)
                expected = [row.get((found.keys.name, key), 0.0) for key in range(len(found.keys))]
                assert found.values[variant, query] == pytest.approx(expected, abs=1e-6)


def test_an_encoder_decoder_has_maps_of_each_sequence_and_between_them():
    run = encoder_decoder()
    rollouts = maps_of(run, "rollout")
    assert pairs(rollouts) == [("target", "target"), ("target", "source"), ("source", "source")]
    both = rollouts[0].values.sum(axis=2) + rollouts[1].values.sum(axis=2)
    np.testing.assert_allclose(both, 1, atol=1e-6)
    assert rollouts[0].notes[0] == "A row adds up to 1 over target and source together."
    assert rollouts[2].notes[0] == "Every row adds up to 1."


def test_flow_comes_with_small_inputs_only():
    small = stack(axis=AXIS)
    (found,) = maps_of(small, "flow")
    np.testing.assert_array_equal(found.values[0], np.float32(flow(small).parts[0].weights))
    assert found.variants == ("mean",)
    assert maps_of(stack(axis=Axis.numbered("text", 64)), "flow") == []


def test_long_inputs_are_fused_one_way_and_very_long_ones_left_out(monkeypatch):
    few = stack(2, 2, axis=Axis.numbered("text", 65))
    assert [found.variants for found in maps_of(few, "rollout")] == [("mean",)]
    many = stack(2, 18, axis=Axis.numbered("text", 65))
    assert [found.variants for found in maps_of(many, "rollout")] == [("mean", "max", "min")]
    assert left_out(few) == ()
    monkeypatch.setattr(maps, "_ROLLOUT_WORK", 2 * 65**3 - 1)
    assert maps_of(few, "rollout") == []
    (sentence,) = left_out(few)
    assert sentence.startswith("Attention rollout of text was left out of this page")


def test_maps_say_what_was_assumed_and_what_to_know():
    (found, *_) = joined_maps(stack(3, causal=True))
    assert dict(found.assumed) == {
        "layers joined": "3",
        "residual": "r = 0.5",
        "discarded": "nothing",
    }
    assert found.notes[1].startswith("Text is causal: what reaches its first position stays there")
    assert found.notes[1].endswith(".")


def test_maps_say_that_layers_are_missing():
    run = stack()
    missing = LedgerEntry("layer.9", "kernel", reason="not seen into")
    for found in joined_maps(replace(run, ledger=(missing,))):
        assert "1 of the model's attention computations could not be captured" in found.notes[-1]


@pytest.mark.parametrize("attentions", [1, 0], ids=["one layer", "nothing that chains"])
def test_what_cannot_be_joined_has_no_maps(attentions):
    if attentions:
        assert joined_maps(Run((self_attention(AXIS),))) == ()
        return
    step = replace(self_attention(AXIS), queries=Axis.numbered("step", len(AXIS)))
    assert joined_maps(Run((step, replace(step, layer=1)))) == ()


def test_a_map_of_the_wrong_shape_is_refused():
    with pytest.raises(InvalidMeasure, match=r"'mine' should be float32 \(2, 3, 3\)"):
        made(np.zeros((1, 3, 3), np.float32), variants=("a", "b"))
    with pytest.raises(InvalidMeasure, match="got float64"):
        made(np.zeros((1, 3, 3)))


def test_a_map_knows_its_extent():
    values = np.array([[[0.5, -2, np.nan], [0, np.inf, 1], [0, 0, 0]]], np.float32)
    found = made(values)
    assert (found.largest, found.signed) == (2.0, True)
    with pytest.raises(ValueError, match="read-only"):
        found.values[0, 0, 0] = 1
    empty = made(np.full((1, 3, 3), np.nan, np.float32))
    assert (empty.largest, empty.signed) == (0.0, False)


def made(values, variants=("only",)):
    axis = Axis.numbered("text", 3)
    return JoinedMap(
        name="mine",
        about=ROLLOUT,
        queries=axis,
        keys=axis,
        choice="variant",
        variants=variants,
        values=values,
    )
