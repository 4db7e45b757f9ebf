"""The charts that every page has alike, compiled once.

A chart that the page feeds depends on our code and on two libraries, not on a run. Making all of
them takes longer than packing a run, so they are kept in the user's cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from attnreport import charts
from attnreport.page.kept import kept
from attnreport.page.vega import compiled, lite, svg


@dataclass(frozen=True)
class Prepared:
    """Hold what no run changes.

    Attributes:
        charts: Vega specs by view, with named data.
        lite: Vega-Lite specs of the views that can be taken out, with named data.
        colourbar: still picture of the colour scale that a page opens with, as SVG.
    """

    charts: dict[str, Any]
    lite: dict[str, Any]
    colourbar: str


@cache
def prepared() -> Prepared:
    """Return the charts of every page."""
    text = kept("charts.json", _depends_on(), _make)
    return msgspec.json.decode(text, type=Prepared)


def _make() -> str:
    heatmap, arrows, overlay = charts.heatmap_view(), charts.arrows_view(), charts.overlay_view()
    made = Prepared(
        charts={
            "heatmap": compiled(heatmap),
            "arrows": compiled(arrows),
            "overlay": compiled(overlay),
            "overview": compiled(charts.overview_view()),
            "colourbar": compiled(charts.colourbar_view()),
        },
        lite={"heatmap": lite(heatmap), "arrows": lite(arrows), "overlay": lite(overlay)},
        colourbar=svg(charts.colourbar()),
    )
    return msgspec.json.encode(made).decode()


def _depends_on() -> Iterator[bytes]:
    for library in ("altair", "vl-convert-python"):
        yield version(library).encode()
    for module in sorted(Path(charts.__file__).parent.glob("*.py")):
        yield module.read_bytes()
    yield Path(__file__).read_bytes()
