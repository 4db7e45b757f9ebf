"""`attnreport heads`: the same numbers as the measures, largest first, as text and as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from attnreport.cli import cli, main
from attnreport.errors import InvalidMeasure
from attnreport.heads import ranked
from attnreport.measures import read_alignment


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


# "27. Apr 20" is 2020-04-27: digits are copied, letters tell the month, two digits the century.
GOLD = "0-8 1-9 8-2 9-3 4?5 5?5 6?5 4?6 5?6 6?6 8?0 8?1 9?0 9?1"


def test_the_best_alignment_head_of_demo_translate_is_listed_first(tmp_path) -> None:
    """Decoder layer 1 head 1, the run's layer 5, by the table that examples/train_translate.py
    prints over 5,000 dates."""
    gold = tmp_path / "gold.txt"
    gold.write_text(GOLD, encoding="utf-8")
    words = ("demo:translate", "27. Apr 20", "--alignment", str(gold), "--json")
    printed = json.loads(invoke(*words, "--by", "alignment_error_rate"))
    first = printed["heads"][0]
    assert (first["layer"], first["head"]) == (5, 1)
    rates = [head["scores"]["alignment_error_rate"] for head in printed["heads"]]
    known = [rate for rate in rates if rate is not None]
    assert known == sorted(known)
    assert rates[: len(known)] == known
    assert len(known) == 8, "one for each head of cross-attention"
    notable = printed["notable"][0]
    assert (notable["layer"], notable["head"]) == (5, 1)
    assert notable["measure"] == "alignment_error_rate"


def test_a_measure_that_needs_an_alignment_says_so(capsys) -> None:
    words = ["heads", "demo:translate", "20 May 2924", "--by", "alignment_error_rate"]
    assert main(words) == 2
    assert "--alignment" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("links", "message"),
    [
        ("0-1 2:3", "expected links such as 3-4, or 3?4 for a possible one, got '2:3'"),
        ("0-99", "the alignment links query 99 with key 0, but there are 11 queries"),
    ],
)
def test_a_bad_alignment_is_named(tmp_path, capsys, links, message) -> None:
    gold = tmp_path / "gold.txt"
    gold.write_text(links, encoding="utf-8")
    assert main(["heads", "demo:translate", "27. Apr 20", "--alignment", str(gold)]) == 2
    assert message in capsys.readouterr().err


def test_an_alignment_needs_a_source_and_a_target(run_of) -> None:
    with pytest.raises(InvalidMeasure, match="one source and one target, this one has 0 pairs"):
        read_alignment("0-0", run_of())
