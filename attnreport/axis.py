"""The positions along one side of an attention matrix.

A position is a token, a patch, or whatever else a model attends over. It always has a label, and
where it exists the place it stands for: characters of a text (a span) or pixels of a picture (a
box). Highlights are drawn from spans and overlays from boxes, never from a guessed reshape. This
module knows nothing of tokenizers, processors or models.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from attnreport.errors import InvalidRun
from attnreport.picture import Picture

Role = Literal["input", "generated", "special"]
Span = tuple[int, int]
Box = tuple[float, float, float, float]
# What a picture is, what a box of it is, and several of these, in words.
SEEN = ("picture", "patch", "patches")


@dataclass(frozen=True, slots=True)
class Position:
    """Describe one position of a sequence.

    Attributes:
        label: what a person reads, never empty; an unreadable token is named, not blanked.
        span: ``(start, end)`` in characters of ``Axis.text``, half open; None where the position
            stands for no part of a text.
        box: ``(x0, y0, x1, y1)`` in pixels of the source picture, half open; None where the
            position stands for no part of a picture.
        role: ``"input"`` for a part of what the user gave, ``"generated"`` for what the model
            wrote itself, ``"special"`` for what tokenizer or model added (``[CLS]``, a register).
        part: which of its picture's ``parts`` a box is of; None where the picture has none.
    """

    label: str
    span: Span | None = None
    box: Box | None = None
    role: Role = "input"
    part: int | None = None

    def __post_init__(self) -> None:
        if not self.label:
            raise InvalidRun("a position's label is empty; name the token instead, e.g. '␣'")
        if self.span is not None and not 0 <= self.span[0] <= self.span[1]:
            raise InvalidRun(f"position {self.label!r}: span {self.span} is not start <= end")
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if not (x0 <= x1 and y0 <= y1):
                raise InvalidRun(f"position {self.label!r}: box {self.box} is not x0, y0, x1, y1")


@dataclass(frozen=True, slots=True)
class Axis:
    """Describe one side of an attention matrix: a named sequence of positions.

    Two attentions over the same sequence share one equal ``Axis``; that is how the page knows
    self-attention of the source from self-attention of the target.

    Attributes:
        name: what the sequence is called on the page: ``"source"``, ``"target"``, ``"text"``.
        positions: the positions in order.
        text: the text that the spans count characters of, or None.
        picture: the picture that the boxes count pixels of; None where it was not kept, and then
            boxes tell places, but nothing can be laid over them.
    """

    name: str
    positions: tuple[Position, ...]
    text: str | None = None
    picture: Picture | None = None

    def __post_init__(self) -> None:
        self._check_boxes()
        for index, position in enumerate(self.positions):
            if position.span is None:
                continue
            if self.text is None:
                raise InvalidRun(f"axis {self.name!r}: position {index} has a span, but no text")
            if position.span[1] > len(self.text):
                raise InvalidRun(
                    f"axis {self.name!r}: position {index} has span {position.span}, "
                    f"but the text has {len(self.text)} characters"
                )

    def _check_boxes(self) -> None:
        if self.picture is None:
            return
        width, height = self.picture.width, self.picture.height
        # A box is computed: the last one may miss the edge by a rounding error.
        slack = 1e-6 * max(width, height)
        for index, position in enumerate(self.positions):
            if position.box is None:
                continue
            if position.part is not None and not 0 <= position.part < len(self.picture.parts):
                raise InvalidRun(
                    f"axis {self.name!r}: position {index} is of part {position.part}, but the "
                    f"picture has {len(self.picture.parts)}"
                )
            x0, y0, x1, y1 = position.box
            if min(x0, y0) < -slack or x1 > width + slack or y1 > height + slack:
                raise InvalidRun(
                    f"axis {self.name!r}: position {index} has box {position.box}, but the "
                    f"picture has {width} × {height} pixels"
                )

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Position]:
        return iter(self.positions)

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the label of every position, in order."""
        return tuple(position.label for position in self.positions)

    @property
    def pictured(self) -> bool:
        """Tell whether any position has a place in a picture that was kept."""
        return self.picture is not None and any(position.box for position in self)

    @property
    def seen(self) -> tuple[str, str, str]:
        """Return what its picture is, what a box of it is, and several of these, in words."""
        picture = self.picture
        if picture is None or picture.scales is None:
            return SEEN
        if all(picture.spans_height(position.box) for position in self if position.box):
            return "sound", "frame", "frames"
        return "sound", "patch", "patches"

    @classmethod
    def numbered(cls, name: str, length: int) -> Axis:
        """Return an axis whose labels are ``0 … length - 1``, for positions nobody described."""
        return cls(name, tuple(Position(str(index)) for index in range(length)))

    @classmethod
    def of_labels(cls, name: str, labels: Iterable[str]) -> Axis:
        """Return an axis with these labels and no places; an empty label becomes ``␣``."""
        return cls(name, tuple(Position(label or "␣") for label in labels))
