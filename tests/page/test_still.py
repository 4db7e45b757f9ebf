"""The still heatmap says what the run says: places, colours, numbers and labels."""

from __future__ import annotations

import numpy as np

from attnreport import Attention, Axis
from attnreport.charts.picture import encode
from attnreport.charts.theme import palette
from attnreport.page.still import CELL, MOST_CELLS, still_heatmap


def attention_of(weights, labels):
    axis = Axis.of_labels("text", labels)
    return Attention(weights[None].astype(np.float32), "layer", 0, "self", axis, axis)


def place_of(rect):
    """Row and column of a cell in the page."""
    return tuple(int(rect.get_attribute(side)) // CELL for side in ("y", "x"))


def square(length):
    """Rows that add up to 1, every weight another."""
    weights = np.random.default_rng(0).random((length, length)) ** 4
    return weights / weights.sum(axis=1, keepdims=True)


def test_every_cell_stands_in_its_place_in_its_colour(page_of, run_of):
    run = run_of()
    page = page_of(run, java_script_enabled=False, ready=False)
    rects = page.locator("#heatmap-still svg").first.locator("rect").all()[1:]
    drawn = {place_of(rect): rect.get_attribute("fill") for rect in rects}
    colours, shown = palette("light"), run.attentions[0].weights[0]
    looks = {place: colours[code] for place, code in np.ndenumerate(encode(shown))}
    expected = {place: colour for place, colour in looks.items() if colour != colours[0]}
    assert drawn == expected


def test_a_long_axis_is_joined_by_its_largest_weights():
    weights = square(50)
    weights[10, 40] = np.nan
    still = still_heatmap(attention_of(weights, [str(index) for index in range(50)]), 0)
    assert still.block == 3
    assert max(len(still.rows), len(still.columns)) <= MOST_CELLS
    assert not still.numbered
    assert still.rows[:3] == ("0", "3", "6")
    colours = palette("light")
    found = {(cell.row, cell.column): cell.colour for cell in still.cells}
    for row in range(17):
        for column in range(17):
            block = weights[row * 3 : row * 3 + 3, column * 3 : column * 3 + 3]
            code = encode(np.array([block.max()], np.float32))[0]  # max() of a NaN is NaN
            assert found.get((row, column), colours[0]) == colours[code]


def test_labels_have_room_and_long_ones_are_cut():
    labels = ["a", "w" * 200, "漢字" * 30, "\ud800\0"]
    still = still_heatmap(attention_of(square(4), labels), 0)
    assert still.rows[0] == "a"
    assert still.rows[1].startswith("www")
    assert still.rows[1].endswith("…")
    assert len(still.rows[2]) < len(still.rows[1])
    assert still.rows[3] == "\ufffd␀"
    assert still.columns == still.rows
    assert still.left > 110


def test_no_label_is_cut_off_by_the_pictures_edge(page_of, run_of):
    page = page_of(run_of(), java_script_enabled=False, ready=False)
    picture = page.locator("#heatmap-still svg").first
    frame = picture.bounding_box()
    for label in picture.locator("text").all():
        box = label.bounding_box()
        assert box["x"] >= frame["x"] - 1
        assert box["y"] >= frame["y"] - 1
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
