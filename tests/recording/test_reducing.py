"""Long attention is reduced while it is computed: every figure, against the formula in float64."""

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnreport.attention import tolerance_of
from attnreport.recording import reducing
from attnreport.recording.by_rows import reduced_softmax
from attnreport.recording.operands import Operands
from attnreport.recording.reducing import Reduction
from attnreport.recording.room import Pool
from attnreport.reduced import FIGURES, LARGEST

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def mask_of(kind, heads, queries, keys):
    if kind == "boolean":
        return torch.rand(queries, keys) < 0.7
    if kind == "float":
        return torch.randn(1, queries, keys).masked_fill(torch.rand(queries, keys) < 0.2, -math.inf)
    if kind == "per head":
        return torch.rand(heads, queries, keys) < 0.5
    if kind == "lowest":
        # What a library adds to hide: rows that are hidden whole so are no blind rows.
        mask = torch.zeros(1, queries, keys).masked_fill(torch.rand(queries, keys) < 0.3, -math.inf)
        mask[:, ::3] = mask[:, ::3].clamp(max=torch.finfo(torch.float32).min)
        return mask
    if kind == "blind rows":
        mask = torch.rand(1, queries, keys) < 0.6
        mask[:, ::3] = False
        return mask
    return None


def blocks_of(weights, block):
    """Sums over both sides; a side of up to 16 positions is left as it is."""
    for side in (1, 2):
        length = weights.shape[side]
        if length > 16:
            starts = np.arange(0, length, block)
            weights = np.add.reduceat(weights, starts, axis=side)
    return weights


def figures_of(weights):
    heads, queries, keys = weights.shape
    sums = weights.sum(axis=2)
    shares = weights / np.where(sums == 0, 1, sums)[..., None]
    apart = np.abs(np.arange(queries)[:, None] - np.arange(keys))
    found = {
        "sum": sums,
        "entropy": -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=2),
        "distance": (weights * apart).sum(axis=2),
        "first": weights[:, :, 0],
    }
    for name, offset in (("previous", -1), ("same", 0), ("next", 1)):
        found[name] = np.zeros((heads, queries))
        for row in range(queries):
            if 0 <= row + offset < keys:
                found[name][:, row] = weights[:, row, row + offset]
    return found


def agrees(reduction, weights, block=2):
    kept = min(LARGEST, weights.shape[2])
    np.testing.assert_allclose(reduction.sums, blocks_of(weights, block), atol=5e-6 * block / 2)
    np.testing.assert_allclose(reduction.columns, weights.sum(axis=1), rtol=1e-5, atol=1e-5)
    order = np.sort(weights, axis=2)[:, :, ::-1][:, :, :kept]
    np.testing.assert_allclose(reduction.largest, order, atol=2e-6)
    places = reduction.largest_keys.astype(np.int64)
    there = np.take_along_axis(weights, places, axis=2)
    np.testing.assert_allclose(there, reduction.largest, atol=2e-6)
    assert all(len(set(row)) == kept for row in places.reshape(-1, kept).tolist())
    assert (reduction.visible == (weights > 1e-40).any(axis=0).sum(axis=1)).all()
    expected = figures_of(weights)
    for name, figure in zip(FIGURES, reduction.figures, strict=True):
        np.testing.assert_allclose(figure, expected[name], rtol=2e-5, atol=3e-6, err_msg=name)


