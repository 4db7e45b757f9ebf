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

from attnreport.run import Weights

# Codes 0 … 254 hold weights, 255 a weight that is NaN or infinite: it has a colour of its own,
# because drawn as zero it would look like a head that looks away.
LEVELS = 255
NONFINITE_CODE = 255
CODE_ERROR = 0.5 / (LEVELS - 1)

Codes = NDArray[np.uint8]


def encode(weights: Weights) -> Codes:
    """Return the code of every weight: ``round(254 · √w)``, or 255 where it is not finite.

    Args:
        weights: any shape, in [0, 1] where finite.

    Returns:
        The same shape, uint8. ``|√w − code / 254|`` is at most ``CODE_ERROR``.
    """
    finite = np.isfinite(weights)
    root = np.sqrt(np.clip(np.where(finite, weights, 0), 0, 1))
    codes: Codes = np.rint(root * (LEVELS - 1)).astype(np.uint8)
    codes[~finite] = NONFINITE_CODE
    return codes


def decode(codes: Codes) -> Weights:
    """Return the weight in the middle of each code's interval; NaN for what was not finite."""
    weights = np.square(codes.astype(np.float32) / (LEVELS - 1))
    weights[codes == NONFINITE_CODE] = np.nan
    return weights


def png(codes: Codes, palette: tuple[str, ...]) -> bytes:
    """Return an indexed PNG of ``codes``, shape (row, column), with 256 ``#rrggbb`` colours."""
    image = Image.fromarray(codes, mode="P")
    image.putpalette(bytes.fromhex("".join(colour[1:] for colour in palette)))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def data_url(image: bytes) -> str:
    """Return a PNG as a ``data:`` URL."""
    return f"data:image/png;base64,{base64.b64encode(image).decode()}"
