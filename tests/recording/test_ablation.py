"""Heads taken out by a mode, held against models in which they are taken out by hand."""

import copy
import math
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers
from test_windows import Windows
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.recording import Trial, ablate

HEADS, WIDTH = 3, 4


class Attend(nn.Module):
    """Attention written in one of several ways, with a head replaced by hand where asked."""

    def __init__(self, way, gone=None, how="zero"):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.gone, self.how = way, gone, how
        self.project = nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH)
        self.out = nn.Linear(HEADS * WIDTH, 5)

    def forward(self, hidden):
        query, key, value = (
            x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
            for x in self.project(hidden).chunk(3, -1)
        )
        heads = self.heads(query, key, value)
        if self.gone is not None:
            heads = heads.clone()
            own = heads[:, self.gone]
            heads[:, self.gone] = 0 if self.how == "zero" else own.mean(dim=1, keepdim=True)
        return self.out(heads.transpose(1, 2).flatten(2))

    def heads(self, query, key, value):
        if self.way == "sdpa":
            return F.scaled_dot_product_attention(query, key, value)
        if self.way == "grouped":
            return F.scaled_dot_product_attention(query, key[:, :1], value[:, :1], enable_gqa=True)
        weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)
        if self.way == "einsum":
            return torch.einsum("bhqk,bhkd->bhqd", weights, value)
        if self.way == "bmm":
            return torch.bmm(weights.flatten(0, 1), value.flatten(0, 1)).unflatten(0, (1, HEADS))
        if self.way == "sum":
            return (weights[..., None] * value[:, :, None]).sum(-2)
        return weights @ value


class Two(nn.Module):
    """The same module called twice, and another: a head is one of one call."""

    def __init__(self):
        super().__init__()
        self.first = nn.MultiheadAttention(12, 3, batch_first=True)
        self.second = nn.MultiheadAttention(12, 2, batch_first=True)

    def forward(self, hidden):
        hidden = hidden + self.first(hidden, hidden, hidden)[0]
        hidden = hidden + self.second(hidden, hidden, hidden)[0]
        return hidden + self.first(hidden, hidden, hidden, need_weights=False)[0]


def number(output):
    output = output.double()
    return float((output * torch.linspace(-1, 2, output.numel()).view_as(output)).pow(2).sum())


def ablated(model, hidden, how="zero"):
    with torch.no_grad(), attnreport.capture(model) as recording:
        plain = model(hidden)
    trial = Trial(model, (), call=lambda: model(hidden), number=number, how=how)
    return ablate(recording.run(), trial), number(plain)


