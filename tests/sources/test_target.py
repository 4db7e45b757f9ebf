# ruff: noqa: S106 - these are tokens of a vocabulary, no secrets
"""Which number is differentiated: held against a backward that the test makes by itself."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import attnreport
from attnreport.build import build_run, capture_run
from attnreport.cli import cli, main
from attnreport.demos import text, vision
from attnreport.errors import InvalidOption
from attnreport.sources import Request, open_source

PICTURE = "examples/bar.png"


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def by_hand(request, number_of):
    """The gradients of ``number_of(output)``, taken with ``capture`` alone."""
    source = open_source(request)
    with attnreport.capture(source.model, axes=source.call.axes, gradients=True) as recording:
        number_of(source.model(*source.call.args, **source.call.kwargs)).backward()
    return recording.gradients


def same(run, gradients):
    for attention, gradient in zip(run.attentions, gradients, strict=True):
        np.testing.assert_array_equal(attention.gradient, gradient)
        assert np.abs(gradient).max() > 0
    return True


@pytest.mark.parametrize(
    ("named", "number", "words"),
    [
        ("pie", 4, "the logit of class 4 (“pie”)"),
        ("PIE", 4, "the logit of class 4 (“pie”)"),
        ("4", 4, "the logit of class 4 (“pie”)"),
        ("predicted", 1, "the logit of class 1 (“bar”), which the model predicts"),
    ],
)
def test_a_class_by_name_number_or_prediction(named, number, words):
    run = capture_run(Request("demo:vision", PICTURE, target_class=named))
    assert run.target == words
    assert same(run, by_hand(Request("demo:vision", PICTURE), lambda logits: logits[0, number]))


def test_a_token_at_the_last_position_and_at_another():
    request = Request("demo:text", "Ada met G", target_token="r")
    run = capture_run(request)
    assert run.target.startswith("the logit of token 114 (“r”) at position 9 (“G”)")
    assert same(run, by_hand(request, lambda logits: logits[0, -1, ord("r")]))
    early = capture_run(Request("demo:text", "Ada met G", target_token="id:97", target_position=2))
    assert early.target.startswith("the logit of token 97 (“a”) at position 2 (“d”)")
    assert (early.attentions[0].gradient[:, 3:] == 0).all()  # later positions played no part
    assert same(early, by_hand(request, lambda logits: logits[0, 2, 97]))


def test_a_token_of_a_translation_reaches_all_three_kinds_of_attention():
    request = Request("demo:translate", "3/5/21", target_token="3")
    run = capture_run(request)
    assert run.target == (
        "the logit of token 6 (“3”) at position 6 (“0”), which the model predicts there"
    )  # where the 3 of 2021-03-05 is written
    other = capture_run(Request("demo:translate", "3/5/21", target_token="3", target_position=9))
    assert other.target == "the logit of token 6 (“3”) at position 9 (“0”)"
    assert same(run, by_hand(request, lambda logits: logits[0, 6, 6]))


def test_predicted_token():
    request = Request("demo:text", "Ada met Grace. Then Ada met G", target_token="predicted")
    run = capture_run(request)
    source = open_source(request)
    best = int(source.model(*source.call.args)[0, -1].argmax())
    assert run.target.startswith(f"the logit of token {best} (“{chr(best)}”) at position")
    assert run.target.endswith("which the model predicts there")


def test_tokens_of_checkpoints(gpt2, t5):
    for folder, target in ((gpt2, None), (t5, "hello")):
        request = Request(str(folder), "hello world", target=target, target_token="predicted")
        run = capture_run(request)
        assert same(run, by_hand(request, lambda output: output.logits[0, -1].max()))
    run = capture_run(Request(str(gpt2), "hello world", target_token="h"))
    assert "(“h”) at position" in run.target


def test_a_function_of_ones_own():
    def margin(logits):
        return logits[0, 1] - logits[0, 4]

    request = Request("demo:vision", PICTURE)
    run = build_run(request, target=margin)
    assert run.target == "what margin returned"
    assert same(run, by_hand(request, margin))


def test_nothing_stays_behind_and_the_output_is_the_same(monkeypatch):
    model = text.factory()
    frozen = list(model.layers[0].parameters())
    for parameter in frozen:
        parameter.requires_grad_(False)
    monkeypatch.setattr(text, "factory", lambda: model)
    outputs = []
    model.register_forward_hook(lambda _module, _args, output: outputs.append(output.detach()))
    run = capture_run(Request("demo:text", "abc", target_token="d"))
    source = open_source(Request("demo:text", "abc"))
    source.model(*source.call.args)
    assert torch.equal(*outputs)
    assert not any(parameter.requires_grad for parameter in frozen)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(attention.gradient is not None for attention in run.attentions)


def test_frozen_models_are_differentiated_all_the_same(monkeypatch):
    model = vision.factory().requires_grad_(False)
    monkeypatch.setattr(vision, "factory", lambda: model)
    run = capture_run(Request("demo:vision", PICTURE, target_class="bar"))
    monkeypatch.undo()
    expected = by_hand(Request("demo:vision", PICTURE), lambda logits: logits[0, 1])
    assert same(run, expected)
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_class": "bar", "target_token": "a"}, "leave one out"),
        ({"target_position": 3}, "give that too"),
        ({"target_class": "cake"}, "a number below 6 or a name; they are area, bar, heatmap"),
        ({"target_class": "6"}, "there is no such class"),
        ({"target_token": "a"}, r"this model gives \(1, 6\); --target-class may be meant"),
    ],
)
def test_wrong_targets_of_a_classifier(options, message):
    with pytest.raises(InvalidOption, match=message):
        capture_run(Request("demo:vision", PICTURE, **options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_class": "0"}, "--target-token may be meant"),
        ({"target_token": "ab"}, r"got 2: id:97 \(“a”\), id:98 \(“b”\)"),
        ({"target_token": ""}, "got 0: none"),
        ({"target_token": "id:256"}, "got 6"),
        ({"target_token": "a", "target_position": 4}, "--target-position 4: expected 0 to 3"),
    ],
)
def test_wrong_targets_of_a_language_model(options, message):
    with pytest.raises(InvalidOption, match=message):
        capture_run(Request("demo:text", "abc", **options))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (lambda logits: logits, r"a tensor of shape \(\), got \(1, 6\)"),
        (lambda _: 3.0, "got float"),
        (lambda logits: logits.detach().max(), "no gradient of it"),
        (lambda logits: logits["x"], "the target raised"),
    ],
)
def test_wrong_functions(target, message):
    with pytest.raises(InvalidOption, match=message):
        capture_run(Request("demo:vision", PICTURE), target=target)


def test_a_model_without_logits_says_what_can_be_done(tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch, attnreport\n"
        "class Model(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.w = torch.nn.Parameter(torch.eye(4))\n"
        "    def forward(self, x):\n"
        "        q = (x @ self.w)[None]\n"
        "        out = torch.nn.functional.scaled_dot_product_attention(q, q, q)\n"
        "        return {'hidden': out}\n"
        "def make(): return Model()\n"
        "def prepare(text): return attnreport.Call(args=(torch.randn(1, 3, 4),))\n"
    )
    request = Request(f"{tmp_path}/own.py:make", "x", target_class="1")
    with pytest.raises(InvalidOption, match="returned dict without logits"):
        capture_run(request)
    run = build_run(
        Request(f"{tmp_path}/own.py:make", "x"), target=lambda output: output["hidden"].sum()
    )
    assert run.attentions[0].gradient is not None
    sys.modules.pop("_attnreport_model_own", None)


def test_a_model_that_autograd_stops_is_said_to_be_one(tmp_path, capsys):
    (tmp_path / "frozen.py").write_text(
        "import torch, attnreport\n"
        "class Model(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__(); self.w = torch.nn.Parameter(torch.eye(4), False)\n"
        "    def forward(self, x):\n"
        "        self.w[0] = 1  # which a parameter that requires grad does not allow\n"
        "        q = (x @ self.w)[None]\n"
        "        return torch.nn.functional.scaled_dot_product_attention(q, q, q).sum((0, 2))\n"
        "def make(): return Model()\n"
        "def prepare(text): return attnreport.Call(args=(torch.ones(1, 3, 4),))\n"
    )
    words = ["heads", f"{tmp_path}/frozen.py:make", "x"]
    assert main(words) == 0
    assert main([*words, "--target-class", "1"]) == 2
    said = capsys.readouterr().err
    assert "Model runs only without autograd" in said
    assert len(said.splitlines()) == 1


def test_a_saved_run_cannot_be_differentiated(tmp_path):
    capture_run(Request("demo:text", "abc")).save(tmp_path / "run.safetensors")
    saved = str(tmp_path / "run.safetensors")
    with pytest.raises(InvalidOption, match="give them to 'attnreport capture'"):
        build_run(Request(saved, target_token="a"))


def test_the_command_line_takes_the_options_and_repeats_them(tmp_path):
    output = tmp_path / "out.html"
    words = ["build", "demo:text", "Ada met G", "--target-token", "r", "-o", str(output)]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    page = output.read_text()
    assert "the logit of token 114 (“r”) at position 9 (“G”)" in page
    assert "attnreport build demo:text &#39;Ada met G&#39; --target-token r" in page
    assert "Relevance · text → text" in page
    ranking = CliRunner().invoke(
        cli, ["heads", *words[1:5], "--by", "gradient_attention", "--limit", "2"]
    )
    assert "gradient × attention" in ranking.output
