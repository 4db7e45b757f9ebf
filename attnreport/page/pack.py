"""Arrays to the bytes that the page carries.

Every head travels as the pixels of an indexed PNG, one code per weight, deflated; the page puts
the PNG's frame and palette around them. How many levels a code has follows from the size; where
they are few, the largest weights of every row are told more closely beside them. Where all exact
weights together are small they travel too, and the page reads those instead. Knows nothing of
HTML.
"""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention, Weights
from attnreport.charts import THUMBNAIL, picture, thumbnails
from attnreport.page.base85 import CHARACTERS_PER_BYTE, text_of
from attnreport.page.imagedata import image_data, size_of
from attnreport.page.refining import LARGEST, refinement
from attnreport.run import Run

# Float32 hardly compresses: this keeps the exact weights of a sentence in a small model, and
# keeps a report that must be coded anyway from doubling in size.
EXACT_BYTES = 1 << 20

# 144 heads must stay below 1.9 MB when causal and 2.7 MB when not over 128 tokens, and below 8 and
# 16 MB over 512, 0.7 MB of which is Vega and the rest of the page. So many characters a report may
# take, and so many more for every visible weight; over 197 positions of a picture they must stay
# below 2.5 MB, which is fewer for each.
_CHARACTERS_ALLOWED = 650_000
_CHARACTERS_PER_WEIGHT = 0.345
_CHARACTERS_PER_WEIGHT_OF_PICTURES = 0.3
_CHARACTERS_ALWAYS = 800_000
# A page with 144 small pictures over a photograph opens in about a second up to here.
_QUICK_CHARACTERS = 8_000_000

_THREADS = 4
_SAMPLED_WEIGHTS = 500_000
_SAMPLED_ROWS = 8  # neighbours, as filters ask for
_SAMPLED_BLOCKS = 2  # of each attention, at least
_BITS_PER_LARGE_WEIGHT = 12


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
        heads: base85 per head of ``imagedata.image_data`` of its codes.
        exact: base85 of the deflated float32 little-endian weights (head, query, key), or None.
        largest: base85 per head of ``refining.refinement``, or None.
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
        thumbnails: base85 of the image data of all small pictures, one under the other.
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


def pack(run: Run, room: int, *, joined: bool = False) -> Packed | None:
    """Return every attention packed as finely as the size allows, or None if it takes too much.

    Args:
        run: what to pack.
        room: how many characters the layers may take at most.
        joined: whether positions were joined, so that all of the room is better filled than left;
            but for a picture's, whose page is to open quickly.
    """
    if joined and _pictured(run):
        room = min(room, _QUICK_CHARACTERS)
    wished = room if joined else min(_allowed(run), room)
    # Where not even the coarsest is as small as wished, the limit alone decides; until then a
    # text's largest weights are told closely, and those of a picture give way first.
    last = PLANS[-1:] if _pictured(run) else PLANS[-2:]
    wanted = [(plan, wished) for plan in PLANS if plan not in last]
    wanted += [(plan, room) for plan in last]
    if sum(attention.weights.nbytes for attention in run.attentions) <= EXACT_BYTES:
        wanted.insert(0, (_EXACT, room))
    small = _thumbnails(run)
    for plan, most in wanted:
        if characters(run, plan) > most:
            continue
        packed = _packed(run, plan, small)
        if packed.characters <= most:  # what was compared above are estimates
            return packed
    return None


def _allowed(run: Run) -> int:
    """Return how many characters the bars allow a run's layers."""
    visible = sum(int(np.count_nonzero(attention.weights)) for attention in run.attentions)
    if _pictured(run):
        return max(_CHARACTERS_ALWAYS, round(_CHARACTERS_PER_WEIGHT_OF_PICTURES * visible))
    return max(_CHARACTERS_ALWAYS, _CHARACTERS_ALLOWED + round(_CHARACTERS_PER_WEIGHT * visible))


def _pictured(run: Run) -> bool:
    return any(axis.picture is not None for axis in run.axes)


def pack_smallest(run: Run) -> Packed:
    """Return every attention packed as coarsely as can be."""
    return _packed(run, PLANS[-1], _thumbnails(run))


def _packed(run: Run, plan: Plan, small: str) -> Packed:
    # Deflating is most of a large report's time, and it lets other threads run.
    with ThreadPoolExecutor(_THREADS) as pool:
        layers = tuple(pool.map(partial(_pack_layer, plan=plan), run.attentions))
    return Packed(layers, plan.levels, plan.exact, plan.refined, small)


def characters(run: Run, plan: Plan) -> float:
    """Return about how many characters a run takes: a large one is judged by some of its rows.

    Packing to choose would cost more than all the rest of a report.
    """
    part = _SAMPLED_WEIGHTS / sum(attention.weights.size for attention in run.attentions)
    size = 0.0
    for attention in run.attentions:
        heads, queries, keys = attention.weights.shape
        rows = _sampled(queries, part)
        codes = picture.encode(attention.weights[:, rows], plan.levels)
        size += sum(map(size_of, codes)) * queries / max(1, len(rows))
        if plan.refined:
            size += heads * queries * min(LARGEST, keys) * _BITS_PER_LARGE_WEIGHT / 8
        if plan.exact:
            size += attention.weights.nbytes
    return size * CHARACTERS_PER_BYTE


def _sampled(queries: int, part: float) -> NDArray[np.intp]:
    """Return about that part of the rows, some neighbours each time, evenly from first to last.

    The first rows alone say nothing: where attention is causal they are all but empty.
    """
    blocks = -(-queries // _SAMPLED_ROWS)
    wanted = min(blocks, max(_SAMPLED_BLOCKS, round(part * blocks)))
    chosen = ((np.arange(wanted) + 0.5) * blocks / wanted).astype(np.intp)
    return np.flatnonzero(np.isin(np.arange(queries) // _SAMPLED_ROWS, chosen))


def _thumbnails(run: Run) -> str:
    return text_of(image_data(thumbnails(run).reshape(-1, THUMBNAIL)))


def _pack_layer(attention: Attention, plan: Plan) -> PackedLayer:
    codes = picture.encode(attention.weights, plan.levels)
    exact = packed_exact(attention.weights) if plan.exact else None
    largest = None
    if plan.refined:
        largest = tuple(
            text_of(refinement(weights, head, plan.levels))
            for weights, head in zip(attention.weights, codes, strict=True)
        )
    return PackedLayer(packed_codes(codes), exact, largest)


def packed_codes(codes: picture.Codes) -> tuple[str, ...]:
    """Return ``(matrix, query, key)`` codes as the base85 of one picture's data per matrix."""
    return tuple(text_of(image_data(matrix)) for matrix in codes)


def packed_exact(values: Weights) -> str:
    """Return float32 values as the base85 of their deflated little-endian bytes."""
    return text_of(zlib.compress(np.ascontiguousarray(values, dtype="<f4").tobytes(), 9))
