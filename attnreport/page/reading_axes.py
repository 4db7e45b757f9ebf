"""Read axes back out of a report: labels, roles, boxes, and the picture that these lie in.

The document may be anybody's: it is checked against its types, and each axis checks itself. Knows
nothing of weights.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

import msgspec

from attnreport.axis import Axis, Box, Position, Role
from attnreport.picture import Part, Picture, Scale

# A report tells the roles by their first letters.
_ROLES: dict[str, Role] = {"i": "input", "g": "generated", "s": "special"}


class WrittenAxis(msgspec.Struct):
    """What the document says of an axis."""

    name: str
    labels: list[str]
    roles: str = ""


class WrittenPicture(msgspec.Struct):
    """What the document says of a picture; without a URL it is the one that stands in the page."""

    width: Annotated[int, msgspec.Meta(ge=1)]
    height: Annotated[int, msgspec.Meta(ge=1)]
    url: str | None = None
    scales: tuple[Scale, Scale] | None = None
    parts: tuple[Part, ...] = ()


class WrittenPlaces(msgspec.Struct):
    """Which picture an axis lies on, where, and in which of its parts; -1 for none."""

    picture: Annotated[int, msgspec.Meta(ge=0)]
    boxes: list[Box | None]
    parts: list[int] | None = None


def axis_of(
    axis: WrittenAxis, places: WrittenPlaces | None, pictures: list[WrittenPicture], still: str
) -> Axis:
    """Return one axis as it was, but for its text.

    Args:
        axis: what the document says of it.
        places: where its positions lie; None where they have no boxes.
        pictures: all of the report.
        still: URL of the picture that stands in the page itself, empty without one.

    Raises:
        ValueError: the report is damaged.
        InvalidRun: likewise.
    """
    roles = axis.roles or "i" * len(axis.labels)
    boxes = places.boxes if places else [None] * len(axis.labels)
    parts = (places and places.parts) or [-1] * len(axis.labels)
    positions = tuple(
        Position(label or "␣", box=box, role=_role(letter), part=None if part < 0 else part)
        for label, letter, box, part in zip(axis.labels, roles, boxes, parts, strict=True)
    )
    if places is None:
        return Axis(axis.name, positions)
    written = pictures[places.picture]
    return Axis(axis.name, positions, picture=_picture(written, still))


def _role(letter: str) -> Role:
    if letter not in _ROLES:
        raise ValueError(f"expected one of the roles {', '.join(_ROLES)}, got {letter!r}")
    return _ROLES[letter]


def _picture(written: WrittenPicture, still: str) -> Picture:
    _, _, content = (still if written.url is None else written.url).partition(";base64,")
    try:
        pixels = base64.b64decode(content, validate=True)
        return Picture(pixels, written.width, written.height, written.scales, written.parts)
    except binascii.Error as error:
        raise ValueError(f"a picture that is not base64: {error}") from error
