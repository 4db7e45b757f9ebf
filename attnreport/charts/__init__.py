"""Pictures of a Run as Vega-Lite charts; Altair lives here alone.

Each chart comes in two forms made by one function body: with its data inside, for notebooks and
still pictures, and with named data that the page feeds.
"""

from attnreport.charts.arrows import HEAD_COLOURS, arrows_view
from attnreport.charts.colourbar import colourbar, colourbar_view
from attnreport.charts.heatmap import heatmap, heatmap_view
from attnreport.charts.overlay import overlay_palette, overlay_view, picture_url, still_overlay
from attnreport.charts.overview import THUMBNAIL, overview_view, thumbnails

__all__ = [
    "HEAD_COLOURS",
    "THUMBNAIL",
    "arrows_view",
    "colourbar",
    "colourbar_view",
    "heatmap",
    "heatmap_view",
    "overlay_palette",
    "overlay_view",
    "overview_view",
    "picture_url",
    "still_overlay",
    "thumbnails",
]
