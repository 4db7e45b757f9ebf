"""Weights that no softmax makes, from a product of two sequences."""

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from projected import HEADS, LENGTH, Project, sequences
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport


def heads_of(*tensors):
    return [x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in tensors]


def scores_of(query, key):
    return query @ key.mT / math.sqrt(query.shape[-1])


def relu(scores):
    return F.relu(scores).clamp(max=LENGTH) / LENGTH


def squared_relu(scores):
    weights = F.relu(scores).square()
    return weights / (weights.sum(-1, keepdim=True) + 1e-6)


def sparsemax(scores):
    ordered, _ = scores.sort(-1, descending=True)
    sums = ordered.cumsum(-1)
    ranks = torch.arange(1, LENGTH + 1.0)
    count = (1 + ranks * ordered > sums).sum(-1, keepdim=True)
    return (scores - (sums.gather(-1, count - 1) - 1) / count).clamp(min=0)


def softplus(scores):
    weights = F.softplus(scores)
    return weights / weights.sum(-1, keepdim=True)


def in_length(scores):
    return F.normalize(scores.square(), p=1, dim=-1)


def to_a_power(scores):
    weights = torch.pow(math.e, scores)
    return weights / weights.sum(-1, keepdim=True)


def hard(scores):
    return F.one_hot(scores.argmax(-1), LENGTH).float()


def model_of(weigh, *, products=torch.matmul):
    def function(query, key, value):
        query, key, value = heads_of(query, key, value)
        return products(weigh(scores_of(query, key)), value)

    return Project(function)


def by_einsum(weights, value):
    return torch.einsum("bhqk,bhkd->bqhd", weights, value)


def values_first(weights, value):
    return value.mT @ weights.mT


WEIGHING = [relu, squared_relu, sparsemax, softplus, in_length, to_a_power, hard]


@pytest.mark.parametrize("weigh", WEIGHING)
@pytest.mark.parametrize("products", [torch.matmul, by_einsum, values_first])
def test_what_multiplies_the_values_is_shown(weigh, products):
    model, hidden = model_of(weigh, products=products), sequences()
    run, _ = reference.record(model, hidden, example=1)
    (attention,) = run.attentions
    query, key = (x[1].double() for x in heads_of(model.query(hidden), model.key(hidden)))
    expected = weigh(scores_of(query, key)).detach().numpy()
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    sums = expected.sum(-1)
    assert attention.normalised == bool((np.isclose(sums, 1, atol=1e-4) | (sums == 0)).all())
    assert "no softmax was followed" in run.ledger[0].reason
    assert attention.kind == "self"


def test_scores_that_are_no_shares_are_named():
    """Retention (Sun et al. 2023, https://arxiv.org/abs/2307.08621, equation 5)."""
    decay = (0.9 ** (torch.arange(LENGTH)[:, None] - torch.arange(LENGTH)).abs()).tril()
    model = model_of(lambda scores: scores * decay)
    with pytest.raises(attnreport.AttentionNotFound, match="multiply the values, no shares"):
        reference.record(model, sequences())


def test_keys_times_values_are_no_scores():
    def function(query, key, value):
        query, key, value = heads_of(query, key, value)
        return (F.elu(query) + 1) @ ((F.elu(key) + 1).mT @ value)

    with pytest.raises(attnreport.AttentionNotFound) as raised:
        reference.record(Project(function), sequences())
    assert "scores" not in str(raised.value)


def test_exponentials_that_nothing_divides_are_named():
    def function(query, key, value):
        query, key, value = heads_of(query, key, value)
        return scores_of(query, key).exp() @ value

    with pytest.raises(attnreport.AttentionNotFound, match="not divided by the sums"):
        reference.record(Project(function), sequences())


def test_a_sink_beside_the_sum_leaves_its_share():
    """Softmax off by one: exp / (1 + Σ exp), as ``add_zero_attn`` with values of zero."""

    def function(query, key, value):
        query, key, value = heads_of(query, key, value)
        scores = scores_of(query, key)
        highest = scores.amax(-1, keepdim=True).clamp(min=0)
        raised = (scores - highest).exp()
        return (raised / (torch.exp(-highest) + raised.sum(-1, keepdim=True))) @ value

    model, hidden = Project(function), sequences()
    run, _ = reference.record(model, hidden)
    query, key = (x[0].detach().double() for x in heads_of(model.query(hidden), model.key(hidden)))
    raised = scores_of(query, key).exp().numpy()
    expected = raised / (1 + raised.sum(-1, keepdims=True))
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6
    assert not run.attentions[0].normalised


def test_weights_that_multiply_nothing_are_named():
    """A pointer network (Vinyals et al. 2015, https://arxiv.org/abs/1506.03134) returns them."""
    model = Project(lambda query, key, value: scores_of(query, key).softmax(-1))
    with pytest.raises(attnreport.AttentionNotFound, match="multiplied no values"):
        reference.record(model, sequences())


def test_weights_of_some_pairs_only_are_named():
    def function(query, key, value):
        scores = scores_of(query[0], key[0]).tril().to_sparse()
        return torch.sparse.mm(torch.sparse.softmax(scores, 1), value[0])

    with pytest.raises(attnreport.AttentionNotFound, match="sparse softmax"):
        reference.record(Project(function), sequences())


def test_weights_written_to_their_places_are_shown():
    def function(query, key, value):
        scores = scores_of(*heads_of(query, key))
        highest, places = scores.topk(3, -1)
        weights = torch.zeros_like(scores).scatter_(-1, places, highest.softmax(-1))
        return weights @ heads_of(value)[0]

    model, hidden = Project(function), sequences()
    run, _ = reference.record(model, hidden, example=2)
    query, key = (x[2].detach().double() for x in heads_of(model.query(hidden), model.key(hidden)))
    scores = scores_of(query, key)
    kept = scores.masked_fill(scores < scores.topk(3, -1).values[..., -1:], -math.inf)
    assert np.abs(run.attentions[0].weights - kept.softmax(-1).numpy()).max() < 2e-6
    assert run.attentions[0].residual < 1e-5


def test_of_a_difference_of_two_softmaxes_each_is_said():
    """Differential attention (Ye et al. 2024, https://arxiv.org/abs/2410.05258, section 2.1)."""

    def function(query, key, value):
        weights = scores_of(query, key).softmax(-1) - 0.5 * scores_of(key, query).softmax(-1)
        return weights @ value

    model, hidden = Project(function), sequences()
    run, _ = reference.record(model, hidden)
    expected = reference.weights_of(model.query(hidden)[:1], model.key(hidden)[:1])
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6
    assert "sub changed them" in run.ledger[0].reason
    assert [entry.reason for entry in run.missed] == [
        "its result went into sub, with other weights"
    ]