@settings(max_examples=80, deadline=None)
@given(
    groups=st.integers(1, 2),
    share=st.integers(1, 3),
    queries=st.sampled_from([1, 2, 9, 17, 40, 131]),
    keys=st.sampled_from([7, 18, 50, 257, 600]),
    kind=st.sampled_from(
        ["none", "causal", "boolean", "float", "per head", "lowest", "blind rows"]
    ),
    dtype=st.sampled_from(DTYPES),
    together=st.sampled_from([1, 1 << 12, 1 << 19]),
    block=st.sampled_from([2, 4, 32]),
    seed=st.integers(0, 2**16),
)
def test_what_is_read_off_is_that_of_the_formula(  # noqa: PLR0917 - hypothesis names them
    groups, share, queries, keys, kind, dtype, together, block, seed
):
    torch.manual_seed(seed)
    query = (3 * torch.randn(groups * share, queries, 5)).to(dtype)
    key, value = (torch.randn(groups, keys, width).to(dtype) for width in (5, 4))
    mask, causal = mask_of(kind, groups * share, queries, keys), kind == "causal"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reducing, "_TOGETHER", together)
        reduction, mixed = reduced_softmax(query, key, value, mask=mask, causal=causal, block=block)
        own = mask if mask is None or mask.dtype == torch.bool else mask.double()
        expected = reference.weights_of(query, key, mask=own, causal=causal)
        agrees(reduction, expected, block)
        agrees(Reduction.of(expected.astype(np.float32), None), expected)
    values = np.repeat(value.double().numpy(), share, axis=0)
    np.testing.assert_allclose(mixed, expected @ values, atol=2e-5)


def test_not_a_number_is_above_all_and_stays():
    query, key, value = torch.randn(3, 2, 40, 8)
    query[1, 3, 0] = math.nan
    reduction, mixed = reduced_softmax(query, key, value)
    assert np.isnan(reduction.largest[1, 3]).all()
    assert np.isnan(reduction.figures[:4, 1, 3]).all()
    assert np.isnan(reduction.sums[1, 1]).all()
    assert torch.isnan(mixed[1, 3]).all()
    assert np.isfinite(reduction.sums[0]).all()
    weights = np.full((1, 20, 300), 1 / 300, np.float32)
    weights[0, 4, 250] = -np.float32(np.nan)
    assert np.isnan(Reduction.of(weights, None).largest[0, 4, 0])
    assert Reduction.of(weights, None).largest_keys[0, 4, 0] == 250


@settings(max_examples=30, deadline=None)
@given(
    heads=st.sampled_from([1, 2, 6]),
    width=st.sampled_from([1, 5, 64]),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**16),
)
def test_the_residual_is_no_less_than_the_formula_has(heads, width, dtype, seed):
    torch.manual_seed(seed)
    query, key = torch.randn(2, heads, 70, 8).to(dtype)
    value = torch.randn(heads, 70, width).to(dtype)
    exact = reference.weights_of(query, key) @ value.double().numpy()
    output = torch.from_numpy(exact).to(dtype)
    _, residual = Operands(query, key, value, output).reduced(Pool(), 2)
    error = np.abs(exact - output.double().numpy()).max() / np.abs(exact).max()
    assert error / 3 < residual < tolerance_of(str(dtype).removeprefix("torch."))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("at", [(0, 0, 0), (1, 69, 63), (1, 33, 7)])
def test_one_wrong_number_of_an_output_is_found_and_told_exactly(dtype, at):
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 70, 64).to(dtype)
    output = torch.from_numpy(reference.weights_of(query, key) @ value.double().numpy())
    largest = output.abs().max()
    output[at] -= 0.1 * largest * output[at].sign()
    _, residual = Operands(query, key, value, output.to(dtype)).reduced(Pool(), 2)
    expected = 0.1 * largest / output.abs().max()
    assert residual == pytest.approx(float(expected), rel=0.05)


def test_an_output_that_is_no_number_leaves_no_residual():
    query, key, value = torch.randn(3, 2, 40, 32)
    output = torch.full((2, 40, 32), math.nan)
    assert Operands(query, key, value, output).reduced(Pool(), 2)[1] is None
    assert Operands(query, key, value, None).reduced(Pool(), 2)[1] is None
    nothing = torch.zeros(2, 40, 32)
    assert Operands(query, key, nothing, nothing).reduced(Pool(), 2)[1] == 0
