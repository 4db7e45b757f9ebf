"""The heatmap that needs no script: one head as a few hundred rectangles, ready for a template.

Rectangles survive where ``data:`` pictures, styles and scripts are forbidden. Drawn by a template
and not by Vega, because starting Vega takes longer than all the rest of writing a report. Knows
nothing of HTML.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np

from attnreport.attention import Attention, Weights
from attnreport.charts.heatmap import Cell, cells
from attnreport.charts.labels import drawable
from attnreport.charts.theme import ink, palette

# It has no zoom and must stay small: above this many rows or columns neighbours are joined by
# their maximum, and the page says so.
MOST_CELLS = 24
CELL = 32

# Of a sans-serif of 12 pixels; a label that is a little shorter than thought leaves some air.
_LETTER, _WIDE_LETTER, _LINE = 7.2, 13.0, 14.0
_LONGEST_LABEL = 110.0
_GAP = 6.0
_SLANT = 2**-0.5  # column labels stand at 45°


@dataclass(frozen=True)
class StillHeatmap:
    """Hold a still heatmap; lengths are in pixels, places in cells from the plot's corner.

    Attributes:
        width: of the whole picture, labels included.
        height: of the whole picture, labels included.
        left: where the plot begins.
        top: where the plot begins.
        cell: side of a cell.
        rows: labels of the rows that have room for one, top to bottom.
        columns: labels of the columns, left to right.
        cells: those that are not of the ground's colour.
        numbered: whether the cells' numbers are written in them.
        block: how many positions a side make a cell, which shows the largest weight among them.
        ground: colour of a weight of 0.
        ink: colour of the labels.
    """

    width: int
    height: int
    left: int
    top: int
    cell: int
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    numbered: bool
    block: int
    ground: str
    ink: str


def still_heatmap(attention: Attention, head: int) -> StillHeatmap:
    """Return the still heatmap of one head."""
    weights = attention.weights[head]
    block = -(-max(weights.shape) // MOST_CELLS)
    pooled = _max_pool(weights, block)
    rows, columns = (_labels(axis.labels[::block]) for axis in (attention.queries, attention.keys))
    left = _room(rows)
    # A slanted label reaches as far up as to the right, where the last one needs room as well.
    slanted = round(_room(columns) * _SLANT + _LINE)
    ground = palette("light")[0]
    return StillHeatmap(
        width=left + CELL * len(columns) + slanted,
        height=slanted + CELL * len(rows),
        left=left,
        top=slanted,
        cell=CELL,
        rows=rows,
        columns=columns,
        cells=tuple(cell for cell in cells(pooled, "light") if cell.colour != ground),
        numbered=block == 1,
        block=block,
        ground=ground,
        ink=ink("light"),
    )


def _labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(_cut, drawable(labels)))


def _cut(label: str) -> str:
    """Return as much of a label as has room, with an ellipsis for the rest."""
    if _length(label) <= _LONGEST_LABEL:
        return label
    kept = ""
    for character in label:
        if _length(kept + character + "…") > _LONGEST_LABEL:
            break
        kept += character
    return kept + "…"


def _room(labels: tuple[str, ...]) -> int:
    return round(max(map(_length, labels), default=0.0) + 2 * _GAP)


def _length(label: str) -> float:
    """Return about how many pixels a label takes."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in label)
    return wide * _WIDE_LETTER + (len(label) - wide) * _LETTER


def _max_pool(weights: Weights, block: int) -> Weights:
    """Return the largest weight of every ``block × block`` square; NaN wins, so it shows."""
    if block == 1:
        return weights
    rows, columns = weights.shape
    padded = np.zeros((-(-rows // block) * block, -(-columns // block) * block), np.float32)
    padded[:rows, :columns] = weights
    # (row block, row, column block, column) -> (row block, column block)
    squares = padded.reshape(padded.shape[0] // block, block, padded.shape[1] // block, block)
    pooled: Weights = squares.max(axis=(1, 3))
    return pooled
