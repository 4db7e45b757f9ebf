"""Attention of any shape, mask, grouping, scale and precision, against loops in float64."""

from __future__ import annotations

import copy
import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.attention import RESIDUAL_TOLERANCE
from attnreport.recording.spreading import Maps

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


@st.composite
def operands(draw, *, shortest=0):
    """Return query, key, value ``(batch, head, position, width)``, the example, and options."""
    groups, share = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    batch, width = draw(st.integers(1, 2)), draw(st.integers(1, 5))
    queries, keys = draw(st.integers(shortest, 5)), draw(st.integers(shortest, 6))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    dtype = draw(st.sampled_from(DTYPES))
    # From next to nothing to weights of 0 and 1. Scores of thousands round by more than is allowed.
    size = draw(st.sampled_from([1e-3, 1.0, 30.0]))
    shapes = [(groups * share, queries), (groups, keys), (groups, keys)]
    tensors = [torch.randn(batch, heads, length, width) for heads, length in shapes]
    tensors[0] = size * tensors[0]
    mask = draw(st.sampled_from(["none", "causal", "boolean", "float", "blind rows", "one head"]))
    scale = draw(st.sampled_from([None, 0.5, 1.7]))
    return [x.to(dtype) for x in tensors], draw(st.integers(0, batch - 1)), mask, scale


def mask_of(kind, query, key):
    """Return what SDPA takes as a mask, ``(batch, head or 1, query, key)``."""
    batch, heads, queries, _ = query.shape
    keys = key.shape[2]
    seen = torch.rand(batch, 1, queries, keys) < 0.6
    if kind == "boolean":
        return seen
    if kind == "float":
        penalty = torch.randn(batch, heads, queries, keys)
        return penalty.masked_fill(~seen, -math.inf).to(query.dtype)
    if kind == "blind rows":
        seen[:, :, ::2] = False
        return seen
    if kind == "one head":
        return torch.rand(queries, keys) < 0.7
    return None


def of_example(mask, example):
    """Return an example's mask, ``(head or 1, query, key)``; numbers in float64."""
    if mask is None:
        return None
    own = mask.expand(1, *mask.shape) if mask.dim() == 2 else mask[example]
    return own if own.dtype == torch.bool else own.double()


@settings(max_examples=200, deadline=None)
@given(operands())
def test_scaled_dot_product_attention(drawn):
    (query, key, value), example, kind, scale = drawn
    mask = mask_of(kind, query, key)

    def attend(q, k, v):
        options = {"is_causal": kind == "causal", "scale": scale, "enable_gqa": True}
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **options)

    if not query.shape[2] * key.shape[2]:
        with pytest.raises(attnreport.AttentionNotFound, match="nothing to show"):
            reference.record(attend, query, key, value, example=example)
        return
    run, _ = reference.record(attend, query, key, value, example=example)
    own = of_example(mask, example)
    expected = reference.weights_of(
        query[example], key[example], scale=scale, mask=own, causal=kind == "causal"
    )
    agrees(run, expected, query.dtype)


@settings(max_examples=100, deadline=None)
@given(operands())
def test_attention_by_hand(drawn):
    (query, key, value), example, kind, scale = drawn
    query, key, value = (x.float() for x in (query, key, value))
    share = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(share, dim=1) for x in (key, value))
    mask = mask_of("boolean" if kind == "causal" else kind, query, key)
    if mask is not None and mask.dtype == torch.bool:
        # By hand a row that sees nothing is made of equal scores: give each a key.
        mask = mask.clone()
        mask[..., :1] = True
    elif mask is not None:
        mask[..., :1] = 0
        mask = mask.float()
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale

    def attend(q, k, v):
        scores = q @ k.mT * factor
        if mask is not None and mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, -math.inf)
        elif mask is not None:
            scores = scores + mask
        return scores.softmax(-1) @ v

    if not query.shape[2] * key.shape[2]:
        with pytest.raises(attnreport.AttentionNotFound, match="nothing to show"):
            reference.record(attend, query, key, value, example=example)
        return
    run, _ = reference.record(attend, query, key, value, example=example)
    own = of_example(mask, example)
    expected = reference.weights_of(query[example], key[example], scale=factor, mask=own)
    agrees(run, expected, torch.float32)


