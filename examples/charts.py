"""Draw charts of vega-datasets with Altair, six kinds of them, and say which pixels are the marks.

Data, columns, sizes, colours and style are drawn at random; the same seed draws the same picture.
Some data sets are held out: no picture of them is ever trained on. Knows no model.
"""

from __future__ import annotations

import io
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import altair as alt
import numpy as np
import vl_convert
from altair.utils.schemapi import debug_mode
from fitting import seeded
from numpy.typing import NDArray
from PIL import Image
from vega_datasets import local_data

# A mark's pixel differs this much, of 255, from what stands there without it.
_VISIBLE = 24
_LEAST_MARKED = 0.004
_ROWS = 300
# What holds the marks of the data in Vega's SVG; those of axes and legends have other roles.
_MARKS = re.compile(r'(<g class="mark-\w+ role-mark[^"]*")')


@dataclass(frozen=True)
class Columns:
    """Say which columns of a data set are times, categories and numbers, and what can be drawn.

    Attributes:
        numbers: quantities.
        categories: few names each.
        times: dates.
        units: parts of a date that make few steps.
        course: whether there are times enough for a line.
    """

    numbers: tuple[str, ...]
    categories: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    units: tuple[str, ...] = ("year", "month")
    course: bool = True


_WEATHER = ("precipitation", "temp_max", "temp_min", "wind")
_CARS = ("Miles_per_Gallon", "Displacement", "Horsepower", "Weight_in_lbs", "Acceleration")
_WORK = ("construction", "manufacturing", "information", "government", "utilities", "retail_trade")
_IRIS = ("sepalLength", "sepalWidth", "petalLength", "petalWidth")
_TEMPERATURES = Columns(("temp",), times=("date",), units=("month", "hours", "day"))

TRAINED: dict[str, Columns] = {
    "airports": Columns(("latitude", "longitude"), ("state",)),
    "barley": Columns(("yield",), ("variety", "site", "year")),
    "burtin": Columns(("Penicillin", "Streptomycin", "Neomycin"), ("Bacteria", "Genus")),
    "cars": Columns(_CARS, ("Origin", "Cylinders"), ("Year",), ("year",)),
    "la-riots": Columns(
        ("age", "longitude"), ("gender", "race", "type"), ("death_date",), ("day",)
    ),
    "ohlc": Columns(("open", "high", "low", "ret"), ("signal",), ("date",), ("date", "day")),
    "seattle-temps": _TEMPERATURES,
    "seattle-weather": Columns(_WEATHER, ("weather",), ("date",)),
    "stocks": Columns(("price",), ("symbol",), ("date",)),
    "us-employment": Columns(_WORK, times=("month",)),
}
HELD_OUT: dict[str, Columns] = {
    "anscombe": Columns(("X", "Y"), ("Series",)),
    "crimea": Columns(("wounds", "other", "disease"), times=("date",)),
    "driving": Columns(("miles", "gas"), ("side",), ("year",), ("year",)),
    "iowa-electricity": Columns(("net_generation",), ("source",), ("year",), ("year",)),
    "iris": Columns(_IRIS, ("species",)),
    "sf-temps": _TEMPERATURES,
    "wheat": Columns(("wheat", "wages"), times=("year",), units=()),
}


@dataclass(frozen=True)
class Drawing:
    """Hold one chart: its kind, its pixels, and which of them are marks.

    Attributes:
        kind: a key of ``KINDS``.
        image: RGB, as vl-convert drew it.
        marks: ``(y, x)``, True where a mark of the data is seen; axes, legend and title are none.
    """

    kind: str
    image: Image.Image
    marks: NDArray[np.bool_]


def draw(seed: int, kind: str, *, held_out: bool) -> Drawing:
    """Return a chart of that kind; the seed decides all else."""
    rng = seeded(seed)
    while True:
        drawing = _draw(rng, kind, held_out)
        # A line of one point, say, draws nothing: that is no chart.
        if drawing.marks.mean() > _LEAST_MARKED:
            return drawing


