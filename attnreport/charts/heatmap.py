"""The heatmap: queries down, keys across, one cell per weight.

A head is drawn as an image mark under real axes, whose labels are the positions'. Numbers stand
in the cells while they are few. The page feeds the same chart through named data and parameters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt
import numpy as np

from attnreport.attention import Attention, Weights
from attnreport.charts import picture
from attnreport.charts.labels import drawable
from attnreport.charts.theme import Theme, fed, ink, layered, palette

NUMBERED_CELLS = 24
_CELL_PIXELS = 34
_MAX_PIXELS = 760
_LABEL_PIXELS = 17


@dataclass(frozen=True)
class Cell:
    """Hold one cell of a heatmap: its place, its colour, the number in it and that one's colour."""

    row: int
    column: int
    colour: str
    number: str
    ink: str


def heatmap(attention: Attention, head: int, *, theme: Theme = "light") -> alt.LayerChart:
    """Return the heatmap of one head with its data inside.

    Args:
        attention: what to draw.
        head: index of the head, from 0.
        theme: the ground it will stand on.
    """
    weights = attention.weights[head]
    image = picture.png(picture.encode(weights), palette(theme))
    rows, columns = weights.shape
    placed = [{"x0": 0, "x1": columns, "y0": 0, "y1": rows, "url": picture.data_url(image)}]
    numbers = [
        {"x": cell.column + 0.5, "y": cell.row + 0.5, "number": cell.number, "ink": cell.ink}
        for cell in (cells(weights, theme) if max(rows, columns) <= NUMBERED_CELLS else ())
    ]
    chart = _chart(
        _image_marks(),
        _parameters(attention.keys.labels, attention.queries.labels, ink(theme)),
        _size(rows, columns),
    )
    return fed(chart, {"picture": placed, "cells": numbers})


def heatmap_view() -> alt.LayerChart:
    """Return the heatmap that the page feeds.

    Named data: ``picture`` (x0, x1, y0, y1, url), ``cells`` (x, y, number, ink), ``cross`` (x0,
    x1, y0, y1). Parameters: ``keyLabels``, ``queryLabels``, ``keyTicks``, ``queryTicks``,
    ``columns``, ``rows``, ``ink``, ``numberSize``, ``labelLimit`` (pixels).
    """
    cross = (
        alt.Chart(alt.NamedData(name="cross"))
        .mark_rect(fillOpacity=0, strokeWidth=1.5, stroke=alt.ExprRef("ink"), aria=False)
        .encode(**_corners())
    )
    return _chart(
        _image_marks(),
        _parameters((), (), ink("light")),
        (400, 400),
        extra=(cross,),
    )


def _chart(
    marks: alt.Chart,
    parameters: list[alt.Parameter],
    size: tuple[int, int],
    extra: Sequence[alt.Chart] = (),
) -> alt.LayerChart:
    text = (
        alt.Chart(alt.NamedData(name="cells"))
        .mark_text(fontSize=alt.ExprRef("numberSize"), aria=False)
        .encode(
            x=_horizontal("x"),
            y=_vertical("y"),
            text="number:N",
            color=alt.Color("ink:N", scale=None),
        )
    )
    return layered(marks, text, *extra, size=size, parameters=parameters)


def _image_marks() -> alt.Chart:
    marks: alt.Chart = (
        alt.Chart(alt.NamedData(name="picture"))
        .mark_image(aspect=False, smooth=False, aria=False)
        .encode(**_corners(), url="url:N")
    )
    return marks


def _corners() -> dict[str, Any]:
    """Return the encoding of boxes by their sides."""
    return {"x": _horizontal("x0"), "x2": "x1:Q", "y": _vertical("y0"), "y2": "y1:Q"}


def _horizontal(field: str) -> alt.X:
    axis = _axis("key", orient="top", angle=-45)
    return alt.X(f"{field}:Q", scale=_scale("columns"), axis=axis)


def _vertical(field: str) -> alt.Y:
    axis = _axis("query", orient="left")
    return alt.Y(f"{field}:Q", scale=_scale("rows", reverse=True), axis=axis)


def _scale(length: str, *, reverse: bool = False) -> alt.Scale:
    return alt.Scale(domain=alt.ExprRef(f"[0, {length}]"), nice=False, zero=False, reverse=reverse)


def _axis(side: str, *, orient: Any, angle: int = 0) -> alt.Axis:
    return alt.Axis(
        orient=orient,
        values=alt.ExprRef(f"{side}Ticks"),
        labelExpr=f"{side}Labels[floor(datum.value)]",
        labelAngle=angle,
        labelLimit=alt.ExprRef("labelLimit"),
        labelOverlap=False,
        labelFlush=False,
        labelColor=alt.ExprRef("ink"),
    )


def _parameters(keys: Sequence[str], queries: Sequence[str], colour: str) -> list[alt.Parameter]:
    return [
        alt.param(name="keyLabels", value=drawable(keys)),
        alt.param(name="queryLabels", value=drawable(queries)),
        alt.param(name="keyTicks", value=_ticks(len(keys))),
        alt.param(name="queryTicks", value=_ticks(len(queries))),
        alt.param(name="columns", value=max(1, len(keys))),
        alt.param(name="rows", value=max(1, len(queries))),
        alt.param(name="ink", value=colour),
        alt.param(name="numberSize", value=10),
        alt.param(name="labelLimit", value=110),
    ]


def _ticks(length: int, pixels: int = _MAX_PIXELS) -> list[float]:
    """Return the middles of the cells that get a label: as many as have room."""
    step = max(1, -(-length * _LABEL_PIXELS // pixels))
    return [index + 0.5 for index in range(0, length, step)]


def _size(rows: int, columns: int) -> tuple[int, int]:
    cell = min(_CELL_PIXELS, _MAX_PIXELS / columns, _MAX_PIXELS / rows)
    return max(1, round(cell * columns)), max(1, round(cell * rows))


def cells(weights: Weights, theme: Theme) -> Iterator[Cell]:
    """Yield every cell of a head's weights, row by row, as it looks on the ground of a theme."""
    codes = picture.encode(weights)
    colours = palette(theme)
    for (row, column), code in np.ndenumerate(codes):
        yield Cell(
            row=row,
            column=column,
            colour=colours[code],
            number=cell_number(float(weights[row, column])),
            ink=ink_on(colours[code]),
        )


def cell_number(weight: float) -> str:
    """Return what stands in a cell: two decimals without the leading zero, nothing below 0.005."""
    if not np.isfinite(weight):
        return "NaN"
    if weight < 0.005:
        return ""
    return f"{weight:.2f}".removeprefix("0")


def ink_on(colour: str) -> str:
    """Return black or white, whichever is read better on a colour: its contrast is at least 4.5.

    Both have the same contrast to a relative luminance of √(1.05 · 0.05) − 0.05 (WCAG 2.2).
    """
    red, green, blue = ((int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5))
    return "#ffffff" if 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.179 else "#000000"
