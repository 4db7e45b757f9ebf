"""The picture that boxes count pixels of: read safely, and kept once, small, without metadata.

What a model is shown and what the page shows come from one reading, so that a box means the same
place in both. Knows no model, no processor and no page.
"""

from __future__ import annotations

import io
import math
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from attnreport.errors import InvalidInput, InvalidRun
from attnreport.sound import sound_words

MAX_PIXELS = 64_000_000
MAX_BYTES = 64 * 2**20
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

_SIGNATURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
_FORMATS = ("PNG", "JPEG", "WEBP")


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
class Picture:
    """Hold a picture as the page carries it, and the size that boxes refer to.

    Attributes:
        content: a PNG or a JPEG, perhaps smaller than the source.
        width: of the source picture in pixels, as one sees it: after its EXIF orientation.
        height: likewise.
        scales: of a sound, what is measured across and down; None for what one sees.
    """

    content: bytes
    width: int
    height: int
    scales: tuple[Scale, Scale] | None = None

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidRun(f"a picture of {self.width} × {self.height} pixels has no pixel")
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
        kinds = (kind for start, kind in _SIGNATURES.items() if self.content.startswith(start))
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


@dataclass(frozen=True)
class Opened:
    """Hold a picture that was read from a file.

    Attributes:
        image: its pixels, RGB, upright.
        picture: the same to be kept.
        notes: what was done to it on the way, in words for the page.
    """

    image: Image.Image
    picture: Picture
    notes: tuple[str, ...]


def read_picture(path: Path) -> Opened:
    """Read a PNG, JPEG or WebP; what it is called does not matter, what is in it does.

    EXIF orientation is applied, transparency is laid on white, 16 bits become 8, CMYK and
    palettes become RGB, and of an animation the first frame is taken; notes say so.

    Raises:
        InvalidInput: it cannot be read, is no such picture, is damaged, empty, or too large.
    """
    content = _content(path)
    try:
        with warnings.catch_warnings():
            # Pillow warns of half a bomb, and of metadata that it cannot parse: neither is shown.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=_FORMATS) as source:
                _check_size(path, *source.size)
                image, notes = _upright(source, deep=_is_deep(content))
    except InvalidInput:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"INPUT {path} has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"INPUT {path} is {_guess(content)}") from error
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error … on damaged files.
    except Exception as error:
        raise InvalidInput(f"INPUT {path} is a damaged picture: {error}") from error
    return Opened(image, Picture.of(image), notes)


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InvalidInput(f"INPUT {path} is not a file, expected a picture: PNG, JPEG or WebP")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(f"INPUT {path} cannot be read: {error.strerror}") from error
    if not content:
        raise InvalidInput(f"INPUT {path} is empty, expected a picture: PNG, JPEG or WebP")
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"INPUT {path} is over {MAX_BYTES >> 20} MiB; make it smaller")
    return content


def _check_size(path: Path, width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise InvalidInput(f"INPUT {path} is a picture of {width} × {height} pixels: it is empty")
    if width * height > MAX_PIXELS:
        raise InvalidInput(
            f"INPUT {path} has {width} × {height} pixels, over {MAX_PIXELS:,}; make it smaller"
        )


def _guess(content: bytes) -> str:
    start = content[:1024].lower()
    if sound := sound_words(content[:12]):
        return f"{sound}; expected a picture: PNG, JPEG or WebP"
    if content.startswith(tuple(_SIGNATURES)) or start[8:12] == b"webp":
        return "a damaged picture: it says its format and little else"
    if b"<svg" in start:
        return "an SVG drawing, which has no pixels; export it as PNG"
    if start.startswith((b"gif8", b"bm", b"ii*", b"mm\0*")) or start[4:8] == b"ftyp":
        return "a picture in another format; save it as PNG, JPEG or WebP"
    return "not a picture: expected PNG, JPEG or WebP"


def _is_deep(content: bytes) -> bool:
    """Tell whether this is a PNG of 16 bits; Pillow tells of grey ones only.

    Source: PNG specification, 11.2.1: the bit depth stands behind width and height of IHDR.
    """
    return content[:8] in _SIGNATURES and content[24:25] == b"\x10"


def _upright(source: Image.Image, *, deep: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the first frame as upright RGB, and what was done to it."""
    notes = []
    frames = getattr(source, "n_frames", 1)
    if frames > 1:
        notes.append(f"the picture has {frames} frames; the first was taken")
    source.seek(0)
    source.load()
    turned = ImageOps.exif_transpose(source)
    if turned.size != source.size or turned.tobytes() != source.tobytes():
        notes.append("the picture was turned upright, as its EXIF orientation says")
    if turned.mode.startswith(("I", "F")):
        turned = _eight_bits(turned)
        deep = True
    if deep:
        notes.append("the picture's 16 bits a pixel were reduced to 8")
    if turned.has_transparency_data:
        layered = turned.convert("RGBA")
        if np.asarray(layered)[..., 3].min() < 255:
            notes.append("transparent parts of the picture were laid on white")
        ground = Image.new("RGBA", layered.size, "white")
        turned = Image.alpha_composite(ground, layered)
    if turned.mode == "CMYK":
        notes.append("the picture was turned from CMYK into RGB, without a colour profile")
    return turned.convert("RGB"), tuple(notes)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit grey; Pillow alone would cut every value at 255."""
    values = np.asarray(image, dtype=np.float64)
    return Image.fromarray(np.clip(np.rint(values / 257), 0, 255).astype(np.uint8))


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
