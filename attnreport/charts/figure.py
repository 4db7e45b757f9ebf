"""The overlay as a figure for a paper: the picture, the attention over it, and its colour bar.

Stands alone: what a page would say beside it, it carries as marks. Knows nothing of files.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from attnreport.charts.look import Look
from attnreport.charts.overlay import COVER, overlay_alpha, overlay_palette, still_overlay
from attnreport.charts.picture import FINEST
from attnreport.charts.theme import ink

_LENGTH, _THICKNESS, _GAP = 260, 12, 14
# Places on the scale of √w that get a mark: with the whole scale 1 they are even.
_MARKS = (0, 0.25, 0.5, 0.75, 1)


def overlay_figure(look: Look) -> alt.VConcatChart:
    """Return the overlay with a colour bar below that has the weights of its colours."""
    overlay = still_overlay(look)
    bar = _bar(look.largest)
    data: dict[str, Any] = {**overlay.datasets, "stripes": _stripes(look.largest)}
    config, parameters = overlay.config, overlay.params
    for name in ("config", "params", "datasets"):  # of the whole figure, not of its parts
        setattr(overlay, name, alt.Undefined)
    figure = alt.VConcatChart(vconcat=[overlay, bar], spacing=_GAP, config=config)
    figure.params, figure.datasets = parameters, data
    figure.padding = {"left": 0, "top": 0, "right": 0, "bottom": 4}  # letters reach below
    return figure


def _stripes(largest: float) -> list[dict[str, Any]]:
    """Return the bar's colours, each as covering as on the picture, from weight to weight."""
    steps, colours = FINEST - 1, overlay_palette()
    return [
        {
            "from": largest * (code / steps) ** 2,
            "to": largest * (min(code + 6, steps) / steps) ** 2,
            "colour": colours[min(code + 3, steps)],
            "opacity": round(COVER * overlay_alpha((code + 3) / steps), 3),
        }
        for code in range(0, steps, 6)
    ]


def _bar(largest: float) -> alt.Chart:
    axis = alt.Axis(
        values=[largest * place**2 for place in _MARKS],
        format=".3~g",
        labelColor=ink("light"),
        title="attention weight",
        titleColor=ink("light"),
        titleFontSize=12,
        titleFontWeight="normal",
    )
    scale = alt.Scale(type="sqrt", domain=[0, largest], nice=False)
    bar: alt.Chart = (
        alt.Chart(alt.NamedData(name="stripes"), width=_LENGTH, height=_THICKNESS)
        .mark_rect(aria=False, strokeWidth=0)
        .encode(
            x=alt.X("from:Q", scale=scale, axis=axis),
            x2="to:Q",
            color=alt.Color("colour:N", scale=None),
            fillOpacity=alt.FillOpacity("opacity:Q", scale=None),
        )
    )
    return bar