def _draw(rng: random.Random, kind: str, held_out: bool) -> Drawing:
    name = rng.choice([name for name, columns in _sets(held_out).items() if _fits(kind, columns)])
    rows = _rows(name)
    if len(rows) > _ROWS:
        first = rng.randrange(len(rows) - _ROWS)
        # Every so many, or some that follow each other: a year at a glance, or a month in detail.
        rows = rows[first : first + _ROWS] if rng.random() < 0.5 else rows[:: len(rows) // _ROWS]
    pen = _Pen(rng, _sets(held_out)[name])
    with debug_mode(False):
        chart = _styled(rng, KINDS[kind](pen, alt.Chart())).to_dict()
    chart["data"] = {"values": [{used: row[used] for used in pen.used} for row in rows]}
    svg = vl_convert.vegalite_to_svg(chart)
    image, without = _pixels(svg), _pixels(_MARKS.sub(r'\1 display="none"', svg))
    differs = np.abs(np.asarray(image, dtype=int) - np.asarray(without)).max(axis=2)
    return Drawing(kind, image, differs > _VISIBLE)


def _sets(held_out: bool) -> dict[str, Columns]:
    return HELD_OUT if held_out else TRAINED


def _fits(kind: str, columns: Columns) -> bool:
    """Tell whether a data set has the columns that a kind of chart needs."""
    needed = {
        "line": columns.course and len(columns.times) > 0,
        "area": columns.course and len(columns.times) > 0,
        "scatter": len(columns.numbers) > 1,
        "pie": len(columns.categories) + len(columns.units) * len(columns.times) > 0,
    }
    return needed.get(kind, True)


@cache
def _rows(name: str) -> list[dict[str, Any]]:
    frame = getattr(local_data, name.replace("-", "_"))()
    if name in {"wheat", "driving"}:
        frame["year"] = frame["year"].astype(str)
    rows: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso"))
    return rows


@dataclass
class _Pen:
    """Choose columns and looks at random."""

    rng: random.Random
    columns: Columns
    used: list[str] = field(default_factory=list)

    def some(self, *choices: Any) -> Any:
        return self.rng.choice(choices)

    def between(self, low: float, high: float) -> float:
        return round(self.rng.uniform(low, high), 2)

    def likely(self, share: float) -> bool:
        return self.rng.random() < share

    def number(self) -> str:
        return self._new(self.columns.numbers)

    def time(self) -> str:
        return self._new(self.columns.times)

    def category(self, share: float = 1.0) -> str | None:
        """Return a category's name, or None where there is none or chance says so."""
        left = [name for name in self.columns.categories if name not in self.used]
        if not left or not self.likely(share):
            return None
        return self._new(tuple(left))

    def _new(self, names: tuple[str, ...]) -> str:
        chosen = self.rng.choice([name for name in names if name not in self.used] or list(names))
        self.used.append(chosen)
        return chosen

    def amount(self) -> str:
        """Return an aggregate of a number, as Altair's shorthand."""
        return f"{self.some('mean', 'mean', 'sum', 'max', 'median')}({self.number()}):Q"

    def steps(self, channel: Any, *, bins: tuple[int, int] | None) -> Any:
        """Return a channel of few steps: a category, a part of the time, or a binned number."""
        ways: list[Callable[[], Any]] = []
        left = [name for name in self.columns.categories if name not in self.used]
        if left:
            ways += [lambda: channel(f"{self._new(tuple(left))}:N")] * 2
        if [name for name in self.columns.times if name not in self.used] and self.columns.units:
            ways.append(lambda: channel(f"{self.some(*self.columns.units)}({self.time()}):O"))
        if bins is not None and [n for n in self.columns.numbers if n not in self.used]:
            most = self.rng.randint(*bins)
            ways.append(lambda: channel(f"{self.number()}:Q", bin=alt.Bin(maxbins=most)))
        return self.rng.choice(ways)()

    def colour(self, name: str | None, *, kind: str = "N") -> dict[str, Any]:
        """Return the colour channel of a column, or nothing without one."""
        if name is None:
            return {}
        scheme = self.some(*(_EVEN if kind == "Q" else _DISTINCT))
        shown = alt.Legend(orient=self.some("right", "right", "bottom", "top"))
        scale = alt.Scale(scheme=scheme, reverse=self.likely(0.2))
        legend = shown if self.likely(0.7) else None
        return {"color": alt.Color(f"{name}:{kind}", scale=scale, legend=legend)}

    def ink(self) -> str:
        """Return a colour for marks that all look alike: of any hue, not too pale."""
        return (
            f"hsl({self.rng.randrange(360)},{self.rng.randint(0, 90)}%,{self.rng.randint(30, 60)}%)"
        )


_DISTINCT = ("category10", "tableau10", "set1", "set2", "dark2", "accent", "paired", "pastel1")
_EVEN = ("viridis", "magma", "blues", "greens", "oranges", "yellowgreenblue", "redblue", "turbo",
         "greys", "plasma", "teals", "purpleorange")  # fmt: skip


def _bar(pen: _Pen, chart: alt.Chart) -> alt.Chart:
    upright = pen.likely(0.65)
    along, across = (alt.X, alt.Y) if upright else (alt.Y, alt.X)
    steps = pen.steps(along, bins=(6, 14))
    length = across("count():Q" if pen.likely(0.15) else pen.amount())
    group = pen.category(0.4)
    looks = pen.colour(group)
    if group and pen.likely(0.4):
        length.stack = None
        looks["xOffset" if upright else "yOffset"] = f"{group}:N"
    corner = pen.some(0, 0, 0, 3)
    mark = chart.mark_bar(color=pen.ink(), cornerRadius=corner, opacity=pen.between(0.75, 1))
    return mark.encode(steps, length, **looks)


def _course(pen: _Pen) -> tuple[alt.X, alt.Y, str | None]:
    """Return what line and area share: time, an amount, and perhaps several series."""
    name = pen.time()
    time = pen.some(f"{name}:T", f"{name}:T", f"yearmonth({name}):T", f"month({name}):T")
    return alt.X(time), alt.Y(pen.amount()), pen.category(0.55)


def _line(pen: _Pen, chart: alt.Chart) -> alt.Chart:
    time, amount, series = _course(pen)
    amount.scale = alt.Scale(zero=pen.likely(0.4))
    mark = chart.mark_line(
        color=pen.ink(),
        strokeWidth=pen.between(2, 4.5),
        interpolate=pen.some("linear", "linear", "linear", "monotone", "step-after"),
    )
    return mark.encode(time, amount, **pen.colour(series))


def _area(pen: _Pen, chart: alt.Chart) -> alt.Chart:
    time, amount, series = _course(pen)
    if series:
        amount.stack = pen.some("zero", "zero", "normalize", "center")
    mark = chart.mark_area(
        color=pen.ink(),
        opacity=pen.between(0.5, 1),
        line=pen.likely(0.3),
        interpolate=pen.some("linear", "linear", "monotone"),
    )
    return mark.encode(time, amount, **pen.colour(series))


def _scatter(pen: _Pen, chart: alt.Chart) -> alt.Chart:
    across = alt.X(f"{pen.number()}:Q", scale=alt.Scale(zero=pen.likely(0.3)))
    down = alt.Y(f"{pen.number()}:Q", scale=alt.Scale(zero=pen.likely(0.3)))
    looks = pen.colour(pen.category(0.5))
    if pen.likely(0.15):
        looks["size"] = alt.Size(f"{pen.number()}:Q", legend=None)
    mark = chart.mark_point(
        color=pen.ink(),
        filled=pen.likely(0.65),
        size=pen.rng.randint(60, 200),
        opacity=pen.between(0.6, 1),
        strokeWidth=pen.between(1, 2.5),
        shape=pen.some("circle", "circle", "circle", "square", "diamond", "cross", "triangle-up"),
    )
    return mark.encode(across, down, **looks)


def _heatmap(pen: _Pen, chart: alt.Chart) -> alt.Chart:
    across, down = pen.steps(alt.X, bins=(5, 14)), pen.steps(alt.Y, bins=(5, 12))
    amount = "count()" if pen.likely(0.3) else pen.amount().removesuffix(":Q")
    stroke = pen.some(None, None, "white", "#888888")
    mark = chart.mark_rect(stroke=stroke, strokeWidth=pen.between(0.5, 2))
    return mark.encode(across, down, **pen.colour(amount, kind="Q"))


def _pie(pen: _Pen, chart: alt.Chart) -> alt.Chart:
    name = pen.category()
    part = name or f"{pen.some(*pen.columns.units)}({pen.time()})"
    amount = "count():Q" if pen.likely(0.3) else pen.amount()
    mark = chart.mark_arc(
        innerRadius=pen.some(0, 0, pen.rng.randint(15, 45)),
        padAngle=pen.some(0, 0, 0.03),
        stroke=pen.some(None, "white", "#333333"),
    )
    return mark.encode(alt.Theta(amount, stack=True), **pen.colour(part))


KINDS: dict[str, Callable[[_Pen, alt.Chart], alt.Chart]] = {
    "area": _area,
    "bar": _bar,
    "heatmap": _heatmap,
    "line": _line,
    "pie": _pie,
    "scatter": _scatter,
}


def _styled(rng: random.Random, chart: alt.Chart) -> alt.Chart:
    """Give a chart a size, a ground and a way to draw axes."""
    ground = rng.choice(["white", "white", "white", "#f7f4ec", "#eef2f7", "#1d1f27", "#0b2230"])
    ink = "#dddddd" if ground in ("#1d1f27", "#0b2230") else rng.choice(["#222222", "#555555"])
    inside = rng.choice(["transparent", "transparent", "#80808018"])
    axis = alt.AxisConfig(
        grid=rng.random() < 0.6,
        gridColor="#88888844",
        domainColor=ink,
        tickColor=ink,
        labelColor=ink,
        titleColor=ink,
        labelFontSize=rng.choice([9, 10, 12]),
        titleFontSize=rng.choice([10, 12]),
    )
    looks = {"width": rng.randint(140, 320), "height": rng.randint(120, 260)}
    if rng.random() < 0.3:
        looks["title"] = rng.choice(
            ["Figure 1", "By group", "Over time", "All of them", "Overview"]
        )
    return chart.properties(**looks, background=ground, padding=rng.randint(3, 16)).configure(
        axis=axis,
        title=alt.TitleConfig(color=ink),
        legend=alt.LegendConfig(labelColor=ink, titleColor=ink, labelLimit=70, columns=4),
        view=alt.ViewConfig(fill=inside, stroke=rng.choice([ink, None, "#88888888"])),
    )


def _pixels(svg: str) -> Image.Image:
    return Image.open(io.BytesIO(vl_convert.svg_to_png(svg))).convert("RGB")
