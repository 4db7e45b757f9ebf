"""Which axis an attention lies on, by data flow."""

import math

import attention_reference as reference
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport import Axis

SOURCE = Axis.of_labels("english", ["the", "cat", "sat", "on", "it"])
TARGET = Axis.of_labels("german", ["die", "Katze", "saß", "darauf", "nun"])


class Attend(nn.Module):
    """Attend from one sequence to another, by SDPA or by hand."""

    def __init__(self, fused):
        super().__init__()
        self.fused = fused
        self.project = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def forward(self, queries, memory):
        query, key, value = (
            project(tensor).unflatten(-1, (2, 4)).transpose(1, 2)
            for project, tensor in zip(self.project, (queries, memory, memory), strict=True)
        )
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            mixed = (query @ key.mT / math.sqrt(4)).softmax(-1) @ value
        return mixed.transpose(1, 2).flatten(2)


class Translator(nn.Module):
    """Be an encoder-decoder whose module names tell nothing."""

    def __init__(self, fused=True):
        super().__init__()
        self.words = nn.Embedding(20, 8)
        self.places = nn.Embedding(20, 8)
        self.a, self.b, self.c = Attend(fused), Attend(fused), Attend(fused)
        self.norm = nn.LayerNorm(8)

    def embed(self, ids):
        return self.norm(self.places(torch.arange(ids.shape[1])) + self.words(ids))

    def forward(self, source, target):
        memory = self.embed(source)
        memory = self.norm(memory + self.a(memory, memory))
        hidden = self.embed(target)
        hidden = self.norm(self.b(hidden, hidden) + hidden)
        return hidden + self.c(hidden, memory)


def ids(length=5, batch=2):
    return torch.randint(0, 20, (batch, length))


def sides(run):
    return [(a.kind, a.queries.name, a.keys.name) for a in run.attentions]


def test_inputs_that_are_made_inside_the_capture_are_inputs():
    model = Translator()
    with attnreport.capture(model) as recording:
        model(ids(), ids())
    assert [a.kind for a in recording.run().attentions] == ["self", "self", "cross"]


@pytest.mark.parametrize("fused", [True, False], ids=["sdpa", "by hand"])
def test_two_sequences_of_one_length_are_told_apart(fused):
    source, target = ids(), ids()
    axes = [(source, SOURCE), (target, TARGET)]
    run, _ = reference.record(Translator(fused), source, target, axes=axes)
    assert sides(run) == [
        ("self", "english", "english"),
        ("self", "german", "german"),
        ("cross", "german", "english"),
    ]
    assert run.axes == (SOURCE, TARGET)
    assert [a.name for a in run.attentions] == ["a", "b", "c"]


def test_without_axes_they_are_named_by_their_part():
    run, _ = reference.record(Translator(), ids(5), ids(4))
    assert sides(run) == [
        ("self", "source", "source"),
        ("self", "target", "target"),
        ("cross", "target", "source"),
    ]
    assert run.attentions[2].queries.labels == ("0", "1", "2", "3")


def test_one_sequence_is_called_tokens():
    attend = Attend(True)
    run, _ = reference.record(lambda x: attend(x, x), torch.randn(1, 3, 8))
    assert sides(run) == [("self", "tokens", "tokens")]


def test_labels_are_an_axis():
    attend = Attend(True)
    hidden = torch.randn(1, 3, 8)
    run, _ = reference.record(lambda x: attend(x, x), hidden, axes=[(hidden, ["a", "b", ""])])
    assert run.attentions[0].keys.labels == ("a", "b", "␣")


def test_a_mask_or_positions_given_first_do_not_win():
    model = Translator()
    source = ids()

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, mask, positions, source):
            hidden = mask[..., None] * self.inner.places(positions) + self.inner.words(source)
            return self.inner.a(hidden, hidden)

    positions = torch.arange(5).expand(2, 5).clone()
    run, _ = reference.record(
        Masked(), torch.ones(2, 5), positions, source, axes=[(source, SOURCE)]
    )
    assert sides(run) == [("self", "english", "english")]


