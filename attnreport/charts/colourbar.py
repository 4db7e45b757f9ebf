"""The colour bar: which weight each colour stands for."""

from __future__ import annotations

from typing import Any

import altair as alt

from attnreport.charts.picture import FINEST
from attnreport.charts.theme import Theme, fed, ink, layered, palette

# Where a weight is easy to place by eye on the √ scale.
TICKS = [0, 0.01, 0.05, 0.15, 0.3, 0.6, 1]

# One pixel for each step of the finest code, so that stripes begin at whole pixels.
_LENGTH = FINEST - 1
_THICKNESS = 12


def colourbar(*, theme: Theme = "light") -> alt.LayerChart:
    """Return the scale that every picture opens with: colour by √w, fixed from 0 to 1.

    Args:
        theme: the ground it will stand on.
    """
    steps = FINEST - 1
    colours = palette(theme)
    # One stripe for six codes: finer steps than an eye can tell apart would only cost bytes. Each
    # reaches to the end and the next covers it, so that no seam shows between two of them.
    stripes: list[dict[str, Any]] = [
        {"from": (code / steps) ** 2, "to": 1, "colour": colours[code + 3]}
        for code in range(0, steps - 3, 6)
    ]
    bar = (
        alt.Chart(alt.NamedData(name="stripes"))
        .mark_rect(aria=False)
        .encode(
            x=alt.X(
                "from:Q",
                scale=alt.Scale(type="sqrt", domain=[0, 1], nice=False),
                axis=alt.Axis(values=TICKS, labelExpr="'' + datum.value", labelColor=ink(theme)),
            ),
            x2="to:Q",
            color=alt.Color("colour:N", scale=None),
        )
    )
    chart = layered(bar, size=(_LENGTH, _THICKNESS))
    return fed(chart, {"stripes": stripes})


def colourbar_view() -> alt.LayerChart:
    """Return the colour bar that the page feeds.

    Its axis is the place on the scale, 0 to 1. Named data: ``picture`` (x0, x1, url). Parameters:
    ``places`` and ``labels`` of the marks, ``ink``.
    """
    bar = (
        alt.Chart(alt.NamedData(name="picture"))
        .mark_image(aspect=False, smooth=False, aria=False)
        .encode(
            x=alt.X(
                "x0:Q",
                scale=alt.Scale(domain=[0, 1], nice=False),
                axis=alt.Axis(
                    values=alt.ExprRef("places"),
                    labelExpr="labels[indexof(places, datum.value)]",
                    labelColor=alt.ExprRef("ink"),
                    # The marks of a map may be longer words than those of weights.
                    labelOverlap="greedy",
                    labelSeparation=6,  # 0 and 0.005 side by side read as one number
                    labelFlush=False,  # pushed inwards, the last would give way to its neighbour
                ),
            ),
            x2="x1:Q",
            y=alt.value(0),
            y2=alt.value(_THICKNESS),
            url="url:N",
        )
    )
    parameters = [
        alt.param(name="places", value=[]),
        alt.param(name="labels", value=[]),
        alt.param(name="ink", value=ink("light")),
    ]
    return layered(bar, size=(_LENGTH, _THICKNESS), parameters=parameters)
