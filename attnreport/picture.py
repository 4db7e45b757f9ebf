"""The picture that boxes count pixels of: kept once, small, without metadata.

Reads no file, ``picture_file`` does. Knows no model, no processor and no page.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace

from PIL import Image

from attnreport.errors import InvalidRun

# What the page carries: enough for a screen, and a fraction of the report's budget.
KEPT_SIDE = 1024
_LOSSLESS_BYTES = 256 * 2**10
_KEPT_BYTES = 8 * 2**20
_QUALITY = 88
# Smaller than this nothing would be left to see.
_LEAST_SIDE = 96
# Pixels by which a computed box may miss the picture's edge.
_SLACK = 1e-3
_MOST_DIGITS = 6
_LONGEST_UNIT = 16

# How a note begins that says why a picture or a sound is not looked at in the report.
UNLAID = "nothing can be laid over"

SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}


@dataclass(frozen=True, slots=True)
class Scale:
    """Say what one side of a picture measures, where that is more than its pixels.

    Attributes:
        first: the value at the left, or at the upper, edge.
        last: the value at the edge across from it.
        before: what stands before a value, ``"bin "``.
        after: what stands after it, ``" s"``.
        digits: after the decimal point, where a value is told.
    """

    first: float
    last: float
    before: str = ""
    after: str = ""
    digits: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.first) and math.isfinite(self.last)) or self.first == self.last:
            raise InvalidRun(f"a scale from {self.first} to {self.last} measures nothing")
        if not 0 <= self.digits <= _MOST_DIGITS:
            raise InvalidRun(f"a scale has {self.digits} digits, expected 0 to {_MOST_DIGITS}")
        if not (words := self.before + self.after).isprintable() or len(words) > _LONGEST_UNIT:
            raise InvalidRun(f"a scale's words {words!r} are no short name of a unit")

    def words(self, share: float) -> str:
        """Return the value at a share of the way from the first edge, as one reads it."""
        value = self.first + share * (self.last - self.first)
        return f"{self.before}{value:.{self.digits}f}{self.after}"


@dataclass(frozen=True, slots=True)
class Part:
    """Be one of several in which a picture is shown to a model, and that one looks at by itself.

    Frames of a video lie beside each other in one picture. Tiles, and the whole once more, lie over
    each other: then each of the two is a part, and has the whole picture as its box.

    Attributes:
        name: ``"frame 3"``, ``"tiles"``, ``"whole picture"``.
        box: where it lies, x0, y0, x1, y1 in pixels of the picture.
    """

    name: str
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable():
            raise InvalidRun(f"a part of a picture has the name {self.name!r}")


@dataclass(frozen=True, slots=True)
class Picture:
    """Hold a picture as the page carries it, and the size that boxes refer to.

    Attributes:
        content: a PNG or a JPEG, perhaps smaller than the source.
        width: of the source picture in pixels, as one sees it: after its EXIF orientation.
        height: likewise.
        scales: of a sound, what is measured across and down; None for what one sees.
        parts: what it is shown to the model in, where that is more than one picture.
    """

    content: bytes
    width: int
    height: int
    scales: tuple[Scale, Scale] | None = None
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidRun(f"a picture of {self.width} × {self.height} pixels has no pixel")
        for part in self.parts:
            x0, y0, x1, y1 = part.box
            if not (0 <= x0 < x1 <= self.width and 0 <= y0 < y1 <= self.height):
                raise InvalidRun(
                    f"{part.name!r} has box {part.box}, but the picture has {self.width} × "
                    f"{self.height} pixels"
                )
        if not self.media_type:
            raise InvalidRun("a picture's content is neither PNG nor JPEG; use Picture.of")
        if len(self.content) > _KEPT_BYTES:
            raise InvalidRun(
                f"a picture's content has {len(self.content)} bytes, expected at most "
                f"{_KEPT_BYTES}; use Picture.of"
            )
        if max(self.kept_size) > KEPT_SIDE:
            raise InvalidRun(
                "a picture's content has {} × {} pixels, expected up to {} a side; use "
                "Picture.of".format(*self.kept_size, KEPT_SIDE)
            )

    @property
    def kept_size(self) -> tuple[int, int]:
        """Return width and height of ``content`` in pixels; only its header is read."""
        return self._opened().size

    def _opened(self) -> Image.Image:
        try:
            return Image.open(io.BytesIO(self.content), formats=("PNG", "JPEG"))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InvalidRun(f"a picture's content cannot be read: {error}") from error

    @property
    def media_type(self) -> str:
        """Return ``"image/png"`` or ``"image/jpeg"``, or an empty string for what is neither."""
        kinds = (kind for start, kind in SIGNATURES.items() if self.content.startswith(start))
        return next(kinds, "")

    @classmethod
    def of(cls, image: Image.Image) -> Picture:
        """Return an RGB image to be kept: PNG while that is small, else JPEG.

        Sides over ``KEPT_SIDE`` pixels are shrunk; ``width`` and ``height`` stay the source's.
        """
        return cls(_kept(image, KEPT_SIDE, _LOSSLESS_BYTES), *image.size)

    @classmethod
    def drawn(cls, image: Image.Image, width: int, height: int, *scales: Scale) -> Picture:
        """Return a drawing of a sound, of which its pixels are stretched to a size."""
        across, down = scales
        content = _kept(image, KEPT_SIDE, _LOSSLESS_BYTES)
        return cls(content, width, height, (across, down))

    @property
    def layered(self) -> bool:
        """Tell whether its parts lie over each other, as tiles and the whole do."""
        return len({part.box for part in self.parts}) < len(self.parts)

    def cropped(self, box: tuple[float, float, float, float]) -> Picture:
        """Return what of the picture lies in a box, as a picture by itself.

        Raises:
            InvalidRun: the content is damaged.
        """
        kept = self._opened()
        across, down = kept.width / self.width, kept.height / self.height
        x0, y0, x1, y1 = (
            round(side * by) for side, by in zip(box, (across, down) * 2, strict=True)
        )
        try:
            shown = kept.crop((x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)))
            content = _kept(shown, KEPT_SIDE, _LOSSLESS_BYTES)
        except (OSError, SyntaxError, ValueError) as error:
            raise InvalidRun(f"a picture's content is damaged: {error}") from error
        return Picture(content, round(box[2] - box[0]) or 1, round(box[3] - box[1]) or 1)

    def words_at(self, box: tuple[float, float, float, float]) -> str:
        """Return where the middle of a box lies on the scales; empty without scales."""
        if self.scales is None:
            return ""
        x0, y0, x1, y1 = box
        across, down = self.scales
        words = across.words((x0 + x1) / 2 / self.width)
        if self.spans_height(box):
            return words
        return f"{words}, {down.words((y0 + y1) / 2 / self.height)}"

    def spans_height(self, box: tuple[float, float, float, float]) -> bool:
        """Tell whether a box reaches from the upper to the lower edge: all that was heard then."""
        return box[1] <= _SLACK and box[3] >= self.height - _SLACK

    def within(self, size: int) -> Picture:
        """Return the picture in at most ``size`` bytes, or as small as a picture is made.

        It is scaled down until it fits, to ``_LEAST_SIDE`` pixels a side at least; ``width`` and
        ``height`` stay the source's.

        Raises:
            InvalidRun: the content is damaged.
        """
        picture = self
        while len(picture.content) > size and (side := max(picture.kept_size)) > _LEAST_SIDE:
            # Bytes grow about as the area does: a little less than fits at once, most often.
            ratio = min(0.95, (size / len(picture.content)) ** 0.5)
            side = max(_LEAST_SIDE, int(side * ratio))
            try:
                content = _kept(self._opened(), side, min(size, _LOSSLESS_BYTES))
            except (OSError, SyntaxError, ValueError) as error:
                raise InvalidRun(f"a picture's content is damaged: {error}") from error
            picture = replace(self, content=content)
        return picture


def _kept(image: Image.Image, side: int, lossless: int) -> bytes:
    """Return an image of at most ``side`` pixels a side: PNG up to so many bytes, else JPEG."""
    shown = image.convert("RGB")
    shown.thumbnail((side, side))
    # A new image of the bare pixels: nothing of what the file said of its maker comes along.
    bare = Image.frombytes("RGB", shown.size, shown.tobytes())
    content = _encoded(bare, "PNG", optimize=True)
    return content if len(content) <= lossless else _encoded(bare, "JPEG", quality=_QUALITY)


def _encoded(image: Image.Image, kind: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()
