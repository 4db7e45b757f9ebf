"""Codes as the data of a PNG's IDAT: lines behind their filter, deflated.

A picture's lines are filtered by none or all by Paeth (PNG, section 9), whichever is shorter:
weights of neighbouring keys of a text are not alike, those of neighbouring patches often are.
``templates/js/png.js`` reads the same lines. Knows nothing of weights.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

from attnreport.charts.picture import Codes

NONE, PAETH = 0, 4
# Z_FILTERED prefers Huffman codes to short matches; Z_RLE knows no matches but runs, and is quick.
_QUICK_WAYS = ((NONE, zlib.Z_RLE), (PAETH, zlib.Z_RLE))
_WAYS = (*_QUICK_WAYS, (NONE, zlib.Z_FILTERED))
# Larger pictures are packed in quick ways alone: a thirtieth longer, thirty times sooner.
_LARGEST_TRIED = 1 << 16


def image_data(codes: Codes) -> bytes:
    """Return the content of the IDAT of a picture of ``codes``, shape (row, column)."""
    ways = _WAYS if codes.size <= _LARGEST_TRIED else _QUICK_WAYS
    return min((_deflated(_lines(codes, kind), how) for kind, how in ways), key=len)


def size_of(codes: Codes) -> int:
    """Return about how many bytes ``image_data`` takes: a tenth more at most, and far sooner."""
    return min(len(_deflated(_lines(codes, kind), how)) for kind, how in _QUICK_WAYS)


def codes_of(lines: bytes, rows: int, columns: int) -> Codes:
    """Return the codes of inflated lines, ``rows * (columns + 1)`` bytes.

    Raises:
        ValueError: a filter that ``image_data`` does not use.
    """
    found = np.frombuffer(lines, np.uint8).reshape(rows, columns + 1)
    kinds = set(found[:, 0].tolist())
    if kinds == {PAETH}:
        return _unfiltered(found[:, 1:])
    if kinds - {NONE}:
        raise ValueError(f"a picture with filters {sorted(kinds)}, expected {NONE} or {PAETH}")
    codes: Codes = found[:, 1:]
    return codes


def _deflated(lines: NDArray[np.uint8], strategy: int) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, 15, 9, strategy)
    return compressor.compress(lines.tobytes()) + compressor.flush()


def _lines(codes: Codes, kind: int) -> NDArray[np.uint8]:
    """Return every row behind its filter: what is left of it by ``kind``."""
    if kind == PAETH:
        before = np.pad(codes.astype(np.int16), ((1, 0), (1, 0)))
        predicted = _paeth(before[1:, :-1], before[:-1, 1:], before[:-1, :-1])
        codes = codes - predicted.astype(np.uint8)  # modulo 256, as PNG counts
    return np.pad(codes, ((0, 0), (1, 0)), constant_values=((0, 0), (kind, 0)))


def _unfiltered(residues: NDArray[np.uint8]) -> Codes:
    """Undo Paeth, diagonal by diagonal: a cell needs those to its left, above it, and between."""
    rows, columns = residues.shape
    codes = np.zeros((rows + 1, columns + 1), np.int16)
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        column = diagonal - row
        predicted = _paeth(codes[row + 1, column], codes[row, column + 1], codes[row, column])
        codes[row + 1, column + 1] = (predicted + residues[row, column]) & 0xFF
    return codes[1:, 1:].astype(np.uint8)


def _paeth(
    left: NDArray[np.int16], above: NDArray[np.int16], corner: NDArray[np.int16]
) -> NDArray[np.int16]:
    """Return whichever of the three is nearest to left + above − corner; of equals the first."""
    to_left, to_above = np.abs(above - corner), np.abs(left - corner)
    to_corner = np.abs(left + above - 2 * corner)
    nearest_left = (to_left <= to_above) & (to_left <= to_corner)
    return np.where(nearest_left, left, np.where(to_above <= to_corner, above, corner))
