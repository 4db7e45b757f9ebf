"""Held against autograd, where the weights are in the graph, and against a model that has them."""

import copy
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
from attnreport.errors import InvalidInput

HEADS, WIDTH = 2, 4


class Attend(nn.Module):
    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.project = nn.Linear(8, 24)
        self.weights = None

    def forward(self, hidden):
        query, key, value = (
            x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
            for x in self.project(hidden).chunk(3, -1)
        )
        if self.way == "sdpa":
            return F.scaled_dot_product_attention(query, key, value)
        if self.way == "grouped":
            return F.scaled_dot_product_attention(query, key[:, :1], value[:, :1], enable_gqa=True)
        if self.way == "grouped by hand":
            key, value = key[:, :1].expand_as(key), value[:, :1].expand_as(value)
        self.weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)
        self.weights.retain_grad()
        if self.way == "transposed":
            return (value.mT @ self.weights.mT).mT
        if self.way == "einsum":
            return torch.einsum("bhqk,bhkd->bhqd", self.weights, value)
        if self.way == "sum":
            return (self.weights[..., None] * value[:, :, None]).sum(-2)
        return self.weights @ value


def loss_of(output):
    return (output * torch.linspace(-1, 2, output.numel()).view_as(output)).pow(2).sum()


@pytest.mark.parametrize(
    ("way", "same"),
    [
        ("sdpa", "by hand"),
        ("grouped", "grouped by hand"),
        ("by hand", "by hand"),
        ("transposed", "by hand"),
        ("einsum", "by hand"),
        ("sum", "by hand"),
    ],
)
def test_gradients_at_the_weights_are_those_of_autograd(way, same):
    model, reference = Attend(way), Attend(same)
    hidden = torch.randn(2, 5, 8)
    plain = model(hidden)
    loss_of(plain).backward()
    expected_parameters = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    with attnreport.capture(model, gradients=True, example=1) as recording:
        output = model(hidden)
        loss_of(output).backward()
    loss_of(reference(hidden)).backward()
    (gradient,) = recording.gradients
    expected = reference.weights.grad[1].numpy()
    assert gradient.shape == recording.run().attentions[0].weights.shape
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()
    assert torch.equal(plain, output)
    for parameter, before in zip(model.parameters(), expected_parameters, strict=True):
        assert torch.equal(parameter.grad, before)


def test_two_backwards_add_up_and_hooks_do_not_stay():
    model, hidden = Attend("sdpa"), torch.randn(1, 5, 8)
    with attnreport.capture(model, gradients=True) as recording:
        output = model(hidden)
        output.sum().backward(retain_graph=True)
        once = recording.gradients[0]
        output.sum().backward(retain_graph=True)
    output.sum().backward()
    assert np.array_equal(recording.gradients[0], 2 * once)


def test_without_a_backward_there_is_none():
    model, hidden = Attend("sdpa"), torch.randn(1, 5, 8)
    with attnreport.capture(model, gradients=True) as recording:
        model(hidden)
    assert recording.gradients == (None,)
    with torch.no_grad(), attnreport.capture(model, gradients=True) as recording:
        model(hidden)
    assert recording.gradients == (None,)


