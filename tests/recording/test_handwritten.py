import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

HEADS, LENGTH, KEYS, WIDTH = 3, 5, 7, 4


def operands(dtype=torch.float32):
    torch.manual_seed(3)
    query = torch.randn(2, HEADS, LENGTH, WIDTH, dtype=dtype)
    key, value = torch.randn(2, 2, HEADS, KEYS, WIDTH, dtype=dtype)
    return query, key, value


def softmax(query, key):
    return (query @ key.mT / math.sqrt(WIDTH)).softmax(-1)


def merged(query, key, value):
    query, key, value = (x.reshape(-1, *x.shape[-2:]) for x in (query, key, value))
    weights = torch.bmm(query, key.mT).div(math.sqrt(WIDTH)).softmax(-1)
    return torch.bmm(weights.view(2, HEADS, LENGTH, KEYS).view(-1, LENGTH, KEYS), value)


def transposed(query, key, value):
    return value.mT @ softmax(query, key).mT


def by_einsum(query, key, value):
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(WIDTH)
    return torch.einsum("bhqk,bhkd->bqhd", F.softmax(scores, dim=-1), value)


def by_einsum_keys_first(query, key, value):
    scores = torch.einsum("bhkd,bhqd->kqbh", key, query) / math.sqrt(WIDTH)
    return torch.einsum("kqbh,bhkd->qbhd", F.softmax(scores, dim=0), value)


def by_einsum_with_ellipsis(query, key, value):
    return torch.einsum("...qk,...kd->...qd", softmax(query, key), value)


def by_einsum_values_first(query, key, value):
    return torch.einsum("bhkd,bhqk->bhqd", value, softmax(query, key))


def by_baddbmm(query, key, value):
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    scores = torch.baddbmm(
        torch.zeros(2 * HEADS, LENGTH, KEYS), query, key.mT, alpha=1 / math.sqrt(WIDTH)
    )
    return torch.baddbmm(torch.ones(2 * HEADS, LENGTH, WIDTH), scores.softmax(-1), value)


def cast_and_back(query, key, value):
    return softmax(query, key).double().to(value.dtype) @ value


def through_views(query, key, value):
    weights = softmax(query, key).unsqueeze(0).permute(0, 1, 3, 2, 4).contiguous()
    return weights.transpose(2, 3).squeeze(0).clone() @ value


def module_softmax(query, key, value):
    return nn.Softmax(dim=-1)(query @ key.mT / math.sqrt(WIDTH)) @ value


def scores_of(query, key):
    return query @ key.mT / math.sqrt(WIDTH)


def exp_and_sum(query, key, value):
    raised = torch.exp(scores_of(query, key))
    return (raised / raised.sum(-1, keepdim=True)) @ value


def exp_and_sum_in_place(query, key, value):
    raised = scores_of(query, key)
    raised -= raised.amax(-1, keepdim=True)
    raised.exp_()
    raised /= raised.sum(dim=-1, keepdim=True) + 1e-12
    return raised @ value


def divided_after_the_product(query, key, value):
    raised = torch.exp(scores_of(query, key))
    return (raised @ value) / raised.sum(-1, keepdim=True)


def divided_later_in_another_shape(query, key, value):
    raised = torch.exp(scores_of(query, key))
    return (raised @ value) / raised.sum(-1).unsqueeze(-1)


def by_log_softmax(query, key, value):
    return F.log_softmax(scores_of(query, key), dim=-1).exp() @ value


def by_logsumexp(query, key, value):
    scores = scores_of(query, key)
    return torch.exp(scores - scores.logsumexp(-1, keepdim=True)) @ value


def product_and_sum(query, key, value):
    return (softmax(query, key)[..., None] * value[:, :, None]).sum(dim=-2)


def product_and_sum_values_first(query, key, value):
    return torch.sum(value.unsqueeze(2) * softmax(query, key).unsqueeze(-1), 3, keepdim=True)


def into_a_buffer(query, key, value):
    buffer = torch.zeros(2, HEADS, LENGTH, KEYS)
    buffer[:] = softmax(query, key)
    return buffer @ value


ORDINARY = [
    exp_and_sum,
    exp_and_sum_in_place,
    divided_after_the_product,
    divided_later_in_another_shape,
    by_log_softmax,
    by_logsumexp,
    product_and_sum,
    product_and_sum_values_first,
    into_a_buffer,
    lambda query, key, value: softmax(query, key) @ value,
    lambda query, key, value: torch.matmul(softmax(query, key), value),
    transposed,
    by_einsum,
    by_einsum_keys_first,
    by_einsum_with_ellipsis,
    by_einsum_values_first,
    cast_and_back,
    through_views,
    module_softmax,
]


