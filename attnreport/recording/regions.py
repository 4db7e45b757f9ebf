"""Which part of the input every position of a tensor holds: followed from the pixels on.

Each tensor that was made of a described picture or text has a field beside it: for every number
the region it stands for. A function that moves numbers moves the field the same way; one that
merges them merges their regions. So class tokens, registers, strides, windows, merged patches,
pooled keys, masked and reordered patches, and pictures inside prompts need no rule of their own,
and no model has to be known. What is not understood has no field: then there is no box, rather
than a guess. This module keeps the book; region_rules.py knows the functions.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.pixels import Pixels

NOWHERE = -1  # padding
UNKNOWN = -2  # a position that something came to which could not be followed
# What a field is worth where two meet in a sum: positions, learned tokens, tables of places.
DESCRIBED, LEARNED, TABLE = 2, 1, 0
_LARGEST_TABLE = 2**22


@dataclass(frozen=True, eq=False)
class Field:
    """Hold the regions of one tensor.

    Attributes:
        numbers: int32 of the tensor's shape, on the CPU: each an entry of the book, or negative.
            Where a dimension makes no difference it has a stride of 0.
        rank: how much it says; the higher wins where two are added.
    """

    numbers: torch.Tensor
    rank: int


@dataclass(frozen=True, eq=False)
class Origin:
    """Be what regions come from: a picture, a sequence of tokens, or a parameter.

    Attributes:
        what: it.
        first: its first entry in the book, where each entry is a position of it.
    """

    what: Pixels | Axis | str
    first: int


class Book:
    """Number regions: each has an origin, a place in it, and a box where it is of a picture."""

    def __init__(self) -> None:
        self.origins: list[Origin] = []
        self._boxes: list[NDArray[np.float64]] = []
        self._kinds: list[NDArray[np.int64]] = []
        self._joined: tuple[NDArray[np.float64], NDArray[np.int64]] | None = None
        self.count = 0

    def add(self, boxes: NDArray[np.float64], kinds: NDArray[np.int64]) -> int:
        """Enter regions; return the number of the first.

        Args:
            boxes: ``(region, 4)``, NaN where there is none.
            kinds: ``(region, 2)``: which origin, and which part or position of it.
        """
        first = self.count
        self._boxes.append(boxes)
        self._kinds.append(kinds)
        self._joined = None
        self.count += len(boxes)
        return first

    def read(self, numbers: torch.Tensor) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Return boxes ``(…, 4)`` and kinds ``(…, 2)``; NaN and -1 for negative numbers."""
        if self._joined is None:
            self._boxes = [np.concatenate([*self._boxes, np.full((0, 4), np.nan)])]
            self._kinds = [np.concatenate([*self._kinds, np.full((0, 2), -1)])]
            # The last two rows answer for -2 and -1.
            self._joined = (
                np.concatenate([self._boxes[0], np.full((2, 4), np.nan)]),
                np.concatenate([self._kinds[0], np.full((2, 2), -1)]),
            )
        boxes, kinds = self._joined
        places = numbers.numpy()
        return boxes[places], kinds[places]

    def enter(self, boxes: NDArray[np.float64], kinds: NDArray[np.int64]) -> torch.Tensor:
        """Enter a region for each box ``(…, 4)`` and return their numbers ``(…)``, int32.

        What has no origin gets no entry, and is nowhere.
        """
        shape = boxes.shape[:-1]
        flat_boxes, flat_kinds = boxes.reshape(-1, 4), kinds.reshape(-1, 2)
        known = flat_kinds[:, 0] >= 0
        numbers = np.full(len(flat_boxes), NOWHERE, np.int32)
        first = self.add(flat_boxes[known], flat_kinds[known])
        numbers[known] = np.arange(first, self.count)
        return torch.from_numpy(numbers.reshape(shape))

    def origin(self, what: Pixels | Axis | str) -> int:
        """Enter an origin; return its number."""
        self.origins.append(Origin(what, self.count))
        return len(self.origins) - 1


