"""The way from heads to their projection, against f_h(x) = V_h W_h written out in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers
from attention_reference import record
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport

HEADS, WIDTH, TOKENS = 3, 12, 7


def reference(values, matrix, weights):
    """Return both norms; values (key head, key, d), matrix (width, head · d), as nn.Linear has it.

    Every vector of every head, key and query is made, in float64.
    """
    values, matrix = (np.asarray(x.detach().double()) for x in (values, matrix))
    heads, d = len(weights), values.shape[-1]
    group = heads // len(values)
    f = np.stack(
        [values[h // group] @ matrix[:, h * d : (h + 1) * d].T for h in range(heads)]
    )  # (head, key, width)
    written = weights.astype(np.float64)[..., None] * f[:, None]  # (head, query, key, width)
    return np.linalg.norm(f, axis=-1), np.linalg.norm(written.sum(axis=0), axis=-1)


def agrees(attention, values, matrix):
    norms, mixed = reference(values, matrix, attention.weights)
    np.testing.assert_allclose(attention.value_norms.heads, norms, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(attention.value_norms.mixed, mixed, rtol=1e-6, atol=1e-9)


def heads_of(tensor, heads):
    """Return (position, head · d) as (head, position, d)."""
    return tensor.unflatten(-1, (heads, -1)).transpose(0, 1)


class Hand(nn.Module):
    """Attention as tutorials write it; ``between`` is done before the projection."""

    def __init__(self, how="softmax", between=lambda mixed: mixed, after=None):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.raw = nn.Parameter(torch.randn(WIDTH, WIDTH))
        self.how, self.between = how, between
        self.after = after or (lambda model, mixed: model.out(mixed))
        self.double()

    def values(self, x):
        return heads_of(self.qkv(x)[..., 2 * WIDTH :], HEADS)

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        if self.how == "sdpa":
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        elif self.how == "einsum":
            weights = torch.softmax(torch.einsum("bhqd,bhkd->bhqk", q, k), -1)
            mixed = torch.einsum("bhqk,bhkd->bqhd", weights, v)
        else:
            mixed = (torch.softmax(q @ k.mT / 2, -1) @ v).transpose(1, 2)
        return self.after(self, self.between(mixed.flatten(2)))


def recorded(model, x, **options):
    run, _ = record(model, x, values=True, **options)
    return run


@pytest.mark.parametrize("how", ["softmax", "sdpa", "einsum"])
@pytest.mark.parametrize(
    ("after", "matrix"),
    [
        (lambda model, x: model.out(x), lambda model: model.out.weight),
        (lambda model, x: x @ model.raw, lambda model: model.raw.T),
        (lambda model, x: torch.addmm(model.out.bias, x[0], model.raw), lambda m: m.raw.T),
        (lambda model, x: F.linear(x, model.raw.T), lambda model: model.raw.T),
    ],
    ids=["linear", "matmul", "addmm", "transposed"],
)
def test_handwritten_attention(how, after, matrix):
    torch.manual_seed(0)
    model, x = Hand(how, after=after), torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    agrees(recorded(model, x).attentions[0], model.values(x[0]), matrix(model))


def test_channels_in_another_order_keep_their_heads():
    order = torch.randperm(WIDTH)
    model, x = (
        Hand(between=lambda mixed: mixed[..., order]),
        torch.randn(1, TOKENS, WIDTH).double(),
    )
    matrix = torch.empty_like(model.out.weight)
    matrix[:, order] = model.out.weight.detach()
    agrees(recorded(model, x).attentions[0], model.values(x[0]), matrix)


class OneByOne(nn.Module):
    """Heads that are modules of their own, put side by side and projected together."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(WIDTH, 3 * 4) for _ in range(HEADS))
        self.out = nn.Linear(WIDTH, WIDTH)
        self.double()

    def forward(self, x):
        mixed = []
        for part in self.parts:
            q, k, v = part(x).chunk(3, -1)
            mixed.append(torch.softmax(q @ k.mT, -1) @ v)
        return self.out(torch.cat(mixed, -1))


def test_heads_that_are_put_side_by_side():
    model, x = OneByOne(), torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    run = recorded(model, x)
    assert len(run.attentions) == HEADS
    for number, attention in enumerate(run.attentions):
        values = model.parts[number](x[0])[:, 8:][None]
        agrees(attention, values, model.out.weight[:, 4 * number : 4 * number + 4])


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("extra", [False, True])
def test_multihead_attention(fused, extra):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, add_bias_kv=extra)
    layer = layer.double().train(not fused)
    x = torch.randn(2, TOKENS, WIDTH, dtype=torch.float64)
    with attnreport.capture(layer, example=1, values=True) as recording, torch.no_grad():
        layer(x, x, x, need_weights=False)
    attention = recording.run().attentions[0]
    values = F.linear(x[1], layer.in_proj_weight, layer.in_proj_bias)[:, 2 * WIDTH :]
    agrees(attention, heads_of(values, HEADS), layer.out_proj.weight)


