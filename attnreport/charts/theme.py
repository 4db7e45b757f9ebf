"""The colours and type that all charts share.

Colour maps are Fabio Crameri's devon and cmocean's ice: both are perceptually even, readable with
every common colour blindness, and begin at the ground colour, so that nothing looks like nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import altair as alt
from cmap import Colormap

from attnreport.charts.picture import FINEST

Theme = Literal["light", "dark"]
THEMES: tuple[Theme, ...] = ("light", "dark")

FONT = "system-ui, sans-serif"

_COLOUR_MAPS = {"light": "crameri:devon_r", "dark": "cmocean:ice"}
_NONFINITE = {"light": "#c2185b", "dark": "#ff5c9a"}
_INK = {"light": "#3a3a45", "dark": "#c9c9d6"}


@cache
def palette(theme: Theme) -> tuple[str, ...]:
    """Return ``#rrggbb`` colours: one per weight code, then the one for what is not finite."""
    colours = Colormap(_COLOUR_MAPS[theme])
    steps = [str(colours(index / (FINEST - 1)).hex)[:7].lower() for index in range(FINEST)]
    return (*steps, _NONFINITE[theme])


def ink(theme: Theme) -> str:
    """Return the colour of labels and rules."""
    return _INK[theme]


def configured(chart: alt.LayerChart | alt.FacetChart) -> alt.LayerChart:
    """Return the chart with the shared look: no frame, no grid, our font."""
    configured: alt.LayerChart = (
        chart.configure(font=FONT, background="transparent", padding=0)
        .configure_view(stroke=None)
        .configure_axis(
            grid=False,
            domain=False,
            ticks=False,
            title=None,
            labelPadding=4,
            labelFontSize=12,
            labelFontWeight="normal",
        )
    )
    return configured
