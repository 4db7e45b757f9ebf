"""`attnreport heads`: the same numbers as the measures, largest first, as text and as JSON."""

from __future__ import annotations

import json

import numpy as np
from click.testing import CliRunner

from attnreport.cli import cli, main
from attnreport.heads import ranked


def invoke(*words: str) -> str:
    result = CliRunner().invoke(cli, ["heads", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_ranking_holds_every_head_largest_first(run_of) -> None:
    run = run_of()
    ranking = ranked(run, "entropy")
    values = [head.scores["entropy"] for head in ranking.heads]
    assert sorted(values, key=lambda value: -value) == values
    array = run.measure("entropy").array
    assert len(values) == np.isfinite(array).sum()
    for head in ranking.heads:
        assert head.scores["entropy"] == round(float(array[head.layer, head.head]), 6)


def test_json_and_table_say_the_same() -> None:
    printed = json.loads(invoke("demo:translate", "5 March 2021", "--json", "--by", "vertical"))
    table = invoke("demo:translate", "5 March 2021", "--by", "vertical", "--limit", "3")
    lines = [line.split() for line in table.splitlines() if line.endswith("attention")][:3]
    for line, head in zip(lines, printed["heads"], strict=False):
        assert line[:2] == [str(head["layer"]), str(head["head"])]
        assert line[2] == f"{head['scores']['vertical']:.4f}"
    assert "… and" in table


def test_the_induction_head_of_demo_text_is_ranked_first() -> None:
    """Layer 2 head 1 is the one that training found (examples/train_text.py prints its score)."""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    text = "".join(np.random.default_rng(0).permutation(list(alphabet))[:40]) * 2
    first = json.loads(invoke("demo:text", text, "--json", "--by", "induction"))["heads"][0]
    assert (first["layer"], first["head"]) == (2, 1)
    assert first["scores"]["induction"] > 0.5


def test_an_unknown_measure_lists_the_known_ones() -> None:
    assert main(["heads", "demo:text", "Ada", "--by", "nonsense"]) == 2
