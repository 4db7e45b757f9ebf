"""Pictures: read rightly or refused in one line, kept once, and saved with the run."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from attnreport import Attention, Axis, Position, Run
from attnreport.cli import main
from attnreport.errors import InvalidInput, InvalidRun
from attnreport.picture import KEPT_SIDE, Picture
from attnreport.picture_file import MAX_PIXELS, read_picture


def photo(width=24, height=16):
    """Left half red, right half blue, and one green pixel at the upper left."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    image.putpixel((0, 0), (0, 255, 0))
    return image


@pytest.fixture
def saved(tmp_path):
    def save(image, name="picture.png", kind="PNG", **options):
        path = tmp_path / name
        image.save(path, kind, **options)
        return path

    return save


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_pixels_come_as_they_are(saved, kind, options):
    opened = read_picture(saved(photo(), kind=kind, **options))
    assert np.array_equal(np.asarray(opened.image), np.asarray(photo()))
    assert opened.notes == ()


def test_a_jpeg_that_is_called_png_is_a_jpeg(saved):
    opened = read_picture(saved(photo(), "renamed.png", "JPEG", quality=95, subsampling=0))
    assert np.abs(np.asarray(opened.image, int)[8, 4] - (255, 0, 0)).max() < 8


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_is_applied(saved, orientation):
    # Independent of ImageOps: where EXIF's table puts the first row and column (TIFF 6.0, tag 274).
    exif = Image.Exif()
    exif[274] = orientation
    opened = read_picture(saved(photo(), exif=exif))
    turned = orientation >= 5
    assert opened.image.size == ((16, 24) if turned else (24, 16))
    right, bottom = (side - 1 for side in opened.image.size)
    corners = {2: (right, 0), 3: (right, bottom), 4: (0, bottom), 5: (0, 0), 6: (right, 0),
               7: (right, bottom), 8: (0, bottom)}  # fmt: skip
    assert opened.image.getpixel(corners[orientation]) == (0, 255, 0)
    assert (opened.picture.width, opened.picture.height) == opened.image.size
    assert any("EXIF" in note for note in opened.notes)


def test_sixteen_bits_are_scaled_and_not_cut(saved):
    values = np.array([[0, 257 * 100, 65535]], dtype=np.uint16)
    opened = read_picture(saved(Image.fromarray(values)))
    assert np.asarray(opened.image)[0, :, 0].tolist() == [0, 100, 255]
    assert any("16 bits" in note for note in opened.notes)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_laid_on_white(saved, mode):
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    opened = read_picture(saved(image.convert(mode)))
    assert np.asarray(opened.image)[0].tolist() == [[255, 255, 255], [0, 0, 0]]
    assert any("white" in note for note in opened.notes)


def test_cmyk_becomes_rgb(saved):
    opened = read_picture(saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "p.jpg", "JPEG"))
    red, green, blue = opened.image.getpixel((4, 4))
    assert red > 200 and max(green, blue) < 60
    assert any("CMYK" in note for note in opened.notes)


def test_a_palette_becomes_rgb(saved):
    opened = read_picture(saved(photo().convert("P", palette=Image.Palette.ADAPTIVE)))
    assert opened.image.getpixel((20, 8)) == (0, 0, 255)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(saved, kind):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    path = saved(frames[0], kind=kind, save_all=True, append_images=frames[1:], lossless=True)
    opened = read_picture(path)
    assert opened.image.getpixel((1, 1)) == (255, 0, 0)
    assert opened.notes == ("the picture has 3 frames; the first was taken",)


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def png_header(width, height):
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size)


