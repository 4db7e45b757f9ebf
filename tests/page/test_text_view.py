"""The text view: what is shaded and how strongly, choosing several tokens, and every script."""

from __future__ import annotations

import csv
import io
from itertools import pairwise

import numpy as np
import pytest
from drivers import Firefox
from page_acts import comes_to_be, palette_of, shown
from playwright.sync_api import expect
from runs import small_run, softmax

from attnreport import Attention, Axis, Position, Run

_SHADES = "all => all.map(one => getComputedStyle(one).backgroundColor.match(/\\d+/g).map(Number))"


def shades(page, role="query"):
    return np.array(page.locator(f"#text-live [data-role={role}]").evaluate_all(_SHADES))


def colours(page, values):
    palette = palette_of(page)
    return palette[np.rint(np.sqrt(values) * (len(palette) - 2)).astype(int)]


def expect_shades(page, values, role="query"):
    # One step off where the number lies between two colours.
    assert np.abs(shades(page, role) - colours(page, values).astype(int)).max() <= 4


@pytest.mark.parametrize(
    ("chosen", "rows"), [("", range(6)), ("&query=2", [2]), ("&query=1&more=3,4", [1, 3, 4])]
)
def test_shade_is_the_mean_of_the_chosen_rows(chosen, rows, page_of):
    run = small_run(layers=1, queries=6)
    page = page_of(run, fragment=f"#view=text{chosen}")
    mean = run.attentions[0].weights[0][list(rows)].mean(axis=0)
    expect_shades(page, mean)
    bars = page.locator("#readout-top .weight").all_text_contents()
    assert list(map(float, bars)) == pytest.approx(np.sort(mean)[::-1], abs=6e-5)
    names = page.locator("#text-live .chosen").all_text_contents()
    labels = run.attentions[0].queries.labels
    assert names == ([labels[row] for row in rows] if chosen else [])


def test_the_other_way_round_it_is_the_sum_of_the_chosen_columns(page_of):
    run = small_run(layers=1, queries=6)
    page = page_of(run, fragment="#view=text&query=1&more=3")
    page.select_option("#turn-select", "from")
    expect(page.locator("#text-words")).to_contain_text("who looks at 2 chosen tokens")
    expect_shades(page, run.attentions[0].weights[0][:, [1, 3]].sum(axis=1), "key")


def test_a_name_that_stands_for_no_text_is_never_broken(page_of):
    axis = Axis.of_labels("picture", [f"row {at // 8} column {at % 8}" for at in range(64)])
    page = page_of(Run((Attention(softmax((1, 64, 64), 0), "a", 0, "self", axis, axis),)))
    page.click("[data-view=text]")
    expect(page.locator("#text-live .added")).to_have_count(64)
    pieces = page.locator("#text-live .added").evaluate_all(
        "all => all.map((one) => one.getClientRects().length)"
    )
    assert set(pieces) == {1}


def test_two_sequences_stand_one_under_the_other(page_of):
    run = small_run(layers=1, queries=4, keys=7)
    page = page_of(run, fragment="#view=text&query=2")
    expect_shades(page, run.attentions[0].weights[0][2], "key")
    page.locator("#text-live [data-role=key]").nth(5).click()
    expect(page.locator("#text-words")).to_contain_text("who looks at “s5”")
    expect_shades(page, run.attentions[0].weights[0][:, 5], "query")


def test_clicks_and_keys_choose_several(page_of):
    page = page_of(small_run(queries=8), fragment="#view=text")
    tokens = page.locator("#text-live .token")
    acts = [
        (lambda: tokens.nth(2).click(), {"query": "2"}),
        (lambda: tokens.nth(4).click(modifiers=["Shift"]), {"query": "2", "more": "3,4"}),
        (lambda: tokens.nth(3).click(modifiers=["Control"]), {"query": "2", "more": "4"}),
        (lambda: tokens.nth(7).click(modifiers=["Control"]), {"query": "2", "more": "4,7"}),
        (lambda: tokens.nth(1).click(), {"query": "1"}),
        (lambda: page.focus("#text-live"), {"query": "1"}),
        (lambda: page.keyboard.press("Shift+ArrowRight"), {"query": "1", "more": "2"}),
        (lambda: page.keyboard.press("Shift+ArrowRight"), {"query": "1", "more": "2,3"}),
        (lambda: page.keyboard.press("ArrowLeft"), {"query": "0"}),
        (lambda: page.keyboard.press("End"), {"query": "7"}),
        (lambda: page.keyboard.press("Escape"), {}),
    ]
    for act, chosen in acts:
        act()
        assert comes_to_be(lambda: chosen_in(shown(page)), chosen) == chosen


def chosen_in(address):
    """Which tokens an address names."""
    return {name: address[name] for name in ("query", "more") if name in address}


def run_of_text(text, cuts):
    """A run over ``text`` cut at these characters."""
    edges = [0, *cuts, len(text)]
    spans = list(pairwise(edges))
    positions = tuple(Position(text[start:end], span=(start, end)) for start, end in spans)
    axis = Axis("text", positions, text)
    weights = softmax((1, len(axis), len(axis)), 0)
    return Run((Attention(weights, "a", 0, "self", axis, axis),))


