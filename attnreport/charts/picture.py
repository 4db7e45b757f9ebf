"""A head as an indexed picture: one code per weight, one pixel per code.

The palette is the colour map, so the page changes colours by editing the palette and never a
pixel. The code is linear in √w: attention is skewed, and with 512 keys the mean weight would lie
below the first step of a linear code. Knows nothing of axes, layers or pages.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attnreport.attention import Weights

# With 255 levels the last code, 255, is left for a weight that is NaN or infinite: it has a colour
# of its own, because drawn as zero it would look like a head that looks away.
FINEST = 255

Codes = NDArray[np.uint8]


def encode(weights: Weights, levels: int = FINEST) -> Codes:
    """Return the code of every weight: ``round((levels − 1) · √w)``, or ``levels`` if not finite.

    Args:
        weights: any shape, in [0, 1] where finite.
        levels: how many codes stand for weights, 2 to 255.

    Returns:
        The same shape, uint8. ``|√w − code / (levels − 1)|`` is at most ``code_error(levels)``.
    """
    finite = np.isfinite(weights)
    root = np.sqrt(np.clip(np.where(finite, weights, 0), 0, 1))
    codes: Codes = np.rint(root * (levels - 1)).astype(np.uint8)
    codes[~finite] = levels
    return codes


def code_error(levels: int = FINEST) -> float:
    """Return how far √w can be from what its code says: half a step."""
    return 0.5 / (levels - 1)


def png(codes: Codes, palette: tuple[str, ...]) -> bytes:
    """Return an indexed PNG of ``codes``, shape (row, column), in these ``#rrggbb`` colours."""
    image = Image.fromarray(codes, mode="P")
    image.putpalette(bytes.fromhex("".join(colour[1:] for colour in palette)))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def data_url(image: bytes) -> str:
    """Return a PNG as a ``data:`` URL."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
