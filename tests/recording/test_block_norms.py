"""What a block adds up, residual and norm with it, against every vector written out in float64."""

from __future__ import annotations

import math
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport

HEADS, WIDTH, TOKENS = 3, 12, 6


def blocks_of(weights, values, matrix, residual, *, norm=None, scale=None):
    """Return ‖g_q(Σ_h α f + [q = k] x_q)‖ by the formulas of Kobayashi et al. 2021, §3.

    ``values`` (head, key, d), ``matrix`` (width, head · d) as nn.Linear has it, ``residual``
    (query, width); ``norm`` is the module, ``scale`` what each channel is multiplied by.
    """
    weights, values, matrix, residual = (
        torch.tensor(x).double().numpy()
        if isinstance(x, np.ndarray)
        else x.detach().double().numpy()
        for x in (weights, values, matrix, residual)
    )
    heads, queries, keys = weights.shape
    d = values.shape[-1]
    found = np.zeros((queries, keys))
    for query in range(queries):
        vectors = np.zeros((keys, len(residual[0])))
        for key in range(keys):
            for head in range(heads):
                f = matrix[:, head * d : (head + 1) * d] @ values[head, key]
                vectors[key] += weights[head, query, key] * f
        if scale is not None:
            vectors *= scale.detach().double().numpy()
        vectors[keys - queries + query] += residual[query]
        if norm is not None:
            # What the sum has beside: the biases, which no key brings.
            total = norm.seen[0, query].double().numpy()
            spread = math.sqrt(total.var() + norm.eps)
            gamma = norm.weight.detach().double().numpy()
            vectors = (vectors - vectors.mean(axis=1, keepdims=True)) / spread * gamma
        found[query] = np.linalg.norm(vectors, axis=1)
    return found


def record(model, *inputs, **options):
    with torch.no_grad(), attnreport.capture(model, values=True, **options) as recording:
        model(*inputs)
    return recording.run()


def watch(module, *, output=False):
    """Keep what a module was given, or what it returned, as ``module.seen``."""

    def see(module, args, returned):
        module.seen = (returned if output else args[0]).detach().clone()

    module.register_forward_hook(see)
    return module


def heads_of(values, heads):
    return values.unflatten(-1, (heads, -1)).transpose(0, 1)


def agrees(attention, expected, *, normed):
    norms = attention.value_norms
    assert norms.block is not None
    assert norms.normed is normed
    np.testing.assert_allclose(norms.block, expected, rtol=5e-6, atol=1e-7)
    # The residual is in it.
    assert not np.allclose(norms.block, norms.mixed, rtol=1e-2)


SIZES = {
    "vocab_size": 50,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": HEADS,
}


