"""Arrays to the bytes that the page carries.

Every head travels as the pixels of an indexed PNG, one code per weight, deflated; the page puts
the PNG's frame and palette around them. How many levels a code has follows from the size. Where
all exact weights together are small they travel too, and the page reads those instead. Knows
nothing of HTML.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from attnreport.charts import THUMBNAIL, picture, thumbnails
from attnreport.run import Attention, Run

# Float32 hardly compresses: this keeps the exact weights of a sentence in a small model, and
# keeps a report that must be coded anyway from doubling in size.
EXACT_BYTES = 1 << 20

# 144 heads over 128 tokens must stay below 1.9 MB when causal and 2.7 MB when not, 0.9 MB of which
# is Vega. So many characters a visible weight may take, and so many are always allowed.
_CHARACTERS_PER_WEIGHT = 0.7
_CHARACTERS_ALLOWED = 800_000
LEVEL_CHOICES = (picture.FINEST, 128, 96, 64)


@dataclass(frozen=True)
class PackedLayer:
    """Hold one attention as text for a JSON script.

    Attributes:
        heads: base64 per head of the PNG image data: deflated rows of codes, each behind a zero.
        exact: base64 of the deflated float32 little-endian weights (head, query, key), or None.
    """

    heads: tuple[str, ...]
    exact: str | None


@dataclass(frozen=True)
class Packed:
    """Hold a whole run packed.

    Attributes:
        layers: one per attention, in the run's order.
        levels: how many codes stand for weights; the code ``levels`` says "not finite".
        exact: whether the exact weights travel as well.
        thumbnails: base64 of the image data of all small pictures, one under the other.
    """

    layers: tuple[PackedLayer, ...]
    levels: int
    exact: bool
    thumbnails: str


def pack(run: Run) -> Packed:
    """Return every attention packed, as finely as the size allows."""
    exact = sum(attention.weights.nbytes for attention in run.attentions) <= EXACT_BYTES
    levels = _finest_levels(run)
    layers = tuple(_pack_layer(attention, levels, exact) for attention in run.attentions)
    small = thumbnails(run).reshape(-1, THUMBNAIL)
    return Packed(layers, levels, exact, _text(_image_data(small)))


def _finest_levels(run: Run) -> int:
    """Return the most levels whose estimated size is allowed; the fewest if none is.

    The estimate is the entropy of each head's codes, which is what deflate comes to within a few
    per cent: packing four times to choose would cost more than all the rest of a report.
    """
    visible = sum(int(np.count_nonzero(attention.weights)) for attention in run.attentions)
    allowed = max(_CHARACTERS_ALLOWED, _CHARACTERS_PER_WEIGHT * visible)
    for levels in LEVEL_CHOICES:
        if sum(_entropy_characters(attention, levels) for attention in run.attentions) <= allowed:
            return levels
    return LEVEL_CHOICES[-1]


def _entropy_characters(attention: Attention, levels: int) -> float:
    bits = 0.0
    for codes in picture.encode(attention.weights, levels):
        counts = np.bincount(codes.ravel())
        counts = counts[counts > 0]
        bits += float((counts * np.log2(codes.size / counts)).sum())
    return bits / 8 * 4 / 3  # base64 makes four characters of three bytes


def _pack_layer(attention: Attention, levels: int, exact: bool) -> PackedLayer:
    codes = picture.encode(attention.weights, levels)
    heads = tuple(_text(_image_data(head)) for head in codes)
    if not exact:
        return PackedLayer(heads, None)
    raw = np.ascontiguousarray(attention.weights, dtype="<f4").tobytes()
    return PackedLayer(heads, _text(zlib.compress(raw, 9)))


def _image_data(codes: picture.Codes) -> bytes:
    """Return the content of a PNG's IDAT: rows behind their filter byte, deflated.

    Weights of neighbouring keys are not alike, so no PNG filter helps; zlib's strategy for
    filtered data, which prefers Huffman codes to short matches, makes a tenth less.
    """
    lines = np.pad(codes, ((0, 0), (1, 0))).tobytes()
    compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 9, zlib.Z_FILTERED)
    return compressor.compress(lines) + compressor.flush()


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
