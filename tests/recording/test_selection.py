import attention_reference as reference
import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.errors import InvalidInput
from attnreport.recording import operands, watch

HIDDEN = torch.randn(1, 5, 16)


def encoder():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    return nn.TransformerEncoder(layer, 4).eval()


@pytest.mark.parametrize(
    ("layers", "kept"),
    [
        ([0, 2], [0, 2]),
        (["layers.3.*"], [3]),
        ([1, "*.2.*"], [1, 2]),
        (["layers.?.self_attn"], range(4)),
    ],
)
@pytest.mark.parametrize("fused", [True, False])
def test_layers_by_number_and_by_pattern(layers, kept, fused):
    model = encoder()
    with torch.set_grad_enabled(not fused):
        whole, _ = reference.record(model, HIDDEN)
        part, _ = reference.record(model, HIDDEN, layers=layers)
    assert [a.name for a in part.attentions] == [f"layers.{i}.self_attn" for i in kept]
    assert [a.layer for a in part.attentions] == list(kept)
    for attention, place in zip(part.attentions, kept, strict=True):
        assert np.array_equal(attention.weights, whole.attentions[place].weights)
    assert len(part.ledger) == 4
    assert {entry.reason for entry in part.missed} <= {"it was not selected"}


def test_heads_by_number():
    model = encoder()
    whole, _ = reference.record(model, HIDDEN)
    part, _ = reference.record(model, HIDDEN, heads=[3, 1, 9, 3])
    for some, every in zip(part.attentions, whole.attentions, strict=True):
        assert some.head_numbers == (3, 1)
        assert np.array_equal(some.weights, every.weights[[3, 1]])
    assert "heads 3, 1 of 4 were selected" in part.ledger[0].reason


class Twice(nn.Module):
    """Two layers that take turns, as those that share their parameters do."""

    def __init__(self, make):
        super().__init__()
        torch.manual_seed(0)
        self.one, self.other = make(), make()

    def forward(self, hidden):
        for _ in range(2):
            hidden = self.other(self.one(hidden))
        return hidden


class ByHand(nn.Module):
    """A softmax of its own."""

    def forward(self, hidden):
        return (hidden @ hidden.mT).softmax(-1) @ hidden


def fused():
    return nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()


@pytest.mark.parametrize("make", [fused, ByHand])
@pytest.mark.parametrize(
    ("layers", "kept"),
    [([3], [3]), ([1, 2], [1, 2]), (["other*"], [1, 3]), ([0, "other*"], [0, 1, 3])],
)
def test_numbers_are_those_of_the_whole_run_where_layers_take_turns(make, layers, kept):
    model = Twice(make)
    whole, _ = reference.record(model, HIDDEN)
    part, _ = reference.record(model, HIDDEN, layers=layers)
    assert [a.layer for a in whole.attentions] == [0, 1, 2, 3]
    assert [a.layer for a in part.attentions] == kept
    for attention in part.attentions:
        assert np.array_equal(attention.weights, whole.attentions[attention.layer].weights)


def test_what_one_layer_computes_in_parts_has_one_number():
    torch.manual_seed(0)
    config = transformers.BigBirdConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        block_size=4,
        num_random_blocks=1,
        max_position_embeddings=64,
    )
    model, ids = transformers.BigBirdModel(config).eval(), torch.randint(3, 30, (1, 48))
    runs = []
    for layers in (None, [2]):
        np.random.seed(0)
        with attnreport.capture(model, layers=layers) as recording:
            model(ids)
        runs.append(recording.run())
    whole, part = runs
    assert [a.layer for a in whole.attentions] == [0, 1, 2]
    assert [(a.layer, a.name) for a in part.attentions] == [(2, whole.attentions[2].name)]
    assert np.array_equal(part.attentions[0].weights, whole.attentions[2].weights)


class BothWays(nn.Module):
    """Compute two attentions in one call, as the fusion of text and picture does."""

    def forward(self, hidden, other):
        scores = hidden @ other.mT
        return hidden + scores.softmax(-1) @ other, other + scores.mT.softmax(-1) @ hidden


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = BothWays(), BothWays()

    def forward(self, hidden, other):
        return self.two(*self.one(hidden, other))


