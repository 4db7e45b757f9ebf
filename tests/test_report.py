"""A report is drawn from a Run: the same bytes each time, and never over somebody's file."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from attnreport import Report
from attnreport.errors import InvalidInput, OutputError

# A fresh process has another hash seed, so an order that depends on one would show here.
_REPORT = """
import sys
from attnreport import Report, Run
sys.stdout.buffer.write(Report(Run.load(sys.argv[1])).html().encode())
"""


def test_same_run_gives_the_same_bytes(run_of, tmp_path):
    run_of().save(tmp_path / "run.safetensors")
    command = [sys.executable, "-c", _REPORT, str(tmp_path / "run.safetensors")]
    pages = [_output(command, {**os.environ, "PYTHONHASHSEED": seed}) for seed in ("1", "2")]
    assert pages[0] == pages[1] == Report(run_of()).html().encode()


def _output(command, environment):
    return subprocess.run(command, capture_output=True, check=True, env=environment).stdout


def test_save_writes_the_page_and_returns_its_size(run_of, tmp_path):
    report = Report(run_of())
    size = report.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.html()
    assert (tmp_path / "report.html").stat().st_size == size


def test_save_refuses_an_existing_file_without_force(run_of, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"exists already; --force replaces it"):
        Report(run_of()).save(path)
    assert path.read_text() == "mine"
    Report(run_of()).save(path, force=True)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("layer", "head", "message"),
    [
        (2, 0, "no layer 2: the run has layers 0 to 1"),
        (-1, 0, "no layer -1: the run has layers 0 to 1"),
        (0, 3, "no head 3: layer 0 has heads 0 to 2"),
        (1, -1, "no head -1: layer 1 has heads 0 to 2"),
    ],
)
def test_layer_or_head_out_of_range_is_refused(run_of, layer, head, message):
    with pytest.raises(InvalidInput) as raised:
        Report(run_of(layers=2, heads=3), layer=layer, head=head)
    assert str(raised.value) == message


def opened(run, **asked):
    report = Report(run, **asked)
    return report.layer, report.head


def test_report_opens_with_the_last_cross_attention(run_of):
    assert opened(run_of(layers=3)) == (0, 0)
    assert opened(run_of(layers=3, keys=4)) == (2, 0)


def looking_back(run, layer, head):
    """The same run, where this head always looks at the position before."""
    attention = run.attentions[layer]
    weights = attention.weights.copy()
    weights[head] = np.eye(*weights.shape[1:], k=-1)
    weights[head, 0, 0] = 1
    changed = (*run.attentions[:layer], replace(attention, weights=weights))
    return replace(run, attentions=(*changed, *run.attentions[layer + 1 :]))


def test_report_opens_with_the_first_head_worth_a_look(run_of):
    run = looking_back(run_of(layers=3, queries=12), 1, 2)
    assert opened(run) == (1, 2)
    assert opened(run, layer=2) == (2, 0)
    assert opened(run, head=1) == (0, 1)
    html = Report(run).html()
    assert "layer 1 head 2 attends to the previous token, 1.00 of its weight.</p>" in html
    assert "This page opens with the first of these.</p>" in html
    assert "By none of the measures does a head stand out." in Report(run_of()).html()
    assert "the head that was asked for when it was made" in Report(run, layer=2).html()


def test_of_heads_worth_a_look_one_that_relates_two_sequences_comes_first(run_of):
    one_key = run_of(layers=3, queries=12, keys=13)
    weights = np.full((3, 12, 13), 0.01, np.float32)
    weights[:, :, 4] = 0.88
    one_key = replace(one_key.attentions[1], weights=weights)
    cross = run_of(layers=3, queries=12, keys=13)
    own = looking_back(run_of(layers=1, queries=12), 0, 2).attentions[0]
    run = replace(cross, attentions=(own, one_key, cross.attentions[2]))
    assert opened(run) == (1, 0)
    html = Report(run).html()
    assert "This page opens with the first of these that relates two sequences.</p>" in html
    run = replace(cross, attentions=(own, *cross.attentions[1:]))
    assert opened(run) == (2, 0)
    assert (
        "with the first head of the last layer that relates two sequences.</p>"
        in Report(run).html()
    )


def test_chosen_layer_and_head_are_in_the_page(run_of):
    page = Report(run_of(layers=2, heads=3), layer=1, head=2).html()
    assert "Layer 1, head 2</span>" in page


class _Elements(HTMLParser):
    def __init__(self, markup):
        super().__init__()
        self.found = []
        self.feed(markup)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_notebook_form_is_one_sandboxed_frame_that_holds_the_page(run_of):
    report = Report(run_of())
    found = dict(_Elements(report._repr_html_()).found)
    assert list(found) == ["div", "img", "iframe", "script"]
    attributes = found["iframe"]
    assert attributes["sandbox"] == "allow-scripts"
    assert attributes["srcdoc"] == report.html()
    assert attributes["title"] == "attnreport"
