"""How long what a key sends is, held against sums written out in float64."""

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

HEADS, WIDTH, OUT = 3, 4, 5


class Attend(nn.Module):
    """Attention in one of several ways, and its projection in one of several."""

    def __init__(self, way="sdpa", projection="linear", batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.projection, self.batch_first = way, projection, batch_first
        self.project = nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH)
        self.out = nn.Linear(HEADS * WIDTH, OUT)
        self.values = None

    def forward(self, hidden):
        query, key, value = (
            x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
            for x in self.project(hidden).chunk(3, -1)
        )
        self.values = value.detach()
        if self.way == "sdpa":
            heads = F.scaled_dot_product_attention(query, key, value)
        elif self.way == "grouped":
            self.values = value[:, :1].expand_as(value).detach()
            heads = F.scaled_dot_product_attention(query, key[:, :1], value[:, :1], enable_gqa=True)
        else:
            weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)
            heads = torch.einsum("bhqk,bhkd->bhqd", weights, value)
        joined = heads.transpose(1, 2).flatten(2)
        if self.projection == "scaled first":
            joined = joined * 2
        if self.projection == "matmul":
            return joined @ self.out.weight.T
        if self.projection == "addmm":
            flat = torch.addmm(self.out.bias, joined.flatten(0, 1), self.out.weight.T)
            return flat.unflatten(0, joined.shape[:2])
        return self.out(joined)


def norms_of(model, *inputs, **options):
    with torch.no_grad(), attnreport.capture(model, values=True, **options) as recording:
        model(*inputs)
    return recording.run()


def expected_of(weights, values, matrix):
    """‖f_h(x_k)‖ and ‖Σ_h α f‖ by loops, float64; values (head, key, width), matrix (out, in)."""
    heads, queries, keys = weights.shape
    width = values.shape[-1]
    sent = np.zeros((heads, keys, matrix.shape[0]))
    for head in range(heads):
        columns = matrix[:, head * width : (head + 1) * width].astype(np.float64)
        for key in range(keys):
            sent[head, key] = columns @ values[head, key].astype(np.float64)
    mixed = np.zeros((queries, keys))
    for query in range(queries):
        for key in range(keys):
            total = sum(
                weights[head, query, key].astype(np.float64) * sent[head, key]
                for head in range(heads)
            )
            mixed[query, key] = np.linalg.norm(total)
    return np.linalg.norm(sent, axis=-1), mixed


def same(attention, values, matrix):
    heads, mixed = expected_of(attention.weights, values, matrix)
    np.testing.assert_allclose(attention.value_norms.heads, heads, rtol=1e-6)
    np.testing.assert_allclose(attention.value_norms.mixed, mixed, rtol=2e-6, atol=1e-9)
    return True


