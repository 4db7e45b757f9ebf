"""A page for a notebook: in a frame that can reach nothing of it, over a still picture.

A notebook that drops frames, as one does that is shown but not trusted, leaves the picture.
"""

from __future__ import annotations

import base64
import html

from attnreport.attention import Attention
from attnreport.charts import heatmap
from attnreport.charts.theme import unchecked
from attnreport.page.page import own_file
from attnreport.page.vega import png

# Both stand in one cell of a grid, so that the frame covers the picture as long as there is one.
_FRAME = (
    '<div style="display:grid"><img alt="{words}" src="data:image/png;base64,{picture}" '
    'style="grid-area:1/1;max-width:100%;max-height:600px">'
    '<iframe sandbox="allow-scripts" style="grid-area:1/1;width:100%;height:900px;border:0" '
    'title="attnreport" srcdoc="{page}"></iframe></div><script>{script}</script>'
)


def in_notebook(page: str, attention: Attention, head: int) -> str:
    """Return a page as the HTML of a notebook's cell, which grows to the height of the page.

    Args:
        page: the whole page.
        attention: the layer that the page shows first.
        head: place of the head in it.
    """
    picture = base64.b64encode(still_png(attention, head)).decode()
    words, script = _words(attention, head), own_file("js", "notebook.js")
    return _FRAME.format(words=words, picture=picture, page=html.escape(page), script=script)


def still_png(attention: Attention, head: int) -> bytes:
    """Return the heatmap of one head as a PNG on white."""
    with unchecked():
        return png(heatmap(attention, head), _words(attention, head))


def _words(attention: Attention, head: int) -> str:
    return f"Attention of layer {attention.layer}, head {attention.head_numbers[head]}"
