"""The overlay: the picture itself, and the attention over it, patch by patch.

Every patch is drawn at its box in the picture's own pixels. Nothing here counts patches: a square
grid, a crop and odd sizes are all the same thing.
"""

from __future__ import annotations

import base64
import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import altair as alt
import numpy as np
from cmap import Colormap
from numpy.typing import NDArray

from attnreport.axis import Axis, Box
from attnreport.charts import picture as codes
from attnreport.charts.picture import FINEST
from attnreport.charts.theme import fed, ink, layered
from attnreport.picture import Picture, Scale
from attnreport.run import Attention

_STILL_PIXELS = 420
# Perceptually even, and bright where much is looked at: it shows on white paper and on a night sky.
_COLOUR_MAP = "matplotlib:plasma"
_NONFINITE = "#00e5ff"
# More than what boxes miss each other by when they are computed.
_OVERLAP = 1.01
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


@dataclass(frozen=True)
class Look:
    """Hold what one query of a head, or their mean, looks at in a picture.

    Attributes:
        picture: what the boxes of the keys count pixels of.
        axis: the keys; some have a box.
        weights: ``(key,)`` float32, in [0, 1] where finite.
        who: what they are the weights of, in words.
        largest: the largest finite weight of a key with a box, above 0: it gets the full colour.
        chosen: box of the query in the same picture, or None.
    """

    picture: Picture
    axis: Axis
    weights: NDArray[np.float32]
    who: str
    largest: float
    chosen: Box | None

    @property
    def words(self) -> str:
        """Return what is shown, in words."""
        seen = [position.box is not None for position in self.axis]
        # Rounded weights, as a report may hold, can add up to a little more than 1.
        share = float(self.weights[seen].sum()) / max(1.0, float(self.weights.sum()))
        whole, part, parts = self.axis.seen
        return (
            f"{self.who}: {share:.1%} of its attention falls on the {whole}; full colour stands "
            f"for {self.largest:.4f}, the largest {part}"
            + (f"; {parts} lie over each other, so colours mix" if self.mixed else "")
        )

    @property
    def mixed(self) -> bool:
        """Tell whether boxes lie over each other: together they have more area than is around."""
        boxes = np.array([position.box for position in self.axis if position.box is not None])
        around = (boxes[:, 2].max() - boxes[:, 0].min()) * (boxes[:, 3].max() - boxes[:, 1].min())
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        return bool(areas.sum() > _OVERLAP * around)


def first_query(queries: Axis) -> int | None:
    """Return whose look is shown first: a place among the queries, or None for the mean of all.

    Of a text it is the last token, from which what follows is written: a first one that sees
    nothing but itself would look at no picture. Otherwise it is the first position where that is
    special, as a class token is, which gathers what the whole picture shows.
    """
    if any(position.span for position in queries):
        places = [place for place, position in enumerate(queries) if position.box is None]
        return places[-1] if places else None
    return 0 if queries.positions[0].role == "special" else None


def look_of(attention: Attention, head: int, query: int | None = None) -> Look | None:
    """Return what a query looks at, or None where no key has a box in a kept picture.

    Args:
        attention: with the queries and keys.
        head: index of the head, from 0.
        query: its place among the queries; by default that of ``first_query``.
    """
    keys = attention.keys
    if keys.picture is None or not keys.pictured:
        return None
    weights, queries = attention.weights[head], attention.queries
    query = first_query(queries) if query is None else query
    if query is None:
        row, who, chosen = weights.mean(axis=0), "what is looked at, mean over all queries", None
    else:
        row, position = weights[query], queries.positions[query]
        who = f"what {position.label} looks at"
        chosen = position.box if queries.picture == keys.picture else None
    seen = [position.box is not None for position in keys]
    finite = row[seen][np.isfinite(row[seen])]
    return Look(keys.picture, keys, row, who, float(finite.max(initial=0)) or 1.0, chosen)


def still_overlay(look: Look) -> alt.LayerChart:
    """Return the overlay with its data inside; ``look.words`` says what it shows."""
    picture = look.picture
    scale = _STILL_PIXELS / max(picture.width, picture.height)
    size = (round(picture.width * scale) or 1, round(picture.height * scale) or 1)
    whole = (0, 0, picture.width, picture.height)
    data = {
        "source": [{**_sides(whole), "url": picture_url(picture)}],
        "patches": _patches(look.axis, look.weights / look.largest),
        "chosen": [] if look.chosen is None else [_sides(look.chosen)],
    }
    return fed(_chart(picture.width, picture.height, size, picture.scales), {**_EMPTY, **data})


def picture_url(picture: Picture) -> str:
    """Return a picture as a ``data:`` URL."""
    return f"data:{picture.media_type};base64,{base64.b64encode(picture.content).decode()}"


def _patches(axis: Axis, shares: NDArray[np.float32]) -> list[dict[str, Any]]:
    """Return a rectangle for every position with a box, coloured by its share of the largest."""
    colours = overlay_palette()
    patches = []
    for position, share, code in zip(axis, shares, codes.encode(shares), strict=True):
        if position.box is None:
            continue
        place = float(np.sqrt(share)) if np.isfinite(share) else 1.0
        opacity = round(COVER * overlay_alpha(place), 3)
        patches.append({**_sides(position.box), "colour": colours[code], "opacity": opacity})
    return patches


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
