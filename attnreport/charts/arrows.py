"""The arrow graph: a line for each strong weight, between two sides or beside one column.

Lines carry the weight twice, as width and as opacity, so that the strongest stand out even where
many cross. Which edges are drawn is the page's choice.
"""

from __future__ import annotations

from typing import Literal

import altair as alt

from attnreport.charts.theme import ink, layered

# Colours that stay apart with every common colour blindness: Okabe & Ito, "Color Universal
# Design", 2008, without the yellow that white paper swallows.
HEAD_COLOURS = {
    "light": ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"),
    # The same hues, lighter, for a ground that would swallow the first of them.
    "dark": ("#5cb8f2", "#ff9a4d", "#3ed1a3", "#eba6cb", "#a5d8f7", "#f5c563"),
}
# How strong names are beside the chosen one.
_FADED = 0.45


def arrows_view() -> alt.LayerChart:
    """Return the arrow graph that the page feeds.

    Its height unit is one position. Named data: ``edges`` (edge, step, x, y, size, strength,
    colour; the steps of one edge make one line), ``queries`` and ``keys`` (x, y, text, place).
    Parameters: ``rows``, ``ink``, ``nameLimit`` (pixels), ``chosenQuery`` and ``chosenKey``, the
    place whose name stands out, or -1, ``queryAlign`` and ``queryOffset``, which put the names of
    queries into the middle where one column stands for both sides.
    """
    lines = (
        alt.Chart(alt.NamedData(name="edges"))
        .mark_line(interpolate="basis", strokeCap="round", aria=False)
        .encode(
            x=_across("x"),
            y=_down("y"),
            detail="edge:N",
            order="step:Q",
            color=alt.Color("colour:N", scale=None),
            strokeWidth=alt.StrokeWidth("size:Q", scale=None),
            opacity=alt.Opacity("strength:Q", scale=None),
        )
    )
    return layered(
        lines,
        _names("queries", "chosenQuery", alt.ExprRef("queryAlign"), alt.ExprRef("queryOffset")),
        _names("keys", "chosenKey", "left", 8),
        size=(400, 400),
        parameters=[
            alt.param(name="rows", value=1),
            alt.param(name="ink", value=ink("light")),
            alt.param(name="nameLimit", value=130),
            alt.param(name="chosenQuery", value=-1),
            alt.param(name="chosenKey", value=-1),
            alt.param(name="queryAlign", value="right"),
            alt.param(name="queryOffset", value=-8),
        ],
    )


def _names(
    data: str, chosen: str, align: Literal["left"] | alt.ExprRef, offset: int | alt.ExprRef
) -> alt.Chart:
    # By a parameter: new data would make every name anew whenever one is pointed at.
    strength = f"{chosen} < 0 || datum.place == {chosen} ? 1 : {_FADED}"
    names: alt.Chart = (
        alt.Chart(alt.NamedData(name=data))
        .mark_text(
            align=align,
            baseline="middle",
            dx=offset,
            fontSize=12,
            limit=alt.ExprRef("nameLimit"),
            color=alt.ExprRef("ink"),
            opacity=alt.ExprRef(strength),
            aria=False,
        )
        .encode(x=_across("x"), y=_down("y"), text="text:N")
    )
    return names


def _across(field: str) -> alt.X:
    return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, 1], nice=False, zero=False), axis=None)


def _down(field: str) -> alt.Y:
    scale = alt.Scale(domain=alt.ExprRef("[0, rows]"), nice=False, zero=False, reverse=True)
    return alt.Y(f"{field}:Q", scale=scale, axis=None)