@pytest.mark.parametrize("function", ORDINARY)
@pytest.mark.parametrize("example", [0, 1])
def test_weights_are_those_that_multiplied_the_values(function, example):
    query, key, value = operands()
    run, _ = reference.record(function, query, key, value, example=example)
    (attention,) = run.attentions
    expected = reference.weights_of(query[example], key[example])
    assert attention.weights.shape == (HEADS, LENGTH, KEYS)
    assert np.abs(attention.weights - expected).max() < 1e-6
    assert attention.residual < 1e-5
    assert attention.normalised


@pytest.mark.parametrize("function", [merged, by_baddbmm])
def test_batch_and_heads_in_one_dimension_are_split_by_the_input(function):
    ids, table = torch.randint(0, 9, (2, KEYS)), torch.randn(9, HEADS * WIDTH)

    def model(ids):
        heads = F.embedding(ids, table).view(2, KEYS, HEADS, WIDTH).transpose(1, 2)
        return function(heads[:, :, :LENGTH], heads, heads)

    run, _ = reference.record(model, ids, example=1)
    heads = table[ids[1]].view(KEYS, HEADS, WIDTH).transpose(0, 1)
    (attention,) = run.attentions
    expected = reference.weights_of(heads[:, :LENGTH], heads)
    assert np.abs(attention.weights - expected).max() < 1e-6
    assert attention.residual < 1e-5
    assert "came as one dimension" in run.ledger[0].reason


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(dtype):
    query, key, value = operands(dtype)
    run, _ = reference.record(lambda q, k, v: softmax(q, k) @ v, query, key, value)
    (attention,) = run.attentions
    exact = (query[0] @ key[0].mT / math.sqrt(WIDTH)).softmax(-1)
    assert np.array_equal(attention.weights, exact.float().numpy())
    assert attention.dtype == str(dtype).removeprefix("torch.")
    assert attention.checked


def test_dropout_shows_the_weights_before_it():
    query, key, value = operands()

    def function(query, key, value):
        weights = F.dropout(softmax(query, key), 0.5, training=True)
        return weights.view(2, HEADS, LENGTH, KEYS).masked_fill(weights > 2, 0.0) @ value

    run, _ = reference.record(function, query, key, value)
    (attention,) = run.attentions
    assert np.abs(attention.weights - reference.weights_of(query[0], key[0])).max() < 1e-6
    assert attention.residual is None
    assert "before dropout 0.5" in run.ledger[0].reason


def test_dropout_in_place_shows_the_weights_before_it_too():
    def function(query, key, value):
        return F.dropout(softmax(query, key), 0.5, training=True, inplace=True) @ value

    query, key, value = operands()
    run, _ = reference.record(function, query, key, value)
    (attention,) = run.attentions
    assert np.abs(attention.weights - reference.weights_of(query[0], key[0])).max() < 1e-6


def test_changed_in_place_is_lost_and_said():
    def function(query, key, value):
        return softmax(query, key).add_(1) @ value + softmax(query, key) @ value

    run, _ = reference.record(function, *operands())
    assert len(run.attentions) == 1
    assert [entry.reason for entry in run.missed] == [
        "its result went into add_, which wrote over it"
    ]


def test_a_mask_after_the_softmax_counts():
    keep = (torch.arange(KEYS) != 3).float()

    def function(query, key, value):
        return (softmax(query, key) * keep) @ value

    query, key, value = operands()
    run, _ = reference.record(function, query, key, value)
    (attention,) = run.attentions
    expected = reference.weights_of(query[0], key[0]) * keep.numpy()
    assert np.abs(attention.weights - expected).max() < 1e-6
    assert attention.residual < 1e-5
    assert not attention.normalised


def test_a_learned_sink_keeps_its_share():
    sinks = torch.randn(HEADS)

    def function(query, key, value):
        scores = query @ key.mT / math.sqrt(WIDTH)
        column = sinks.view(1, HEADS, 1, 1).expand(2, HEADS, LENGTH, 1)
        return torch.cat([scores, column], dim=-1).softmax(-1)[..., :-1] @ value

    query, key, value = operands()
    run, _ = reference.record(function, query, key, value)
    (attention,) = run.attentions
    scores = query[0].double() @ key[0].double().mT / math.sqrt(WIDTH)
    total = scores.exp().sum(-1) + sinks.double().exp()[:, None]
    assert np.abs(attention.weights - (scores.exp() / total[..., None]).numpy()).max() < 1e-6
    expected_sink = sinks.double().exp()[:, None] / total
    assert np.abs(attention.sink - expected_sink.numpy()).max() < 1e-6
    assert attention.residual < 1e-5


def test_talking_heads_show_the_softmax_before_the_mixing():
    mixing = torch.randn(HEADS, HEADS)

    def function(query, key, value):
        weights = softmax(query, key).permute(0, 2, 3, 1)
        return F.linear(weights, mixing).permute(0, 3, 1, 2) @ value

    query, key, value = operands()
    run, _ = reference.record(function, query, key, value)
    (attention,) = run.attentions
    assert np.abs(attention.weights - reference.weights_of(query[0], key[0])).max() < 1e-6
    assert attention.residual is None
    assert "linear changed them" in run.ledger[0].reason


