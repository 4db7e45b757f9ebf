"""Only like positions are joined, and patches only to true rectangles."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image
from runs import softmax

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.joining import blocks, joined_axis
from attnreport.page.grouping import groups_of
from attnreport.page.joining import joined_run
from attnreport.picture import Part, Picture

WIDTH, HEIGHT = 91, 53


def patches(rows, columns, *, order=None):
    """Patches of a picture of odd size, row by row or in another order."""
    down, across = HEIGHT / rows, WIDTH / columns
    cells = [
        Position(f"r{row} c{column}",
                 box=(column * across, row * down, (column + 1) * across, (row + 1) * down))
        for row, column in product(range(rows), range(columns))
    ]  # fmt: skip
    return cells if order is None else [cells[index] for index in order]


def axis_of(*positions):
    return Axis("mixed", positions, picture=Picture.of(Image.new("RGB", (WIDTH, HEIGHT))))


def joined(axis, block):
    return joined_axis(axis, groups_of(axis, block)).positions


def area(box):
    x0, y0, x1, y1 = box
    return (x1 - x0) * (y1 - y0)


SPECIALS = [Position(name, role="special") for name in ("[CLS]", "[register 1]", "[register 2]")]
WORDS = [Position(f"w{index}") for index in range(7)]
WRITTEN = [Position(f"g{index}", role="generated") for index in range(5)]


@pytest.mark.parametrize("block", [2, 3, 4, 6, 9, 13, 28])
@pytest.mark.parametrize("grid", [(6, 7), (7, 6), (3, 17), (1, 40), (40, 1)])
def test_every_joined_box_is_the_rectangle_of_its_members(grid, block):
    axis = axis_of(*SPECIALS, *WORDS, *patches(*grid), *WRITTEN)
    groups = groups_of(axis, block)
    found = joined(axis, block)
    for group, position in enumerate(found):
        members = [axis.positions[index] for index in np.flatnonzero(groups == group)]
        assert len(members) <= block
        assert len({member.role for member in members}) == 1
        assert len({member.box is None for member in members}) == 1
        if members[0].role == "special":
            assert position is members[0]
        if members[0].box is None:
            assert position.box is None
            continue
        assert area(position.box) == pytest.approx(sum(area(each.box) for each in members))
        for each in members:
            assert position.box[0] <= each.box[0] <= each.box[2] <= position.box[2]
            assert position.box[1] <= each.box[1] <= each.box[3] <= position.box[3]
    boxes = [position.box for position in found if position.box]
    assert sum(map(area, boxes)) == pytest.approx(WIDTH * HEIGHT)


def test_patches_are_joined_two_by_two():
    found = joined(axis_of(SPECIALS[0], *patches(4, 5)), 4)
    assert [position.label for position in found] == [
        "[CLS]",
        "r0 c0…r1 c1", "r0 c2…r1 c3", "r0 c4…r1 c4",
        "r2 c0…r3 c1", "r2 c2…r3 c3", "r2 c4…r3 c4",
    ]  # fmt: skip


def test_what_has_no_neighbours_stays_as_it_is():
    """Masked patches come in any order: none of them goes on where another ends."""
    order = [13, 2, 27, 8, 22, 0, 17, 5, 29, 10, 20, 3, 24, 15, 6, 26, 11, 19]
    axis = axis_of(*patches(5, 6, order=order))
    assert joined(axis, 9) == axis.positions


def test_patches_in_blocks_are_joined_within_them():
    order = [row * 4 + column for top, left in product((0, 2, 4), (0, 2))
             for row, column in product((top, top + 1), (left, left + 1))]  # fmt: skip
    found = joined(axis_of(*patches(6, 4, order=order)), 4)
    assert [position.label for position in found][:3] == [
        "r0 c0…r1 c1", "r0 c2…r1 c3", "r2 c0…r3 c1",
    ]  # fmt: skip


def test_tiles_are_not_joined_with_the_whole_below_them():
    """Two rows of tiles over two of the whole, which would make one grid of four."""
    whole = (0, 0, WIDTH, HEIGHT)
    picture = replace(axis_of().picture, parts=(Part("tiles", whole), Part("whole picture", whole)))
    cells = [replace(each, part=nth // 10) for nth, each in enumerate(patches(4, 5))]
    axis = Axis("mixed", tuple(cells), picture=picture)
    found = joined(axis, 6)
    assert {position.part for position in found} == {0, 1}
    assert all(("r2" in position.label) <= (position.part == 1) for position in found)
    # Where neighbours are joined whatever they are, what is of both is of neither.
    across = joined_axis(axis, blocks(20, 20)).positions
    assert across[0].box == pytest.approx(whole) and across[0].part is None


def test_padding_is_joined_with_itself():
    axis = Axis("text", (SPECIALS[0], *WORDS, *[Position("[PAD]", role="special")] * 30))
    labels = [position.label for position in joined(axis, 10)]
    assert labels == ["[CLS]", "w0…w6", *["[PAD]…[PAD]"] * 3]


def test_weights_follow_their_positions():
    axis = axis_of(SPECIALS[0], *patches(4, 6))
    weights = softmax((2, 25, 25), 0)
    run = Run((Attention(weights, "a", 0, "self", axis, axis),))
    found = joined_run(run, 4).attentions[0]
    # By hand: [CLS], then boxes of 2 × 2, row by row.
    members = [[0]] + [
        [1 + 6 * row + column for row in (top, top + 1) for column in (left, left + 1)]
        for top in (0, 2) for left in (0, 2, 4)
    ]  # fmt: skip
    for row, queries in enumerate(members):
        for column, keys in enumerate(members):
            cell = weights[:, queries][:, :, keys].astype(np.float64)
            expected = cell.sum(axis=2).mean(axis=1)
            np.testing.assert_allclose(found.weights[:, row, column], expected, rtol=1e-5)


def test_the_page_says_what_boxes_were_made(page_of):
    axis = axis_of(SPECIALS[0], *patches(16, 16))
    weights = softmax((4, 257, 257), 0)
    attentions = [Attention(weights, f"{nth}", nth, "self", axis, axis) for nth in range(2)]
    report = Report(Run(tuple(attentions)), max_size=800_000)
    (said,) = (words for words in report.reductions if "joined" in words)
    assert "neighbouring positions of a kind were joined to one" in said
    assert "patches in boxes of 1 × 2; special positions stay alone" in said
    page = page_of(report.html(), fragment="#view=overlay&query=0")
    assert said in page.text_content("body")
    assert "[CLS]" in page.text_content("#overlay-words")


def test_where_all_neighbours_are_joined_only_rectangles_keep_a_place():
    """While a run is captured it is not known yet who is a patch: pairs may cross a row's end."""
    axis = axis_of(SPECIALS[0], *patches(4, 5))
    found = joined_axis(axis, blocks(len(axis), 2)).positions
    places = {position.label: position.box for position in found}
    assert places["[CLS]…r0 c0"] is None
    assert places["r1 c4…r2 c0"] is None
    assert places["r0 c1…r0 c2"] == pytest.approx((WIDTH / 5, 0, WIDTH * 3 / 5, HEIGHT / 4))
    assert sum(box is None for box in places.values()) == 2