SCRIPTS = {
    "Arabic": ("السلام عليكم يا صديقي", (2, 6, 7, 10, 13, 15)),
    "Hebrew in English": ("we say שלום עולם to you", (2, 7, 9, 11, 12, 14)),
    "English in Hebrew": ("אני אומר hello there לכם", (3, 6, 11, 15, 20)),
    "Chinese": ("我喜歡讀書，你呢？", (1, 3, 5, 6)),
    "Devanagari": ("नमस्ते दुनिया", (2, 4, 6, 9)),
    "combining": ("cafe\u0301 nai\u0308ve", (3, 5, 8)),
    "emoji": ("a 👩‍👩‍👧‍👦 family 🇫🇷", (1, 2, 9, 12)),
}
_PLACES = """() => {
  const flow = document.querySelector('#text-live .flow');
  const tokens = [...flow.querySelectorAll('.token')].map(one => one.getBoundingClientRect());
  const plain = flow.cloneNode(false);
  plain.textContent = flow.textContent;
  flow.after(plain);
  const [here, there] = [flow, plain].map(one => one.getBoundingClientRect().left);
  let at = 0;
  const expected = [...flow.querySelectorAll('.token')].map(one => {
    const range = document.createRange();
    range.setStart(plain.firstChild, at);
    at += one.textContent.length;
    range.setEnd(plain.firstChild, at);
    return range.getBoundingClientRect();
  });
  const sides = (boxes, left) => boxes.map(box => [box.left - left, box.right - left]);
  const parts = [...new Intl.Segmenter().segment(flow.textContent)].map(({ index }) => index);
  return [sides(tokens, here), sides(expected, there), parts];
}"""


@pytest.mark.parametrize("name", SCRIPTS)
def test_tokens_stand_where_the_whole_text_has_them(name, browser, page_of):
    text, cuts = SCRIPTS[name]
    page = page_of(run_of_text(text, cuts), fragment="#view=text")
    assert page.locator("#text-live .flow").text_content() == text
    tokens, expected, parts = page.evaluate(_PLACES)
    # Neither isolated from each other nor shaped apart: a browser draws the uncut text there too.
    if isinstance(browser, Firefox):
        # It tells the places of letters that grew together only as a whole.
        units = np.cumsum([0, *(len(one.encode("utf-16-le")) // 2 for one in text)])
        edges = [
            (int(units[start]), int(units[end])) for start, end in pairwise([0, *cuts, len(text)])
        ]
        whole = np.isin(edges, [*parts, int(units[-1])]).all(axis=1)
        assert whole.sum() >= 3
        tokens, expected = np.array(tokens)[whole], np.array(expected)[whole]
    np.testing.assert_allclose(tokens, expected, atol=1)


def test_in_a_text_from_right_to_left_the_left_key_goes_on(page_of):
    text, cuts = SCRIPTS["Arabic"]
    page = page_of(run_of_text(text, cuts), fragment="#view=text&query=1")
    page.focus("#text-live")
    page.keyboard.press("ArrowLeft")
    assert shown(page)["query"] == "2"
    page.keyboard.press("ArrowRight")
    assert shown(page)["query"] == "1"


def test_pieces_of_one_character_show_what_they_are(page_of):
    positions = (
        Position("a", span=(0, 1)),
        Position("<F0 9F>", span=(1, 2)),
        Position("<98 80>", span=(1, 2)),
    )
    axis = Axis("text", positions, "a😀")
    run = Run((Attention(softmax((1, 3, 3), 0), "a", 0, "self", axis, axis),))
    page = page_of(run, fragment="#view=text")
    assert page.locator("#text-live .token").all_text_contents() == ["a", "😀", "<98 80>"]


def test_csv_is_what_the_shade_says(page_of, saved):
    run = small_run(layers=1, queries=6)
    page = page_of(run, fragment="#view=text&query=2")
    _, content = saved(page, "#take-csv")
    rows = list(csv.reader(io.StringIO(content.decode(), newline="")))
    assert rows[0] == ["position", "token", "Shade: what “t2” looks at."]
    assert [row[1] for row in rows[1:]] == list(run.attentions[0].keys.labels)
    numbers = np.array([row[2] for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(numbers, run.attentions[0].weights[0, 2])


@pytest.mark.parametrize(("text", "way"), [("שלום עולם", "rtl"), ("Ada met", "ltr")])
def test_a_special_token_before_a_text_does_not_turn_it(text, way, page_of):
    words = [(0, text.index(" ")), (text.index(" ") + 1, len(text))]
    special = Position("[CLS]" if way == "rtl" else "[ש]", role="special")
    axis = Axis("text", (special, *(Position(text[a:b], span=(a, b)) for a, b in words)), text)
    run = Run((Attention(softmax((1, 3, 3), 1), "x", 0, "self", axis, axis, residual=0.0),))
    page = page_of(run, fragment="#view=text")
    flow = page.locator("#text-live .flow")
    assert flow.evaluate("node => getComputedStyle(node).direction") == way
    left = [page.locator(f"#text-live [data-index='{at}']").bounding_box()["x"] for at in range(3)]
    assert sorted(left, reverse=way == "rtl") == left
