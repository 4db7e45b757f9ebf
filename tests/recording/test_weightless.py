"""Layers that have no matrix of weights are named in the ledger, with what they are instead."""

import numpy as np
import pytest
import torch
import transformers
from timm.models import volo
from torch import nn
from transformers.models.rt_detr_v2 import modeling_rt_detr_v2

import attnreport

WIDTH = 8


class Recurrence(nn.Module):
    """Be a state-space layer with one scalar decay, under the name that such layers have."""

    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden):
        state, states = 0, []
        for step in self.enter(hidden).unbind(1):
            state = 0.9 * state + step
            states.append(state)
        return self.leave(torch.stack(states, 1))


class TinyMambaMixer(Recurrence):
    """Be called what transformers calls them."""


class GatedDeltaNet(Recurrence):
    """Be called what the literature calls them."""


class SpatialLinearAttention(Recurrence):
    """Be called linear attention."""


def ledger_of(model, *arguments, **named):
    with torch.no_grad():
        plain = model(*arguments, **named)
        with attnreport.capture(model) as recording:
            output = model(*arguments, **named)
    if isinstance(plain, torch.Tensor):
        assert torch.equal(plain, output)
    return recording


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (TinyMambaMixer, "state-space layer"),
        (GatedDeltaNet, "a recurrence over positions"),
        (SpatialLinearAttention, "no matrix of weights exists"),
    ],
)
def test_a_layer_without_weights_says_what_it_is(kind, words):
    recording = ledger_of(nn.Sequential(nn.Linear(WIDTH, WIDTH), kind()), torch.randn(1, 5, WIDTH))
    (entry,) = recording.ledger
    assert not entry.captured
    assert (entry.name, entry.call) == ("1", kind.__name__)
    assert words in entry.reason
    with pytest.raises(attnreport.AttentionNotFound, match=words):
        recording.run()


SMALL = {
    "vocab_size": 30,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("config", "words"),
    [
        (transformers.YosoConfig(**SMALL), "attention by hashing"),
        (transformers.MraConfig(**SMALL), "multi-resolution attention"),
    ],
    ids=["YOSO", "MRA"],
)
def test_attention_of_another_kind_says_what_it_is(config, words):
    model = transformers.AutoModel.from_config(config).eval()
    recording = ledger_of(model, torch.randint(3, 30, (1, 8)))
    (entry,) = recording.ledger
    assert entry.name.startswith("encoder.layer.0.attention")
    assert words in entry.reason


def test_auto_correlation_says_what_it_is():
    sizes = {"prediction_length": 4, "context_length": 16, "lags_sequence": [1], "d_model": 16}
    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16}
    config = transformers.AutoformerConfig(**sizes, **layers, encoder_attention_heads=2)
    model = transformers.AutoformerModel(config).eval()
    series = torch.randn(1, 17)
    told = {"past_time_features": torch.zeros(1, 17, 0), "past_observed_mask": torch.ones(1, 17)}
    (entry,) = ledger_of(model, past_values=series, **told).ledger
    assert entry.name == "encoder.layers.0.self_attn"
    assert "belong to delays of the whole series" in entry.reason


def test_a_layer_of_no_known_name_is_left_alone():
    assert ledger_of(nn.Sequential(Recurrence()), torch.randn(1, 5, WIDTH)).ledger == ()


class DiscreteDeformableAttention(nn.Module):
    """Take the cell at each point, as RT-DETRv2 can, instead of sampling between cells."""

    def forward(self, values, locations, scores):
        weights, points = scores.softmax(-1), [scores.shape[-1]]
        return modeling_rt_detr_v2.multi_scale_deformable_attention_v2(
            values, [(3, 4)], locations, weights, points, method="discrete"
        )


def test_deformable_attention_that_samples_otherwise_is_named():
    values, locations = torch.randn(1, 12, 2, 4) * 5, torch.rand(1, 5, 2, 3, 2)
    recording = ledger_of(DiscreteDeformableAttention(), values, locations, torch.randn(1, 5, 2, 3))
    (entry,) = recording.ledger
    assert "points could not be followed to the maps that they sample" in entry.reason
    assert not entry.captured


class OutlookAttention(nn.Module):
    """Windows around each position that overlap, as VOLO has them (timm)."""

    def __init__(self):
        super().__init__()
        self.layer = volo.OutlookAttention(WIDTH, num_heads=2)

    def forward(self, picture):
        return self.layer(picture)


