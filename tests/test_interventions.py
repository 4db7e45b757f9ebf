"""Scores that need the model again: by hand on the demos, in the run, its file and the terminal."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport import Axis, Run
from attnreport.build import build_run, capture_run
from attnreport.call import Call
from attnreport.cli import cli
from attnreport.demos import text, translate, vision
from attnreport.errors import InvalidOption, InvalidRun
from attnreport.measures import notable_heads
from attnreport.sources import Request
from attnreport.sources.probe import repeated

REPEATS = "Ada met Grace. Then Ada met Grace. And Ada met Grace"
PICTURE = "examples/bar.png"


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def without(model, name, head):
    """Zero what a head of a demo feeds into its output projection; return how to undo it."""
    weight = model.get_submodule(name).out.weight
    width = weight.shape[1] // 4
    kept = weight.detach().clone()
    with torch.no_grad():
        weight[:, head * width : (head + 1) * width] = 0
    return lambda: weight.data.copy_(kept)


def by_hand(run, model, number):
    """How much ``number()`` changes without each head."""
    with torch.no_grad():
        before = number()
        changes = []
        for attention in run.attentions:
            row = []
            for head in range(attention.heads):
                undo = without(model, attention.name, head)
                row.append(number() - before)
                undo()
            changes.append(row)
    return np.array(changes)


def test_loss_of_the_next_byte():
    run = capture_run(Request("demo:text", REPEATS, ablate="zero"))
    model = text.factory()
    ids = torch.tensor([text.encode(REPEATS)])

    def loss():
        return float(F.cross_entropy(model(ids)[0, :-1].double(), ids[0, 1:]))

    expected = by_hand(run, model, loss)
    np.testing.assert_allclose(run.measure("ablation").array, expected, atol=1e-5)
    note = next(note for note in run.provenance.notes if "ablation" in note)
    with torch.no_grad():
        before = loss()
    assert "replaced by zero, one head at a time" in note
    assert "the rise of the mean cross-entropy of the next token of the text, in nats" in note
    assert f"which was {before:.5f}"[:-1] in note


def test_the_induction_head_matters_most_on_repeats_and_is_found_by_both():
    run = capture_run(Request("demo:text", REPEATS, ablate="zero", probe="induction"))
    for measure in ("ablation", "induction_probe"):
        scores = run.measure(measure).array
        assert np.unravel_index(np.nanargmax(scores), scores.shape) == (2, 1)
    worth = {(found.layer, found.head): found.reason for found in notable_heads(run)}
    assert "without it the model does worse" in worth[2, 1]


def test_loss_of_the_target():
    run = capture_run(Request("demo:translate", "3/5/21", target="2021-03-05", ablate="zero"))
    model = translate.factory()
    source, target = (
        torch.tensor([encode(words)])
        for encode, words in (
            (translate.encode_source, "3/5/21"),
            (translate.encode_target, "2021-03-05"),
        )
    )
    expected = by_hand(
        run,
        model,
        lambda: float(F.cross_entropy(model(source, target)[0, :-1].double(), target[0, 1:])),
    )
    np.testing.assert_allclose(run.measure("ablation").array, expected, atol=1e-5)


def test_the_predicted_class_and_a_named_logit():
    model = vision.factory()
    call = vision.prepare(Path(PICTURE), model=model)

    def logits():
        return model(*call.args)[0].double()

    run = capture_run(Request("demo:vision", PICTURE, ablate="zero"))
    expected = by_hand(run, model, lambda: -float(logits().log_softmax(0)[1]))
    np.testing.assert_allclose(run.measure("ablation").array, expected, atol=1e-5)
    run = capture_run(Request("demo:vision", PICTURE, ablate="zero", target_class="pie"))
    expected = by_hand(run, model, lambda: -float(logits()[4]))
    np.testing.assert_allclose(run.measure("ablation").array, expected, atol=1e-5)
    assert any("the fall of the logit of class 4 (“pie”)" in x for x in run.provenance.notes)
    assert run.attentions[0].gradient is not None


def test_a_function_of_ones_own():
    def spread(logits):
        return logits.max() - logits.min()

    run = build_run(Request("demo:vision", PICTURE, ablate="mean"), loss=spread)
    note = next(note for note in run.provenance.notes if "ablation" in note)
    assert "replaced by its mean over the queries" in note
    assert "the rise of what spread returned" in note


def test_the_probe_is_the_measure_on_a_repeated_sequence():
    run = capture_run(Request("demo:text", "abc", probe="induction"))
    assert any("50 random tokens, repeated once" in note for note in run.provenance.notes)
    scores = run.measure("induction_probe").array
    assert scores[2, 1] > 0.7
    assert np.sort(scores, axis=None)[-2] < 0.3
    again = capture_run(Request("demo:text", "something else", probe="induction"))
    np.testing.assert_array_equal(again.measure("induction_probe").array, scores)


def test_the_probe_draws_no_token_that_stands_for_no_text():
    ids = torch.tensor([[5, 6, 7]])
    call = Call(args=(ids,), axes=((ids, Axis.of_labels("text", "abc")),), special=(0, 1, 4))
    made, period = repeated(call, nn.Embedding(9, 2))
    drawn = made.args[0][0].tolist()
    assert period == 6
    assert sorted(drawn[:6]) == [2, 3, 5, 6, 7, 8]
    assert drawn[:6] == drawn[6:]


def test_taken_scores_come_back_from_the_file(tmp_path):
    run = capture_run(Request("demo:text", "abc", ablate="zero"))
    scores = run.taken["ablation"]
    scores = (np.array([np.nan, *scores[0][1:]]), *scores[1:])
    run = replace(run, taken={"ablation": scores})
    run.save(tmp_path / "run.safetensors")
    read = Run.load(tmp_path / "run.safetensors")
    for before, after in zip(scores, read.taken["ablation"], strict=True):
        np.testing.assert_array_equal(after, before)
        assert not after.flags.writeable
    with pytest.raises(InvalidRun, match="one for each head"):
        replace(run, taken={"ablation": scores[:1]})


def test_the_command_line_states_the_cost_first_and_ranks():
    words = ["heads", "demo:text", REPEATS, "--ablate", "zero", "--by", "ablation"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("Ablating 12 heads, 12 more runs of about ")
    rows = [line.split() for line in result.stdout.split("module\n")[1].splitlines()]
    assert rows[0][:2] == ["2", "1"]
    found = CliRunner().invoke(cli, [*words, "--json"])
    assert "ablation" in json.dumps(json.loads(found.stdout))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            Request("demo:text", 4 * REPEATS, ablate="zero", max_memory=300_000),
            "after positions were joined to save memory",
        ),
        (
            Request("demo:translate", "3/5/21", probe="induction"),
            "this call has 2 sequences, 2 of them token ids",
        ),
        (
            Request("demo:vision", PICTURE, probe="induction"),
            "this call has 1 sequences, 0 of them token ids",
        ),
    ],
)
def test_what_cannot_be_asked_is_said(request_, message):
    with pytest.raises(InvalidOption, match=message):
        capture_run(request_)


def test_a_saved_run_cannot_be_asked_again(tmp_path):
    capture_run(Request("demo:text", "abc")).save(tmp_path / "run.safetensors")
    for asked in ({"ablate": "zero"}, {"probe": "induction"}):
        with pytest.raises(InvalidOption, match="without the model"):
            build_run(Request(str(tmp_path / "run.safetensors"), **asked))
