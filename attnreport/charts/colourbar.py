"""The colour bar: which weight each colour stands for."""

from __future__ import annotations

from typing import Any

import altair as alt

from attnreport.charts.picture import FINEST
from attnreport.charts.theme import Theme, configured, ink, palette

# Where a weight is easy to place by eye on the √ scale.
_TICKS = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 1]


def colourbar(*, theme: Theme = "light", width: int = 260) -> alt.LayerChart:
    """Return the fixed scale of every heatmap: colour by √w, from 0 to 1.

    Args:
        theme: the ground it will stand on.
        width: length of the bar in pixels.
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
        alt.Chart(alt.InlineData(values=stripes))
        .mark_rect(aria=False)
        .encode(
            x=alt.X(
                "from:Q",
                scale=alt.Scale(type="sqrt", domain=[0, 1], nice=False),
                axis=alt.Axis(values=_TICKS, labelExpr="'' + datum.value", labelColor=ink(theme)),
            ),
            x2="to:Q",
            color=alt.Color("colour:N", scale=None),
        )
    )
    return configured(alt.layer(bar).properties(width=width, height=12))
