"""Two sequences that went through a model as one batch, and look at each other afterwards."""

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

WIDTH, HEADS, EACH, LENGTH = 16, 2, 8, 5


def fused(query, key, value):
    return F.scaled_dot_product_attention(query, key, value)


def by_products(query, key, value):
    scores = query @ key.transpose(-1, -2) / math.sqrt(EACH)
    return scores.softmax(dim=-1) @ value


def by_einsum(query, key, value):
    scores = torch.einsum("bhqd,bhkd->bhqk", query, key) / math.sqrt(EACH)
    return torch.einsum("bhqk,bhkd->bhqd", scores.softmax(dim=-1), value)


class Attending(nn.Module):
    def __init__(self, attend):
        super().__init__()
        self.attend = attend
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, asking, answering):
        heads = (
            project(x).unflatten(-1, (HEADS, EACH)).transpose(1, 2)
            for project, x in (
                (self.query, asking),
                (self.key, answering),
                (self.value, answering),
            )
        )
        return self.attend(*heads).transpose(1, 2).flatten(2)


class Whole(nn.MultiheadAttention):
    def __init__(self):
        super().__init__(WIDTH, HEADS, batch_first=True)

    def forward(self, asking, answering):
        return super().forward(asking, answering, answering, need_weights=False)[0]


ATTENDING = {
    "sdpa": lambda: Attending(fused),
    "products": lambda: Attending(by_products),
    "einsum": lambda: Attending(by_einsum),
    "nn.MultiheadAttention": Whole,
}


def chunked(both):
    return both.chunk(2)


def selected(both):
    pairs = both.unflatten(0, (2, -1))
    return pairs[0], pairs[1]


def selected_apart(both):
    return both.unflatten(0, (2, -1))[0], both.reshape(2, -1, *both.shape[1:])[1]


class Pair(nn.Module):
    """Encode two pictures as one batch, then let each look at itself and at the other."""

    def __init__(self, make, take):
        super().__init__()
        torch.manual_seed(0)
        self.take = take
        self.encoder = make()
        self.norm = nn.LayerNorm(WIDTH)
        self.own = nn.ModuleList(make() for _ in range(2))
        self.other = nn.ModuleList(make() for _ in range(2))

    def forward(self, first, second):
        both = torch.cat([first, second])
        first, second = self.take(both + self.encoder(both, both))
        for own, other in zip(self.own, self.other, strict=True):
            first = first + own(self.norm(first), self.norm(first))
            first = first + other(self.norm(first), self.norm(second))
            second = second + other(self.norm(second), self.norm(first))
        return first, second


@pytest.mark.parametrize("take", [chunked, selected, selected_apart])
@pytest.mark.parametrize("make", ATTENDING.values(), ids=ATTENDING)
def test_two_examples_that_look_at_each_other_are_two_sequences(make, take):
    model = Pair(make, take).eval()
    with torch.no_grad():
        run, _ = reference.record(model, *torch.randn(2, 1, LENGTH, WIDTH))
    kinds = [(each.name.split(".")[0], each.kind) for each in run.attentions]
    block = [("own", "self"), ("other", "cross"), ("other", "cross")]
    assert kinds == [("encoder", "self"), *block, *block]
    _, _, there, back, *_ = run.attentions
    assert there.queries is back.keys
    assert there.keys is back.queries
    assert there.queries is not there.keys
    apart = ["as two sequences" in entry.reason for entry in run.ledger]
    assert apart == [kind == "cross" for _, kind in kinds]
    # The same parts later are the same sequences.
    assert run.attentions[5].queries is there.queries
    assert run.attentions[5].keys is there.keys


def test_their_weights_are_those_of_the_formula():
    model = Pair(ATTENDING["sdpa"], chunked).eval()
    seen = []
    model.other[0].register_forward_pre_hook(lambda module, args: seen.append(args))
    with torch.no_grad():
        run, _ = reference.record(model, *torch.randn(2, 1, LENGTH, WIDTH))
        for attention, (asking, answering) in zip(run.attentions[2:4], seen[-2:], strict=True):
            query, key = (
                project(x)[0].unflatten(-1, (HEADS, EACH)).transpose(0, 1)
                for project, x in ((model.other[0].query, asking), (model.other[0].key, answering))
            )
            expected = reference.weights_of(query, key)
            assert np.abs(attention.weights - expected).max() < 2e-6


class Alike(nn.Module):
    """Attend within one sequence, whatever is cut on the way."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way = way
        self.mixed = nn.Linear(WIDTH, 3 * WIDTH)
        self.parts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, hidden):
        query, key, value = self.way(self, hidden)
        heads = (x.unflatten(-1, (HEADS, EACH)).transpose(-2, -3) for x in (query, key, value))
        return F.scaled_dot_product_attention(*heads)


def unbound(model, hidden):
    return model.mixed(hidden).unflatten(-1, (3, WIDTH)).permute(2, 0, 1, 3).unbind(0)


def first_example_twice(model, hidden):
    return (part(hidden[:1]) for part in model.parts)


def one_example_from_two_cuts(model, hidden):
    pairs = hidden.unflatten(0, (-1, 2))
    return (
        part(x) for part, x in zip(model.parts, (pairs[:, 0], hidden[:1], hidden[:1]), strict=True)
    )


def pooled_keys(model, hidden):
    pooled = F.avg_pool1d(hidden.transpose(1, 2), 2).transpose(1, 2)
    return (part(x) for part, x in zip(model.parts, (hidden, pooled, pooled), strict=True))


def channels_in_groups(model, hidden):
    # Query and key of different channels are of the same positions.
    wide = torch.cat([hidden, hidden * 2], dim=-1)
    first, second = wide.chunk(2, dim=-1)
    return (part(x) for part, x in zip(model.parts, (first, second, second), strict=True))


@pytest.mark.parametrize(
    "way",
    [unbound, first_example_twice, one_example_from_two_cuts, pooled_keys, channels_in_groups],
)
def test_one_sequence_stays_one(way):
    model = Alike(way).eval()
    with torch.no_grad():
        run, _ = reference.record(model, torch.randn(2, 6, WIDTH))
    (attention,) = run.attentions
    assert attention.kind == "self"