@pytest.mark.parametrize("extra", [{}, {"add_bias_kv": True, "add_zero_attn": True}])
def test_through_the_projection_of_torchs_own_layer(extra):
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(8, HEADS, batch_first=True, **extra)
    hidden = torch.randn(2, 5, 8)
    with attnreport.capture(layer, gradients=True, example=1) as recording:
        loss_of(layer(hidden, hidden, hidden, need_weights=False)[0]).backward()
    (attention,), (gradient,) = recording.run().attentions, recording.gradients
    # A small step along the gradient changes the loss by its square, to first order.
    assert gradient.shape == attention.weights.shape == (HEADS, 5, 5)
    query, key, value = (
        F.linear(hidden, w, b).unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        for w, b in zip(layer.in_proj_weight.chunk(3), layer.in_proj_bias.chunk(3), strict=True)
    )
    if extra:
        learned = layer.bias_k.view(1, 1, HEADS, WIDTH).transpose(1, 2).expand(2, -1, -1, -1)
        key = torch.cat([key, learned, torch.zeros_like(learned)], 2)
        learned = layer.bias_v.view(1, 1, HEADS, WIDTH).transpose(1, 2).expand(2, -1, -1, -1)
        value = torch.cat([value, learned, torch.zeros_like(learned)], 2)
    weights = (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)
    weights.retain_grad()
    loss_of(layer.out_proj((weights @ value).transpose(1, 2).flatten(2))).backward()
    expected = weights.grad[1, ..., :5].numpy()
    assert np.abs(gradient - expected).max() < 1e-4 * np.abs(expected).max()


def test_a_model_of_transformers_gives_what_its_eager_form_has():
    config = transformers.BertConfig(
        vocab_size=99,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
    )
    models = []
    for implementation in ("sdpa", "eager"):
        torch.manual_seed(0)
        models.append(
            transformers.BertModel._from_config(
                copy.deepcopy(config), attn_implementation=implementation
            ).eval()
        )
    fused, eager = models
    ids = torch.randint(3, 99, (1, 6))
    with attnreport.capture(fused, gradients=True) as recording:
        loss_of(fused(ids)[0]).backward()
    output = eager(ids, output_attentions=True)
    for weights in output.attentions:
        weights.retain_grad()
    loss_of(output[0]).backward()
    for gradient, weights in zip(recording.gradients, output.attentions, strict=True):
        expected = weights.grad[0].numpy()
        assert np.abs(gradient - expected).max() < 1e-3 * np.abs(expected).max()


class Changed(Attend):
    """What attention returned is changed in place, and goes on."""

    def forward(self, hidden):
        return super().forward(hidden).mul_(2).exp()


@pytest.mark.parametrize("model", [Attend("sdpa"), Attend("by hand"), Changed("by hand")])
def test_differentiate_finds_what_a_backward_finds_and_leaves_parameters_alone(model):
    hidden = torch.randn(1, 5, 8)
    with attnreport.capture(model, gradients=True) as recording:
        loss_of(model(hidden)).backward()
    expected = recording.gradients[0]
    model.zero_grad()
    with attnreport.capture(model, gradients=True) as recording:
        output = model(hidden)
        recording.differentiate(loss_of(output))
    assert np.array_equal(recording.gradients[0], expected)
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(InvalidInput, match="inside a block"):
        recording.differentiate(loss_of(output))


class Joined(Attend):
    def forward(self, hidden):
        return super().forward(hidden).transpose(1, 2).flatten(2)


def test_differentiate_goes_back_to_the_first_attention_and_no_further():
    before, passed = nn.Linear(8, 8), []
    model = nn.Sequential(before, Joined("sdpa"), Joined("sdpa"))
    before.weight.register_hook(passed.append)
    with attnreport.capture(model, gradients=True) as recording:
        recording.differentiate(loss_of(model(torch.randn(1, 5, 8))))
    assert len(recording.gradients) == 2
    assert all(np.abs(gradient).max() > 0 for gradient in recording.gradients)
    assert not passed


@pytest.mark.parametrize("value", [3.0, torch.ones(2, requires_grad=True), torch.ones(())])
def test_differentiate_refuses_what_is_no_number_of_the_model(value):
    model = Attend("sdpa")
    with attnreport.capture(model, gradients=True) as recording:
        model(torch.randn(1, 5, 8))
        with pytest.raises(InvalidInput, match="one element that depends on the model"):
            recording.differentiate(value)


def test_differentiate_needs_gradients():
    model = Attend("sdpa")
    with attnreport.capture(model) as recording:
        output = model(torch.randn(1, 5, 8))
        with pytest.raises(InvalidInput, match="gradients=True"):
            recording.differentiate(output.sum())
