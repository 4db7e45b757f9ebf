"""What the page shows as a figure for a paper: the heatmap or the overlay, and its colour bar.

Stands alone: what a page would say beside it, it carries as marks. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from attnreport.attention import Attention
from attnreport.charts.colourbar import TICKS
from attnreport.charts.heatmap import heatmap
from attnreport.charts.look import Look
from attnreport.charts.overlay import COVER, overlay_alpha, overlay_palette, still_overlay
from attnreport.charts.picture import FINEST
from attnreport.charts.theme import ink, palette

_LENGTH, _THICKNESS, _GAP = 260, 12, 14
# Places on the scale of √w that get a mark: with the whole scale 1 they are even.
_MARKS = (0, 0.25, 0.5, 0.75, 1)
_STEPS = FINEST - 1

Stripes = list[dict[str, Any]]


def heatmap_figure(attention: Attention, head: int) -> alt.VConcatChart:
    """Return the heatmap of one head, by its index, with a colour bar from 0 to 1 below."""
    stripes = _stripes(palette("light"), 1, [1.0] * FINEST)
    return _above(heatmap(attention, head), _bar(1, TICKS), stripes)


def overlay_figure(look: Look) -> alt.VConcatChart:
    """Return the overlay with a colour bar below that has the weights of its colours."""
    # Each colour covers as much as on the picture.
    covers = [round(COVER * overlay_alpha(code / _STEPS), 3) for code in range(FINEST)]
    stripes = _stripes(overlay_palette(), look.largest, covers)
    marks = [look.largest * place**2 for place in _MARKS]
    return _above(still_overlay(look), _bar(look.largest, marks), stripes)


def _above(picture: alt.LayerChart, bar: alt.Chart, stripes: Stripes) -> alt.VConcatChart:
    """Return a figure of a picture and the bar below it."""
    data: dict[str, Any] = {**picture.datasets, "stripes": stripes}
    config, parameters = picture.config, picture.params
    for name in ("config", "params", "datasets"):  # of the whole figure, not of its parts
        setattr(picture, name, alt.Undefined)
    figure = alt.VConcatChart(vconcat=[picture, bar], spacing=_GAP, config=config)
    figure.params, figure.datasets = parameters, data
    figure.padding = {"left": 0, "top": 0, "right": 0, "bottom": 4}  # letters reach below
    return figure


def _stripes(colours: Sequence[str], largest: float, covers: Sequence[float]) -> Stripes:
    """Return the bar's colours, one for six codes, from weight to weight."""
    return [
        {
            "from": largest * (code / _STEPS) ** 2,
            "to": largest * (min(code + 6, _STEPS) / _STEPS) ** 2,
            "colour": colours[min(code + 3, _STEPS)],
            "opacity": covers[min(code + 3, _STEPS)],
        }
        for code in range(0, _STEPS, 6)
    ]


def _bar(largest: float, marks: Sequence[float]) -> alt.Chart:
    axis = alt.Axis(
        values=list(marks),
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
