"""The overview: every head of the run as a small picture in one grid.

All small pictures are one image, so that 5,000 heads are as quick to draw as 16. The page cuts it
apart and puts it together again in another order.
"""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from attnreport.attention import Weights
from attnreport.charts import picture
from attnreport.charts.theme import ink, layered
from attnreport.run import Run

# A side of a small picture in pixels: enough to tell a diagonal from a stripe from a cloud.
THUMBNAIL = 16
_LABEL_ALIGN = {
    "condition": {"test": "datum.value - floor(datum.value) < 0.5", "value": "left"},
    "value": "center",
}


def thumbnails(run: Run) -> picture.Codes:
    """Return every head of the run as ``(head, THUMBNAIL, THUMBNAIL)`` codes, layer by layer.

    After them comes the mean of the heads of every layer.

    A pixel shows the largest weight of the positions that it covers, so that a thin stripe is not
    lost; where there are fewer positions than pixels, a position covers several.
    """
    heads = [_thumbnail(head) for attention in run.attentions for head in attention.weights]
    means = [_thumbnail(attention.weights.mean(axis=0)) for attention in run.attentions]
    return picture.encode(np.stack([*heads, *means]))


def overview_view() -> alt.LayerChart:
    """Return the overview that the page feeds.

    Its unit is one small picture. Named data: ``picture`` (x0, x1, y0, y1, url), ``names`` (x, y,
    text, ink), ``chosen`` (x0, x1, y0, y1). Parameters: ``columns``, ``rows``, ``columnTicks``,
    ``columnLabels``, ``rowTicks``, ``rowLabels``, ``ink``, ``accent``.
    """
    image = (
        alt.Chart(alt.NamedData(name="picture"))
        .mark_image(aspect=False, smooth=False, aria=False)
        .encode(**_corners(), url="url:N")
    )
    names = (
        alt.Chart(alt.NamedData(name="names"))
        .mark_text(fontSize=10, aria=False)
        .encode(
            x=_horizontal("x"),
            y=_vertical("y"),
            text="text:N",
            color=alt.Color("ink:N", scale=None),
        )
    )
    chosen = (
        alt.Chart(alt.NamedData(name="chosen"))
        .mark_rect(fillOpacity=0, strokeWidth=2.5, stroke=alt.ExprRef("accent"), aria=False)
        .encode(**_corners())
    )
    parameters = [
        alt.param(name="columns", value=1),
        alt.param(name="rows", value=1),
        alt.param(name="columnTicks", value=[]),
        alt.param(name="columnLabels", value=[]),
        alt.param(name="rowTicks", value=[]),
        alt.param(name="rowLabels", value=[]),
        alt.param(name="ink", value=ink("light")),
        alt.param(name="accent", value=ink("light")),
    ]
    return layered(image, names, chosen, size=(400, 400), parameters=parameters)


def _thumbnail(weights: Weights) -> Weights:
    for axis in (0, 1):
        length = weights.shape[axis]
        edges = np.arange(THUMBNAIL) * length // THUMBNAIL
        # reduceat takes the maximum from each edge to the next, or one position where they meet.
        weights = np.maximum.reduceat(weights, edges, axis=axis)
    return weights


def _corners() -> dict[str, Any]:
    return {"x": _horizontal("x0"), "x2": "x1:Q", "y": _vertical("y0"), "y2": "y1:Q"}


def _horizontal(field: str) -> alt.X:
    return alt.X(
        f"{field}:Q",
        scale=alt.Scale(domain=alt.ExprRef("[0, columns]"), nice=False, zero=False),
        # Where a column is narrower than its label, the page has the label begin with it.
        axis=_axis("column", "top", labelAlign=_LABEL_ALIGN, labelFontSize=10),
    )


def _vertical(field: str) -> alt.Y:
    return alt.Y(
        f"{field}:Q",
        scale=alt.Scale(domain=alt.ExprRef("[0, rows]"), nice=False, zero=False, reverse=True),
        axis=_axis("row", "left"),
    )


def _axis(side: str, orient: Any, **more: Any) -> alt.Axis:
    return alt.Axis(
        orient=orient,
        values=alt.ExprRef(f"{side}Ticks"),
        labelExpr=f"{side}Labels[floor(datum.value)]",
        labelLimit=170,
        labelOverlap=False,
        labelColor=alt.ExprRef("ink"),
        **more,
    )
