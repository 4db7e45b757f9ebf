"""Arrays to the bytes that the page carries.

Every head travels as an indexed PNG, which the browser shows as it is. A code is good to 0.002 in
√w; where all exact weights together are small they travel too, and the page reads those instead.
Knows nothing of HTML.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from attnreport.charts import picture
from attnreport.charts.theme import palette
from attnreport.run import Attention, Run

# Float32 hardly compresses: this keeps the exact weights of a sentence in a small model, and
# keeps a report that must be coded anyway from doubling in size.
EXACT_BYTES = 1 << 20


@dataclass(frozen=True)
class PackedLayer:
    """Hold one attention as text for a JSON script.

    Attributes:
        heads: an indexed PNG per head, base64.
        exact: base64 of the deflated float32 little-endian weights (head, query, key), or None.
    """

    heads: tuple[str, ...]
    exact: str | None


def is_exact(run: Run) -> bool:
    """Tell whether the exact weights of this run are few enough to travel."""
    return sum(attention.weights.nbytes for attention in run.attentions) <= EXACT_BYTES


def pack(run: Run) -> tuple[PackedLayer, ...]:
    """Return every attention packed, in the run's order."""
    exact = is_exact(run)
    return tuple(_pack_layer(attention, exact) for attention in run.attentions)


def _pack_layer(attention: Attention, exact: bool) -> PackedLayer:
    codes = picture.encode(attention.weights)
    heads = tuple(_text(picture.png(head, palette("light"))) for head in codes)
    if not exact:
        return PackedLayer(heads, None)
    raw = np.ascontiguousarray(attention.weights, dtype="<f4").tobytes()
    return PackedLayer(heads, _text(zlib.compress(raw, 9)))


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