@pytest.mark.parametrize("number", range(4))
def test_two_attentions_of_one_call_have_two_numbers(number):
    other = torch.randn(2, 5, 16)
    whole, _ = reference.record(Fused(), HIDDEN, other)
    part, _ = reference.record(Fused(), HIDDEN, other, layers=[number])
    assert [a.layer for a in whole.attentions] == [0, 1, 2, 3]
    (attention,) = part.attentions
    assert attention.layer == number
    assert np.array_equal(attention.weights, whole.attentions[number].weights)
    assert not any("may be others" in entry.reason for entry in part.ledger)


class Unread(nn.Module):
    """Attend in pieces of which nothing tells where they were."""

    def forward(self, hidden):
        pieces = hidden.cumsum(1)
        pieces = pieces.repeat(3, 1, 1).unflatten(-1, (2, 8)).transpose(1, 2)
        return hidden + F.scaled_dot_product_attention(pieces, pieces, pieces).sum()


def test_what_cannot_be_read_has_no_number_and_what_is_not_looked_at_may_have_none():
    ids = torch.randint(0, 9, (2, 6))
    words = nn.Embedding(9, 16)
    model = nn.Sequential(words, ByHand(), Unread(), ByHand())
    whole, _ = reference.record(model, ids)
    assert [(a.layer, a.name) for a in whole.attentions] == [(0, "1"), (1, "3")]
    read, _ = reference.record(model, ids, layers=["2", 1])
    assert [(a.layer, a.name) for a in read.attentions] == [(1, "3")]
    left, _ = reference.record(model, ids, layers=[0])
    assert [(a.layer, a.name) for a in left.attentions] == [(0, "1")]
    said = {entry.name: entry.reason for entry in left.ledger if not entry.captured}
    assert said["3"] == "it was not selected"
    assert said["2"].startswith("it was not selected; it counts as one attention")


def test_queries_by_number():
    model, labels = encoder(), list("abcde")
    whole, _ = reference.record(model, HIDDEN, values=True, axes=[(HIDDEN, labels)])
    part, _ = reference.record(
        model, HIDDEN, values=True, axes=[(HIDDEN, labels)], queries=[9, 3, 1], max_memory=1
    )
    for some, every in zip(part.attentions, whole.attentions, strict=True):
        assert np.array_equal(some.weights, every.weights[:, [1, 3]])
        assert some.weights.base is None or some.weights.base.size == some.weights.size
        assert some.queries.labels == ("b", "d")
        assert some.keys.labels == tuple("abcde")
        assert some.kind == "self"
        norms = every.value_norms
        assert np.array_equal(some.value_norms.heads, norms.heads)
        assert np.array_equal(some.value_norms.mixed, norms.mixed[[1, 3]])
        assert np.array_equal(some.value_norms.block, norms.block[[1, 3]])
    assert "2 of 5 queries were selected" in part.ledger[0].reason
    with attnreport.capture(model, queries=range(7, 9)) as recording:
        model(HIDDEN)
    with pytest.raises(attnreport.errors.AttentionNotFound, match="none of these queries"):
        recording.run()


def test_gradients_are_of_the_same_queries():
    model, gradients = encoder(), []
    for queries in (None, [4, 0]):
        with attnreport.capture(model, gradients=True, queries=queries) as recording:
            model(HIDDEN).pow(2).sum().backward()
        gradients.append(recording.gradients[0])
    assert np.allclose(gradients[1], gradients[0][:, [0, 4]])


def generating():
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
    )
    return transformers.LlamaForCausalLM(config).eval()


def test_numbers_in_a_generation_are_those_of_the_layers():
    model, ids = generating(), torch.randint(3, 30, (1, 4))
    with attnreport.capture(model, layers=[1], heads=[1]) as recording:
        model.generate(ids, max_new_tokens=3, do_sample=False, eos_token_id=None)
    run = recording.run()
    assert [(a.layer, a.name, a.head_numbers) for a in run.attentions] == [
        (1, "model.layers.1.self_attn", (1,))
    ]
    assert run.attentions[0].weights.shape == (1, 6, 6)
    assert [entry.layer for entry in run.ledger] == [None, 1]


