"""A softmax that takes the keys some at a time, in the ways in which it is written by hand."""

from __future__ import annotations

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

HEADS, WIDTH, TOKENS = 4, 4, 7


def divided_in_the_end(query, parts):
    """Milakov & Gimelshein 2018, algorithm 3; FlashAttention-2, algorithm 1."""
    top = torch.full((*query.shape[:-1], 1), -math.inf)
    total, added = torch.zeros_like(top), torch.zeros_like(query)
    for key, value, mask in parts:
        scores = query @ key.mT / math.sqrt(WIDTH) + mask
        new = torch.maximum(top, scores.amax(-1, keepdim=True))
        raised, shrunk = torch.exp(scores - new), torch.exp(top - new)
        total = total * shrunk + raised.sum(-1, keepdim=True)
        added = added * shrunk + raised @ value
        top = new
    return added / total


def in_place(query, parts):
    top = torch.full((*query.shape[:-1], 1), -math.inf)
    total, added = torch.zeros_like(top), torch.zeros_like(query)
    for key, value, mask in parts:
        scores = query @ key.mT / math.sqrt(WIDTH) + mask
        new = torch.maximum(top, scores.amax(-1, keepdim=True))
        raised, shrunk = scores.sub_(new).exp_(), (top - new).exp_()
        total.mul_(shrunk).add_(raised.sum(-1, keepdim=True))
        added.mul_(shrunk).add_(raised @ value)
        top = new
    return added.div_(total)


def divided_at_every_step(query, parts):
    """FlashAttention, algorithm 1: what was added so far is always a mean."""
    top = torch.full((*query.shape[:-1], 1), -math.inf)
    total, mean = torch.zeros_like(top), torch.zeros_like(query)
    for key, value, mask in parts:
        scores = query @ key.mT / math.sqrt(WIDTH) + mask
        new = torch.maximum(top, scores.amax(-1, keepdim=True))
        raised = torch.exp(scores - new)
        now = torch.exp(top - new) * total + raised.sum(-1, keepdim=True)
        mean = (torch.exp(top - new) * total * mean + raised @ value) / now
        top, total = new, now
    return mean


def without_a_beginning(query, parts):
    """Powers of two, nothing to begin with, and the factor before what it scales."""
    added = total = top = None
    for key, value, mask in parts:
        scores = (query @ key.mT / math.sqrt(WIDTH) + mask) / math.log(2)
        new = scores.amax(-1, keepdim=True)
        new = new if top is None else torch.maximum(top, new)
        raised = torch.exp2(scores - new)
        product, own = raised @ value, raised.sum(-1, keepdim=True)
        if added is not None:
            shrunk = torch.exp2(top - new)
            product, own = product + shrunk * added, own + shrunk * total
        added, total, top = product, own, new
    return added / total


class Online(nn.Module):
    """Self-attention by one of these, in parts of so many keys."""

    def __init__(self, way, length, *, causal=False, backwards=False):
        super().__init__()
        torch.manual_seed(0)
        self.project, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.way, self.length, self.backwards = way, length, backwards
        mask = torch.full((TOKENS, TOKENS), -math.inf).triu(1)
        self.mask = mask if causal else torch.zeros(TOKENS, TOKENS)
        self.seen = None

    def forward(self, hidden):
        query, key, value = (
            x.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
            for x in self.project(hidden).chunk(3, -1)
        )
        self.seen = query, key
        splits = (x.split(self.length, dim=-2) for x in (key, value))
        parts = list(zip(*splits, self.mask.split(self.length, dim=-1), strict=True))
        mixed = self.way(query, parts[::-1] if self.backwards else parts)
        return hidden + self.out(mixed.transpose(1, 2).flatten(2))


WAYS = [divided_in_the_end, in_place, divided_at_every_step, without_a_beginning]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 3, TOKENS])
@pytest.mark.parametrize("way", WAYS)
def test_parts_are_put_together(way, length, causal):
    model, hidden = Online(way, length, causal=causal).eval(), torch.randn(2, TOKENS, 16)
    with torch.no_grad():
        run, _ = reference.record(
            model, hidden, example=1, values=True, axes=[(hidden, list("abcdefg"))]
        )
    (attention,) = run.attentions
    query, key = (x[1] for x in model.seen)
    expected = reference.weights_of(query, key, causal=causal)
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert attention.kind == "self"
    assert attention.queries.labels == attention.keys.labels == tuple("abcdefg")
    assert attention.value_norms.block is not None
    said = f"its keys came in {math.ceil(TOKENS / length)} parts"
    assert (said in run.ledger[0].reason) == (length < TOKENS)
    assert len(run.ledger) == 1


@pytest.mark.parametrize("way", WAYS)
def test_parts_that_come_backwards_lie_where_they_belong(way):
    model, hidden = Online(way, 2, backwards=True).eval(), torch.randn(1, TOKENS, 16)
    run, _ = reference.record(model, hidden)
    query, key = (x[0] for x in model.seen)
    assert np.abs(run.attentions[0].weights - reference.weights_of(query, key)).max() < 2e-6


def test_one_that_other_things_are_added_to_is_no_online_softmax():
    """A whole softmax, divided afterwards, that a residual and a second one are added to."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.first, self.second = (Online(divided_in_the_end, TOKENS) for _ in range(2))

        def forward(self, hidden):
            return self.first(hidden) + F.gelu(self.second(hidden)) * 0.5

    run, _ = reference.record(Two().eval(), torch.randn(1, TOKENS, 16))
    assert [each.name for each in run.attentions] == ["first", "second"]
