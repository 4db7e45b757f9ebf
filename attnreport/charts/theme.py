"""The colours and type that all charts share.

Colour maps are Fabio Crameri's devon and cmocean's ice: both are perceptually even, readable with
every common colour blindness, and begin at the ground colour, so that nothing looks like nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, Literal

import altair as alt
from altair.utils.schemapi import debug_mode
from cmap import Colormap

from attnreport.charts.picture import FINEST

Theme = Literal["light", "dark"]
Chart = alt.LayerChart | alt.VConcatChart
THEMES: tuple[Theme, ...] = ("light", "dark")

FONT = "system-ui, sans-serif"

_COLOUR_MAPS = {"light": "crameri:devon_r", "dark": "cmocean:ice"}
# Crameri's vik and berlin: blue below, red above, and the ground's own colour at 0.
_SIGNED_COLOUR_MAPS = {"light": "crameri:vik", "dark": "crameri:berlin"}
_NONFINITE = {"light": "#c2185b", "dark": "#ff5c9a"}
_INK = {"light": "#3a3a45", "dark": "#c9c9d6"}


@cache
def palette(theme: Theme) -> tuple[str, ...]:
    """Return ``#rrggbb`` colours: one per weight code, then the one for what is not finite."""
    return (*_steps(_COLOUR_MAPS[theme]), _NONFINITE[theme])


@cache
def signed_palette(theme: Theme) -> tuple[str, ...]:
    """Return colours for values of both signs: as many as ``palette`` does, 0 in the middle."""
    return (*_steps(_SIGNED_COLOUR_MAPS[theme]), _NONFINITE[theme])


def _steps(name: str) -> list[str]:
    colours = Colormap(name)
    return [str(colours(index / (FINEST - 1)).hex)[:7].lower() for index in range(FINEST)]


def ink(theme: Theme) -> str:
    """Return the colour of labels and rules."""
    return _INK[theme]


def fed(chart: alt.LayerChart, datasets: dict[str, list[dict[str, Any]]]) -> alt.LayerChart:
    """Return the chart with its named data inside.

    Data go in last: whatever builds on a chart copies it, and Altair copies data row by row.
    """
    chart.datasets = datasets
    return chart


@contextmanager
def unchecked() -> Iterator[None]:
    """Make charts without Altair's schema checks, which take half of a report's time.

    The charts made here do not depend on the input in any way that a schema could refuse; a test
    makes each of them with the checks on.
    """
    with debug_mode(False):
        yield


def layered(
    *layers: alt.Chart, size: tuple[int, int], parameters: Sequence[alt.Parameter] = ()
) -> alt.LayerChart:
    """Return the layers as one chart of ``size`` (width, height) with the look all charts share.

    Everything goes in at once: each of Altair's chained methods would copy the whole chart.
    """
    width, height = size
    declared: list[Any] = [parameter.param for parameter in parameters]
    return alt.LayerChart(
        layer=list(layers),
        width=width,
        height=height,
        params=declared,
        config=alt.Config(
            font=FONT,
            background="transparent",
            padding=0,
            view=alt.ViewConfig(stroke=None),
            axis=alt.AxisConfig(
                grid=False,
                domain=False,
                ticks=False,
                title=None,
                labelPadding=4,
                labelFontSize=12,
                labelFontWeight="normal",
            ),
        ),
    )