def bomb(side):
    """A PNG that says it has ``side`` × ``side`` pixels, and a few bytes of them."""
    return png_header(side, side) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def truncated():
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()[: len(buffer.getvalue()) // 2]


REFUSED = {
    "empty": (b"", "is empty, expected a picture"),
    "words": (b"just words", "not a picture: expected PNG, JPEG or WebP"),
    "svg": (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "gif": (b"GIF89a\1\0\1\0\0\0\0;", "another format; save it as PNG"),
    "truncated": (truncated(), "damaged picture"),
    "header only": (png_header(8, 8), "damaged picture"),
    "no width": (bomb(0), ""),
    "large": (bomb(9000), f"over {MAX_PIXELS:,}"),
    "bomb": (bomb(60_000), "too many pixels"),
    "jpeg start": (b"\xff\xd8\xff\xe0", ""),
}


@pytest.mark.parametrize(("kind", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_any_kind_are_scaled_and_said(tmp_path, kind, channels):
    """Written by hand, as the PNG specification has it: 40,000 of 65,535 is 156 of 255."""
    pixels = np.full((4, 5, channels), 40_000, ">u2")
    if kind >= 4:
        pixels[..., -1] = 65_535
    header = struct.pack(">IIBBBBB", 5, 4, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows))
    (tmp_path / "in.png").write_bytes(content + chunk(b"IEND", b""))
    opened = read_picture(tmp_path / "in.png")
    assert opened.image.getpixel((2, 2)) == (156, 156, 156)
    assert opened.notes == ("the picture's 16 bits a pixel were reduced to 8",)


@pytest.mark.parametrize("case", REFUSED)
def test_the_command_refuses_it_in_one_line(tmp_path, capsys, case):
    path = tmp_path / "renamed.jpg"
    path.write_bytes(REFUSED[case][0])
    assert main(["build", "demo:vision", str(path), "-o", str(tmp_path / "r.html")]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert str(path) in err
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, case):
    content, words = REFUSED[case]
    path = tmp_path / "input.png"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as raised:
        read_picture(path)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.png"):
        with pytest.raises(InvalidInput, match="is not a file"):
            read_picture(path)


def test_what_is_kept_says_nothing_of_its_maker(saved):
    exif = Image.Exif()
    exif[271], exif[306] = "Secret Camera", "2021:03:05 10:00:00"
    opened = read_picture(saved(photo(), "p.jpg", "JPEG", exif=exif, comment=b"Secret words"))
    assert b"Secret" not in opened.picture.content
    assert not Image.open(io.BytesIO(opened.picture.content)).getexif()


def test_what_is_kept_is_bounded_and_remembers_its_size():
    noise = np.random.default_rng(0).integers(0, 255, (700, 2100, 3), dtype=np.uint8)
    kept = Picture.of(Image.fromarray(noise))
    assert (kept.width, kept.height) == (2100, 700)
    assert kept.media_type == "image/jpeg"
    assert Image.open(io.BytesIO(kept.content)).size == (KEPT_SIDE, 341)
    assert len(kept.content) < 500_000


def test_a_small_picture_is_kept_to_the_pixel():
    kept = Picture.of(photo())
    assert kept.media_type == "image/png"
    again = Image.open(io.BytesIO(kept.content))
    assert np.array_equal(np.asarray(again), np.asarray(photo()))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ((b"GIF89a", 2, 2), "neither PNG nor JPEG"),
        ((b"\xff\xd8\xff", 0, 2), "has no pixel"),
        ((b"\xff\xd8\xff" + bytes(9 * 2**20), 2, 2), "expected at most"),
    ],
)
def test_a_picture_that_no_page_could_show_is_refused(fields, words):
    with pytest.raises(InvalidRun, match=words):
        Picture(*fields)


@pytest.mark.parametrize("box", [(-1, 0, 4, 4), (0, -1, 4, 4), (20, 0, 25, 4), (0, 12, 4, 17)])
def test_a_box_outside_its_picture_is_refused(box):
    with pytest.raises(InvalidRun, match="24 × 16 pixels"):
        Axis("picture", (Position("patch", box=box),), picture=Picture.of(photo()))


def test_a_run_keeps_its_picture(tmp_path):
    picture = Picture.of(photo())
    axis = Axis(
        "picture", (Position("[CLS]"), Position("patch", box=(0, 0, 24, 16))), picture=picture
    )
    weights = np.full((1, 2, 2), 0.5, dtype=np.float32)
    run = Run((Attention(weights, "layer", 0, "self", axis, axis),))
    run.save(tmp_path / "run.safetensors")
    loaded = Run.load(tmp_path / "run.safetensors")
    assert loaded.axes == (axis,)
    assert loaded.axes[0].picture == picture