class Regions:
    """Keep the field of every tensor that has one, for as long as it lives.

    Args:
        axes: pairs of an input tensor and what it holds. Only where one of them is a picture
            is anything followed.
        model: its parameters are where learned tokens come from.
    """

    def __init__(
        self, axes: Sequence[tuple[torch.Tensor, Axis | Pixels]], model: torch.nn.Module
    ) -> None:
        self.book = Book()
        self._fields: dict[int, tuple[weakref.ref[torch.Tensor], Field]] = {}
        self._parameters: dict[int, str] = {}
        self.active = any(isinstance(what, Pixels) for _, what in axes)
        if not self.active:
            return
        named = (*model.named_parameters(), *model.named_buffers())
        self._parameters = {id(tensor): name for name, tensor in named}
        for tensor, what in axes:
            if isinstance(what, Pixels):
                self.put(tensor, self._picture(tensor, what))
            else:
                self.put(tensor, self._sequence(tensor, what))

    def _picture(self, tensor: torch.Tensor, pixels: Pixels) -> Field:
        parts = np.zeros((1,), np.int64) if pixels.parts is None else pixels.parts
        lead = np.broadcast_shapes(pixels.boxes.shape[:-1], parts.shape)
        origin = self.book.origin(pixels)
        boxes = np.broadcast_to(pixels.boxes, (*lead, 4))
        kinds = np.empty((*lead, 2), np.int64)
        kinds[..., 0], kinds[..., 1] = origin, parts
        return Field(self.book.enter(boxes, kinds).expand(tensor.shape), DESCRIBED)

    def _sequence(self, tensor: torch.Tensor, axis: Axis) -> Field:
        numbers = self._places(axis, len(axis))
        # (batch, position, …)
        shape = [1, len(axis), *[1] * (tensor.dim() - 2)] if tensor.dim() > 1 else [len(axis)]
        return Field(numbers.reshape(shape).expand(tensor.shape), DESCRIBED)

    def _places(self, what: Axis | str, count: int) -> torch.Tensor:
        origin = self.book.origin(what)
        kinds = np.stack([np.full(count, origin), np.arange(count)], axis=1)
        return self.book.enter(np.full((count, 4), np.nan), kinds)

    def put(self, tensor: torch.Tensor, field: Field | None) -> None:
        """Say what the field of a tensor is from now on; None for unknown."""
        key = id(tensor)
        if field is None:
            self._fields.pop(key, None)
            return
        self._fields[key] = weakref.ref(tensor, lambda gone: self._forget(key, gone)), field

    def _forget(self, key: int, gone: weakref.ref[torch.Tensor]) -> None:
        # Another tensor may have got the number of the dead one by now.
        if key in self._fields and self._fields[key][0] is gone:
            del self._fields[key]

    def of(self, value: Any) -> Field | None:
        """Return the field of a tensor, if it has one."""
        found = self._fields.get(id(value))
        return found[1] if found is not None and found[0]() is value else None

    def learned(self, value: Any) -> Field | None:
        """Return the field of a tensor, or of a parameter: then every row is a token of its own."""
        found = self.of(value)
        name = self._parameters.get(id(value))
        if found is not None or name is None or not isinstance(value, torch.Tensor):
            return found
        rows = value.shape[:-1].numel()
        if not value.is_floating_point() or not 0 < value.numel() <= _LARGEST_TABLE:
            return None
        if not value.dim():  # a scale, which has no rows
            return None
        numbers = self._places(name, rows).reshape(*value.shape[:-1], 1).expand(value.shape)
        field = Field(numbers, TABLE if "pos" in name and "query" not in name else LEARNED)
        self.put(value, field)
        return field

    def along(
        self, tensor: torch.Tensor, pick: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor | None:
        """Return the regions of the positions of one side of an attention.

        Args:
            tensor: what the attention got, e.g. its queries.
            pick: arranges what has the tensor's shape as ``(…, position, width)``, for one
                example.

        Returns:
            ``(position,)`` int32; None where they are not known, or not the same for all heads.
        """
        field = self.of(tensor) if self.active else None
        if field is None:
            return None
        numbers = pick(field.numbers)
        numbers = numbers.reshape(-1, *numbers.shape[-2:])
        rows = numbers[0, :, 0]
        return rows if bool((numbers == rows[:, None]).all()) else None

    def laid(
        self,
        tensor: torch.Tensor,
        pick: Callable[[torch.Tensor], torch.Tensor],
        rows: torch.Tensor,
        length: int,
    ) -> torch.Tensor | None:
        """Return the regions of a sequence whose pieces attended each by itself.

        Args:
            tensor: what the attention got, e.g. its queries.
            pick: arranges what has the tensor's shape as ``(piece, position, width)``.
            rows: ``(piece, position)`` where in the sequence each is, negative for padding.
            length: of the sequence.
        """
        field = self.of(tensor) if self.active else None
        if field is None:
            return None
        numbers, rows = pick(field.numbers), rows.cpu()
        whole = torch.full((length,), UNKNOWN, dtype=torch.int32)
        real = rows >= 0
        whole[rows[real]] = numbers[..., 0][real]
        return whole if bool((whole[rows[real]].unsqueeze(-1) == numbers[real]).all()) else None
