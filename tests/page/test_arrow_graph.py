"""The arrow graph: which weights become lines, where they lead, and how much they hold."""

from __future__ import annotations

import re

import numpy as np
import pytest
from page_acts import shown
from playwright.sync_api import expect
from runs import small_run

from attnreport import Attention, Axis, Run

ROW = 20  # pixels between two names


def lines(page):
    """Every drawn line: first and last point, width and colour."""
    found = page.locator("#arrows-live .mark-line path").evaluate_all(
        "all => all.map(one => ['d', 'stroke-width', 'stroke'].map(name => one.getAttribute(name)))"
    )
    drawn = []
    for path, width, stroke in found:
        numbers = list(map(float, re.findall(r"-?\d+(?:\.\d+)?(?:e-?\d+)?", path or "")))
        if numbers:
            drawn.append((tuple(numbers[:2]), tuple(numbers[-2:]), float(width), stroke))
    return drawn


def line_height(row, count, rows):
    return (row + 0.5) * rows / count * ROW


def share_said(page):
    return float(re.search(r"([\d.]+) % of", page.inner_text("#arrows-words"))[1]) / 100


def test_weights_from_the_threshold_on_become_lines_between_their_names(page_of):
    run = small_run(layers=1, queries=4, keys=9)
    page = page_of(run, fragment="#view=arrows&least=30")
    weights = run.attentions[0].weights[0]
    strong = np.argwhere(weights >= 0.09)
    drawn = lines(page)
    assert len(drawn) == len(strong) < weights.size
    assert share_said(page) == pytest.approx(weights[weights >= 0.09].sum() / 4, abs=6e-4)
    assert "of at least 0.0900" in page.inner_text("#arrows-words")
    expected = sorted(
        (line_height(row, 4, 9), line_height(column, 9, 9), max(0.6, 7 * weights[row, column]))
        for row, column in strong
    )
    got = sorted((start[1], end[1], width) for start, end, width, _ in drawn)
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    page.locator("#least").fill("50")
    expect(page.locator("#arrows-words")).to_contain_text("of at least 0.2500")
    assert len(lines(page)) == np.count_nonzero(weights >= 0.25)
    assert shown(page)["least"] == "50"


def test_the_strongest_come_first(page_of):
    run = small_run(queries=12)
    page = page_of(run, fragment="#view=arrows&edges=20")
    strongest = np.sort(run.attentions[0].weights[0].ravel())[-20:]
    assert sorted(width for *_, width, _ in lines(page)) == pytest.approx(
        np.maximum(0.6, 7 * strongest), rel=1e-4
    )
    assert share_said(page) == pytest.approx(strongest.sum() / 12, abs=6e-4)


@pytest.mark.parametrize("graph", ["sides", "arcs"])
def test_pointing_at_a_name_leaves_only_its_lines(graph, page_of):
    run = small_run(queries=6)
    page = page_of(run, fragment=f"#view=arrows&graph={graph}&edges=1000")
    assert len(lines(page)) == 36
    names = page.locator("#arrows-live text")
    names.evaluate_all("all => all.forEach(one => { one.known = true; })")
    name = names.filter(has_text="t3").first.bounding_box()
    page.mouse.move(name["x"] + name["width"] / 2, name["y"] + name["height"] / 2)
    expect(page.locator("#arrows-words")).to_contain_text("the weight of the chosen name")
    assert len(lines(page)) == 6
    strong = names.evaluate_all(
        "all => all.filter(one => Number(one.getAttribute('opacity') ?? 1) === 1)"
        ".map(one => one.textContent)"
    )
    assert strong == ["t3", *(() if graph == "arcs" else run.attentions[0].keys.labels)]
    # Names that were made anew would cost more than the lines.
    assert names.evaluate_all("all => all.every(one => one.known)")
    page.mouse.move(1, 1)
    expect(page.locator("#arrows-words")).to_contain_text("of all weight")
    assert len(lines(page)) == 36


