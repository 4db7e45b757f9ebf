"""What the page tests do with a page: point at cells, read what is drawn, run its modules."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import time
import zlib
from pathlib import Path

import numpy as np
from browser import screenshot
from PIL import Image
from playwright.sync_api import expect

import attnreport
from attnreport.page.scripts import joined

IMAGE = "#heatmap-live svg image"


def templates():
    inside = Path(attnreport.__file__).parent / "templates"
    return inside if inside.is_dir() else inside.parent.parent / "templates"


def document(page):
    return json.loads(page.text_content("#document"))


def packed_codes(page, layer, head, shape):
    """The codes of a head out of the page's JSON, read by another PNG reader."""
    text = json.loads(page.text_content(f"#layer-{layer}"))["heads"][head]
    return pixels_of(bytes_of(text), shape)


def bytes_of(text):
    """What a text of the page's JSON stands for."""
    return base64.b85decode(text.translate(str.maketrans(",./:", "&<>`")))


def pixels_of(image_data, shape):
    """The pixels of a grey picture with this IDAT, as Pillow reads them."""
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", image_data), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return np.asarray(Image.open(io.BytesIO(content)))


def packed_exact(page, layer, shape):
    """The exact weights of a layer out of the page's JSON."""
    text = json.loads(page.text_content(f"#layer-{layer}"))["exact"]
    return np.frombuffer(zlib.decompress(bytes_of(text)), "<f4").reshape(shape)


def weights_of_modules(page, layer, head):
    """What the page's own modules read for a head, shape (query, key)."""
    script = joined(templates() / "js" / "weights.js")
    matrix = page.evaluate(
        f"async ([layer, head]) => {{ {script}\n"
        "const matrix = await new Weights(readJson('document')).matrix(layer, head);"
        "return {...matrix, values: Array.from(matrix.values)} }",
        [layer, head],
    )
    values = np.array(matrix["values"], np.float32)
    return values.reshape(matrix["rows"], matrix["columns"])


def drawn_codes(page):
    """The codes of the picture that the heatmap shows, read by another PNG reader."""
    # Vega lets a picture come in after its mark.
    expect(page.locator(IMAGE)).to_have_attribute("href", re.compile("^data:image/png;base64,"))
    url = page.get_attribute(IMAGE, "href")
    image = Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,"))))
    assert image.mode == "P"
    return np.array(image)


def screen_colours(page, rows, columns):
    """What is on the screen in the middle of every cell: (row, column, rgb)."""
    page.locator(IMAGE).scroll_into_view_if_needed()
    box = page.locator(IMAGE).bounding_box()
    screen = np.array(Image.open(io.BytesIO(screenshot(page))).convert("RGB"))
    ys = box["y"] + (np.arange(rows) + 0.5) * box["height"] / rows
    xs = box["x"] + (np.arange(columns) + 0.5) * box["width"] / columns
    return screen[np.ix_(ys.astype(int), xs.astype(int))]


def palette_of(page, theme="light"):
    """The page's colours for weight codes, the last for what is not a number."""
    colours = bytes.fromhex(document(page)["palettes"][theme])
    return np.frombuffer(colours, np.uint8).reshape(-1, 3)


def point_at(page, query, key, shape, *, click=False):
    """Move the mouse to a cell of the heatmap."""
    page.locator(IMAGE).scroll_into_view_if_needed()
    box = page.locator(IMAGE).bounding_box()
    x = box["x"] + (key + 0.5) * box["width"] / shape[1]
    y = box["y"] + (query + 0.5) * box["height"] / shape[0]
    page.mouse.move(x, y)
    if click:
        page.mouse.click(x, y)


def shown(page):
    """The address, as a dictionary."""
    fragment = page.evaluate("location.hash").removeprefix("#")
    return dict(part.split("=") for part in fragment.split("&") if part)


def comes_to_be(read, wanted):
    """What is read once it is what is wanted, or after ten seconds."""
    for _ in range(200):
        if read() == wanted:
            break
        time.sleep(0.05)
    return read()


def comes_to_rest(read, pause=0.1):
    """What is read once it was the same twice in turn: a page draws some time after it is asked."""
    before, after = None, read()
    for _ in range(100):
        if before == after:
            break
        time.sleep(pause)
        before, after = after, read()
    return after


def come_to_be_drawn(page, codes):
    """Whether the heatmap comes to show these codes, but for roundings."""
    return comes_to_be(lambda: bool(np.abs(drawn_codes(page) - codes).max() <= 1), True)
