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

TOLERANCE = {torch.float64: 1e-6, torch.float32: 2e-6, torch.float16: 3e-3, torch.bfloat16: 3e-2}


def sdpa(**options):
    return lambda query, key, value: F.scaled_dot_product_attention(query, key, value, **options)


def operands(  # noqa: PLR0917 - shapes in order
    batch=2, heads=4, key_heads=4, length=5, keys=7, width=8, dtype=torch.float32
):
    torch.manual_seed(length * 31 + keys)
    query = torch.randn(batch, heads, length, width, dtype=dtype)
    key, value = torch.randn(2, batch, key_heads, keys, width, dtype=dtype)
    return query, key, value


CASES = {
    "plain": {},
    "scale": {"scale": 0.3},
    "causal": {"is_causal": True},
    "boolean mask": {"attn_mask": torch.rand(5, 7) > 0.3},
    "mask per example": {"attn_mask": torch.rand(2, 1, 5, 7) > 0.3},
    "mask over keys only": {"attn_mask": torch.rand(2, 1, 1, 7) > 0.3},
    "float mask": {"attn_mask": torch.randn(5, 7)},
    "float mask with infinities": {
        "attn_mask": torch.zeros(5, 7).index_fill(1, torch.tensor([2]), -math.inf)
    },
    "float mask per head": {"attn_mask": torch.randn(2, 4, 5, 7)},
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("example", [0, 1])
def test_weights_are_those_of_the_formula(options, example):
    query, key, value = operands()
    run, _ = reference.record(sdpa(**options), query, key, value, example=example)
    mask = options.get("attn_mask")
    if mask is not None and mask.dim() == 4:
        mask = mask[example]
    expected = reference.weights_of(
        query[example],
        key[example],
        scale=options.get("scale"),
        mask=mask,
        causal=options.get("is_causal", False),
    )
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert attention.checked


@settings(max_examples=60, deadline=None)
@given(
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    length=st.integers(1, 6),
    keys=st.integers(1, 6),
    dtype=st.sampled_from(list(TOLERANCE)),
    causal=st.booleans(),
    kill=st.booleans(),
    seed=st.integers(0, 100),
)
def test_any_shape_mask_and_precision(  # noqa: PLR0917 - hypothesis names them
    groups, per_group, length, keys, dtype, causal, kill, seed
):
    torch.manual_seed(seed)
    heads = groups * per_group
    query, key, value = operands(1, heads, groups, length, keys, 4, dtype)
    mask = None if causal else torch.rand(length, keys) > 0.4
    if kill and mask is not None:
        mask[seed % length] = False
    function = sdpa(attn_mask=mask, is_causal=causal, enable_gqa=True)
    run, _ = reference.record(function, query, key, value)
    expected = reference.weights_of(query[0], key[0], mask=mask, causal=causal)
    (attention,) = run.attentions
    assert attention.dtype == str(dtype).removeprefix("torch.")
    # The formula is in the precision of the softmax, so that half inputs lose nothing more.
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual <= TOLERANCE[dtype]


@pytest.mark.parametrize(("key_heads", "value_heads"), [(2, 6), (6, 2), (2, 3)])
def test_keys_and_values_may_be_shared_by_groups_of_different_size(key_heads, value_heads):
    torch.manual_seed(3)
    query, key = torch.randn(1, 6, 5, 8), torch.randn(1, key_heads, 7, 8)
    value = torch.randn(1, value_heads, 7, 8, requires_grad=True)
    with attnreport.capture(model := Grouped(), gradients=True) as recording:
        output = model(query, key, value)
        recording.differentiate(output[0, 3, 2].sum())
    (attention,) = recording.run().attentions
    wide = key[0].repeat_interleave(6 // key_heads, dim=0)
    expected = (query[0] @ wide.mT / math.sqrt(8)).softmax(-1)
    assert np.abs(attention.weights - expected.numpy()).max() < 2e-6
    assert attention.residual < 2e-6
    # d(sum of one row of the output)/d(weights) is the sum of each key's values.
    gradient = np.zeros((6, 5, 7), np.float32)
    gradient[3, 2] = value[0, 3 // (6 // value_heads)].sum(-1).detach()
    assert np.abs(attention.gradient - gradient).max() < 2e-6


class Grouped(nn.Module):
    """Share keys and values among the heads."""

    def forward(self, query, key, value):
        return F.scaled_dot_product_attention(query, key, value, enable_gqa=True)


def test_large_scores_are_computed_more_precisely_than_the_kernel_does():
    torch.manual_seed(0)
    query, key = 30 * torch.randn(2, 1, 4, 64, 192)
    value = 30 * torch.randn(1, 4, 64, 128)
    run, _ = reference.record(sdpa(), query, key, value)
    (attention,) = run.attentions
    exact = (query[0].double() @ key[0].double().mT / math.sqrt(192)).softmax(-1).numpy()
    single = (query[0] @ key[0].mT / math.sqrt(192)).softmax(-1).numpy()
    assert np.abs(single - exact).max() > 1e-5
    assert np.abs(attention.weights - exact).max() < 1e-7


def test_a_row_that_may_look_at_nothing_is_zero():
    mask = torch.ones(5, 7, dtype=torch.bool)
    mask[3] = False
    run, output = reference.record(sdpa(attn_mask=mask), *operands())
    assert not run.attentions[0].weights[:, 3].any()
    assert not output[0, :, 3].any()
    assert run.attentions[0].residual < 1e-5


def test_not_a_number_stays_what_it_is():
    query, key, value = operands()
    query[0, 1, 2, 0] = math.nan
    run, _ = reference.record(sdpa(), query, key, value)
    (attention,) = run.attentions
    assert np.isnan(attention.weights[1, 2]).all()
    assert attention.nonfinite == 7
    assert attention.residual is None


def test_dropout_shows_the_weights_before_it():
    query, key, value = operands()
    run, _ = reference.record(sdpa(dropout_p=0.5), query, key, value)
    (attention,) = run.attentions
    assert np.abs(attention.weights - reference.weights_of(query[0], key[0])).max() < 2e-6
    assert attention.residual is None
    assert "before dropout 0.5" in run.ledger[0].reason


def test_no_query_is_said_and_not_drawn():
    query, key, value = operands(length=0)
    with pytest.raises(attnreport.AttentionNotFound, match="no positions"):
        reference.record(sdpa(), query, key, value)


@pytest.mark.parametrize("shape", [(5, 8), (3, 5, 8)], ids=["one head", "heads"])
def test_operands_without_a_batch(shape):
    query, key, value = torch.randn(3, *shape)
    run, _ = reference.record(sdpa(), query, key, value)
    lead = shape if len(shape) == 3 else (1, *shape)
    expected = reference.weights_of(query.reshape(lead), key.reshape(lead))
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6


def test_an_example_that_is_not_there_is_said():
    with pytest.raises(attnreport.AttentionNotFound, match=r"example 2 .* the batch has 2"):
        reference.record(sdpa(), *operands(), example=2)


def test_batch_and_heads_in_one_dimension_are_told_apart_by_the_input():
    ids = torch.randint(0, 9, (3, 5))
    table = torch.randn(9, 8)

    def function(ids):
        heads = F.embedding(ids, table).view(3, 5, 2, 4).transpose(1, 2).reshape(6, 5, 4)
        return F.scaled_dot_product_attention(heads, heads, heads)

    run, _ = reference.record(function, ids, example=2)
    heads = table[ids[2]].view(5, 2, 4).transpose(0, 1)
    assert np.abs(run.attentions[0].weights - reference.weights_of(heads, heads)).max() < 2e-6
    assert "batch of 3 and 2 heads came as one dimension" in run.ledger[0].reason


class Jagged(torch.nn.Module):
    """Attend inside a nested tensor, whose sequences have lengths of their own."""

    def __init__(self):
        super().__init__()
        self.table = torch.nn.Embedding(20, 8)
        self.projections = torch.nn.ModuleList(torch.nn.Linear(8, 32) for _ in range(3))

    def forward(self, ids):
        hidden = self.table(ids)
        q, k, v = (p(hidden).unflatten(-1, (4, 8)).transpose(1, 2) for p in self.projections)
        return F.scaled_dot_product_attention(q, k, v, scale=0.3).transpose(1, 2)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("example", [0, 1])
def test_one_sequence_of_a_nested_tensor(example):
    torch.manual_seed(0)
    model = Jagged()
    rows = [torch.randint(0, 20, (length,)) for length in (3, 5)]
    ids = torch.nested.nested_tensor(rows, layout=torch.jagged)
    run, _ = reference.record(model, ids, example=example)
    hidden = model.table(rows[example])
    query, key = (p(hidden).unflatten(-1, (4, 8)).transpose(0, 1) for p in model.projections[:2])
    expected = reference.weights_of(query, key, scale=0.3)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert attention.kind == "self"
    with pytest.raises(attnreport.AttentionNotFound, match="example 2 was asked for, the batch"):
        reference.record(model, ids, example=2)
