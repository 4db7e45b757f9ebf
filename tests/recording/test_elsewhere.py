"""Models whose weights lie, or whose numbers are, somewhere else than usual."""

from __future__ import annotations

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import accelerate
import numpy as np
import pytest
import torch
import transformers
from attention_reference import record, weights_of
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.attention import RESIDUAL_TOLERANCE

SIZES = {"vocab_size": 30, "d_model": 16, "d_ff": 8, "d_kv": 8, "num_layers": 2, "num_heads": 2}
IDS = {"input_ids": torch.tensor([[3, 4, 5, 6]]), "decoder_input_ids": torch.tensor([[0, 9, 8, 7]])}


def captured(model):
    with torch.no_grad():
        plain = model(**IDS)[0]
        with attnreport.capture(model, values=True) as recording:
            output = model(**IDS)[0]
    assert torch.equal(plain, output)
    return recording.run()


@pytest.mark.parametrize("where", ["cpu", "disk"])
def test_weights_that_are_fetched_for_each_layer(where, tmp_path):
    torch.manual_seed(0)
    model = transformers.T5Model(transformers.T5Config(**SIZES)).eval()
    expected, offloaded = captured(model), copy.deepcopy(model)
    if where == "cpu":
        accelerate.cpu_offload(offloaded, execution_device="cpu")
    else:
        accelerate.disk_offload(offloaded, tmp_path, execution_device="cpu")
    assert all(each.is_meta for each in offloaded.parameters())
    run = captured(offloaded)
    assert len(run.attentions) == len(expected.attentions) == 6
    for found, original in zip(run.attentions, expected.attentions, strict=True):
        assert (found.name, found.kind) == (original.name, original.kind)
        assert (found.queries, found.keys) == (original.queries, original.keys)
        np.testing.assert_array_equal(found.weights, original.weights)
        np.testing.assert_array_equal(found.value_norms.mixed, original.value_norms.mixed)
    assert any("have no plain data here" in note for note in run.provenance.notes)
    assert all(each.is_meta for each in offloaded.parameters())


class Attend(nn.Module):
    """Self-attention by SDPA between two linear layers, and what it multiplied, as ``seen``."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.seen = None

    def forward(self, hidden):
        query, key, value = (
            x.unflatten(-1, (4, 4)).transpose(1, 2) for x in self.project(hidden).chunk(3, -1)
        )
        self.seen = query[0].float(), key[0].float()
        return self.out(
            F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        )


class EightBits(nn.Module):
    """A linear layer whose weights are eight-bit integers with a scale for each row."""

    def __init__(self, layer):
        super().__init__()
        scale = layer.weight.detach().abs().amax(dim=1, keepdim=True) / 127
        self.register_buffer("scale", scale)
        self.register_buffer("integers", (layer.weight.detach() / scale).round().to(torch.int8))
        self.bias = layer.bias

    def forward(self, hidden):
        return F.linear(hidden, self.integers.to(hidden.dtype) * self.scale, self.bias)


def eight_bits(model):
    model.project, model.out = EightBits(model.project), EightBits(model.out)
    return model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def dynamic(model):
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("quantised", [eight_bits, dynamic, nn.DataParallel])
def test_quantised_and_replicated_layers(quantised):
    inner = Attend().eval()
    model = quantised(inner)
    run, _ = record(model, torch.randn(1, 5, 16))
    seen = inner.seen if inner.seen is not None else model.seen
    (attention,) = run.attentions
    assert np.abs(attention.weights - weights_of(*seen)).max() < 2e-6
    assert attention.residual < 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("automatic", [True, False])
def test_half_a_precision_has_its_softmax_in_float32(dtype, automatic):
    model, hidden = Attend().eval(), torch.randn(1, 5, 16)
    if not automatic:
        model, hidden = model.to(dtype), hidden.to(dtype)
    with torch.autocast("cpu", dtype, enabled=automatic):
        run, _ = record(model, hidden)
    (attention,) = run.attentions
    # The weights of what it really multiplied, not of the same rounded once more.
    assert np.abs(attention.weights - weights_of(*model.seen)).max() < 2e-6
    assert attention.dtype == str(dtype).removeprefix("torch.")
    assert attention.residual < RESIDUAL_TOLERANCE[attention.dtype]