class Fusion(nn.Module):
    """Let two sequences look at each other by the same scores, each behind its mask."""

    def __init__(self, how):
        super().__init__()
        self.how = how
        self.words, self.pixels = nn.Embedding(20, 8), nn.Linear(3, 8)
        self.query, self.key = nn.Linear(8, 8), nn.Linear(8, 8)
        self.text, self.picture = nn.Linear(8, 8), nn.Linear(8, 8)
        self.again = Attend(fused=False)

    def scores(self, picture, text):
        query, key = (
            project(each).unflatten(-1, (2, 4))
            for project, each in ((self.query, picture), (self.key, text))
        )
        if self.how == "einsum":
            return torch.einsum("bqhd,bkhd->bhqk", query, key)
        if self.how == "einsum, keys first":
            return torch.einsum("bqhd,bkhd->bhkq", query, key).mT
        if self.how == "keys times queries":
            return (key.transpose(1, 2) @ query.transpose(1, 2).mT).mT
        return query.transpose(1, 2) @ key.transpose(1, 2).mT

    def forward(self, ids, pixels):
        there = ids != 0
        text, picture = self.words(ids), self.pixels(pixels)
        scores = self.scores(picture, text)
        scores = scores - scores.max()
        to_picture = (scores.mT - scores.mT.amax(-1, keepdim=True)).softmax(-1)
        to_text = scores.masked_fill(~there[:, None, None], -math.inf).softmax(-1)
        text, picture = (
            values
            + (weights @ project(others).unflatten(-1, (2, 4)).transpose(1, 2))
            .transpose(1, 2)
            .flatten(2)
            for values, weights, project, others in (
                (text, to_picture, self.picture, picture),
                (picture, to_text, self.text, text),
            )
        )
        return self.again(text, text), self.again(picture, picture), self.again(picture, text)


@pytest.mark.parametrize("how", ["matmul", "einsum", "einsum, keys first", "keys times queries"])
@pytest.mark.parametrize("places", [5, 7])
def test_two_sequences_that_look_at_each_other_stay_two(how, places):
    torch.manual_seed(0)
    words, pixels = torch.tensor([[3, 4, 5, 6, 0]]), torch.randn(1, places, 3)
    run, _ = reference.record(
        Fusion(how),
        words,
        pixels,
        axes=[(words, SOURCE), (pixels, Axis.of_labels("picture", "abcdefg"[:places]))],
    )
    assert sides(run) == [
        ("cross", "english", "picture"),
        ("cross", "picture", "english"),
        ("self", "english", "english"),
        ("self", "picture", "picture"),
        ("cross", "picture", "english"),
    ]


def test_positions_counted_over_a_mask_are_those_of_the_words():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = Translator()

        def forward(self, source):
            positions = (source != 0).int().cumsum(1)
            hidden = self.inner.places(positions) + self.inner.words(source)
            return self.inner.a(hidden, hidden)

    source = ids() + 1
    run, _ = reference.record(Counted(), source % 20, axes=[])
    assert [attention.queries.name for attention in run.attentions] == ["tokens"]


def test_learned_queries_are_their_own_sequence():
    attend, latents = Attend(True), nn.Parameter(torch.randn(1, 4, 8))

    class Latents(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.latents = attend, latents

        def forward(self, hidden):
            queries = self.latents.expand(len(hidden), -1, -1) + 0
            queries = queries + self.attend(queries, queries)
            return self.attend(queries, hidden)

    hidden = torch.randn(2, 5, 8)
    run, _ = reference.record(Latents(), hidden, axes=[(hidden, SOURCE)])
    assert [a.kind for a in run.attentions] == ["self", "cross"]
    assert run.attentions[1].keys == SOURCE
    assert run.attentions[1].queries == run.attentions[0].keys
    assert run.attentions[1].queries != SOURCE


def test_a_length_that_does_not_fit_is_numbered_and_said():
    attend = Attend(True)
    hidden = torch.randn(1, 4, 8)
    run, _ = reference.record(lambda x: attend(x[:, :3], x), hidden, axes=[(hidden, "abcd")])
    (attention,) = run.attentions
    assert attention.keys.labels == ("a", "b", "c", "d")
    assert attention.queries.labels == ("0", "1", "2")
    assert attention.kind == "self"
    assert "3 queries, but axis 'tokens' has 4 positions" in run.ledger[0].reason


def test_a_cache_joins_the_sequence_it_came_from():
    attend = Attend(True)

    class Cached(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend = attend

        def forward(self, hidden):
            buffer = torch.zeros(1, 4, 8)
            buffer[:, :3] = hidden[:, :3]
            buffer.index_copy_(1, torch.tensor([3]), hidden[:, 3:])
            return self.attend(hidden[:, 3:], buffer)

    hidden = torch.randn(1, 4, 8)
    run, _ = reference.record(Cached(), hidden, axes=[(hidden, "abcd")])
    (attention,) = run.attentions
    assert attention.kind == "self"
    assert attention.keys.labels == ("a", "b", "c", "d")


def test_each_call_of_a_module_is_an_attention_of_its_own():
    model = Translator()
    run, _ = reference.record(lambda s, t: (model(s, t), model(s, t)), ids(), ids())
    assert [a.name for a in run.attentions] == [""] * 6
    model_twice = nn.Sequential(Attend(True))
    hidden = torch.randn(1, 3, 8)
    with attnreport.capture(model_twice) as recording:
        model_twice[0](hidden, hidden)
        model_twice[0](hidden, hidden)
    assert [e.reason for e in recording.ledger] == ["", "call 2 of this module"]
