"""The same attention by every product that torch has, from sequences of floats."""

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from projected import BATCH, FEATURES, HEADS, LENGTH, WIDTH, Project, sequences
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport


def expected(model, hidden, heads=1):
    """Return the formula's weights of one example ``(position, width)``."""
    query, key = (
        part(hidden).unflatten(-1, (heads, -1)).transpose(0, 1) for part in (model.query, model.key)
    )
    return reference.weights_of(query, key)


def softmax(query, key):
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1)


def single(function):
    """Have a function of matrices called with one example after the other."""

    def every(query, key, value):
        return torch.stack([function(*each) for each in zip(query, key, value, strict=True)])

    every.__name__ = function.__name__
    return every


def mm(query, key, value):
    return torch.mm(torch.mm(query, key.t()).div(math.sqrt(FEATURES)).softmax(-1), value)


def transposed_mm(query, key, value):
    return (value.t().mm(softmax(query, key).t())).t()


def linear(query, key, value):
    return F.linear(F.linear(query, key).div(math.sqrt(FEATURES)).softmax(-1), value.T)


def inner(query, key, value):
    scores = torch.inner(query, key) / math.sqrt(FEATURES)
    return torch.inner(scores.softmax(-1), value.T)


def tensordot(query, key, value):
    scores = torch.tensordot(query, key, dims=([1], [1])) / math.sqrt(FEATURES)
    return torch.tensordot(scores.softmax(-1), value, dims=1)


def values_first(query, key, value):
    return torch.tensordot(value, softmax(query, key), dims=[[0], [1]]).T


def implicit_einsum(query, key, value):
    return torch.einsum("ij,jk", softmax(query, key), value)


def sublists(query, key, value):
    scores = torch.einsum(query, [0, 2], key, [1, 2], [0, 1]) / math.sqrt(FEATURES)
    return torch.einsum(scores.softmax(-1), [0, 1], value, [1, 2], [0, 2])


def addmm(query, key, value):
    return torch.addmm(torch.ones(FEATURES), softmax(query, key), value)


def aten_operators(query, key, value):
    scores = torch.ops.aten.mm(query, key.t()) / math.sqrt(FEATURES)
    return torch.ops.aten.mm(torch.ops.aten._softmax(scores, -1, False), value)


def by_name(query, key, value):
    scores = F.linear(input=query, weight=key) / math.sqrt(FEATURES)
    return torch.matmul(input=scores.softmax(-1), other=value)


def tensordot_by_name(query, key, value):
    return torch.tensordot(a=softmax(query, key), b=value, dims=1)


MATRICES = [
    by_name,
    tensordot_by_name,
    mm,
    transposed_mm,
    linear,
    inner,
    tensordot,
    values_first,
    implicit_einsum,
    sublists,
]
MATRICES += [addmm, aten_operators]


@pytest.mark.parametrize("function", MATRICES)
@pytest.mark.parametrize("example", [0, 2])
def test_one_example_after_the_other_is_the_one_that_was_asked_for(function, example):
    model, hidden = Project(single(function)), sequences()
    run, _ = reference.record(model, hidden, example=example)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected(model, hidden[example])).max() < 2e-6
    assert attention.residual < 1e-5
    assert attention.kind == "self"
    assert not run.missed


def one_head(query, key, value):
    return softmax(query, key) @ value


def one_head_bmm(query, key, value):
    return torch.bmm(value.mT, softmax(query, key).mT).mT


def one_head_sdpa(query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


def additive(query, key, value):
    return (query.unsqueeze(2) + key.unsqueeze(1)).tanh().sum(-1).softmax(-1) @ value


@pytest.mark.parametrize("function", [one_head, one_head_bmm, one_head_sdpa])
@pytest.mark.parametrize("example", [0, 2])
def test_examples_of_floats_are_not_taken_for_heads(function, example):
    model, hidden = Project(function), sequences()
    run, _ = reference.record(model, hidden, example=example)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected(model, hidden[example])).max() < 2e-6
    assert not run.ledger[0].reason