@pytest.mark.parametrize("cache", [True, False])
@pytest.mark.parametrize("queries", [range(2, 5), [0, 5], range(9)])
def test_queries_of_a_generation_are_counted_on(queries, cache):
    model = generating()
    ids = torch.randint(3, 30, (1, 4))
    options = {"max_new_tokens": 3, "do_sample": False, "eos_token_id": None, "use_cache": cache}
    runs = []
    for asked in (None, queries):
        with attnreport.capture(model, queries=asked) as recording:
            model.generate(ids, **options)
        runs.append(recording.run())
    every, some = (run.attentions for run in runs)
    assert len(some) == len([each for each in every if min(queries) < each.weights.shape[1]])
    for part, whole in zip(some, every, strict=False):
        rows = [row for row in queries if row < whole.weights.shape[1]]
        assert np.array_equal(part.weights, whole.weights[:, rows])
        assert part.queries.labels == tuple(whole.queries.labels[row] for row in rows)


def test_gradients_are_of_the_same_heads():
    model = encoder()
    gradients = []
    for heads in (None, [2, 0]):
        with attnreport.capture(model, gradients=True, heads=heads) as recording:
            model(HIDDEN).pow(2).sum().backward()
        gradients.append(recording.gradients[0])
    assert np.allclose(gradients[1], gradients[0][[2, 0]])


def test_what_is_not_selected_is_not_computed(monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("computed")

    monkeypatch.setattr(operands, "attend", fail)
    hidden = torch.randn(1, 2, 3, 4)
    with pytest.raises(attnreport.AttentionNotFound, match="it was not selected"):
        reference.record(
            lambda x: nn.functional.scaled_dot_product_attention(x, x, x), hidden, layers=["no.*"]
        )


def models():
    size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 9}
    ids = torch.arange(6).view(1, 6)
    for implementation in ("sdpa", "eager"):
        model = transformers.BertModel._from_config(
            transformers.BertConfig(**size, intermediate_size=8), attn_implementation=implementation
        )
        yield model.eval(), ids
    swin = transformers.SwinConfig(
        image_size=16, patch_size=2, embed_dim=8, depths=[2], num_heads=[2], window_size=2
    )
    yield transformers.SwinModel(swin).eval(), torch.randn(1, 3, 16, 16)
    yield encoder(), HIDDEN
    yield encoder().train(), HIDDEN


@pytest.mark.parametrize("layers", [[], ["no.such.path", "*.conv"]])
def test_where_nothing_can_be_wanted_less_is_followed_and_as_much_is_named(layers, monkeypatch):
    def fail(*args, **kwargs):
        raise AssertionError("followed")

    for model, inputs in models():
        ledgers = []
        for chosen in ([1000], layers):
            with attnreport.capture(model, layers=chosen) as recording, torch.no_grad():
                model(inputs)
            ledgers.append(recording.ledger)
            monkeypatch.setattr(watch, "remember", fail)
        monkeypatch.undo()
        every, nothing = ([(entry.name, entry.call) for entry in ledger] for ledger in ledgers)
        assert every == nothing
        # Numbers of others are told to nobody, so that none of them can be another.
        assert {entry.reason for entry in ledgers[1]} == {"it was not selected"}


class SelfAttention(nn.Module):
    """Attend by no softmax, so that only its parameters say that it ran."""

    def __init__(self, key):
        super().__init__()
        self.query, self.key = nn.Linear(16, 16), key

    def forward(self, hidden):
        return self.query(hidden).cumsum(1) * self.key(hidden)


def test_what_ran_in_silence_is_named_where_nothing_can_be_wanted():
    shared = nn.Linear(16, 16)
    model = nn.Sequential(SelfAttention(shared), SelfAttention(shared), SelfAttention(shared))
    ledgers = []
    for layers in (None, []):
        with attnreport.capture(model, layers=layers) as recording:
            model[2](model[0](HIDDEN))
        ledgers.append(recording.ledger)
    assert [entry.name for entry in ledgers[0]] == ["0", "2"]
    assert ledgers[0] == ledgers[1]


def test_heads_that_are_not_there_are_said():
    with pytest.raises(attnreport.AttentionNotFound, match="has 4 heads, of which none"):
        reference.record(encoder(), HIDDEN, heads=[4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": "decoder.*"}, "expected layers to be a list"),
        ({"layers": [1.5]}, "each of layers to be a number from 0 or a pattern, got 1.5"),
        ({"heads": [-1]}, "each of heads to be a number from 0, got -1"),
        ({"queries": ["2"]}, "each of queries to be a number from 0, got '2'"),
    ],
)
def test_wrong_selections_are_named(options, message):
    with pytest.raises(InvalidInput, match=message), attnreport.capture(encoder(), **options):
        pass
