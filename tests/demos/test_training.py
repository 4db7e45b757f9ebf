"""The training scripts and what they state of the shipped weights."""

import datetime
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from attnreport.demos import text, translate

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def example(monkeypatch):
    """Import a module of examples/ the way its scripts do."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module


@pytest.fixture
def seeded(example):
    return example("fitting").seeded


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", ["translate", "text"])
def test_a_script_prints_the_same_figures_twice(tmp_path, name):
    def printed():
        output = tmp_path / f"{name}.safetensors"
        command = [sys.executable, EXAMPLES / f"train_{name}.py", "--steps", "2"]
        command += ["--batch", "4", "--held-out", "8", "--output", output]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert not done.stderr
        return done.stdout, output.read_bytes()

    first, again = printed(), printed()
    assert first == again
    assert "step 2: loss" in first[0]


def test_shipped_translator_reads_held_out_dates(example, seeded):
    script, dates = example("train_translate"), example("dates")
    rng = seeded(20210305)
    examples = [dates.draw(rng, test=True) for _ in range(600)]
    model = translate.factory()

    assert script.accuracy(model, examples) >= 0.99
    rates = script.alignment_error_rates(model, examples)
    assert min(min(layer) for layer in rates) < BEST_ALIGNMENT_ERROR


BEST_ALIGNMENT_ERROR = 0.1
LEAST_PREVIOUS, LEAST_INDUCTION = 0.9, 0.8


def test_shipped_text_model_has_both_kinds_of_heads(example, seeded):
    script = example("train_text")
    model = text.factory()
    repeated = script.repeated_noise(seeded(20210305), 20)

    heads = [scores for layer in script.head_scores(model, repeated) for scores in layer]
    assert max(previous for previous, _ in heads) > LEAST_PREVIOUS
    assert max(induction for _, induction in heads) > LEAST_INDUCTION
    first, second = script.repetition_losses(model, repeated)
    assert first > 7.5
    assert second < 1


def test_head_scores_know_perfect_heads(example):
    """Heads that do by construction what is measured score 1, and a uniform one almost 0."""
    script = example("train_text")
    length = 1 + 2 * script.PERIOD
    previous = torch.zeros(length, length)
    for query in range(length):
        previous[query, max(query - 1, 0)] = 1
    induction = torch.zeros(length, length)
    for query in range(length):
        # After BOS, position query holds byte query - 1, said PERIOD earlier for the first time.
        induction[query, max(query - script.PERIOD + 1, 0)] = 1
    uniform = torch.full((length, length), 1 / length)

    assert script._scores(previous[None]) == (pytest.approx(1), pytest.approx(0, abs=0.01))
    assert script._scores(induction[None]) == (pytest.approx(0, abs=0.01), pytest.approx(1))
    assert max(script._scores(uniform[None])) < 0.01


def test_watched_weights_give_the_output(example):
    """Independent of the softmax in watching.py: weights @ value must be what SDPA returned."""
    watching = example("watching")
    generator = torch.Generator().manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 6, 8, generator=generator)
    mask = torch.tensor([[True, True, False, True, True, False]])
    attention = torch.nn.functional.scaled_dot_product_attention

    for given in ({"is_causal": True}, {"attn_mask": mask}, {}):
        with watching.Watch() as watch:
            output = attention(query, key, value, **given)
        torch.testing.assert_close(watch.weights[0] @ value, output, atol=1e-5, rtol=0)


def test_alignment_of_a_written_date(example):
    dates = example("dates")
    pieces = [dates._Piece("May", dates._MONTH), dates._Piece(" "), dates._Piece("7", dates._DAY)]
    pieces += [dates._Piece("th "), dates._Piece("21", dates._YEAR)]
    found = dates.align(pieces, datetime.date(2021, 5, 7))

    assert found.source == "May 7th 21"
    assert found.target == "2021-05-07"
    assert found.sure == {(9, 4), (2, 8), (3, 9)}
    month = {(cell, place) for cell in (5, 6) for place in (0, 1, 2)}
    century = {(cell, place) for cell in (0, 1) for place in (8, 9)}
    assert found.possible == found.sure | month | century | {(8, 4)}


def test_error_rate_of_known_links(example):
    """Two right links of eight that were asked, by hand: 1 - (2 + 2) / (8 + 8)."""
    script, dates = example("train_translate"), example("dates")
    pieces = [dates._Piece("2021", 0), dates._Piece("-"), dates._Piece("03", 5)]
    pieces += [dates._Piece("-"), dates._Piece("05", 8)]
    written = dates.align(pieces, datetime.date(2021, 3, 5))

    assert script._error_rate([written], torch.arange(11)[None]) == 0
    assert script._error_rate([written], torch.zeros(1, 11, dtype=torch.long)) == 1 - 2 / 16
    right_twice = torch.tensor([[0, 1, 9, 9, 9, 9, 9, 9, 7, 7, 7]])
    assert script._error_rate([written], right_twice) == 1 - 4 / 16


def test_examples_spell_their_dates(example, seeded):
    dates = example("dates")
    rng = seeded(1)
    written = [dates.draw(rng, test=test) for test in (True, False) for _ in range(2000)]

    assert max(len(one.source) for one in written) < translate.SOURCE_POSITIONS
    assert set("".join(one.source for one in written)) <= set(translate.ALPHABET)
    for one in written:
        assert one.sure <= one.possible
        for at, place in one.sure:
            assert one.target[at] == one.source[place]
        explained = {at for at, _ in one.possible}
        assert explained == {0, 1, 2, 3, 5, 6, 8, 9}


def test_training_never_sees_a_held_out_date(example, seeded):
    dates = example("dates")
    rng = seeded(2)
    for test in (True, False):
        for _ in range(1000):
            target = dates.draw(rng, test=test).target
            assert dates.held_out(datetime.date.fromisoformat(target)) == test


def test_sequences_have_the_length_that_was_asked(example, seeded):
    sentences = example("sentences")
    rng = seeded(3)
    for length in (64, 511):
        assert {len(sentences.sequence(rng, length, test=False)) for _ in range(40)} == {length}
