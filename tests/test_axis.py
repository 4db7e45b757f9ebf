"""Positions and axes refuse what could not be drawn truly, and say where it is."""

from __future__ import annotations

import dataclasses

import pytest

from attnreport import Axis, Position
from attnreport.errors import InvalidRun

TEXT = "the cat"

BAD_POSITIONS = [
    ({"label": ""}, "a position's label is empty; name the token instead, e.g. '␣'"),
    ({"label": "a", "span": (3, 2)}, "position 'a': span (3, 2) is not start <= end"),
    ({"label": "a", "span": (-1, 2)}, "position 'a': span (-1, 2) is not start <= end"),
    ({"label": "a", "box": (4, 0, 2, 1)}, "position 'a': box (4, 0, 2, 1) is not x0, y0, x1, y1"),
    ({"label": "a", "box": (0, 2, 1, 1)}, "position 'a': box (0, 2, 1, 1) is not x0, y0, x1, y1"),
    (
        {"label": "a", "box": (0, 0, float("nan"), 1)},
        "position 'a': box (0, 0, nan, 1) is not x0, y0, x1, y1",
    ),
]


@pytest.mark.parametrize(("fields", "message"), BAD_POSITIONS)
def test_bad_position_is_refused_with_its_label(fields, message):
    with pytest.raises(InvalidRun) as raised:
        Position(**fields)
    assert str(raised.value) == message


@pytest.mark.parametrize("fields", [{"span": (0, 0)}, {"box": (1, 1, 1, 1)}])
def test_empty_places_are_places(fields):
    assert Position("a", **fields).label == "a"


def test_span_without_text_is_refused():
    with pytest.raises(InvalidRun) as raised:
        Axis("source", (Position("x"), Position("y", span=(0, 1))))
    assert str(raised.value) == "axis 'source': position 1 has a span, but no text"


def test_span_beyond_the_text_is_refused():
    with pytest.raises(InvalidRun) as raised:
        Axis("source", (Position("cat", span=(4, 8)),), TEXT)
    assert str(raised.value) == (
        "axis 'source': position 0 has span (4, 8), but the text has 7 characters"
    )


def test_axis_keeps_its_positions_in_order():
    positions = (Position("the", span=(0, 3)), Position("cat", span=(4, 7)))
    axis = Axis("text", positions, TEXT)
    assert len(axis) == 2
    assert tuple(axis) == positions
    assert axis.labels == ("the", "cat")
    assert [TEXT[slice(*position.span)] for position in axis] == ["the", "cat"]


def test_numbered_axis_counts_from_zero():
    assert Axis.numbered("keys", 3).labels == ("0", "1", "2")
    assert len(Axis.numbered("keys", 0)) == 0


def test_empty_label_of_a_list_becomes_visible():
    assert Axis.of_labels("text", ["a", "", "b"]).labels == ("a", "␣", "b")


def test_equal_axes_are_one_sequence():
    assert Axis.of_labels("text", "ab") == Axis.of_labels("text", "ab")
    assert Axis.of_labels("text", "ab") != Axis.of_labels("source", "ab")
    assert len({Axis.of_labels("text", "ab"), Axis.of_labels("text", "ab")}) == 1


def test_nothing_of_an_axis_can_be_changed():
    axis = Axis.of_labels("text", "ab")
    with pytest.raises(dataclasses.FrozenInstanceError):
        axis.name = "other"
    with pytest.raises(dataclasses.FrozenInstanceError):
        axis.positions[0].label = "other"
