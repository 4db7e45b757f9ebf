"""From the regions of an attention's positions to its axis: boxes, labels, spans.

Knows the book of regions; nothing of tensors' functions or models.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis, Box, Position
from attnreport.pixels import Pixels
from attnreport.recording.regions import UNKNOWN, Book, Regions

# Of a box's side: by so much computed boxes of one size may differ.
_SLACK = 1e-3
# How learned tokens are called on the page, by a word in the parameter's name.
_TOKENS = {
    "cls": "[CLS]",
    "class": "[CLS]",
    "dist": "[distillation]",
    "reg": "[register {}]",
    "storage": "[register {}]",
    "mask": "[mask {}]",
    "query": "query {}",
    "queries": "query {}",
}


class RegionAxes:
    """Make axes of regions, the same regions the same axis."""

    def __init__(self, regions: Regions) -> None:
        self._regions = regions
        self._made: dict[bytes, Axis | None] = {}

    def along(
        self, tensor: torch.Tensor, pick: Callable[[torch.Tensor], torch.Tensor]
    ) -> Axis | None:
        """Return the axis of one side of an attention; arguments as in ``Regions.along``."""
        return self._of(self._regions.along(tensor, pick))

    def of_parts(
        self,
        tensors: Sequence[torch.Tensor],
        pick: Callable[[torch.Tensor], torch.Tensor],
    ) -> Axis | None:
        """Return the axis of one side that lies in several tensors, one after the other."""
        parts = [self._regions.along(tensor, pick) for tensor in tensors]
        known = [part for part in parts if part is not None]
        return self._of(torch.cat(known)) if len(known) == len(parts) else None

    def laid(
        self,
        tensor: torch.Tensor,
        pick: Callable[[torch.Tensor], torch.Tensor],
        rows: torch.Tensor,
        length: int,
    ) -> Axis | None:
        """Return the axis of a sequence in pieces; arguments as in ``Regions.laid``."""
        return self._of(self._regions.laid(tensor, pick, rows, length))

    def _of(self, numbers: torch.Tensor | None) -> Axis | None:
        """Return the axis of these positions ``(position,)``; None where none can be told."""
        if numbers is None or not len(numbers):
            return None
        key = numbers.numpy().tobytes()
        if key not in self._made:
            self._made[key] = self._make(numbers)
        return self._made[key]

    def _make(self, numbers: torch.Tensor) -> Axis | None:
        book = self._regions.book
        boxes, kinds = book.read(numbers)
        if bool((numbers == UNKNOWN).float().mean() > 0.5):
            return None
        whats = [book.origins[kind].what if kind >= 0 else None for kind in kinds[:, 0]]
        pixels = next((what for what in whats if isinstance(what, Pixels)), None)
        text = next((what for what in whats if isinstance(what, Axis)), None)
        if pixels is not None and _is_one_place(boxes):
            # Channels, or what was pooled over everything: no positions of a picture.
            return None
        if pixels is None and text is not None and [*kinds[:, 1]] == [*range(len(text))]:
            return text
        insides = [
            what.on_picture(box, int(part)) if isinstance(what, Pixels) else None
            for what, box, part in zip(whats, boxes, kinds[:, 1], strict=True)
        ]
        labels = _grid_labels(book, boxes, kinds, np.array([box is not None for box in insides]))
        positions = []
        for place, what in enumerate(whats):
            index = int(kinds[place, 1])
            if isinstance(what, Pixels):
                label = what.picture.words_at(boxes[place]) or labels[place]
                positions.append(_patch(what, insides[place], label, index))
            elif isinstance(what, Axis):
                positions.append(what.positions[index])
            elif isinstance(what, str):
                positions.append(Position(_token(what, index), role="special"))
            else:
                word = "(not followed)" if numbers[place] == UNKNOWN else "(padding)"
                positions.append(Position(f"{place} {word}", role="special"))
        if text is not None:
            return replace(
                text,
                positions=tuple(positions),
                picture=text.picture if pixels is None else pixels.picture,
            )
        if pixels is None:
            return Axis("learned", tuple(positions))
        return Axis(pixels.name, tuple(positions), picture=pixels.picture)


def _is_one_place(boxes: NDArray[np.float64]) -> bool:
    own = boxes[~np.isnan(boxes[:, 0])]
    return len(own) > 1 and bool((own == own[0]).all())


def _grid_labels(
    book: Book, boxes: NDArray[np.float64], kinds: NDArray[np.int64], inside: NDArray[np.bool_]
) -> list[str]:
    """Return row and column of each box in the grid that it belongs to, counted by the middles."""
    labels = [""] * len(boxes)
    for origin, part in {(int(o), int(p)) for o, p in kinds}:
        own = (kinds == (origin, part)).all(axis=1) & inside
        if not own.any():
            continue
        middles = _middles(boxes[own])  # (position, x and y)
        lines = _lines(book, boxes[own], origin, part)
        columns, rows = (
            np.abs(lines[side] - middles[:, side, None]).argmin(axis=1) for side in (0, 1)
        )
        for place, row, column in zip(np.flatnonzero(own), rows, columns, strict=True):
            labels[place] = f"row {row} column {column}"
    return labels


def _lines(
    book: Book, boxes: NDArray[np.float64], origin: int, part: int
) -> list[NDArray[np.float64]]:
    """Return the middles of the columns, and of the rows, of the grid that boxes are of.

    A window has some of its boxes only: the grid is made of all of their size that were ever
    entered, if these lie side by side; else it is what the boxes themselves make.
    """
    whole, kinds = book.read(torch.arange(book.count, dtype=torch.int32))
    size = boxes[0, 2:] - boxes[0, :2]
    alike = np.abs(whole[:, 2:] - whole[:, :2] - size) <= _SLACK * size
    what = book.origins[origin].what
    known = (kinds == (origin, part)).all(axis=1) & alike.all(axis=1)
    known &= _touching(what, whole)
    found = []
    for side in (0, 1):
        own, all_there = (np.unique(_middles(each)[:, side]) for each in (boxes, whole[known]))
        even = np.abs(np.diff(all_there) - size[side]).max(initial=0) <= 2 * _SLACK * size[side]
        found.append(all_there if even and np.isin(own, all_there).all() else own)
    return found


def _touching(what: object, boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which boxes lie in their picture, in part at least."""
    if not isinstance(what, Pixels):
        return np.zeros(len(boxes), bool)
    width, height = what.size or (what.picture.width, what.picture.height)
    with np.errstate(invalid="ignore"):
        beside = (boxes[:, :2] >= (width, height)) | (boxes[:, 2:] <= 0)
    return np.asarray(~beside.any(axis=1))


def _middles(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round((boxes[:, :2] + boxes[:, 2:]) / 2, 3)


def _patch(pixels: Pixels, box: Box | None, label: str, part: int) -> Position:
    name = pixels.names[part] if 0 <= part < len(pixels.names) else ""
    if box is None:
        return Position(f"{name} (padding)".strip(), role="special")
    owner = pixels.owners[part] if pixels.owners else None
    return Position(f"{name} {label}".strip(), box=box, part=owner)


def _token(name: str, index: int) -> str:
    """Return what a learned token is called, from the name of the parameter it is a row of."""
    last = name.removesuffix(".weight").rpartition(".")[2]
    for word, label in _TOKENS.items():
        if word in re.split(r"[^a-z]+", last.lower()) or last.lower().startswith(word):
            return label.format(index)
    return f"[{last} {index}]"