def vary(model):
    """Make norms and biases differ from ones and zeros."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.copy_(0.3 * noise + ("bias" not in name))
    return model.eval()


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_bert_norms_the_sum(kernel):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, attn_implementation=kernel)
    model = vary(transformers.BertModel(config))
    layers = [layer.attention for layer in model.encoder.layer]
    for layer in layers:
        watch(layer.self.value, output=True), watch(layer), watch(layer.output.LayerNorm)
    run = record(model, torch.randint(0, 50, (1, TOKENS)))
    for attention, layer in zip(run.attentions, layers, strict=True):
        values = heads_of(layer.self.value.seen[0], HEADS)
        expected = blocks_of(
            attention.weights,
            values,
            layer.output.dense.weight,
            layer.seen[0],
            norm=layer.output.LayerNorm,
        )
        agrees(attention, expected, normed=True)
    assert "residual" not in "".join(entry.reason for entry in run.ledger)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_llama_only_adds(kernel):
    torch.manual_seed(0)
    config = transformers.LlamaConfig(**SIZES, attn_implementation=kernel)
    model = vary(transformers.LlamaModel(config))
    for layer in model.layers:
        watch(layer.self_attn.v_proj, output=True), watch(layer.input_layernorm)
    run = record(model, torch.randint(0, 50, (1, TOKENS)))
    for attention, layer in zip(run.attentions, model.layers, strict=True):
        values = heads_of(layer.self_attn.v_proj.seen[0], HEADS)
        expected = blocks_of(
            attention.weights,
            values,
            layer.self_attn.o_proj.weight,
            layer.input_layernorm.seen[0],
        )
        agrees(attention, expected, normed=False)


def test_gpt2_reads_the_sum_twice_and_so_has_no_norm():
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_embd=WIDTH, n_layer=2, n_head=HEADS)
    model = vary(transformers.GPT2Model(config))
    for layer in model.h:
        watch(layer.attn.c_attn, output=True), watch(layer.ln_1)
    run = record(model, torch.randint(0, 50, (1, TOKENS)))
    for attention, layer in zip(run.attentions, model.h, strict=True):
        values = heads_of(layer.attn.c_attn.seen[0, :, 2 * WIDTH :], HEADS)
        matrix = layer.attn.c_proj.weight.T
        expected = blocks_of(attention.weights, values, matrix, layer.ln_1.seen[0])
        agrees(attention, expected, normed=False)


def test_a_generation_with_a_cache_is_one_block():
    torch.manual_seed(0)
    model = vary(transformers.LlamaForCausalLM(transformers.LlamaConfig(**SIZES)))
    prompt = torch.randint(3, 50, (1, 4))
    with attnreport.capture(model, values=True) as recording:
        whole = model.generate(prompt, max_new_tokens=3, do_sample=False, eos_token_id=None)
    run = recording.run()
    again = record(model, whole[:, :-1])
    for step, once in zip(run.attentions, again.attentions, strict=True):
        assert step.value_norms.block.shape == (6, 6)
        np.testing.assert_allclose(
            step.value_norms.block, once.value_norms.block, rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("parallel", [True, False])
def test_what_is_added_first_must_be_what_the_values_were_made_of(parallel):
    torch.manual_seed(0)
    config = transformers.GPTNeoXConfig(**SIZES, use_parallel_residual=parallel)
    run = record(vary(transformers.GPTNeoXModel(config)), torch.randint(0, 50, (1, TOKENS)))
    blocks = [attention.value_norms.block for attention in run.attentions]
    assert [block is None for block in blocks] == [parallel] * 2
    said = ["not what its values were made of" in entry.reason for entry in run.ledger]
    assert said == [parallel] * 2


def test_channels_that_the_model_scales_before_the_sum():
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        **SIZES | {"vocab_size": None}, image_size=28, patch_size=14, layerscale_value=0.5
    )
    model = vary(transformers.Dinov2Model(config))
    layers = model.encoder.layer
    for layer in layers:
        watch(layer.attention.v_proj, output=True), watch(layer)
    with attnreport.capture(model, values=True) as recording, torch.no_grad():
        model(torch.randn(1, 3, 28, 28))
    for attention, layer in zip(recording.run().attentions, layers, strict=True):
        expected = blocks_of(
            attention.weights,
            heads_of(layer.attention.v_proj.seen[0], HEADS),
            layer.attention.o_proj.weight,
            layer.seen[0],
            scale=layer.layer_scale1.lambda1,
        )
        agrees(attention, expected, normed=False)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("norm_first", [True, False])
def test_encoder_layers_of_torch(norm_first, fused, batch_first):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 24, 0.0, batch_first=batch_first, norm_first=norm_first
    )
    vary(layer).train(not fused)
    x = torch.randn(2, TOKENS, WIDTH)
    given = x if batch_first else x.transpose(0, 1).contiguous()
    (attention,) = record(layer, given, example=1).attentions
    inner = layer.norm1(x[1]) if norm_first else x[1]
    own = layer.self_attn
    values = F.linear(inner, own.in_proj_weight, own.in_proj_bias)[:, 2 * WIDTH :]
    norm = None if norm_first else layer.norm1
    if norm is not None:
        norm.seen = (
            x[1] + own(x[1:], x[1:], x[1:])[0]
            if batch_first
            else x[1:]
            + own(x[1].unsqueeze(1), x[1].unsqueeze(1), x[1].unsqueeze(1))[0].transpose(0, 1)
        ).detach()
    expected = blocks_of(
        attention.weights, heads_of(values, HEADS), own.out_proj.weight, x[1], norm=norm
    )
    agrees(attention, expected, normed=not norm_first)


class Hand(nn.Module):
    """Attention by hand, and what a test does with its result."""

    def __init__(self, after):
        super().__init__()
        torch.manual_seed(0)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.after = after

    def forward(self, x):
        q, k, v = (
            part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)
        )
        mixed = (torch.softmax(q @ k.mT / 2, -1) @ v).transpose(1, 2).flatten(2)
        return self.after(self, x, self.out(mixed))


def in_place(model, x, out):
    out += x
    return model.norm(out)


def bias_apart(model, x, out):
    return model.norm(x + (out + model.out.bias))


def turned(model, x, out):
    return model.norm((x.transpose(0, 1) + out.transpose(0, 1)).transpose(0, 1))


@pytest.mark.parametrize("after", [in_place, bias_apart, turned])
def test_sums_in_other_hands(after):
    model, x = vary(Hand(after)), torch.randn(1, TOKENS, WIDTH)
    watch(model.norm)
    (attention,) = record(model, x).attentions
    values = heads_of(model.qkv(x)[0, :, 2 * WIDTH :], HEADS)
    expected = blocks_of(attention.weights, values, model.out.weight, x[0], norm=model.norm)
    agrees(attention, expected, normed=True)


def onto_the_residual(model, x, out):
    x = x.clone()
    return x.add_(out)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (lambda model, x, out: out, "no sum with a residual was seen"),
        (lambda model, x, out: x + out.tanh(), "tanh came before the sum"),
        (lambda model, x, out: model.norm(out) + x, "layer_norm came before the sum"),
        (lambda model, x, out: x + F.dropout(out, 0.5), "dropout came before the sum"),
        (lambda model, x, out: x.sin() + out, "not what its values were made of"),
        (lambda model, x, out: x.flip(1) + out, "not what its values were made of"),
        (lambda model, x, out: x[:, :1] + out, "one shape"),
        (lambda model, x, out: x[:, 1:] + out[:, 1:], "not what its values were made of"),
        (onto_the_residual, "written over by the sum"),
    ],
)
def test_what_is_no_residual_is_said(after, words):
    run = record(Hand(after), torch.randn(1, TOKENS, WIDTH))
    assert run.attentions[0].value_norms.block is None
    (entry,) = run.ledger
    assert "its values are weighed without the residual: " in entry.reason
    assert words in entry.reason


def test_keys_of_another_sequence_have_no_residual():
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)

    class Cross(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = layer

        def forward(self, x, y):
            return x + self.inner(x, y, y, need_weights=False)[0]

    run = record(Cross(), torch.randn(1, TOKENS, WIDTH), torch.randn(1, TOKENS, WIDTH))
    assert run.attentions[0].value_norms.block is None
    assert "its queries are not its keys" in run.ledger[0].reason


def test_blocks_come_back_from_the_file(tmp_path):
    run = record(Hand(in_place), torch.randn(1, TOKENS, WIDTH))
    run.save(tmp_path / "run.safetensors")
    read = attnreport.Run.load(tmp_path / "run.safetensors").attentions[0].value_norms
    np.testing.assert_array_equal(read.block, run.attentions[0].value_norms.block)
    assert read.normed
    assert not read.block.flags.writeable
