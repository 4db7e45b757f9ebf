"""The largest weights of every row, told more closely than their codes tell them.

A coarse code is right for a colour and too rough for the few weights that a row is about. Which
cells these are follows from the codes, but for ties; where in its code's interval each weight lies
is written in as few bits as make it right to ``EXACT_TO``. ``templates/js/largest.js`` reads the
same bytes. Knows nothing of runs or pages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Weights
from attnreport.charts.picture import Codes

LARGEST = 8
EXACT_TO = 1e-6


def refinement(weights: Weights, codes: Codes, levels: int) -> bytes:
    """Return the bits that tell the ``LARGEST`` weights of every row to ``EXACT_TO``.

    First come, row by row, the places among its equals of each chosen cell whose code others have
    too, in ``bit_length(equals - 1)`` bits; then, cell by cell, the place of √w in its code's
    interval, from 0 to ``2 ** width - 2``, in ``widths(levels)[code]`` bits. High bits first.

    Args:
        weights: one head, ``(query, key)``.
        codes: the same shape, as ``picture.encode`` made them.
        levels: how many codes stand for weights.
    """
    chosen = _largest(weights, codes, levels)
    least = np.where(chosen, codes, levels).min(axis=1, keepdims=True, initial=levels)
    equals = codes == least
    ambiguous = equals.sum(axis=1) > (equals & chosen).sum(axis=1)
    asked = equals & chosen & ambiguous[:, None]
    places = (np.cumsum(equals, axis=1) - 1)[asked]
    place_widths = _bit_lengths(equals.sum(axis=1) - 1)[np.nonzero(asked)[0]]
    own = codes[chosen].astype(np.float64)
    offsets = np.sqrt(weights[chosen].astype(np.float64)) * (levels - 1) - (own - 0.5)
    value_widths = widths(levels)[codes[chosen]]
    values = np.rint(np.clip(offsets, 0, 1) * (2**value_widths - 2)).astype(np.int64)
    return _packed(np.concatenate([places, values]), np.concatenate([place_widths, value_widths]))


def refined(codes: Codes, levels: int, content: bytes) -> tuple[Weights, NDArray[np.bool_]]:
    """Return the weights that codes and refinement tell, and which of them are right to EXACT_TO.

    Raises:
        ValueError: ``content`` is too short to be the refinement of these codes.
    """
    reader = _Bits(content)
    chosen = np.zeros(codes.shape, bool)
    for row, codes_of_row in enumerate(codes):
        chosen[row] = _chosen(codes_of_row, levels, reader)
    roots = codes.astype(np.float64)
    for row, column in np.argwhere(chosen):
        width = int(widths(levels)[codes[row, column]])
        roots[row, column] += reader.take(width) / (2**width - 2) - 0.5
    weights = ((roots / (levels - 1)) ** 2).clip(0, 1)
    # A cell that was not chosen is not larger than one that was, whatever its code's middle is.
    floor = np.where(chosen, weights, 1).min(axis=1, keepdims=True, initial=1)
    weights = np.where(chosen, weights, np.minimum(weights, floor)).astype(np.float32)
    weights[codes == levels] = np.nan
    return weights, chosen


def widths(levels: int) -> NDArray[np.int64]:
    """Return for every code how many bits tell a weight in its interval to ``EXACT_TO``.

    With n = 2^width − 2 steps, √w is right to 0.5 / n / (levels − 1), and w to 2√w times that. Even
    steps put the interval's middle on one of them, so that a weight of 0 is told as 0.
    """
    codes = np.arange(levels)
    steps = (2 * codes + 1) / EXACT_TO / (2 * (levels - 1) ** 2)
    return np.ceil(np.log2(steps + 2)).astype(np.int64)


def _largest(weights: Weights, codes: Codes, levels: int) -> NDArray[np.bool_]:
    """Return where the largest finite weights of every row are; of equals the first."""
    columns = weights.shape[1]
    finite = codes < levels
    if columns <= LARGEST:
        return finite
    known = np.where(finite, weights, -1)
    bound = np.partition(known, columns - LARGEST, axis=1)[:, columns - LARGEST, None]
    above, equal = known > bound, known == bound
    wanted = LARGEST - above.sum(axis=1, keepdims=True)
    chosen: NDArray[np.bool_] = (above | (equal & (np.cumsum(equal, axis=1) <= wanted))) & finite
    return chosen


def _chosen(row: Codes, levels: int, reader: _Bits) -> NDArray[np.bool_]:
    """Return which cells of a row of codes were refined; ties are read."""
    finite: NDArray[np.bool_] = row < levels
    if np.count_nonzero(finite) <= LARGEST:
        return finite
    least = np.sort(row[finite])[-LARGEST]
    above: NDArray[np.bool_] = finite & (row > least)
    equals = np.flatnonzero(row == least)
    wanted = LARGEST - np.count_nonzero(above)
    if len(equals) > wanted:
        width = int(len(equals) - 1).bit_length()
        places = [reader.take(width) for _ in range(wanted)]
        if max(places) >= len(equals):
            raise ValueError("a place beyond its row")
        equals = equals[places]
    above[equals] = True
    return above


class _Bits:
    """Read numbers of a few bits each, high bits first."""

    def __init__(self, content: bytes) -> None:
        self.bits = np.unpackbits(np.frombuffer(content, np.uint8))
        self.at = 0

    def take(self, width: int) -> int:
        taken = self.bits[self.at : self.at + width]
        if len(taken) < width:
            raise ValueError("the refinement ends too early")
        self.at += width
        return int(taken @ (1 << np.arange(width - 1, -1, -1)))


def _packed(values: NDArray[np.int64], value_widths: NDArray[np.int64]) -> bytes:
    """Return each value in its own number of bits, one after the other."""
    if not len(values):
        return b""
    places = np.arange(int(value_widths.max()) - 1, -1, -1)
    bits = (values[:, None] >> places) & 1
    return np.packbits(bits[places < value_widths[:, None]].astype(np.uint8)).tobytes()


def _bit_lengths(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ``int.bit_length`` of every value, for values below 2^53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)
