# ruff: noqa: S106 - these are tokens of a vocabulary, no secrets
"""Classes, tokens and where they are read, of checkpoints as transformers saves them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner

import attnreport
from attnreport.build import build_run, capture_run
from attnreport.cli import cli, main
from attnreport.errors import InvalidOption
from attnreport.sources import Request, open_source
from attnreport.sources import target as targets

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


def bert(folder, tokenizer, kind, **options):
    torch.manual_seed(5)
    config = transformers.BertConfig(vocab_size=len(tokenizer), **SIZES, **options)
    kind(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def judge(tmp_path_factory, word_piece):
    labels = {0: "bad", 1: "good", 2: "neither"}
    return bert(
        tmp_path_factory.mktemp("judge"),
        word_piece,
        transformers.BertForSequenceClassification,
        id2label=labels,
        label2id={name: number for number, name in labels.items()},
    )


@pytest.fixture(scope="session")
def filler(tmp_path_factory, word_piece):
    return bert(tmp_path_factory.mktemp("filler"), word_piece, transformers.BertForMaskedLM)


def gradients_of(request, row, number):
    """What autograd finds at the weights of the eager model, of ``logits[0, row, number]``."""
    call = open_source(request).call
    model = open_source(request).model
    model.set_attn_implementation("eager")
    output = model(*call.args, **call.kwargs, output_attentions=True)
    logits = output.logits[0]
    weights = [
        each
        for name in ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions")
        for each in getattr(output, name, None) or ()
    ]
    number_of = logits[number] if row is None else logits[row, number]
    return [each[0].numpy() for each in torch.autograd.grad(number_of, weights)]


def same(run, expected):
    found = sorted((each.gradient for each in run.attentions), key=lambda each: each.tobytes())
    assert len(found) == len(expected)
    for gradient in expected:
        near = [np.abs(each - gradient).max() for each in found if each.shape == gradient.shape]
        assert min(near) < 1e-6
        assert np.abs(gradient).max() > 1e-5
    return True


def test_a_label_of_a_sequence_classifier(judge):
    request = Request(judge, "hello world", target_class="good")
    run = capture_run(request)
    assert run.target.startswith("the logit of class 1 (“good”)")
    assert same(run, gradients_of(request, None, 1))
    with pytest.raises(InvalidOption, match="or a name; they are bad, good, neither"):
        capture_run(replace(request, target_class="fair"))


def test_a_masked_model_is_read_at_its_last_mask(filler):
    request = Request(filler, "the [MASK] sat on the [MASK] today", target_token="mat")
    run = capture_run(request)
    token = open_source(request).call.token_ids("mat")[0]
    assert run.target.startswith(f"the logit of token {token} (“mat”) at position 6 (“[MASK]”)")
    assert same(run, gradients_of(request, 6, token))
    other = capture_run(replace(request, target_token="predicted", target_position=2))
    assert "at position 2 (“[MASK]”), which the model predicts there" in other.target


def test_a_token_is_read_where_the_target_has_it(t5, bart):
    request = Request(str(t5), "world", target="hello world", target_token="hello")
    run = capture_run(request)
    assert "(“hello”) at position 0 (“<pad>”)" in run.target
    number = open_source(request).call.token_ids("hello")[0]
    assert same(run, gradients_of(request, 0, number))
    absent = capture_run(replace(request, target_token="id:5"))
    assert "at position 2 (“world”)" in absent.target  # what would be written next
    # No end follows here: the last position writes the last token of the target.
    last = capture_run(Request(str(bart), "abc", target="xyx", target_token="x"))
    assert "(“x”) at position 2 (“y”)" in last.target


def test_a_word_that_the_tokenizer_does_not_know_is_no_token(filler):
    with pytest.raises(InvalidOption, match=r"has no token for it, \[UNK\] stands"):
        capture_run(Request(filler, "hello", target_token="\u2603"))
    run = capture_run(Request(filler, "hello", target_token="[UNK]"))
    assert "(“[UNK]”)" in run.target


@pytest.mark.parametrize("name", ["judge", "filler", "gpt2", "t5", "bart"])
def test_the_output_is_the_same_bit_for_bit(name, request, monkeypatch):
    real, seen = targets.named_logit, []

    def kept(asked, call, output):
        seen.append(output.logits.detach().clone())
        return real(asked, call, output)

    monkeypatch.setattr(targets, "named_logit", kept)
    asked = Request(str(request.getfixturevalue(name)), "hello world")
    option = {"target_class" if name == "judge" else "target_token": "predicted"}
    run = capture_run(replace(asked, **option))
    source = open_source(asked)
    plain = source.model(*source.call.args, **source.call.kwargs)
    assert torch.equal(seen[0], plain.logits)
    assert targets.WITH_AUTOGRAD in run.provenance.notes
    assert targets.WITH_AUTOGRAD not in capture_run(asked).provenance.notes


def test_torchs_own_encoder_is_differentiated_on_the_way_that_can_be(request):
    """Without gradients it would take its fused path, which has no backward."""
    model = f"{request.config.rootpath}/examples/own_model.py:make_model"
    run = build_run(Request(model, "to be"), target=lambda vectors: vectors[0, 0, 0])
    source = open_source(Request(model, "to be"))
    with attnreport.capture(source.model, gradients=True) as recording:
        source.model(*source.call.args)[0, 0, 0].backward()
    for mine, its in zip(run.attentions, recording.gradients, strict=True):
        np.testing.assert_array_equal(mine.gradient, its)
        assert np.abs(its).max() > 0


def test_heads_says_what_was_differentiated(judge):
    words = ["heads", judge, "hello world", "--target-class", "good"]
    table = CliRunner().invoke(cli, [*words, "--by", "gradient_attention"]).output
    assert "Differentiated: the logit of class 1 (“good”)" in table
    printed = json.loads(CliRunner().invoke(cli, [*words, "--json"]).output)
    assert printed["target"].startswith("the logit of class 1 (“good”)")
    assert all(head["scores"]["gradient_attention"] >= 0 for head in printed["heads"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target-class", "fair"], "they are bad, good, neither"),
        (["--target-token", "hello"], "--target-class may be meant"),
        (["--target-position", "1"], "give that too"),
        (["--target-class", "good", "--target-token", "hello"], "leave one out"),
    ],
)
def test_wrong_options_are_one_line_and_exit_code_2(options, message, judge, tmp_path, capsys):
    for command in ("build", "capture", "heads"):
        output = [] if command == "heads" else ["-o", str(tmp_path / "out")]
        assert main([command, judge, "hello world", *options, *output]) == 2
        said = capsys.readouterr().err
        assert message in said
        assert len(said.splitlines()) == 1
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["build", "heads"])
def test_a_saved_run_and_a_target_are_exit_code_2(command, judge, tmp_path, capsys):
    saved = tmp_path / "run.safetensors"
    assert main(["capture", judge, "hello", "--target-class", "good", "-o", str(saved)]) == 0
    output = [] if command == "heads" else ["-o", str(tmp_path / "out.html")]
    assert main([command, str(saved), "--target-class", "good", *output]) == 2
    assert "is a saved run, without the model that a target" in capsys.readouterr().err
    assert main([command, str(saved), *output]) == 0
