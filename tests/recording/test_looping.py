"""Attention that is called once for each step of a loop, as recurrent decoders do."""

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport

BATCH, SOURCE, STEPS, WIDTH, TOKENS = 2, 7, 5, 16, 20


class Additive(nn.Module):
    """Bahdanau et al. 2014, https://arxiv.org/abs/1409.0473, section 3.1."""

    def __init__(self):
        super().__init__()
        self.asking, self.answering = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.score = nn.Linear(WIDTH, 1)

    def forward(self, query, keys):
        scores = self.score(torch.tanh(self.asking(query) + self.answering(keys)))
        weights = scores.squeeze(2).unsqueeze(1).softmax(-1)
        return torch.bmm(weights, keys), weights


class Fused(nn.Module):
    """The same values each time, projected anew."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, query, keys):
        query, key, value = self.query(query), self.key(keys), self.value(keys)
        weights = (query.double() @ key.double().mT / WIDTH**0.5).softmax(-1)
        return F.scaled_dot_product_attention(query, key, value), weights


class Torchs(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 1, batch_first=True)

    def forward(self, query, keys):
        return self.attention(query, keys, keys, need_weights=True)


class Translator(nn.Module):
    """A recurrent encoder and a recurrent decoder that looks back at every step."""

    def __init__(self, attention):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.encode = (
            nn.Embedding(TOKENS, WIDTH),
            nn.GRU(WIDTH, WIDTH, batch_first=True),
        )
        self.words, self.attention = nn.Embedding(TOKENS, WIDTH), attention()
        self.decode = nn.GRU(2 * WIDTH, WIDTH, batch_first=True)
        self.out = nn.Linear(WIDTH, TOKENS)

    def forward(self, source, target=None):
        keys, state = self.encode(self.embed(source))
        word, said, looked = torch.zeros(len(source), 1, dtype=torch.long), [], []
        for step in range(STEPS):
            context, weights = self.attention(state.transpose(0, 1), keys)
            output, state = self.decode(torch.cat([self.words(word), context], -1), state)
            said.append(self.out(output))
            looked.append(weights)
            word = said[-1].argmax(-1) if target is None else target[:, step : step + 1]
        return torch.cat(said, 1), torch.cat(looked, 1)


def texts():
    torch.manual_seed(1)
    return torch.randint(0, TOKENS, (BATCH, SOURCE)), torch.randint(0, TOKENS, (BATCH, STEPS))


@pytest.mark.parametrize("attention", [Additive, Fused, Torchs])
@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("example", [0, 1])
def test_steps_of_a_decoder_are_one_matrix(attention, forced, example):
    model, (source, target) = Translator(attention).eval(), texts()
    given = (source, target) if forced else (source,)
    axes = [(source, "abcdefg")] + [(target, "vwxyz")] * forced
    run, (_, weights) = reference.record(model, *given, example=example, axes=axes)
    (found,) = run.attentions
    assert found.weights.shape == (1, STEPS, SOURCE)
    assert np.abs(found.weights[0] - weights[example].detach().numpy()).max() < 2e-6
    assert found.residual < 1e-5
    assert found.kind == "cross"
    assert "".join(found.keys.labels) == "abcdefg"
    assert "".join(found.queries.labels) == ("vwxyz" if forced else "01234")
    assert "5 calls of one query each put together" in run.ledger[0].reason


class Twice(nn.Module):
    """Two modules that take turns, and one after them."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.last = (Additive() for _ in range(3))

    def forward(self, hidden):
        state, states = hidden[:, :1], []
        for _ in range(STEPS):
            state, _ = self.first(state, hidden)
            state, _ = self.second(state, hidden)
            states.append(state)
        return self.last(torch.cat(states, 1)[:, -1:], hidden)[0]


