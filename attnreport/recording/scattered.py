"""Reduce the weights of windows, blocks or tiles that together are more than may be kept.

Most weights of such a sequence are zeros: some rows at a time are there. Knows pieces and how
weights are reduced.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.recording.places import Pieces
from attnreport.recording.reducing import Reduction

# So many sums of blocks are kept at first: 256 megabytes.
_MOST = 2**26
# What is left of a row is no more than rounding.
_LEFT = 1e-3


def reduced(pieces: Pieces, weights: torch.Tensor) -> Reduction:
    """Return what is kept of weights ``(piece, query, key)`` of one sequence.

    What a row gives to what is no position of the sequence is its sink's.
    """
    real = pieces.columns >= 0
    columns = pieces.columns.clamp(min=0)
    # Not by products: NaN times zero is NaN.
    given = torch.where(real.unsqueeze(1), weights.float().cpu(), 0)
    piece, row = _found(pieces)

    def part(heads: slice, rows: slice) -> torch.Tensor:
        which, line = piece[heads, rows], row[heads, rows]
        some = torch.zeros(*which.shape, pieces.length)
        own = torch.where((which >= 0).unsqueeze(-1), given[which, line], 0)
        # One key may stand in a piece twice: its weights add up, as its values do.
        return some.scatter_add_(-1, columns[which], own)

    sink = _sink(weights, given, piece, row)
    return Reduction.computed(pieces.shape, part, sink, block=_block(pieces))


def _block(pieces: Pieces) -> int:
    """Return how many neighbours are one, for all sums of blocks to be of a moderate size."""
    heads, asking, length = pieces.shape
    block = 2
    while heads * (asking // block) * (length // block) > _MOST:
        block *= 2
    return block


def _found(pieces: Pieces) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ``(head, query)``, which piece a query is in, -1 for none, and at which place."""
    heads, asking, _ = pieces.shape
    piece = torch.full((heads, asking), -1)
    row = torch.zeros(heads, asking, dtype=torch.int64)
    head = torch.tensor(pieces.head).unsqueeze(1).expand_as(pieces.rows)
    which, line = (
        torch.arange(size).view(shape).expand_as(pieces.rows)
        for size, shape in zip(pieces.rows.shape, ((-1, 1), (1, -1)), strict=True)
    )
    real = pieces.rows >= 0
    places = (head[real], pieces.rows[real])
    piece[places], row[places] = which[real], line[real]
    return piece, row


def _sink(
    weights: torch.Tensor, given: torch.Tensor, piece: torch.Tensor, row: torch.Tensor
) -> NDArray[np.float32] | None:
    """Return the share of each row that goes to no position; None where nothing does."""
    left = weights.float().cpu().sum(-1) - given.sum(-1)
    sink = torch.where(piece >= 0, left[piece, row], 0).clamp(0, 1)
    return sink.numpy() if bool((sink > _LEFT).any()) else None
