"""From a text to the maps, against a float64 model with its weights in the graph.

The model here is an encoder–decoder with self, causal and cross attention. The reference computes
it anew with explicit softmax weights, lets autograd differentiate at these, and writes the
equations of Chefer et al. 2021 out for just these layers.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport import Axis, Call, Position
from attnreport.build import capture_run
from attnreport.measures import joined_maps
from attnreport.sources import Request

WORDS = ("to", "be", "or", "not")
HEADS, WIDTH, VOCABULARY = 2, 8, 5


class Block(nn.Module):
    """Attention of one sequence to another, added to the first."""

    def __init__(self, *, causal: bool = False):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.causal = causal

    def heads(self, x, y):
        """Queries of ``x``, keys and values of ``y``, each (batch, head, position, width)."""
        pairs = ((self.query, x), (self.key, y), (self.value, y))
        return [
            project(z).unflatten(-1, (HEADS, WIDTH // HEADS)).transpose(1, 2)
            for project, z in pairs
        ]

    def forward(self, x, y):
        mixed = F.scaled_dot_product_attention(*self.heads(x, y), is_causal=self.causal)
        return x + self.out(mixed.transpose(1, 2).flatten(2))

    def by_hand(self, x, y, weights):
        """The same with its weights in the graph, kept in ``weights`` for their gradient."""
        query, key, value = self.heads(x, y)
        scores = query @ key.mT / math.sqrt(WIDTH // HEADS)
        if self.causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        found = scores.softmax(-1)
        found.retain_grad()
        weights.append(found)
        return x + self.out((found @ value).transpose(1, 2).flatten(2))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = (nn.Embedding(VOCABULARY, WIDTH) for _ in range(2))
        self.encoder = nn.ModuleList(Block() for _ in range(2))
        self.decoder = nn.ModuleList(Block(causal=place in {0, 2}) for place in range(4))
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, source, target, weights=None):
        def ran(block, x, y):
            return block(x, y) if weights is None else block.by_hand(x, y, weights)

        x, y = self.source(source), self.target(target)
        for block in self.encoder:
            x = ran(block, x, x)
        for block in self.decoder:
            y = ran(block, y, y if block.causal else x)
        return self.head(torch.tanh(y))


def make():
    torch.manual_seed(3)
    return Translator()


def ids_of(text):
    return torch.tensor([[WORDS.index(word) for word in text.split()]])


def prepare(text, *, target):
    source, written = ids_of(text), ids_of(target)
    begun = torch.cat((torch.tensor([[len(WORDS)]]), written[:, :-1]), dim=1)
    axes = tuple(
        (ids, Axis(name, tuple(Position(str(each)) for each in ids[0].tolist())))
        for name, ids in (("source", source), ("target", begun))
    )
    return Call(
        (source, begun),
        axes=axes,
        token_ids=lambda word: [WORDS.index(word)],
        written=tuple(written[0].tolist()),
    )


TEXT, TARGET = "to be or not to", "be not to"


@pytest.fixture(scope="module")
def run():
    request = Request(f"{__file__}:make", TEXT, target=TARGET, target_token="not")  # noqa: S106
    return capture_run(request)


@pytest.fixture(scope="module")
def reference():
    """Weights and their gradients, float64 (head, query, key), in the order of the layers."""
    model, weights = make().double().eval(), []
    call = prepare(TEXT, target=TARGET)
    model(*call.args, weights)[0, 1, WORDS.index("not")].backward()
    return [
        (
            each.detach()[0].numpy(),
            np.zeros(each.shape[1:]) if each.grad is None else each.grad[0].numpy(),
        )
        for each in weights
    ]


def test_gradients_are_those_at_explicit_weights(run, reference):
    assert run.target == "the logit of token 3 at position 1 (“1”)"
    for attention, (weights, gradient) in zip(run.attentions, reference, strict=True):
        np.testing.assert_allclose(attention.weights, weights, atol=1e-6)
        np.testing.assert_allclose(attention.gradient, gradient, atol=1e-6)
        assert np.abs(gradient).max() > 1e-3


def fused(weights, gradient):
    return (weights * gradient).clip(min=0).mean(axis=0)


def barred(matrix):
    hat = matrix - np.eye(len(matrix))
    total = hat.sum(axis=1, keepdims=True)
    return hat / np.where(total == 0, 1, total) + np.eye(len(matrix))


def test_relevance_is_that_of_the_papers_equations(run, reference):
    shares = [fused(*each) for each in reference]
    source, target = np.eye(len(TEXT.split())), np.eye(len(TARGET.split()))
    mixed = np.zeros((len(target), len(source)))
    for share in shares[:2]:
        source = source + share @ source  # eq. 6
    for own, other in (shares[2:4], shares[4:6]):
        target, mixed = target + own @ target, mixed + own @ mixed  # eq. 6 and 7
        mixed = mixed + barred(target).T @ other @ barred(source)  # eq. 10
    maps = {
        (each.queries.name, each.keys.name): each.values[0]
        for each in joined_maps(run)
        if each.name == "relevance"
    }
    np.testing.assert_allclose(
        maps["target", "target"], target - np.eye(len(target)), rtol=0, atol=1e-6
    )
    np.testing.assert_allclose(maps["target", "source"], mixed, rtol=0, atol=1e-6)
    assert mixed.max() > 1e-3


def test_gradient_times_attention_of_every_layer(run, reference):
    maps = [each for each in joined_maps(run) if each.name == "gradient_attention"]
    found = {
        layer: part for each in maps for layer, part in zip(each.variants, each.values, strict=True)
    }
    for layer, each in enumerate(reference):
        np.testing.assert_allclose(found[str(layer)], fused(*each), rtol=0, atol=1e-6)