@pytest.fixture
def hidden():
    return torch.randn(1, 6, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("how", ["zero", "mean"])
@pytest.mark.parametrize("way", ["sdpa", "grouped", "by hand", "einsum", "bmm", "sum"])
def test_every_head_of_attention_in_any_hand(way, how, hidden):
    found, plain = ablated(Attend(way), hidden, how)
    assert found.before == plain
    with torch.no_grad():
        expected = [number(Attend(way, head, how)(hidden)) for head in range(HEADS)]
    np.testing.assert_array_equal(found.after[0], expected)
    assert len(set(expected)) == HEADS
    assert not found.untouched


def without_columns(layer, head):
    """The layer with what a head feeds into its output projection taken away."""
    changed = copy.deepcopy(layer)
    width = changed.embed_dim // changed.num_heads
    with torch.no_grad():
        changed.out_proj.weight[:, head * width : (head + 1) * width] = 0
    return changed


def test_heads_inside_multi_head_attention(hidden):
    torch.manual_seed(2)
    layer = nn.MultiheadAttention(12, HEADS, batch_first=True).eval()

    class Whole(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, hidden):
            return self.inner(hidden, hidden, hidden, need_weights=False)[0]

    found, _ = ablated(Whole(layer), hidden)
    with torch.no_grad():
        expected = [number(Whole(without_columns(layer, head))(hidden)) for head in range(HEADS)]
    np.testing.assert_allclose(found.after[0], expected, rtol=2e-6)


def test_fused_encoders_run_by_their_parts_and_stay_fused(hidden):
    torch.manual_seed(3)
    layer = nn.TransformerEncoderLayer(12, HEADS, 16, batch_first=True)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    found, plain = ablated(model, hidden)
    assert found.before == pytest.approx(plain, rel=1e-5)
    for at in range(2):
        for head in range(HEADS):
            changed = copy.deepcopy(model)
            changed.layers[at].self_attn = without_columns(model.layers[at].self_attn, head)
            with torch.no_grad():
                expected = number(changed(hidden))
            assert found.after[at][head] == pytest.approx(expected, rel=1e-5)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_module_that_is_called_twice_loses_one_head_of_one_call(hidden):
    torch.manual_seed(4)
    model = Two().eval()
    found, _ = ablated(model, hidden)
    assert [len(each) for each in found.after] == [3, 2, 3]
    with torch.no_grad():
        start = hidden + model.first(hidden, hidden, hidden)[0]
        start = start + model.second(start, start, start)[0]
        for head in range(3):
            changed = without_columns(model.first, head)
            last = start + changed(start, start, start, need_weights=False)[0]
            assert found.after[2][head] == pytest.approx(number(last), rel=1e-5)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_grouped_heads_of_a_language_model(implementation):
    torch.manual_seed(5)
    config = transformers.LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation=implementation,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    ids = torch.randint(0, 50, (1, 7))

    def read(output):
        return number(output.logits)

    def call():
        return model(ids, use_cache=False)

    with torch.no_grad(), attnreport.capture(model) as recording:
        call()
    found = ablate(recording.run(), Trial(model, (), call=call, number=read, how="zero"))
    for layer in range(2):
        for head in range(4):
            kept = model.model.layers[layer].self_attn.o_proj.weight.detach().clone()
            with torch.no_grad():
                model.model.layers[layer].self_attn.o_proj.weight[:, head * 4 : head * 4 + 4] = 0
                expected = read(call())
                model.model.layers[layer].self_attn.o_proj.weight.copy_(kept)
            assert found.after[layer][head] == pytest.approx(expected, rel=1e-6)


def test_heads_that_do_not_come_by_again_have_no_number(hidden):
    model, other = Attend("sdpa"), Two().eval()
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(hidden)
    trial = Trial(model, (), call=lambda: other(hidden), number=number, how="zero")
    found = ablate(recording.run(), trial)
    assert math.isfinite(found.before)
    assert np.isnan(found.after[0]).all()
    assert list(found.untouched.values()) == ["it did not run again"]


def test_chosen_heads_of_a_chosen_example(hidden):
    model = Attend("sdpa")
    both = torch.cat((hidden, hidden.flip(1) * 2))
    with torch.no_grad(), attnreport.capture(model, heads=[2], example=1) as recording:
        model(both)
    run = recording.run()

    def ablated_with(**options):
        trial = Trial(
            model,
            (),
            call=lambda: model(both),
            number=lambda output: number(output[1]),
            how="zero",
            **options,
        )
        return ablate(run, trial)

    with torch.no_grad():
        expected = number(Attend("sdpa", 2)(both)[1])
        plain = number(model(both)[1])
    found = ablated_with(heads=[2], example=1)
    assert expected != plain == found.before
    np.testing.assert_array_equal(found.after[0], [expected])
    # Without the choice the layer has three heads and the run one: none is taken for another.
    assert np.isnan(ablated_with(example=1).after[0]).all()


@pytest.mark.parametrize("how", ["zero", "mean"])
@pytest.mark.parametrize("fused", [True, False])
def test_heads_inside_shifted_and_padded_windows(fused, how):
    # 6 × 6 patches in windows of 4: 28 of 64 places of the second example's windows are padding.
    model, picture = Windows(4, 1, fused).eval(), torch.randn(2, 3, 12, 12)
    real = F.pad(torch.ones(6, 6, dtype=torch.bool), (0, 2, 0, 2)).roll((-1, -1), (0, 1))
    real = real.view(2, 4, 2, 4).permute(0, 2, 1, 3).reshape(4, 16)
    with torch.no_grad(), attnreport.capture(model, example=1) as recording:
        plain = model(picture)
    trial = Trial(model, (), call=lambda: model(picture), number=number, how=how, example=1)
    found = ablate(recording.run(), trial)
    for head in range(2):
        changed = plain.clone()
        own = changed[4:, head]
        changed[4:, head] = own[real].mean(dim=0) if how == "mean" else 0
        assert found.after[0][head] == pytest.approx(number(changed), rel=1e-6)
    assert not found.untouched


def test_heads_that_einsum_writes_in_another_order(hidden):
    class Apart(Attend):
        def heads(self, query, key, value):
            weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)
            return torch.einsum("bhqk,bhkd->bqhd", weights, value).transpose(1, 2).contiguous()

    found, _ = ablated(Apart("einsum"), hidden)
    with torch.no_grad():
        expected = [number(Attend("einsum", head)(hidden)) for head in range(HEADS)]
    np.testing.assert_allclose(found.after[0], expected, rtol=1e-6)


def test_an_error_leaves_everything_as_it_was(hidden):
    model = Attend("sdpa")
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(hidden)
    calls = []

    def fail():
        calls.append(model(hidden))
        if len(calls) == 2:
            raise RuntimeError("out of luck")
        return calls[-1]

    with pytest.raises(RuntimeError, match="out of luck"):
        ablate(recording.run(), Trial(model, (), call=fail, number=number, how="zero"))
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch._C._len_torch_function_stack() == 0
    assert not model._forward_hooks
    with torch.no_grad():
        assert torch.equal(model(hidden), calls[0])


def test_progress_counts_every_call(hidden):
    model = Attend("sdpa")
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(hidden)
    told = []
    trial = Trial(model, (), call=lambda: model(hidden), number=number, how="mean")
    ablate(recording.run(), trial, lambda *words: told.append(words[:2]))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


class TakeTurns(nn.Module):
    """Two attentions that run twice each, with a head of one of the four calls replaced by hand."""

    def __init__(self, gone=None):
        super().__init__()
        self.one, self.other, self.same = Attend("sdpa"), Attend("sdpa"), Attend("sdpa", 1)
        self.gone = gone
        self.back = nn.Linear(5, HEADS * WIDTH)

    def forward(self, hidden):
        for call in range(4):
            chosen = self.same if call == self.gone else (self.one, self.other)[call % 2]
            hidden = hidden + self.back(chosen(hidden))
        return hidden


@pytest.mark.parametrize("layer", [1, 3])
def test_a_call_that_was_selected_by_number_is_the_one_that_is_ablated(hidden, layer):
    models = []
    for gone in (None, layer):
        torch.manual_seed(0)
        models.append(TakeTurns(gone))
    model, without = models
    without.load_state_dict(model.state_dict())
    with torch.no_grad(), attnreport.capture(model, layers=[layer]) as recording:
        model(hidden)
    run = recording.run()
    assert [each.layer for each in run.attentions] == [layer]
    trial = Trial(model, (), call=lambda: model(hidden), number=number, how="zero", layers=[layer])
    with torch.no_grad():
        expected = number(without(hidden))
    np.testing.assert_array_equal(ablate(run, trial).after[0][1], expected)