def test_masked_rows_and_one_key():
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True).double()
    x = torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    mask = torch.zeros(TOKENS, TOKENS, dtype=torch.bool)
    mask[2] = True
    with attnreport.capture(layer, values=True) as recording:
        layer(x, x, x, attn_mask=mask, need_weights=False)
        layer(x, x[:, :1], x[:, :1], need_weights=False)
    masked, single = recording.run().attentions
    assert not masked.value_norms.mixed[2].any()
    assert single.value_norms.heads.shape == (HEADS, 1)
    # One key gets all weight of every head: what is written is the sum of what the heads write.
    np.testing.assert_allclose(single.value_norms.mixed, single.value_norms.mixed[0, 0], rtol=1e-6)


def test_what_is_not_a_number_stays_so_in_its_own_key():
    model, x = Hand(), torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)

    def spoil(module, args, output):
        output[0, 3, 2 * WIDTH + 4] = np.nan
        return output

    model.qkv.register_forward_hook(spoil)
    attention = recorded(model, x).attentions[0]
    assert np.isnan(attention.value_norms.heads).tolist() == [
        [head == 1 and key == 3 for key in range(TOKENS)] for head in range(HEADS)
    ]
    assert (np.isnan(attention.value_norms.mixed) == (np.arange(TOKENS) == 3)).all()


def spoilt(mixed):
    mixed = mixed.clone()
    mixed.view(-1).mul_(2)
    return mixed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"between": lambda mixed: mixed * 2}, "mul came before a projection"),
        ({"between": spoilt}, "written over before"),
        ({"between": lambda mixed: F.dropout(mixed, 0.5)}, "dropout came before"),
        ({"after": lambda model, mixed: mixed}, "not followed to a projection"),
        ({"after": lambda model, mixed: model.out(mixed) + mixed @ model.raw}, "more than one"),
        ({"after": lambda model, mixed: mixed[..., :8] @ model.raw[:8]}, "in parts"),
        ({"after": lambda m, x: x.unflatten(-1, (3, 4)).mT @ m.raw[:3]}, "in parts"),
        ({"after": lambda m, x: x @ x.mT}, "came before a projection"),
        ({"after": lambda m, x: x @ x[0].T}, "came before a projection"),
    ],
)
def test_what_is_not_a_projection_of_the_heads_is_said(options, words):
    model, x = Hand(**options), torch.randn(1, TOKENS, WIDTH, dtype=torch.float64)
    run = recorded(model, x)
    assert run.attentions[0].value_norms is None
    (entry,) = run.ledger
    assert entry.captured
    assert "its values are not weighed: " in entry.reason
    assert words in entry.reason


def test_norms_go_where_positions_are_joined():
    model, x = Hand(), torch.randn(1, 64, WIDTH, dtype=torch.float64)
    room = HEADS * 64 * 64 * 4
    run = recorded(model, x, max_memory=room)
    assert run.attentions[0].reduced is not None
    assert run.attentions[0].value_norms is None
    assert "neighbouring positions are joined" in run.ledger[0].reason
    assert "All weights and norms take" in run.provenance.notes[-1]


SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 30}


def seen_by_hooks(model, path, inputs):
    """Return what a module was given, or returned, in each call."""
    seen = []
    module = model.get_submodule(path)
    hook = module.register_forward_hook(lambda _, args, output: seen.append(output.detach()))
    with torch.no_grad():
        model(**inputs)
    hook.remove()
    return seen[0][0]


@pytest.mark.parametrize("kernel", ["eager", "sdpa"])
def test_llama_with_grouped_queries_step_by_step(kernel):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        **SIZES, intermediate_size=32, num_key_value_heads=2, attn_implementation=kernel
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.randint(3, 30, (1, 6))
    with attnreport.capture(model, values=True) as recording:
        whole = model.generate(ids, max_new_tokens=4, do_sample=False, eos_token_id=None)
    run = recording.run()
    inputs = {"input_ids": whole[:, :-1]}
    assert len(run.attentions) == 2
    for number, attention in enumerate(run.attentions):
        layer = f"model.layers.{number}.self_attn"
        values = heads_of(seen_by_hooks(model, f"{layer}.v_proj", inputs), 2)
        norms, mixed = reference(
            values, model.get_submodule(f"{layer}.o_proj").weight, attention.weights
        )
        # With a cache the model computes the same values in another order: its own rounding.
        np.testing.assert_allclose(attention.value_norms.heads, norms, rtol=1e-5)
        np.testing.assert_allclose(attention.value_norms.mixed, mixed, rtol=1e-4, atol=1e-7)