def test_a_share_of_two_softmaxes_is_what_multiplies_the_values():
    """Gated positional self-attention (ConViT, d'Ascoli et al. 2021, §3)."""
    places = torch.randn(1, HEADS, 5, 5)
    gating = torch.randn(1, HEADS, 1, 1)

    def attend(query, key, value):
        content, place = (query @ key.mT).softmax(-1), places.softmax(-1)
        weights = (1 - gating.sigmoid()) * content + gating.sigmoid() * place
        return (weights / weights.sum(-1, keepdim=True)) @ value

    query, key, value = (torch.randn(1, HEADS, 5, WIDTH) for _ in range(3))
    run, _ = reference.record(attend, query, key, value)
    content = reference.weights_of(query[0], key[0], scale=1)
    share = gating[0].double().sigmoid().numpy()
    expected = (1 - share) * content + share * places[0].double().softmax(-1).numpy()
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6
    assert run.attentions[0].residual < 1e-6
    assert "the sum of two softmaxes" in run.ledger[0].reason
    assert not run.missed


def test_scaled_beyond_one_shows_the_softmax_itself():
    query, key, value = operands()
    run, _ = reference.record(lambda q, k, v: (softmax(q, k) * 5) @ v, query, key, value)
    expected = reference.weights_of(query[0], key[0])
    assert np.abs(run.attentions[0].weights - expected).max() < 1e-6
    assert "changed them" in run.ledger[0].reason


def test_a_router_is_no_attention_and_is_in_the_ledger_where_it_could_be_one():
    query, key, value = operands()

    def function(query, key, value):
        softmax(query, key).topk(2)
        return softmax(query, key) @ value

    run, _ = reference.record(function, query, key, value)
    assert len(run.attentions) == 1
    assert [entry.reason for entry in run.missed] == ["its result went into topk"]


def test_a_product_with_a_parameter_is_no_attention():
    points = nn.Linear(KEYS, 1, bias=False)

    class Expectation(nn.Module):
        def __init__(self):
            super().__init__()
            self.points = points

        def forward(self, query, key, value):
            probabilities = softmax(query, key)
            return probabilities @ self.points.weight.mT, probabilities @ value

    run, _ = reference.record(Expectation(), *operands())
    assert len(run.attentions) == 1
    assert run.attentions[0].weights.shape == (HEADS, LENGTH, KEYS)


def test_one_query_pooling_its_batch():
    ids, table = torch.randint(0, 9, (2, KEYS)), torch.randn(9, WIDTH)
    scorer = torch.randn(WIDTH, 1)

    def pool(ids):
        hidden = F.embedding(ids, table)
        return (F.softmax(hidden @ scorer, dim=1) * hidden).sum(dim=1)

    run, _ = reference.record(pool, ids, example=1)
    (attention,) = run.attentions
    expected = reference.weights_of(scorer.T[None], table[ids[1]][None], scale=1)
    assert np.abs(attention.weights - expected).max() < 1e-6
    assert attention.residual < 1e-5


def test_a_mixture_of_experts_is_no_attention():
    router, experts = torch.randn(WIDTH, 3), torch.randn(3, WIDTH, WIDTH)

    def mixture(hidden):
        shares = F.softmax(hidden @ router, dim=-1)
        each = torch.einsum("td,edf->tef", hidden, experts)
        mixed = (shares[..., None] * each).sum(dim=1)
        return mixed + F.scaled_dot_product_attention(hidden, hidden, hidden)

    run, _ = reference.record(mixture, torch.randn(KEYS, WIDTH))
    assert [entry.call for entry in run.ledger if entry.captured] == [
        "scaled_dot_product_attention"
    ]


class SigmoidAttention(nn.Module):
    def forward(self, query, key, value):
        return torch.sigmoid(scores_of(query, key) - math.log(KEYS)) @ value


def test_sigmoid_attention_has_rows_of_any_sum():
    query, key, value = operands()
    run, _ = reference.record(SigmoidAttention(), query, key, value)
    (attention,) = run.attentions
    exact = torch.sigmoid(scores_of(query[0].double(), key[0].double()) - math.log(KEYS))
    assert np.abs(attention.weights - exact.numpy()).max() < 1e-6
    assert not attention.normalised
    assert attention.residual < 1e-5


def test_a_gate_is_no_attention():
    def gated(query, key, value):
        gates = torch.sigmoid(scores_of(query, key)) @ value
        return torch.sigmoid(gates) * (softmax(query, key) @ value)

    run, _ = reference.record(gated, *operands())
    assert len(run.attentions) == 1
    assert run.attentions[0].normalised
    assert ["not called attention" in entry.reason for entry in run.missed] == [True]