@pytest.fixture
def hidden():
    return torch.randn(2, 6, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("projection", ["linear", "matmul", "addmm"])
@pytest.mark.parametrize("way", ["sdpa", "grouped", "einsum"])
def test_every_projection_of_attention_in_any_hand(way, projection, hidden):
    for example in range(2):
        model = Attend(way, projection)
        axes = [(hidden, attnreport.Axis.numbered("x", 6))]
        (attention,) = norms_of(model, hidden, axes=axes, example=example).attentions
        assert same(attention, model.values[example].numpy(), model.out.weight.detach().numpy())


def test_what_changes_on_the_way_is_not_weighed_and_said(hidden):
    run = norms_of(Attend(projection="scaled first"), hidden[:1])
    assert run.attentions[0].value_norms is None
    assert "its values are not weighed" in run.ledger[0].reason


def test_values_are_not_weighed_unasked(hidden):
    model = Attend()
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(hidden[:1])
    run = recording.run()
    assert run.attentions[0].value_norms is None
    assert "weighed" not in run.ledger[0].reason


def test_the_output_is_the_same_bit_for_bit(hidden):
    model = Attend()
    with torch.no_grad():
        plain = model(hidden)
        with attnreport.capture(model, values=True):
            assert torch.equal(model(hidden), plain)


@pytest.mark.parametrize("fused", [False, True])
def test_multi_head_attention(fused, hidden):
    torch.manual_seed(2)
    layer = nn.MultiheadAttention(12, HEADS, batch_first=True)
    layer = layer.eval() if fused else layer.train()

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = layer

        def forward(self, hidden):
            return self.inner(hidden, hidden, hidden, need_weights=False)[0]

    (attention,) = norms_of(Whole(), hidden[:1]).attentions
    with torch.no_grad():
        value = F.linear(hidden[0], layer.in_proj_weight[24:], layer.in_proj_bias[24:])
    values = value.unflatten(-1, (HEADS, WIDTH)).transpose(0, 1).numpy()
    assert same(attention, values, layer.out_proj.weight.detach().numpy())


def test_masked_keys_send_nothing_and_nan_stays(hidden):
    class Masked(Attend):
        def forward(self, hidden):
            query, key, value = (
                x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
                for x in self.project(hidden).chunk(3, -1)
            )
            self.values = value.detach()
            mask = torch.ones(6, 6, dtype=torch.bool).tril()
            mask[3] = False
            heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            return self.out(heads.transpose(1, 2).flatten(2))

    model = Masked()
    (attention,) = norms_of(model, hidden[:1]).attentions
    assert (attention.value_norms.mixed[3] == 0).all()
    assert (np.triu(attention.value_norms.mixed, 1) == 0).all()
    assert same(attention, model.values[0].numpy(), model.out.weight.detach().numpy())


def test_identical_heads_send_together_what_one_would_times_their_number(hidden):
    model = Attend()
    with torch.no_grad():
        for part in (model.project.weight, model.project.bias):
            rows = part.view(3, HEADS, WIDTH, -1)
            rows[:, 1:] = rows[:, :1]
        columns = model.out.weight.view(OUT, HEADS, WIDTH)
        columns[:, 1:] = columns[:, :1]
    (attention,) = norms_of(model, hidden[:1]).attentions
    norms = attention.value_norms
    expected = HEADS * attention.weights[0] * norms.heads[0]
    np.testing.assert_allclose(norms.mixed, expected, rtol=1e-6)


def test_chosen_heads_keep_their_norms(hidden):
    model = Attend()
    (whole,) = norms_of(model, hidden[:1]).attentions
    (some,) = norms_of(model, hidden[:1], heads=[2]).attentions
    np.testing.assert_array_equal(some.value_norms.heads, whole.value_norms.heads[2:])
    np.testing.assert_array_equal(some.value_norms.mixed, whole.value_norms.mixed)


def test_padding_is_cut_from_norms_too(hidden):
    class Padded(Attend):
        def forward(self, hidden):
            query, key, value = (
                x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
                for x in self.project(hidden).chunk(3, -1)
            )
            mask = (torch.arange(6) < 4).expand(6, 6)
            heads = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            return self.out(heads.transpose(1, 2).flatten(2))

    labels = ["a", "b", "c", "d", "[PAD]", "[PAD]"]
    model, one = Padded(), hidden[:1]
    (attention,) = norms_of(model, one, axes=[(one, labels)]).attentions
    assert attention.weights.shape == (HEADS, 4, 4)
    assert attention.value_norms.heads.shape == (HEADS, 4)
    assert attention.value_norms.mixed.shape == (4, 4)


CONFIG = {
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("family", ["Bert", "Llama", "GPT2"])
def test_models_of_transformers(family, implementation):
    torch.manual_seed(3)
    if family == "Llama":
        config = transformers.LlamaConfig(**CONFIG, num_key_value_heads=2)
    elif family == "Bert":
        config = transformers.BertConfig(**CONFIG)
    else:
        config = transformers.GPT2Config(vocab_size=50, n_embd=16, n_layer=2, n_head=4)
    config._attn_implementation = implementation
    model = transformers.AutoModel.from_config(config).eval()
    seen = []

    def remember(_module, _arguments, output):
        seen.append(output.detach())

    for name, module in model.named_modules():
        if name.endswith(("self.value", "v_proj", "attn.c_attn")):
            module.register_forward_hook(remember)
    run = norms_of(model, torch.randint(0, 50, (1, 7)))
    ends = ("attention.output.dense", "o_proj", "attn.c_proj")
    outs = [module for name, module in model.named_modules() if name.endswith(ends)]
    for attention, output, out in zip(run.attentions, seen, outs, strict=True):
        value = output[0, :, -16:] if family == "GPT2" else output[0]
        values = value.unflatten(-1, (-1, 4)).transpose(0, 1)
        values = values.repeat_interleave(4 // len(values), dim=0).numpy()
        matrix = out.weight.detach().numpy()
        assert same(attention, values, matrix.T if family == "GPT2" else matrix)


def test_norms_come_back_from_the_file(tmp_path, hidden):
    run = norms_of(Attend(), hidden[:1])
    run.save(tmp_path / "run.safetensors")
    read = attnreport.Run.load(tmp_path / "run.safetensors").attentions[0].value_norms
    np.testing.assert_array_equal(read.heads, run.attentions[0].value_norms.heads)
    np.testing.assert_array_equal(read.mixed, run.attentions[0].value_norms.mixed)
    assert not read.heads.flags.writeable
