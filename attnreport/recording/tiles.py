"""Lay the tiles of a picture, or the frames of a video, beside each other as one sequence.

A model that takes a picture in several runs its tower on each by itself, as if they were examples
of a batch. What tells them from examples is what their positions hold: other parts of one picture,
none of them twice. Knows regions and pieces, nothing of how weights are computed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from attnreport.pixels import Pixels
from attnreport.recording.places import Pieces
from attnreport.recording.regions import Book

if TYPE_CHECKING:
    from attnreport.recording.watch import Watch

Arranged = tuple[torch.Tensor, Callable[[torch.Tensor], torch.Tensor]]


def tiles_for(
    watch: Watch, lead: Sequence[int], rows: Arranged, columns: Arranged
) -> Pieces | None:
    """Return the tiles as pieces of one sequence, or None where they are none.

    Args:
        watch: whose regions tell.
        lead: the leading dimensions: tiles and heads.
        rows: where the queries come from, and what makes ``(…, position, anything)`` of it.
        columns: the same of the keys or the values.
    """
    if not watch.regions.active or len(lead) != 2 or lead[0] < 2:
        return None
    asking, answering = (_regions(watch, lead, side) for side in (rows, columns))
    if asking is None or answering is None or asking.shape != answering.shape:
        return None
    book = watch.regions.book
    if not _same(book, asking, answering) or not _apart(book, asking):
        return None
    (tiles, heads), length = lead, asking.shape[1]
    places = torch.arange(tiles * length).reshape(tiles, length).repeat_interleave(heads, dim=0)
    head, whole = tuple(range(heads)) * tiles, tiles * length
    return Pieces(torch.arange(tiles * heads), head, places, places, whole)


def _regions(watch: Watch, lead: Sequence[int], side: Arranged) -> torch.Tensor | None:
    """Return ``(tile, position)`` int32, or None where they are not known, or not of all heads."""
    tensor, arrange = side
    field = watch.regions.of(tensor)
    if field is None:
        return None
    numbers = arrange(field.numbers).expand(*lead, -1, -1)  # (tile, head, position, anything)
    first = numbers[:, :1, :, :1]
    return first[:, 0, :, 0] if bool((numbers == first).all()) else None


def _same(book: Book, asking: torch.Tensor, answering: torch.Tensor) -> bool:
    """Tell whether queries and keys are the same positions: one sequence, in one order."""
    if torch.equal(asking, answering):
        return True
    told = zip(book.read(asking), book.read(answering), strict=True)
    return all(np.array_equal(one, other, equal_nan=True) for one, other in told)


def _apart(book: Book, numbers: torch.Tensor) -> bool:
    """Tell whether each tile holds a part of a picture, and no two of them the same one."""
    boxes, kinds = book.read(numbers)
    pictured = [
        place for place, origin in enumerate(book.origins) if isinstance(origin.what, Pixels)
    ]
    seen: set[bytes] = set()
    for box, kind in zip(boxes, kinds, strict=True):  # of one tile: (position, 4) and (position, 2)
        own = np.isin(kind[:, 0], pictured)
        held = {row.tobytes() for row in np.hstack([box[own], kind[own]])}
        if not held or held & seen:
            return False
        seen |= held
    return True
