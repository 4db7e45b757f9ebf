"""Arrays to the bytes that the page carries.

Every head travels as the pixels of an indexed PNG, one code per weight, deflated; the page puts
the PNG's frame and palette around them. How many levels a code has follows from the size; where
they are few, the largest weights of every row are told more closely beside them. Where all exact
weights together are small they travel too, and the page reads those instead. Knows nothing of
HTML.
"""

from __future__ import annotations

import base64
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from attnreport.charts import THUMBNAIL, picture, thumbnails
from attnreport.page.refining import LARGEST, refinement
from attnreport.run import Attention, Run, Weights

# Float32 hardly compresses: this keeps the exact weights of a sentence in a small model, and
# keeps a report that must be coded anyway from doubling in size.
EXACT_BYTES = 1 << 20

# 144 heads must stay below 1.9 MB when causal and 2.7 MB when not over 128 tokens, and below 8 and
# 16 MB over 512, 1 MB of which is Vega and the rest of the page. So many characters a report may
# take, and so many more for every visible weight.
_CHARACTERS_ALLOWED = 400_000
_CHARACTERS_PER_WEIGHT = 0.372
_CHARACTERS_ALWAYS = 800_000

_THREADS = 4
_SAMPLED_WEIGHTS = 4_000_000
_BITS_PER_LARGE_WEIGHT = 12
_IN_BASE64 = 4 / 3  # characters per byte


@dataclass(frozen=True)
class Plan:
    """Hold one way to pack: how many levels, and what comes beside the codes."""

    levels: int
    refined: bool = False
    exact: bool = False


_EXACT = Plan(picture.FINEST, exact=True)
# From the finest to the coarsest. 64 levels are the fewest: √w stays right to 0.008.
PLANS = (
    Plan(picture.FINEST),
    Plan(128, refined=True),
    Plan(96, refined=True),
    Plan(64, refined=True),
    Plan(64),
)


@dataclass(frozen=True)
class PackedLayer:
    """Hold one attention as text for a JSON script.

    Attributes:
        heads: base64 per head of the PNG image data: deflated rows of codes, each behind a zero.
        exact: base64 of the deflated float32 little-endian weights (head, query, key), or None.
        largest: base64 per head of ``refining.refinement``, or None.
    """

    heads: tuple[str, ...]
    exact: str | None
    largest: tuple[str, ...] | None


@dataclass(frozen=True)
class Packed:
    """Hold a whole run packed.

    Attributes:
        layers: one per attention, in the run's order.
        levels: how many codes stand for weights; the code ``levels`` says "not finite".
        exact: whether the exact weights travel as well.
        refined: whether the largest weights of every row travel more closely than their codes.
        thumbnails: base64 of the image data of all small pictures, one under the other.
    """

    layers: tuple[PackedLayer, ...]
    levels: int
    exact: bool
    refined: bool
    thumbnails: str

    @property
    def characters(self) -> int:
        """Return how many characters the layers take."""
        return sum(
            sum(map(len, layer.heads + (layer.largest or ()))) + len(layer.exact or "")
            for layer in self.layers
        )


def pack(run: Run, room: int, *, frugal: bool = True) -> Packed | None:
    """Return every attention packed as finely as the size allows, or None if it takes too much.

    Args:
        run: what to pack.
        room: how many characters the layers may take at most.
        frugal: whether to stay as small as this run's bars ask, or to fill the room.
    """
    nbytes = sum(attention.weights.nbytes for attention in run.attentions)
    sizes = {plan: characters(run, plan) for plan in PLANS}
    visible = sum(int(np.count_nonzero(attention.weights)) for attention in run.attentions)
    allowed = max(_CHARACTERS_ALWAYS, _CHARACTERS_ALLOWED + round(_CHARACTERS_PER_WEIGHT * visible))
    wished = min(allowed, room) if frugal else room
    fitting = [plan for plan in PLANS if sizes[plan] <= wished]
    # Where not even the coarsest is as small as wished, the limit alone decides.
    wanted = fitting or [plan for plan in PLANS[-2:] if sizes[plan] <= room]
    if nbytes <= EXACT_BYTES and sizes[PLANS[0]] + nbytes * _IN_BASE64 <= room:
        wanted.insert(0, _EXACT)
    for plan in wanted:
        packed = _packed(run, plan, _thumbnails(run))
        if packed.characters <= room:  # what was compared above are estimates
            return packed
    return None


def pack_smallest(run: Run) -> Packed:
    """Return every attention packed as coarsely as can be."""
    return _packed(run, PLANS[-1], _thumbnails(run))


def _packed(run: Run, plan: Plan, small: str) -> Packed:
    # Deflating is most of a large report's time, and it lets other threads run.
    with ThreadPoolExecutor(_THREADS) as pool:
        layers = tuple(pool.map(partial(_pack_layer, plan=plan), run.attentions))
    return Packed(layers, plan.levels, plan.exact, plan.refined, small)


def characters(run: Run, plan: Plan) -> float:
    """Return about how many characters a run takes: the entropy of each head's visible codes.

    Deflate comes within a tenth of it, and packing to choose would cost more than all the rest of
    a report. A large run is judged by some of its rows.
    """
    weights = sum(attention.weights.size for attention in run.attentions)
    stride = -(-weights // _SAMPLED_WEIGHTS)
    bits = 0.0
    for attention in run.attentions:
        sample = attention.weights[:, ::stride]
        part = attention.weights.size / sample.size if sample.size else 0.0
        for head in sample:
            # What is hidden from a query are runs of zeros, which cost deflate next to nothing.
            counts = np.bincount(picture.encode(head[head != 0], plan.levels))
            counts = counts[counts > 0]
            bits += part * float((counts * np.log2(counts.sum() / counts)).sum())
        if plan.refined:
            heads, queries, keys = attention.weights.shape
            bits += heads * queries * min(LARGEST, keys) * _BITS_PER_LARGE_WEIGHT
    return bits / 8 * _IN_BASE64


def _thumbnails(run: Run) -> str:
    return _text(_image_data(thumbnails(run).reshape(-1, THUMBNAIL)))


def _pack_layer(attention: Attention, plan: Plan) -> PackedLayer:
    codes = picture.encode(attention.weights, plan.levels)
    exact = packed_exact(attention.weights) if plan.exact else None
    largest = None
    if plan.refined:
        largest = tuple(
            _text(refinement(weights, head, plan.levels))
            for weights, head in zip(attention.weights, codes, strict=True)
        )
    return PackedLayer(packed_codes(codes), exact, largest)


def packed_codes(codes: picture.Codes) -> tuple[str, ...]:
    """Return ``(matrix, query, key)`` codes as the base64 of one picture's data per matrix."""
    return tuple(_text(_image_data(matrix)) for matrix in codes)


def packed_exact(values: Weights) -> str:
    """Return float32 values as the base64 of their deflated little-endian bytes."""
    return _text(zlib.compress(np.ascontiguousarray(values, dtype="<f4").tobytes(), 9))


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