def test_heads_have_colours_that_the_legend_tells(page_of):
    run = small_run(heads=3)
    page = page_of(run, fragment="#view=arrows&head=0,1,2&edges=1000")
    assert page.inner_text("#shown-title") == "Layer 0, heads 0, 1, 2"  # each by itself, no mean
    assert page.inner_text("#links-caption") == "layer 0, mean of heads 0, 1, 2"
    swatch = "all => all.map(one => getComputedStyle(one).backgroundColor)"
    told = page.locator("#arrows-legend .swatch").evaluate_all(swatch)
    assert page.inner_text("#arrows-legend").split() == ["head", "0", "head", "1", "head", "2"]
    drawn = {
        f"rgb({', '.join(str(int(stroke[at : at + 2], 16)) for at in (1, 3, 5))})"
        for *_, stroke in lines(page)
    }
    assert len(set(told)) == 3
    assert drawn == set(told)


@pytest.mark.parametrize("causal", [True, False])
def test_arcs_lead_from_name_to_name(causal, page_of):
    run = small_run(layers=1, heads=1, queries=7, causal=causal)
    page = page_of(run, fragment="#view=arrows&graph=arcs&edges=1000")
    weights = run.attentions[0].weights[0]
    names = page.locator("#arrows-live .mark-text text").all_text_contents()
    assert names == list(run.attentions[0].queries.labels)
    drawn = lines(page)
    expected = sorted(
        (line_height(row, 7, 7), line_height(column, 7, 7)) for row, column in np.argwhere(weights)
    )
    assert sorted((start[1], end[1]) for start, end, *_ in drawn) == expected
    back = {start[0] for start, end, *_ in drawn if end[1] < start[1]}
    ahead = {start[0] for start, end, *_ in drawn if end[1] > start[1]}
    assert len(back) == 1
    assert not ahead if causal else (len(ahead) == 1 and ahead.pop() < back.pop())


@pytest.mark.parametrize("causal", [True, False])
def test_no_arc_is_cut_off_by_the_pictures_edge(causal, page_of):
    run = small_run(layers=1, heads=1, queries=30, causal=causal)
    page = page_of(run, fragment="#view=arrows&graph=arcs&edges=1000")
    drawn = "#arrows-live svg, #arrows-live .mark-line path"
    sides = """(drawn) => [...document.querySelectorAll(drawn)]
      .map((node) => node.getBoundingClientRect()).map(({ left, right }) => [left, right])"""
    (left, right), *arcs = page.evaluate(sides, drawn)
    assert len(arcs) > 400
    assert min(start for start, _ in arcs) >= left - 1
    assert max(end for _, end in arcs) <= right + 1


def test_arcs_turn_round_to_who_looks_at_a_name(page_of):
    run = small_run(layers=1, heads=1, queries=7, causal=True)
    page = page_of(run, fragment="#view=arrows&graph=arcs&query=2")
    assert len(lines(page)) == 3  # a causal model's third token looks at three
    page.select_option("#turn-select", "from")
    expect(page.locator("#readout-title")).to_contain_text("Who looks at")
    assert len(lines(page)) == 5  # and five look at it
    assert {"key": "2", "look": "from"}.items() <= shown(page).items()


def test_arcs_are_for_a_sequence_that_looks_at_itself(page_of):
    page = page_of(small_run(keys=6), fragment="#view=arrows&graph=arcs")
    expect(page.locator("#graph-label")).to_be_hidden()
    assert page.locator("#arrows-live .mark-text text").count() == 5 + 6


def test_keys_walk_from_name_to_name(page_of):
    page = page_of(small_run(queries=3, keys=4), fragment="#view=arrows")
    page.focus("#arrows-live")
    walk = [
        ("ArrowDown", {"query": "0"}),
        ("ArrowDown", {"query": "1"}),
        ("ArrowRight", {"key": "1"}),
        ("End", {"key": "3"}),
        ("ArrowDown", {"key": "3"}),
        ("ArrowLeft", {"query": "2"}),
        ("ArrowUp", {"query": "1"}),
        ("Escape", {}),
    ]
    for press, kept in walk:
        page.keyboard.press(press)
        assert {name: shown(page).get(name) for name in ("query", "key")} == {
            "query": None,
            "key": None,
            **kept,
        }


def test_the_smallest_weight_that_is_drawn_is_never_told_as_nothing(page_of):
    weights = np.full((1, 2, 2), [0.99995, 0.00005], np.float32)
    axis = Axis.of_labels("text", ("a", "b"))
    run = Run((Attention(weights, "layer", 0, "self", axis, axis),))
    words = page_of(run, fragment="#view=arrows").inner_text("#arrows-words")
    assert words == "The 4 strongest links, down to < 0.0001: 100.0 % of all weight is drawn."
