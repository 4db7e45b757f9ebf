"""What a selection left keeps its numbers: in the run's file, the page, its address and files."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from page_acts import document, shown
from playwright.sync_api import expect
from torch import nn

import attnreport
from attnreport import Report, Run
from attnreport.cli import main
from attnreport.errors import InvalidInput
from attnreport.export import export
from attnreport.heads import as_json, ranked, table
from attnreport.page.reading import read_head

WORDS = [f"w{place}" for place in range(7)]


@pytest.fixture(scope="module")
def runs():
    """Four layers of four heads, and of the same run layers 1 and 3 with heads 3 and 1."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    model, hidden = nn.TransformerEncoder(layer, 4).eval(), 8 * torch.randn(1, 7, 16)
    found = []
    for options in ({}, {"layers": [3, 1], "heads": [3, 1]}):
        with attnreport.capture(model, axes=[(hidden, WORDS)], **options) as recording:
            model(hidden)
        found.append(recording.run())
    return found


@pytest.fixture(scope="module")
def files(runs, tmp_path_factory):
    """The selected part as a run and as a report."""
    folder = tmp_path_factory.mktemp("numbers")
    runs[1].save(folder / "part.safetensors")
    Report(runs[1]).save(folder / "part.html")
    return folder / "part.safetensors", folder / "part.html"


def test_the_file_of_a_run_keeps_the_numbers(runs, files):
    loaded = Run.load(files[0])
    assert [(a.layer, a.head_numbers) for a in loaded.attentions] == [(1, (3, 1)), (3, (3, 1))]
    assert [entry.layer for entry in loaded.ledger] == [None, 1, None, 3]
    for attention in loaded.attentions:
        whole = runs[0].attentions[attention.layer].weights
        assert np.array_equal(attention.weights, whole[list(attention.head_numbers)])


def test_heads_are_ranked_and_told_by_their_numbers(runs):
    whole, part = (ranked(run, "entropy") for run in runs)
    values = {(head.layer, head.head): head.scores["entropy"] for head in whole.heads}
    assert {(head.layer, head.head) for head in part.heads} == {(1, 1), (1, 3), (3, 1), (3, 3)}
    for head in part.heads:
        assert head.scores["entropy"] == values[head.layer, head.head]
    assert {head["layer"] for head in json.loads(as_json(part))["heads"]} == {1, 3}
    best = part.heads[0]
    assert table(part, 1).splitlines()[-2].split()[:2] == [str(best.layer), str(best.head)]


def test_a_head_is_taken_out_of_run_and_report_by_its_number(runs, files, tmp_path, capsys):
    wanted = runs[0].attentions[3].weights[1]
    assert np.array_equal(read_head(files[1], 3, 1).weights, wanted)
    for source in files:
        target = tmp_path / f"{source.suffix}.npz"
        export(source, target, layer=3, head=1)
        with np.load(target) as found:
            assert np.array_equal(found["weights"], wanted)
            assert (int(found["layer"]), int(found["head"])) == (3, 1)
        export(source, tmp_path / f"{source.suffix}.npz", layer=1, force=True)
        with pytest.raises(InvalidInput, match=r"no layer 0: the \w+ has layers 1, 3$"):
            export(source, tmp_path / "no.npz", layer=0)
        with pytest.raises(InvalidInput, match=r"no head 0: layer 1 has heads 3, 1$"):
            export(source, tmp_path / "no.npz", layer=1, head=0)
    code = main(
        ["export", str(files[1]), "--layer", "3", "--head", "3", "-o", str(tmp_path / "a.csv")]
    )
    assert code == 0
    assert "layer 3, head 3" in capsys.readouterr().out + capsys.readouterr().err


def test_report_opens_with_what_is_asked_for_by_number(runs):
    report = Report(runs[1], layer=3, head=1)
    assert 'id="shown-title">Layer 3, head 1<' in report.html()
    assert "selected>layer 3 · layers.3.self_attn<" in report.html()
    assert "selected>head 1<" in report.html()
    first = Report(runs[1])
    assert (first.layer, first.head) == (1, 3)


@pytest.mark.parametrize(
    ("asked", "shown"), [((), (1, 3)), (("--layer", "3", "--head", "1"), (3, 1))]
)
def test_a_report_of_the_saved_run_is_built_by_numbers(files, tmp_path, asked, shown):
    assert main(["build", str(files[0]), *asked, "-o", str(tmp_path / "again.html")]) == 0
    words = "Layer {}, head {}".format(*shown)
    assert f'id="shown-title">{words}<' in (tmp_path / "again.html").read_text()


def test_page_and_address_have_the_numbers(runs, page_of):
    page = page_of(runs[1], fragment="#layer=3&head=1")
    expect(page.locator("#shown-title")).to_have_text("Layer 3, head 1")
    assert page.url.endswith("#layer=3&head=1")
    assert shown(page)["layer"] == "3"
    assert page.locator("#layer-select option:checked").text_content().startswith("layer 3 ·")
    names = page.locator("#head-select option").all_text_contents()
    assert names == ["head 3", "head 1", "all heads"]
    page.select_option("#head-select", label="all heads")
    expect(page.locator("#shown-title")).to_have_text("Layer 3, mean of heads 3, 1")
    page.select_option("#layer-select", index=0)
    expect(page.locator("#shown-title")).to_have_text("Layer 1, mean of heads 3, 1")
    assert page.url.endswith("#layer=1&head=3,1")
    labels = page.locator("#overview-live svg").text_content()
    assert "layer 1" in labels
    assert "layer 3" in labels
    assert "layer 0" not in labels


def test_overview_stands_by_number_and_leads_there(runs, page_of):
    page = page_of(runs[1])
    # Columns are sorted by number: head 1 is left of head 3, though it was asked for after it.
    box = page.locator("#overview-live svg image").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 6, box["y"] + 0.75 * box["height"])
    expect(page.locator("#shown-title")).to_have_text("Layer 3, head 1")
    for place in page.locator(".notable a").all():
        place.click()
        layer, head = place.get_attribute("data-place").split(".")
        expect(page.locator("#shown-title")).to_have_text(f"Layer {layer}, head {head}")
        assert (int(layer), int(head)) in {(1, 1), (1, 3), (3, 1), (3, 3)}
    assert [layer["number"] for layer in document(page)["layers"]] == [1, 3]


def test_files_and_means_are_called_by_number(runs, page_of, saved):
    page = page_of(runs[1], fragment="#layer=3&head=1")
    name, _ = saved(page, "#take-csv")
    assert name == "attention-layer-3-head-1.csv"
    page.select_option("#layer-select", index=page.locator("#layer-select option").count() - 1)
    expect(page.locator("#shown-title")).to_contain_text("Mean of the heads")
    assert page.locator("#head-select option").all_text_contents() == ["layer: 1", "layer: 3"]
