from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from measure_cases import encoder_decoder, stack

from attnreport.errors import InvalidMeasure
from attnreport.measures import (
    FLOW,
    RELEVANCE,
    ROLLOUT,
    all_head_scores,
    head_scores,
    known_measures,
    measure,
    registry,
)

WORDS = {
    "title": "Mine",
    "formula": "w(0, 0)",
    "range": (0.0, 1.0),
    "source": "nobody",
    "link": "https://example.org/",
    "reading": "High means much.",
}


@pytest.fixture
def own_registry(monkeypatch):
    """Let a test register what it likes."""
    monkeypatch.setattr(registry, "_MEASURES", dict(known_measures()))


def test_own_measure_is_taken_like_the_others(own_registry):
    @measure("mine", **WORDS)
    def mine(attention):
        return attention.weights[:, 0, 0]

    run = stack()
    found = run.measure("mine")
    assert found.name == "mine"
    assert found.axes == ("layer", "head")
    assert found.values[1].dtype == np.float64
    expected = [attention.weights[:, 0, 0] for attention in run.attentions]
    np.testing.assert_array_equal(found.array, expected)
    assert "mine" in all_head_scores(run)


def test_measure_over_layers_takes_the_run(own_registry):
    @measure("depth", level="run", **WORDS)
    def depth(run):
        return [np.full(each.heads, each.layer) for each in run.attentions]

    assert stack(2).measure("depth").array.tolist() == [[0, 0, 0], [1, 1, 1]]


def test_array_is_padded_where_layers_have_fewer_heads():
    found = head_scores(encoder_decoder(), "vertical")
    assert [len(scores) for scores in found.values] == [3, 2, 3, 3, 3, 3]
    assert found.array.shape == (6, 3)
    assert np.isnan(found.array).sum() == 1
    assert np.isnan(found.array[1, 2])


def test_scores_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        head_scores(stack(), "entropy").values[0][0] = 1


def test_a_taken_name_is_refused():
    with pytest.raises(InvalidMeasure, match="'entropy' exists already; give yours another name"):
        measure("entropy", **WORDS)(lambda attention: attention)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(InvalidMeasure, match=r"called 'entropie'; known are: .*induction.*entropy"):
        stack().measure("entropie")


def test_options_must_be_those_that_are_needed():
    with pytest.raises(InvalidMeasure, match="takes alignment; it was given none"):
        stack().measure("alignment_error_rate")
    with pytest.raises(InvalidMeasure, match="'entropy' takes no options; it was given base"):
        stack().measure("entropy", base=2)


def test_a_measure_that_returns_the_wrong_shape_is_named(own_registry):
    measure("wrong", **WORDS)(lambda attention: attention.weights[0, 0])
    measure("short", level="run", **WORDS)(lambda run: [])
    with pytest.raises(InvalidMeasure, match=r"'wrong' must return shape \(3,\) .* returned \(10,"):
        stack().measure("wrong")
    with pytest.raises(InvalidMeasure, match="'short' returned 0 arrays for 3 attentions"):
        stack().measure("short")


def test_all_takes_what_its_options_allow():
    every = set(known_measures())
    assert set(all_head_scores(stack())) == every - {
        name for name, found in known_measures().items() if found.needs or found.wants
    }


@pytest.mark.parametrize("described", [*known_measures().values(), RELEVANCE, ROLLOUT, FLOW])
def test_description_is_whole(described):
    assert re.fullmatch(r"High means .+\.", described.reading)
    assert described.link.startswith("https://")
    assert described.range[0] in (0, None)
    assert described.range[1] in (1, None)
    assert described.title[0].isupper()
    assert re.search(r"\d{4}", described.source)


def test_measures_need_no_torch():
    code = "import sys, attnreport.measures; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
