"""Moving over the heatmap: a frame that is seen and ends at the edge, a window that goes along."""

from __future__ import annotations

import pytest
from page_acts import IMAGE, comes_to_be, shown
from playwright.sync_api import expect
from runs import small_run

_FRAME = "#heatmap-live svg .mark-rect path"
_SIDE = 20


@pytest.fixture
def page(page_of):
    """A page of one square head."""
    return page_of(small_run(queries=_SIDE))


def move_to(page, row, column):
    """Move the mouse to the middle of a cell, as they lie in the whole picture."""
    box = page.locator(IMAGE).bounding_box()
    cell = box["width"] / _SIDE
    page.mouse.move(box["x"] + (column + 0.5) * cell, box["y"] + (row + 0.5) * cell)


def framed(page):
    """The rows and columns that the frame goes around."""
    box, frame = (page.locator(one).bounding_box() for one in (IMAGE, _FRAME))
    cell = box["width"] / _SIDE
    first = [(frame[side] - box[side]) / cell for side in ("y", "x")]
    last = [
        at + frame[size] / cell - 1 for at, size in zip(first, ("height", "width"), strict=True)
    ]
    return [(round(one), round(other)) for one, other in zip(first, last, strict=True)]


def test_the_frame_is_seen_while_it_is_drawn_and_ends_at_the_edge(page):
    move_to(page, 2, 4)
    page.mouse.down()
    move_to(page, 9, 11)
    expect(page.locator(_FRAME)).to_have_count(1)
    assert comes_to_be(lambda: framed(page), [(2, 9), (4, 11)]) == [(2, 9), (4, 11)]
    move_to(page, _SIDE + 1, _SIDE + 1)
    assert comes_to_be(lambda: framed(page), [(2, 19), (4, 19)]) == [(2, 19), (4, 19)]
    page.mouse.up()
    expect(page.locator("#zoom-words")).to_have_text("18 of 20 × 16 of 20")
    assert (shown(page)["rows"], shown(page)["columns"]) == ("2-19", "4-19")
    expect(page.locator(_FRAME)).to_have_count(0)


def test_the_picture_follows_the_mouse_and_no_text_is_selected(page):
    page.evaluate("location.hash = '#layer=0&rows=5-14&columns=5-14'")
    expect(page.locator("#zoom-words")).to_have_text("10 of 20 × 10 of 20")
    page.click("h1")  # a selection would begin here
    page.keyboard.down("Shift")
    move_to(page, 10, 10)
    page.mouse.down()
    move_to(page, 16, 14)
    # Cells are twice as large as in the whole picture: three rows up, and two columns.
    wanted = ("2-11", "3-12")
    assert comes_to_be(lambda: (shown(page)["rows"], shown(page)["columns"]), wanted) == wanted
    page.mouse.up()
    page.keyboard.up("Shift")
    assert (shown(page)["rows"], shown(page)["columns"]) == wanted
    assert page.evaluate("getSelection().toString()") == ""
    # Over selected text this would drag the text away, and no frame would be drawn.
    move_to(page, 4, 4)
    page.mouse.down()
    move_to(page, 13, 13)
    page.mouse.up()
    expect(page.locator("#zoom-words")).to_have_text("5 of 20 × 5 of 20")
    assert "query" not in shown(page)


def test_keys_that_move_the_window_leave_the_kept_cell(page):
    page.evaluate("location.hash = '#layer=0&query=8&key=9&rows=5-14&columns=5-14'")
    expect(page.locator("#zoom-words")).to_have_text("10 of 20 × 10 of 20")
    page.focus("#heatmap-live")
    page.keyboard.press("Shift+ArrowUp")
    assert comes_to_be(lambda: shown(page)["rows"], "4-13") == "4-13"
    assert (shown(page)["query"], shown(page)["key"]) == ("8", "9")


@pytest.mark.parametrize("kept", ["", "&query=7&key=3"])
def test_a_double_click_shows_all_and_keeps_what_was_kept(page, browser, kept):
    page.evaluate("hash => { location.hash = hash; }", f"#rows=5-14&columns=5-14{kept}")
    expect(page.locator("#zoom-words")).to_have_text("10 of 20 × 10 of 20")
    box = page.locator(IMAGE).bounding_box()
    browser.double_click(page, box["x"] + 0.3 * box["width"], box["y"] + 0.4 * box["height"])
    expect(page.locator("#zoom-words")).to_be_hidden()
    now = shown(page)
    assert (now.get("query"), now.get("key")) == (("7", "3") if kept else (None, None))