def test_examples_are_told_where_scores_are_sums():
    """Additive attention (Bahdanau et al. 2014, https://arxiv.org/abs/1409.0473, A.1.2)."""
    model, hidden = Project(additive), sequences()
    run, _ = reference.record(model, hidden, example=1)
    query, key = (part(hidden[1]).detach().double().numpy() for part in (model.query, model.key))
    scores = np.tanh(query[:, None] + key[None]).sum(-1)
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    assert run.attentions[0].weights.shape == (1, LENGTH, LENGTH)
    assert np.abs(run.attentions[0].weights[0] - weights).max() < 2e-6


def test_positions_may_come_before_examples():
    def function(query, key, value):
        heads = (
            x.reshape(LENGTH, BATCH * HEADS, WIDTH).transpose(0, 1) for x in (query, key, value)
        )
        query, key, value = heads
        return torch.bmm(softmax(query, key), value)

    model, hidden = Project(function), sequences().transpose(0, 1).contiguous()
    run, _ = reference.record(model, hidden, example=1)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected(model, hidden[:, 1], HEADS)).max() < 2e-6
    assert "came as one dimension" in run.ledger[0].reason


class Led(nn.Module):
    """Attend with one head to what a first module makes of the sequence."""

    def __init__(self, before):
        super().__init__()
        torch.manual_seed(0)
        self.before = before()
        self.parts = nn.Parameter(torch.randn(3, FEATURES, FEATURES))

    def forward(self, hidden):
        query, key, value = (self.before(hidden) @ part for part in self.parts)
        return softmax(query, key) @ value


class Convolved(nn.Conv1d):
    def __init__(self):
        super().__init__(FEATURES, FEATURES, 3, padding=1)

    def forward(self, hidden):
        return super().forward(hidden.mT).mT


class WithClass(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, FEATURES))

    def forward(self, hidden):
        return torch.cat([self.token.expand(len(hidden), -1, -1), hidden], dim=1)


class Recurrent(nn.GRU):
    def __init__(self):
        super().__init__(FEATURES, FEATURES, batch_first=True)

    def forward(self, hidden):
        return super().forward(hidden)[0]


@pytest.mark.parametrize("before", [nn.Identity, Convolved, WithClass, Recurrent])
@pytest.mark.parametrize("example", [0, 2])
def test_examples_are_told_behind_whatever_comes_first(before, example):
    model, hidden = Led(before).eval(), sequences()
    run, _ = reference.record(model, hidden, example=example)
    (attention,) = run.attentions
    query, key = (model.before(hidden)[example] @ part for part in model.parts[:2])
    assert np.abs(attention.weights - reference.weights_of(query[None], key[None])).max() < 2e-6


class Learned(nn.Module):
    """Learned queries (Lee et al. 2019, Set Transformer, https://arxiv.org/abs/1810.00825)."""

    def __init__(self, *, fused):
        super().__init__()
        self.asked, self.fused = nn.Parameter(torch.randn(1, 3, FEATURES)), fused
        self.query, self.key, self.value = (nn.Linear(FEATURES, FEATURES) for _ in range(3))

    def forward(self, hidden):
        query = self.query(self.asked.expand(len(hidden), -1, -1))
        key, value = self.key(hidden), self.value(hidden)
        if self.fused:
            return F.scaled_dot_product_attention(query, key, value)
        return softmax(query, key) @ value


@pytest.mark.parametrize("fused", [False, True])
def test_examples_are_told_by_the_keys_where_queries_are_learned(fused):
    model, hidden = Learned(fused=fused), sequences()
    run, _ = reference.record(model, hidden, example=2)
    (attention,) = run.attentions
    expected = reference.weights_of(model.query(model.asked), model.key(hidden[2:]))
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.kind == "cross"


class OverPixels(nn.Module):
    """A non-local block (Wang et al. 2018, https://arxiv.org/abs/1711.07971, section 3.2)."""

    def __init__(self, rank):
        super().__init__()
        convolution = nn.Conv1d if rank == 3 else nn.Conv2d
        self.query, self.key, self.value = (convolution(FEATURES, FEATURES, 1) for _ in range(3))

    def forward(self, hidden):
        query, key, value = (part(hidden).flatten(2) for part in (self.query, self.key, self.value))
        return value @ (query.mT @ key).softmax(-1).mT


