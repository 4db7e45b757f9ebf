"""Read a picture, or the frames of a video, from a file of somebody else.

What a model is shown and what the page shows come from one reading, so that a box means the same
place in both. Knows no model, no processor and no page.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from attnreport.errors import InvalidInput
from attnreport.files import read_bounded
from attnreport.picture import SIGNATURES, Picture
from attnreport.sound import sound_words

MAX_PIXELS = 64_000_000
MAX_BYTES = 64 * 2**20
# A frame is decoded after all before it: this much is decoded in some seconds.
MAX_DECODED = 1_000_000_000
_FORMATS = ("PNG", "JPEG", "WEBP")
_VIDEO_FORMATS = (*_FORMATS, "GIF")
_SHOWN_FRAMES = 16
# Pictures that lie in the container of MP4: HEIF and AVIF.
_STILL_BRANDS = (b"hei", b"hev", b"mif", b"msf", b"avi")


@dataclass(frozen=True)
class Opened:
    """Hold a picture that was read from a file.

    Attributes:
        image: its pixels, RGB, upright; of a video its first frame.
        picture: the same to be kept.
        notes: what was done to it on the way, in words for the page.
        frames: of a video, those that were taken; empty for what stands still.
    """

    image: Image.Image
    picture: Picture
    notes: tuple[str, ...]
    frames: tuple[Image.Image, ...] = ()


def read_picture(path: Path) -> Opened:
    """Read a PNG, JPEG or WebP; what it is called does not matter, what is in it does.

    EXIF orientation is applied, transparency is laid on white, 16 bits become 8, CMYK and
    palettes become RGB, and of an animation the first frame is taken; notes say so.

    Raises:
        InvalidInput: it cannot be read, is no such picture, is damaged, empty, or too large.
    """
    content = _content(path)
    with _decoding(path, content, _FORMATS) as source:
        frames = getattr(source, "n_frames", 1)
        ((image, notes),) = _taken(source, content, [0])
    first = (f"the picture has {frames} frames; the first was taken",) if frames > 1 else ()
    return Opened(image, Picture.of(image), (*first, *notes))


def read_frames(path: Path, count: int) -> Opened:
    """Read so many frames of an animated GIF, WebP or PNG, evenly; or a picture, as above.

    Raises:
        InvalidInput: as above, or what is decoded for them is too much.
    """
    content = _content(path)
    with _decoding(path, content, _VIDEO_FORMATS) as source:
        total = getattr(source, "n_frames", 1)
        # The middle of each of as many even parts.
        chosen = [(2 * n + 1) * total // (2 * count) for n in range(count)] if total > 1 else [0]
        _check_length(path, source, chosen)
        taken = _taken(source, content, chosen)
    images = tuple(image for image, _ in taken)
    notes = tuple(dict.fromkeys(note for _, notes in taken for note in notes))
    if total == 1:
        return Opened(images[0], Picture.of(images[0]), notes)
    words = ", ".join(str(place + 1) for place in chosen[:_SHOWN_FRAMES])
    more = ", …" if count > _SHOWN_FRAMES else ""
    took = f"of the video's {total} frames {count} were taken, evenly: {words}{more}"
    return Opened(images[0], Picture.of(images[0]), (took, *notes), images)


@contextmanager
def _decoding(path: Path, content: bytes, formats: tuple[str, ...]) -> Iterator[Image.Image]:
    """Open a picture; turn whatever Pillow raises on the way into one line of ours."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of half a bomb, and of metadata that it cannot parse: neither is shown.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=formats) as source:
                _check_size(path, *source.size)
                yield source
    except InvalidInput:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"INPUT {path} has too many pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(f"INPUT {path} is {_guess(content)}") from error
    # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error … on damaged files.
    except Exception as error:
        raise InvalidInput(f"INPUT {path} is a damaged picture: {error}") from error


def _check_length(path: Path, source: Image.Image, chosen: Sequence[int]) -> None:
    width, height = source.size
    decoded, kept = (chosen[-1] + 1) * width * height, len(chosen) * width * height
    if decoded > MAX_DECODED or kept > MAX_PIXELS:
        raise InvalidInput(
            f"INPUT {path} has {width} × {height} pixels in {chosen[-1] + 1} frames or more, over "
            f"{MAX_DECODED:,} to decode or {MAX_PIXELS:,} to take; make it smaller or shorter"
        )


def _taken(
    source: Image.Image, content: bytes, chosen: Sequence[int]
) -> list[tuple[Image.Image, tuple[str, ...]]]:
    """Return frames as upright RGB, in order, each with what was done to it."""
    taken = []
    for place in chosen:
        source.seek(place)
        taken.append(_upright(source, deep=_is_deep(content)))
    return taken


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise InvalidInput(f"INPUT {path} is not a file, expected a picture: PNG, JPEG or WebP")
    return read_bounded(path, MAX_BYTES, "a picture: PNG, JPEG or WebP")


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
    if content.startswith(tuple(SIGNATURES)) or start[8:12] == b"webp":
        return "a damaged picture: it says its format and little else"
    if b"<svg" in start:
        return "an SVG drawing, which has no pixels; export it as PNG"
    if video := _video_kind(content):
        return (
            f"a video ({video}), which is not decoded; save its frames as an animated GIF, WebP or "
            "PNG, for a model that looks at videos"
        )
    if start.startswith((b"gif8", b"bm", b"ii*", b"mm\0*")) or start[4:8] == b"ftyp":
        return "a picture in another format; save it as PNG, JPEG or WebP"
    return "not a picture: expected PNG, JPEG or WebP"


def _is_deep(content: bytes) -> bool:
    """Tell whether this is a PNG of 16 bits; Pillow tells of grey ones only.

    Source: PNG specification, 11.2.1: the bit depth stands behind width and height of IHDR.
    """
    return content[:8] in SIGNATURES and content[24:25] == b"\x10"


def _video_kind(content: bytes) -> str:
    """Return what container of a video this is, or an empty string for none."""
    if content[4:8] == b"ftyp" and not content[8:12].startswith(_STILL_BRANDS):
        return "MP4"
    if content.startswith(b"\x1a\x45\xdf\xa3"):
        return "Matroska or WebM"
    return "AVI" if content[:4] == b"RIFF" and content[8:12] == b"AVI " else ""


def _upright(source: Image.Image, *, deep: bool) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the frame that a source stands at as upright RGB, and what was done to it."""
    notes = []
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
