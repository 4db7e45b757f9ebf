"""Attention whose keys are channels, not positions, is told apart and says so."""

from __future__ import annotations

import attention_reference as reference
import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.measures.maps import rollout_maps

HEADS, WIDTH = 2, 8


class Covariance(nn.Module):
    """Cross-covariance attention (El-Nouby et al. 2021, §3.1), in one of several hands."""

    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH)
        self.convolve = nn.Conv2d(HEADS * WIDTH, 3 * HEADS * WIDTH, 1)
        self.way = way
        self.seen = None

    def forward(self, hidden):
        # (batch, head, channel, position)
        if self.way == "convolution":
            rows = self.convolve(hidden.transpose(1, 2).unflatten(-1, (1, -1))).flatten(2)
            query, key, value = (x.unflatten(1, (HEADS, WIDTH)) for x in rows.chunk(3, 1))
        else:
            parts = self.project(hidden).unflatten(-1, (3, HEADS, WIDTH))
            query, key, value = parts.permute(2, 0, 3, 4, 1).unbind(0)
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        self.seen = query[0], key[0]
        if self.way == "sdpa":
            mixed = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        elif self.way == "turned":
            weights = (query @ key.mT).softmax(-1)
            mixed = (value.mT @ weights.mT).mT
        else:
            mixed = (query @ key.mT).softmax(-1) @ value
        return mixed.flatten(1, 2).mT


WAYS = ["product", "sdpa", "turned", "convolution"]


class BothWays(nn.Module):
    """Two sequences that look at each other by one product (Grounding DINO, Liu et al. 2023)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.query, self.key = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, hidden, other):
        hidden = self.enter(hidden)
        scores = self.query(hidden) @ self.key(other).mT
        back = scores.mT
        back = back - back.max(dim=-1, keepdim=True)[0]
        return scores.softmax(-1) @ other, back.softmax(-1) @ hidden


def test_scores_the_other_way_round_are_no_features():
    model, hidden, other = BothWays(), torch.randn(1, 20, WIDTH), torch.randn(1, 5, WIDTH)
    axes = [(hidden, [f"h{n}" for n in range(20)]), (other, [*"abcde"])]
    run, _ = reference.record(model, hidden, other, axes=axes)
    assert [each.weights.shape for each in run.attentions] == [(1, 20, 5), (1, 5, 20)]
    assert not run.missed


@pytest.mark.parametrize("tokens", [5, 20])
@pytest.mark.parametrize("way", WAYS)
def test_channels_are_called_so(way, tokens, tmp_path):
    model, hidden = Covariance(way).eval(), torch.randn(1, tokens, HEADS * WIDTH)
    run, _ = reference.record(model, hidden, axes=[(hidden, [f"t{n}" for n in range(tokens)])])
    (attention,) = run.attentions
    expected = reference.weights_of(*model.seen, scale=1.0)
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.kind == "channels"
    assert attention.queries == attention.keys
    assert attention.keys.labels == tuple(f"channel {place}" for place in range(WIDTH))
    assert "channels of each head, not positions" in run.ledger[0].reason
    run.save(tmp_path / "run.safetensors")
    assert attnreport.Run.load(tmp_path / "run.safetensors").attentions[0].kind == "channels"


@pytest.mark.parametrize("tokens", [2, 5, WIDTH, 20])
def test_positions_stay_positions(tokens):
    """The same sizes the other way round: queries and keys of so many tokens."""

    class Ordinary(Covariance):
        def forward(self, hidden):
            parts = self.project(hidden).unflatten(-1, (3, HEADS, WIDTH))
            query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
            return ((query @ key.mT).softmax(-1) @ value).transpose(1, 2).flatten(2)

    run, _ = reference.record(Ordinary("").eval(), torch.randn(1, tokens, HEADS * WIDTH))
    assert run.attentions[0].kind == "self"


def test_no_neighbours_no_rollout_and_a_page():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = Covariance("product"), Covariance("product")

        def forward(self, hidden):
            return self.second(self.first(hidden))

    run, _ = reference.record(Two().eval(), torch.randn(1, 5, HEADS * WIDTH))
    assert np.isnan(run.measure("previous_token").array).all()
    assert np.isfinite(run.measure("entropy").array).all()
    assert not rollout_maps(run)
    assert "channels looks at channels" in attnreport.Report(run).html()


def test_xcit_of_timm():
    model = timm.create_model("xcit_nano_12_p16_224", depth=2).eval()
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(torch.randn(1, 3, 224, 224))
    kinds = [attention.kind for attention in recording.run().attentions]
    # Two layers over channels, then the class token's over patches.
    assert kinds == ["channels", "channels", "self", "self"]
