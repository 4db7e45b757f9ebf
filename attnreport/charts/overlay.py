"""The overlay: the picture itself, and the attention over it, patch by patch.

Every patch is drawn at its box in the picture's own pixels. Nothing here counts patches: a square
grid, a crop and odd sizes are all the same thing.
"""

from __future__ import annotations

import base64
import math
from functools import cache
from typing import Any

import altair as alt
import numpy as np
from cmap import Colormap

from attnreport.axis import Box
from attnreport.charts import picture as codes
from attnreport.charts.look import Look
from attnreport.charts.picture import FINEST
from attnreport.charts.theme import fed, ink, layered
from attnreport.picture import Picture, Scale

_STILL_PIXELS = 420
# Perceptually even, and bright where much is looked at: it shows on white paper and on a night sky.
_COLOUR_MAP = "matplotlib:plasma"
_NONFINITE = "#00e5ff"
# How much the full colour of a still overlay covers.
COVER = 0.8

_EMPTY: dict[str, list[dict[str, Any]]] = {
    name: [] for name in ("source", "map", "patches", "contours", "chosen", "names")
}


@cache
def overlay_palette() -> tuple[str, ...]:
    """Return ``#rrggbb`` colours: one per weight code, then the one for what is not finite."""
    colours = Colormap(_COLOUR_MAP)
    steps = [str(colours(index / (FINEST - 1)).hex)[:7].lower() for index in range(FINEST)]
    return (*steps, _NONFINITE)


def overlay_alpha(place: float) -> float:
    """Return how much a colour covers at a place on the scale: nothing at 0, all from ½ on."""
    return min(1.0, 2 * place)


def overlay_view() -> alt.LayerChart:
    """Return the overlay that the page feeds: the picture once, or several copies side by side.

    Its units are pixels of the picture. Named data: ``source`` and ``map`` (x0, x1, y0, y1, url),
    ``patches`` (x0, x1, y0, y1, colour, opacity), ``contours`` (x0, x1, y0, y1, width, casing),
    ``chosen`` (x0, x1, y0, y1), ``names`` (x0, y0, text). Parameters: ``across`` and ``down``, the
    size of all copies together; ``xTicks``, ``xLabels``, ``yTicks``, ``yLabels``; ``ink``.
    """
    return _chart(1, 1, (400, 400))


def still_overlay(look: Look) -> alt.LayerChart:
    """Return the overlay with its data inside; ``look.words`` says what it shows."""
    whole, region = look.picture, look.region
    picture = whole if region == (0, 0, whole.width, whole.height) else whole.cropped(region)
    scale = _STILL_PIXELS / max(picture.width, picture.height)
    size = (round(picture.width * scale) or 1, round(picture.height * scale) or 1)
    data = {
        "source": [{**_sides((0, 0, picture.width, picture.height)), "url": picture_url(picture)}],
        "patches": _patches(look),
        "chosen": [_sides(box) for box in _moved(look.chosen, region)],
    }
    return fed(_chart(picture.width, picture.height, size, picture.scales), {**_EMPTY, **data})


