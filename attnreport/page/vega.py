"""Vega for the page: specs compiled from Vega-Lite, still pictures, and the library itself.

The library comes out of vl-convert when a report is made, so that no JavaScript of others is kept
in this project. Making the bundle takes two seconds and gives the same bytes each time for one
version of vl-convert, so it is kept in the user's cache.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import platformdirs
import vl_convert

from attnreport.errors import OutputError
from attnreport.files import replace_file

# Vega's AST interpreter is reachable through vegaEmbed alone, which brings Vega itself along.
_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def compiled(chart: alt.LayerChart) -> dict[str, Any]:
    """Return the Vega spec of a Vega-Lite chart."""
    spec: dict[str, Any] = vl_convert.vegalite_to_vega(chart.to_dict(validate=False))
    return spec


def svg(chart: alt.LayerChart) -> str:
    """Return a still picture of a chart with its data inside."""
    picture: str = vl_convert.vegalite_to_svg(chart.to_dict(validate=False))
    return picture


@cache
def bundle() -> str:
    """Return the JavaScript of Vega, to be run as one script."""
    kept = _cache_file()
    try:
        return kept.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        script: str = vl_convert.javascript_bundle(_SNIPPET)
        _keep(kept, script)
        return script


def _cache_file() -> Path:
    # The name says what the content depends on: another version or snippet is another file.
    digest = hashlib.sha256(f"{version('vl-convert-python')} {_SNIPPET}".encode()).hexdigest()
    return platformdirs.user_cache_path("attnreport") / f"vega-{digest[:16]}.js"


def _keep(path: Path, script: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, script.encode())
    except (OSError, OutputError):
        return  # a home that cannot be written costs two seconds a report, not the report