def test_outlook_attention_says_what_it_is():
    model = nn.Sequential(OutlookAttention()).eval()
    (entry,) = ledger_of(model, torch.randn(1, 6, 6, WIDTH)).ledger
    assert (entry.name, entry.captured) == ("0.layer", False)
    assert entry.reason.startswith("outlook attention (Yuan et al. 2021): what overlapping windows")
    assert "its queries are not cut from it" in entry.reason


def test_the_predicting_streams_of_prophetnet_say_what_they_are():
    config = transformers.ProphetNetConfig(
        vocab_size=30,
        hidden_size=16,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_encoder_layers=1,
        num_decoder_layers=1,
        num_encoder_attention_heads=2,
        num_decoder_attention_heads=2,
    )
    model, ids = transformers.ProphetNetModel(config).eval(), torch.randint(3, 30, (1, 6))
    recording = ledger_of(model, input_ids=ids, decoder_input_ids=ids)
    (entry,) = [each for each in recording.ledger if not each.captured]
    assert entry.reason.startswith("n-gram attention (ProphetNet, Qi et al. 2020)")
    assert "decoder.layers.0.self_attn" in [each.name for each in recording.run().attentions]


class Averaged(nn.Module):
    """Average what weights multiply, and not sum it: nothing that capture can follow."""

    def forward(self, hidden):
        weights = (hidden @ hidden.mT).softmax(-1)
        return (weights.unsqueeze(-1) * hidden.unsqueeze(1)).mean(2)


def test_a_product_that_is_not_summed_is_no_silence():
    (entry,) = ledger_of(Averaged(), torch.randn(2, 5, WIDTH)).ledger
    assert "a product, and that into mean" in entry.reason


class KeysFirst(nn.Module):
    """Multiply keys with values first (Shen et al. 2021, efficient attention)."""

    def __init__(self, queries):
        super().__init__()
        self.queries = queries

    def forward(self, hidden):
        heads = hidden.view(*hidden.shape[:2], 2, WIDTH // 2).transpose(1, 2)
        context = heads.softmax(dim=-2).mT @ heads
        queries = heads.softmax(dim=-1) if self.queries else heads
        return (queries @ context.clone()).transpose(1, 2).flatten(2)


@pytest.mark.parametrize("queries", [True, False])
def test_keys_times_values_are_no_attention(queries):
    model = nn.Sequential(nn.Embedding(9, WIDTH), KeysFirst(queries))
    recording = ledger_of(model, torch.randint(0, 9, (2, 11)))
    assert len(recording.ledger) == 1 + queries
    assert not any(entry.captured for entry in recording.ledger)
    assert all("no matrix of weights over positions" in x.reason for x in recording.ledger)


def test_fewer_keys_than_queries_are_attention():
    class Reduced(nn.Module):
        """Have every second position answer (PVT, Wang et al. 2021, in its simplest form)."""

        def forward(self, hidden):
            return (hidden @ hidden[:, ::2].mT).softmax(-1) @ hidden[:, ::2]

    model = nn.Sequential(nn.Embedding(9, WIDTH), Reduced())
    (attention,) = ledger_of(model, torch.randint(0, 9, (2, 11))).run().attentions
    assert attention.weights.any()


class Lambda(nn.Module):
    """Make one matrix of all positions from a picture (Bello 2021, LambdaNetworks, §3)."""

    def __init__(self):
        super().__init__()
        self.project = nn.Conv2d(3, 3 * WIDTH, 1)

    def forward(self, picture):
        queries, keys, values = self.project(picture).flatten(2).chunk(3, dim=1)
        return queries.mT @ (keys.softmax(dim=-1) @ values.mT)


def test_keys_of_a_picture_times_values_are_no_attention():
    (entry,) = ledger_of(Lambda(), torch.randn(1, 3, 4, 5)).ledger
    assert not entry.captured
    assert "multiplied with values first" in entry.reason


class Masked(nn.Module):
    """Let learned queries attend to a text, with a mask that was made of its ids."""

    def __init__(self):
        super().__init__()
        self.table, self.queries = nn.Embedding(9, WIDTH), nn.Parameter(torch.randn(1, 3, WIDTH))

    def forward(self, ids):
        text = self.table(ids)
        mask = ids.clamp(max=1).to(text.dtype)[:, None] * -9.0
        return (self.queries @ text.mT + mask.expand(-1, 3, -1)).softmax(-1) @ text


def test_a_mask_makes_no_linear_attention():
    model, ids = Masked(), torch.tensor([[3, 0, 2, 5, 0]])
    (attention,) = ledger_of(model, ids).run().attentions
    scores = model.queries @ model.table(ids).mT - 9.0 * ids.clamp(max=1)
    assert np.abs(attention.weights - scores.softmax(-1).detach().numpy()).max() < 2e-6