@st.composite
def layers(draw):
    """Return a layer of torch, its inputs ``(batch, position, width)``, the example, and masks."""
    heads, width = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    batch, queries, keys = (draw(st.integers(1, most)) for most in (3, 5, 6))
    torch.manual_seed(draw(st.integers(0, 2**16)))
    extra = draw(st.sampled_from([{}, {"add_zero_attn": True}, {"bias": False}]))
    layer = nn.MultiheadAttention(heads * width, heads, batch_first=True, **extra).eval()
    query, key = torch.randn(batch, queries, heads * width), torch.randn(batch, keys, heads * width)
    padding = torch.rand(batch, keys) < 0.5 if draw(st.booleans()) else None
    mask = torch.rand(queries, keys) < 0.3 if draw(st.booleans()) else None
    return (
        layer,
        query,
        key,
        draw(st.integers(0, batch - 1)),
        {
            "key_padding_mask": padding,
            "attn_mask": mask,
            "need_weights": draw(st.booleans()),
        },
    )


@settings(max_examples=100, deadline=None)
@given(layers())
def test_the_layer_of_torch(drawn):
    layer, query, key, example, options = drawn
    axes = [(query, [str(n) for n in range(query.shape[1])]), (key, [*"abcdef"[: key.shape[1]]])]
    asked = {"need_weights": True, "average_attn_weights": False}
    wide = copy.deepcopy(layer).double()
    _, expected = wide(query.double(), key.double(), key.double(), **options | asked)
    with attnreport.capture(layer, axes=axes, example=example) as recording:
        layer(query, key, key, **options)
    expected = expected[example].detach().numpy()
    if not options["need_weights"]:
        # Without weights torch calls SDPA, which gives zeros to a row that may look at nothing.
        expected = np.nan_to_num(expected)
    found = recording.run().attentions[0].weights
    # What torch appends to the keys has a column there, and the sink's share here.
    np.testing.assert_allclose(found, expected[..., : found.shape[-1]], atol=1e-6)


@st.composite
def maps(draw):
    """Return sizes, grids ``(head, query, point, 2)``, weights and whether corners are aligned."""
    heads, queries, points = (
        draw(st.integers(1, 3)),
        draw(st.integers(0, 3)),
        draw(st.integers(1, 3)),
    )
    sizes = [
        (draw(st.integers(1, 4)), draw(st.integers(1, 4))) for _ in range(draw(st.integers(1, 3)))
    ]
    torch.manual_seed(draw(st.integers(0, 2**16)))
    # In the middle of cells, between them, on the edge, beyond it, and nowhere.
    step = draw(st.sampled_from([0.25, 0.5, 1.0]))
    grids = [(torch.randn(heads, queries, points, 2) / step).round() * step for _ in sizes]
    if queries and draw(st.booleans()):
        grids[0][0, 0, 0] = draw(st.sampled_from([math.nan, math.inf]))
    weights = torch.rand(heads, queries, points * len(sizes))
    return sizes, grids, weights, draw(st.booleans())


@settings(max_examples=200, deadline=None)
@given(maps())
def test_points_spread_as_torch_samples(drawn):
    sizes, grids, weights, corners = drawn
    found = Maps(sizes, grids, [corners] * len(sizes)).spread(weights)
    expected = []
    for size, grid, own in zip(sizes, grids, weights.split(grids[0].shape[2], -1), strict=True):
        cells = size[0] * size[1]
        # A map for each cell, 1 there and 0 elsewhere: what is sampled is the cell's share.
        each = torch.eye(cells, dtype=torch.float64).view(1, cells, *size)
        sampled = F.grid_sample(
            each.expand(len(grid), -1, -1, -1), grid.double(), align_corners=corners
        )
        expected.append(torch.einsum("hcqp,hqp->hqc", sampled, own.double()))
    np.testing.assert_allclose(found, torch.cat(expected, dim=-1), atol=1e-5)


def agrees(run, expected, dtype):
    (attention,) = run.attentions
    assert attention.weights.shape == expected.shape
    # Scores of some hundreds have a rounding of their own in float32.
    np.testing.assert_allclose(attention.weights, expected, atol=2e-5)
    sums = attention.weights.sum(axis=-1, dtype=np.float64)
    seen = expected.sum(axis=-1) > 0
    np.testing.assert_allclose(sums[seen], 1, atol=1e-5)
    assert not sums[~seen].any()
    assert attention.residual <= RESIDUAL_TOLERANCE[str(dtype).removeprefix("torch.")]
