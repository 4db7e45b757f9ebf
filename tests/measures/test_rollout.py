from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measure_cases import (
    attentions,
    broken_stack,
    cross_attention,
    encoder_decoder,
    self_attention,
    stack,
    text_axis,
    with_weights,
)
from measure_references import rollout_row

from attnreport import Attention, Axis, Run
from attnreport.errors import InvalidMeasure
from attnreport.measures import rollout

RUNS = {
    "stack": stack(),
    "causal": stack(causal=True, seed=10),
    "broken": broken_stack(),
    "encoder-decoder": encoder_decoder(),
    "decoder that sees ahead": encoder_decoder(20, causal=False),
    **{
        f"single {name}": Run((attention,))
        for name, attention in attentions().items()
        if name != "long"  # the definition takes seconds there, and shows nothing new
    },
}


def assert_rollout_follows_the_definition(run, **chosen):
    joined = rollout(run, **chosen)
    for row, query in enumerate(joined.rows):
        expected = rollout_row(run, joined.queries, query, **chosen)
        found = {
            (part.keys.name, key): float(part.weights[row, key])
            for part in joined.parts
            for key in range(len(part.keys))
        }
        assert found.keys() >= expected.keys()
        for end, share in found.items():
            assert share == pytest.approx(expected.get(end, 0.0), abs=1e-6), (end, chosen)


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("fusion", ["mean", "max", "min"])
@pytest.mark.parametrize(("residual", "discard"), [(0.5, 0.0), (0.3, 0.6), (0.0, 0.25), (1.0, 0.9)])
def test_rollout_equals_following_every_path(run, fusion, residual, discard):
    chosen = {"fusion": fusion, "residual": residual, "discard": discard}
    assert_rollout_follows_the_definition(run, **chosen)


@pytest.mark.parametrize("axis", ["source", "target"])
def test_rows_of_either_sequence_can_be_asked_for(axis):
    run = encoder_decoder()
    joined = rollout(run, axis)
    assert joined.queries.name == axis
    assert [part.keys.name for part in joined.parts] == (
        ["source"] if axis == "source" else ["target", "source"]
    )
    np.testing.assert_allclose(sum(part.weights.sum(axis=1) for part in joined.parts), 1)


def test_one_sequence_is_the_product_of_its_layers():
    run = stack(4)
    expected = np.eye(10)
    for attention in run.attentions:
        mean = attention.weights.astype(np.float64).mean(axis=0)
        mean /= mean.sum(axis=1, keepdims=True)
        expected = (0.5 * mean + 0.5 * np.eye(10)) @ expected
    joined = rollout(run)
    np.testing.assert_allclose(joined.part("text").weights, expected, rtol=0, atol=1e-12)
    assert joined.layers == (0, 1, 2, 3)
    assert joined.notes == ()


@given(
    seed=st.integers(0, 2**32 - 1),
    layers=st.integers(1, 4),
    causal=st.booleans(),
    chosen=st.fixed_dictionaries(
        {
            "residual": st.floats(0, 1),
            "fusion": st.sampled_from(["mean", "max", "min"]),
            "discard": st.floats(0, 0.99),
        }
    ),
)
@settings(max_examples=60, deadline=None)
def test_rows_sum_to_1(seed, layers, causal, chosen):
    for run in (stack(layers, seed=seed, causal=causal), encoder_decoder(seed, causal=causal)):
        joined = rollout(run, **chosen)
        sums = sum(part.weights.sum(axis=1) for part in joined.parts)
        np.testing.assert_allclose(sums, 1, rtol=0, atol=1e-12)
        assert all((part.weights >= 0).all() for part in joined.parts)


def test_permuting_heads_changes_nothing():
    run = stack()
    turned = Run(
        tuple(with_weights(a, lambda w: w.__setitem__(..., w[::-1].copy())) for a in run.attentions)
    )
    before, after = rollout(run).parts[0].weights, rollout(turned).parts[0].weights
    np.testing.assert_allclose(after, before, rtol=0, atol=1e-12)


def test_discard_leaves_out_the_lightest_and_divides_by_the_rest():
    axis = Axis.numbered("text", 4)
    row = np.float32([0.1, 0.2, 0.3, 0.4])
    weights = np.broadcast_to(row, (1, 4, 4)).copy()
    run = Run((Attention(weights, "", 0, "self", axis, axis),))
    joined = rollout(run, residual=0, discard=0.5).parts[0].weights
    np.testing.assert_allclose(joined, np.tile([0, 0, 3 / 7, 4 / 7], (4, 1)), atol=1e-7)


def test_drift_of_a_causal_run_is_stated():
    (note,) = rollout(stack(6, causal=True)).notes
    assert note.startswith("text is causal: what reaches its first position stays there")
    run = stack(6, causal=True)
    share = rollout(run).parts[0].weights[1:, 0].mean()
    alone = np.mean([a.weights.mean(axis=0)[1:, 0].mean() for a in run.attentions])
    assert f"{share:.2f} after joining, and {alone:.2f} in the layers" in note
    assert share > alone


def test_what_was_left_out_is_stated():
    joined = rollout(broken_stack())
    assert "without weight, so that they pass on only themselves: 1 row" in joined.notes
    assert "left out, since they hold NaN or infinity: 12 rows of heads" in joined.notes


def test_a_generation_step_is_not_joined():
    text = text_axis()
    step = Axis("text", text.positions[-1:], text.text)
    decoding = Attention(np.full((2, 1, 10), 0.1, np.float32), "", 1, "self", step, text)
    joined = rollout(Run((self_attention(text), decoding)))
    assert joined.layers == (0,)
    assert joined.notes == ("not joined, since queries and keys do not chain: 1 attention",)
    with pytest.raises(InvalidMeasure, match="no attention of this run can be joined: expected"):
        rollout(Run((Attention(decoding.weights.copy(), "", 0, "self", step, text),)))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"residual": 1.5}, "residual must lie between 0 and 1, got 1.5"),
        ({"residual": float("nan")}, "residual must lie between 0 and 1, got nan"),
        ({"discard": 1.0}, "discard must be at least 0 and below 1, got 1.0"),
        ({"fusion": "sum"}, "fusion must be mean, max or min, got 'sum'"),
        ({"axis": "image"}, "no axis that can be joined is called 'image'; give one of: source, t"),
    ],
)
def test_settings_out_of_range_are_refused(chosen, message):
    with pytest.raises(InvalidMeasure, match=message):
        rollout(encoder_decoder(), **chosen)


def test_an_ambiguous_name_is_refused():
    one, other = Axis.numbered("window", 3), Axis.of_labels("window", "abc")
    run = Run((self_attention(one), self_attention(other, layer=1)))
    with pytest.raises(InvalidMeasure, match="several axes are called 'window'"):
        rollout(run, "window")
    assert rollout(run, one).queries == one
    assert len(rollout(run, other).parts) == 1


def test_a_missing_part_lists_the_parts():
    joined = rollout(Run((cross_attention(Axis.numbered("boxes", 2), text_axis()),)))
    assert [part.keys.name for part in joined.parts] == ["boxes", "text"]
    with pytest.raises(InvalidMeasure, match="no part for 'image'; known are: boxes, text"):
        joined.part("image")
