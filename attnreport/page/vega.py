"""Vega for the page: specs compiled from Vega-Lite, still pictures, and the library itself.

The library comes out of vl-convert when a report is made, so that no JavaScript of others is kept
in this project. Making the bundle takes two seconds and gives the same bytes each time for one
version of vl-convert, so it is kept in the user's cache.
"""

from __future__ import annotations

import io
from functools import cache
from importlib.metadata import version
from typing import Any

import vl_convert
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from attnreport.charts import Chart
from attnreport.page.kept import kept

# Vega's AST interpreter is reachable through vegaEmbed alone, which brings Vega itself along.
_PNG_SCALE = 3
_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def compiled(chart: Chart) -> dict[str, Any]:
    """Return the Vega spec of a Vega-Lite chart."""
    spec: dict[str, Any] = vl_convert.vegalite_to_vega(chart.to_dict(validate=False))
    return spec


def lite(chart: Chart) -> dict[str, Any]:
    """Return a chart as the Vega-Lite that people paste into an editor."""
    spec: dict[str, Any] = chart.to_dict(validate=False)
    return spec


def svg(chart: Chart) -> str:
    """Return a still picture of a chart with its data inside."""
    picture: str = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
    return picture


def png(chart: Chart, words: str) -> bytes:
    """Return a picture of a chart on white, three pixels for one; ``words`` go in beside it."""
    spec = {**chart.to_dict(validate=False), "background": "white"}
    drawn = Image.open(io.BytesIO(vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE)))
    told = PngInfo()
    told.add_itxt("Description", words)
    content = io.BytesIO()
    drawn.save(content, "PNG", pnginfo=told, dpi=(96 * _PNG_SCALE, 96 * _PNG_SCALE))
    return content.getvalue()


def pdf(chart: Chart) -> bytes:
    """Return a picture of a chart as one page whose text is text."""
    content: bytes = vl_convert.vegalite_to_pdf(chart.to_dict(validate=False))
    return content


@cache
def bundle() -> str:
    """Return the JavaScript of Vega, to be run as one script."""
    depends_on = (version("vl-convert-python").encode(), _SNIPPET.encode())
    return kept("vega.js", depends_on, lambda: str(vl_convert.javascript_bundle(_SNIPPET)))
