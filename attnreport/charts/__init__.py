"""Pictures of a Run as Vega-Lite charts; Altair lives here alone.

Each chart comes in two forms made by one function body: with its data inside, for notebooks and
still pictures, and with named data that the page feeds.
"""

from attnreport.charts.arrows import HEAD_COLOURS, arrows_view
from attnreport.charts.colourbar import colourbar, colourbar_view
from attnreport.charts.figure import heatmap_figure, overlay_figure
from attnreport.charts.heatmap import heatmap, heatmap_view
from attnreport.charts.look import first_part, first_query, look_of, part_names
from attnreport.charts.overlay import (
    overlay_palette,
    overlay_view,
    picture_url,
    still_overlay,
)
from attnreport.charts.overview import THUMBNAIL, overview_view, thumbnails
from attnreport.charts.theme import Chart

__all__ = [
    "HEAD_COLOURS",
    "THUMBNAIL",
    "Chart",
    "arrows_view",
    "colourbar",
    "colourbar_view",
    "first_part",
    "first_query",
    "heatmap",
    "heatmap_figure",
    "heatmap_view",
    "look_of",
    "overlay_figure",
    "overlay_palette",
    "overlay_view",
    "overview_view",
    "part_names",
    "picture_url",
    "still_overlay",
    "thumbnails",
]