def test_numbers_are_those_of_a_whole_run_where_loops_take_turns():
    model, hidden = Twice(), torch.randn(1, SOURCE, WIDTH)
    whole, _ = reference.record(model, hidden)
    assert [(each.name, each.layer) for each in whole.attentions] == [
        ("first", 0),
        ("second", 1),
        ("last", 2),
    ]
    for layer in range(3):
        run, _ = reference.record(model, hidden, layers=[layer])
        (found,) = run.attentions
        assert (found.name, found.layer) == (whole.attentions[layer].name, layer)
        assert np.array_equal(found.weights, whole.attentions[layer].weights)


def test_queries_of_a_loop_can_be_selected():
    model, (source, target) = Translator(Additive).eval(), texts()
    whole, _ = reference.record(model, source, target)
    run, _ = reference.record(model, source, target, queries=[1, 3])
    assert np.array_equal(run.attentions[0].weights, whole.attentions[0].weights[:, [1, 3]])
    assert run.attentions[0].queries.labels == ("1", "3")


class Keeping(Additive):
    def __init__(self):
        super().__init__()
        self.kept = []

    def forward(self, query, keys):
        context, weights = super().forward(query, keys)
        weights.retain_grad()
        self.kept.append(weights)
        return context, weights


def test_gradients_of_a_loop_are_those_of_autograd():
    model, (source, target) = Translator(Keeping).eval(), texts()
    with attnreport.capture(model, gradients=True, example=1) as recording:
        said, _ = model(source, target)
        said[1].square().sum().backward()
    (found,) = recording.run().attentions
    expected = torch.cat([each.grad[1] for each in model.attention.kept])
    assert found.gradient.shape == (1, STEPS, SOURCE)
    assert np.abs(found.gradient[0] - expected.numpy()).max() < 1e-6
    assert expected.abs().max() > 1e-4


def row_by_row(order):
    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

        def forward(self, hidden):
            query, key, value = self.query(hidden), self.key(hidden), self.value(hidden)
            result = torch.empty_like(value)
            for place in order(hidden.shape[1]):
                row = slice(place, place + 1)
                result[:, row] = (query[:, row] @ key.mT).softmax(-1) @ value
            return result

    return Rows()


@pytest.mark.parametrize("order", [range, lambda count: reversed(range(count))])
def test_rows_of_one_sequence_lie_where_they_are_asked(order):
    model, hidden = row_by_row(order), torch.randn(BATCH, SOURCE, WIDTH)
    run, _ = reference.record(model, hidden, example=1, axes=[(hidden, "abcdefg")])
    (found,) = run.attentions
    expected = reference.weights_of(model.query(hidden[1:]), model.key(hidden[1:]), scale=1)
    assert np.abs(found.weights - expected).max() < 2e-6
    assert found.kind == "self"
    assert "".join(found.queries.labels) == "abcdefg"


class Sentences(nn.Module):
    """Hierarchical attention (Yang et al. 2016): one module looks at one sentence after another."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.word, self.score = nn.Embedding(TOKENS, WIDTH), nn.Linear(WIDTH, 1)

    def forward(self, *sentences):
        return torch.cat([self.vector(self.word(each)) for each in sentences], 1)

    def vector(self, words):
        return self.score(words).softmax(1).mT @ words


class Document(Sentences):
    """The same of sentences that are parts of one input."""

    def forward(self, document):
        words = self.word(document)
        parts = [self.vector(words[:, start : start + SOURCE]) for start in (0, SOURCE, 2 * SOURCE)]
        return torch.cat(parts, 1)


@pytest.mark.parametrize("whole", [False, True])
def test_other_values_are_other_attentions(whole):
    sentences = torch.randint(0, TOKENS, (3, 1, SOURCE))
    given = (sentences.transpose(0, 1).flatten(1),) if whole else tuple(sentences)
    run, _ = reference.record(Document() if whole else Sentences(), *given)
    assert [each.weights.shape for each in run.attentions] == [(1, 1, SOURCE)] * 3