def picture_url(picture: Picture) -> str:
    """Return a picture as a ``data:`` URL."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"


def _patches(look: Look) -> list[dict[str, Any]]:
    """Return a rectangle for every shown position, coloured by its share of the largest."""
    colours, shares, shown = overlay_palette(), look.weights / look.largest, look.shown
    patches = []
    for position, share, code, own in zip(
        look.axis, shares, codes.encode(shares), shown, strict=True
    ):
        place = float(np.sqrt(share)) if np.isfinite(share) else 1.0
        opacity = round(COVER * overlay_alpha(place), 3)
        patches += [
            {**_sides(box), "colour": colours[code], "opacity": opacity}
            for box in _moved(position.box if own else None, look.region)
        ]
    return patches


def _moved(box: Box | None, region: Box) -> list[Box]:
    """Return a box as it lies in a region, or nothing where it lies in none of it."""
    left, top, right, bottom = region
    if box is None or box[0] >= right or box[2] <= left or box[1] >= bottom or box[3] <= top:
        return []
    return [(box[0] - left, box[1] - top, box[2] - left, box[3] - top)]


def _sides(box: Box) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return {"x0": x0, "x1": x1, "y0": y0, "y1": y1}


def _chart(
    width: int,
    height: int,
    size: tuple[int, int],
    scales: tuple[Scale, Scale] | None = None,
) -> alt.LayerChart:
    ticks = [_ticks(width, scales and scales[0]), _ticks(height, scales and scales[1])]
    corners = _corners()
    patches = _rects("patches", strokeWidth=0).encode(
        **corners,
        color=alt.Color("colour:N", scale=None),
        fillOpacity=alt.FillOpacity("opacity:Q", scale=None),
    )
    # Two lines, one dark and one bright: one of them shows on any picture.
    contours = [
        _marks("contours")
        .mark_rule(aria=False, color=colour, strokeCap="round")
        .encode(**corners, strokeWidth=alt.StrokeWidth(f"{field}:Q", scale=None))
        for colour, field in (("#000000", "casing"), ("#ffffff", "width"))
    ]
    outlines = [
        _rects("chosen", fillOpacity=0, stroke=stroke, strokeWidth=line).encode(**corners)
        for stroke, line in (("#000000", 4), ("#ffffff", 2))
    ]
    names = (
        _marks("names")
        .mark_text(
            aria=False,
            align="left",
            baseline="bottom",
            dy=-3,
            fontSize=12,
            color=alt.ExprRef("ink"),
        )
        .encode(x=corners["x"], y=corners["y"], text="text:N")
    )
    return layered(
        _image("source", smooth=True),
        _image("map", smooth=False),
        patches,
        *contours,
        *outlines,
        names,
        size=size,
        parameters=[
            alt.param(name="across", value=width),
            alt.param(name="down", value=height),
            *(alt.param(name=f"{side}Ticks", value=[*marks])
              for side, marks in zip("xy", ticks, strict=True)),
            *(alt.param(name=f"{side}Labels", value=[*marks.values()])
              for side, marks in zip("xy", ticks, strict=True)),
            alt.param(name="ink", value=ink("light")),
        ],
    )  # fmt: skip


def _ticks(length: int, scale: Scale | None) -> dict[float, str]:
    """Return about six round places along a side, in pixels, and their labels."""
    first, last = (0, length) if scale is None else (scale.first, scale.last)
    low, high = sorted((first, last))
    power = 10 ** math.floor(math.log10((high - low) / 6))
    step = next(times * power for times in (1, 2, 5, 10) if times * power * 6 >= high - low)
    step = max(1, step) if scale is None else step
    values = [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]
    before, after = ("", "") if scale is None else (scale.before, scale.after)
    return {
        (value - first) / (last - first) * length: f"{before}{value:.6g}{after}" for value in values
    }


def _image(data: str, *, smooth: bool) -> alt.Chart:
    marks: alt.Chart = (
        alt.Chart(alt.NamedData(name=data))
        .mark_image(aspect=False, smooth=smooth, aria=False)
        .encode(**_corners(), url="url:N")
    )
    return marks


def _rects(data: str, **look: Any) -> alt.Chart:
    marks: alt.Chart = _marks(data).mark_rect(aria=False, **look)
    return marks


def _marks(data: str) -> alt.Chart:
    return alt.Chart(alt.NamedData(name=data))


def _corners() -> dict[str, Any]:
    """Return the encoding of boxes by their sides, in pixels from the upper left."""
    return {
        "x": alt.X("x0:Q", scale=_scale("across"), axis=_axis("x", "bottom")),
        "x2": "x1:Q",
        "y": alt.Y("y0:Q", scale=_scale("down", reverse=True), axis=_axis("y", "left")),
        "y2": "y1:Q",
    }


def _scale(length: str, *, reverse: bool = False) -> alt.Scale:
    return alt.Scale(domain=alt.ExprRef(f"[0, {length}]"), nice=False, zero=False, reverse=reverse)


def _axis(side: str, orient: Any) -> alt.Axis:
    return alt.Axis(
        orient=orient,
        values=alt.ExprRef(f"{side}Ticks"),
        labelExpr=f"{side}Labels[indexof({side}Ticks, datum.value)]",
        labelColor=alt.ExprRef("ink"),
    )