@pytest.mark.parametrize("shape", [(LENGTH,), (4, 5)])
def test_positions_may_come_after_the_features(shape):
    torch.manual_seed(0)
    model, hidden = OverPixels(len(shape) + 2), torch.randn(BATCH, FEATURES, *shape)
    run, _ = reference.record(model, hidden, example=1)
    (attention,) = run.attentions
    query, key = (part(hidden)[1].flatten(1).T[None] for part in (model.query, model.key))
    assert np.abs(attention.weights - reference.weights_of(query, key, scale=1)).max() < 2e-6


@pytest.mark.parametrize("function", [one_head, single(mm)])
def test_an_example_of_floats_that_is_not_there_is_said(function):
    model = Project(function)
    with attnreport.capture(model, example=BATCH) as recording:
        model(sequences())
    with pytest.raises(attnreport.AttentionNotFound, match="the batch has 3"):
        recording.run()


def test_chunks_of_queries_are_one_attention():
    def function(query, key, value):
        split = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (query, key, value))
        query, key, value = split
        return torch.cat([softmax(part, key) @ value for part in query.chunk(3, 2)], 2)

    model, hidden = Project(function), sequences()
    run, _ = reference.record(model, hidden, example=1)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected(model, hidden[1], HEADS)).max() < 2e-6


def vector(query, key, value):
    return value.T.mv((key.mv(query[0]) / math.sqrt(FEATURES)).softmax(0))


def vector_first(query, key, value):
    return (key @ query[0] / math.sqrt(FEATURES)).softmax(0) @ value


def vector_einsum(query, key, value):
    scores = torch.einsum("kd,d->k", key, query[0]) / math.sqrt(FEATURES)
    return torch.einsum("k,kd->d", scores.softmax(0), value)


@pytest.mark.parametrize("function", [vector, vector_first, vector_einsum])
def test_a_query_without_a_dimension_is_one_row(function):
    model, hidden = Project(single(function)), sequences()
    run, _ = reference.record(model, hidden, example=1)
    (attention,) = run.attentions
    assert attention.weights.shape == (1, 1, LENGTH)
    assert np.abs(attention.weights - expected(model, hidden[1])[:, :1]).max() < 2e-6
    assert attention.residual < 1e-5


class Pooling(nn.Module):
    """Weigh the positions of a sequence by a learned query."""

    def __init__(self, *, product):
        super().__init__()
        self.value, self.score = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, 1)
        self.product = product

    def forward(self, hidden):
        values = self.value(hidden)
        weights = self.score(values).softmax(1)
        return weights.mT @ values if self.product else (weights * values).sum(1)


@pytest.mark.parametrize("product", [False, True])
def test_positions_of_floats_are_pooled_by_a_learned_query(product):
    model, hidden = Pooling(product=product), sequences()
    run, _ = reference.record(model, hidden, example=1)
    (attention,) = run.attentions
    scores = model.score(model.value(hidden[1])).detach().double().numpy()
    assert attention.weights.shape == (1, 1, LENGTH)
    assert (
        np.abs(attention.weights[0, 0] - (np.exp(scores) / np.exp(scores).sum())[:, 0]).max() < 2e-6
    )


class Experts(nn.Module):
    """Weigh what experts say at each position, in the shapes of a pooling."""

    def __init__(self):
        super().__init__()
        self.router, self.experts = nn.Linear(FEATURES, 5), nn.Linear(FEATURES, 5 * FEATURES)

    def forward(self, hidden):
        said = self.experts(hidden[0]).unflatten(-1, (5, FEATURES))
        weights = self.router(hidden[0]).softmax(-1)
        return torch.einsum("te,ted->td", weights, said) + (weights[..., None] * said).sum(1)


def test_experts_at_a_position_are_no_positions():
    model = Experts()
    with attnreport.capture(model) as recording:
        model(sequences())
    with pytest.raises(attnreport.AttentionNotFound):
        recording.run()
