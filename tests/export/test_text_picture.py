"""The text view taken out: the file shows what the page shows, in every script."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import numpy as np
import pytest
from browser import screenshot
from PIL import Image
from playwright.sync_api import expect
from runs import softmax

from attnreport import Attention, Axis, Position, Run

SVG = "{http://www.w3.org/2000/svg}"
# Keeps what is saved: a download of Firefox is not for Playwright to see.
_KEEP = """() => {
  URL.createObjectURL = (blob) => { window.kept = blob; return "blob:"; };
  HTMLAnchorElement.prototype.click = () => {};
}"""
TEXTS = {
    "one way": "Ada met Grace and then she met Ada again, so that a second line is needed. " * 2,
    "both ways": "Ada met שלום עולם and مرحبا بالعالم, e\u0301te\u0301 went on. " * 3,
    "the other way": "שלום Ada מה שלומך היום? مرحبا بالعالم ועוד שורה אחת. " * 3,
}


def text_run(text):
    """A text that looks at itself; its words are cut in two, a special token stands before it."""
    positions = [Position("[CLS]", role="special")]
    at = 0
    for word in text.split(" "):
        half = (len(word) + 1) // 2
        cuts = [(at, at + half), (at + half, at + len(word))]
        positions += [
            Position(text[first:last], span=(first, last)) for first, last in cuts if first < last
        ]
        if len(word) % 4 == 0:  # a second token of the same characters, as of bytes
            positions.append(Position("·2", span=cuts[-1]))
        at += len(word) + 1
    axis = Axis("text", tuple(positions), text)
    weights = softmax((1, len(axis), len(axis)), 3)
    return Run((Attention(weights, "layer", 0, "self", axis, axis, residual=0.0),))


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)).convert("L")).astype(int)


def part_of(page, left, top, width, height):
    clip = {"x": left, "y": top, "width": width, "height": height}
    return pixels(screenshot(page, clip=clip))


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_svg_of_a_text_looks_as_the_page_does(text, page_of):
    page = page_of(text_run(text), fragment="#view=text", viewport={"width": 1280, "height": 1200})
    box = page.locator("#text-live").bounding_box()
    here = part_of(page, box["x"], box["y"], box["width"], box["height"])
    page.evaluate(_KEEP)
    page.click("#take-svg")
    page.wait_for_function("window.kept !== undefined")
    content = page.evaluate("kept.text()")

    root = ElementTree.fromstring(content)  # noqa: S314 - our own page made it
    words = "".join("".join(node.itertext()) for node in root.iter(f"{SVG}text"))
    shown = "[CLS]" + "".join(page.locator("#text-live .flow").all_text_contents())[5:]
    assert sorted(words.replace(" ", "")) == sorted(shown.replace(" ", ""))
    assert "·2" in words
    drawn = page_of(f"<!doctype html><title>b</title><body>{content}", ready=False)
    place = drawn.locator("svg").bounding_box()
    there = part_of(drawn, place["x"], place["y"], box["width"], box["height"])
    rows, columns = (min(one, other) for one, other in zip(here.shape, there.shape, strict=True))
    different = np.abs(here[:rows, :columns] - there[:rows, :columns]) > 100
    ink = (here < 128).sum()
    assert ink > 1000
    # Letters' edges fall a fraction of a pixel elsewhere; a letter elsewhere would be many more.
    assert different.sum() < 0.25 * ink


@pytest.mark.parametrize("ground", ["white", "transparent"])
def test_text_is_taken_in_the_colours_of_paper(ground, browser, page_of, saved):
    page = page_of(text_run(TEXTS["one way"]), fragment="#view=text&query=2", color_scheme="dark")
    page.select_option("#ground-select", ground)
    root = ElementTree.fromstring(saved(page, "#take-svg")[1])  # noqa: S314 - our own page made it
    first = root.find(f"{SVG}rect")
    assert (first.get("fill") == "white") == (ground == "white")
    # Black on light shades and white on dark ones, as on the page; the light theme's ink between.
    inks = {"#3a3a45", "rgb(0, 0, 0)", "rgb(255, 255, 255)"}
    assert {part.get("fill") for part in root.iter(f"{SVG}tspan")} <= inks
    shades = [rect.get("fill") for rect in root.iter(f"{SVG}rect")]
    browser.emulate_media(page, color_scheme="light")
    expect(page.locator("html")).to_have_attribute("data-theme", "light")
    colours = page.locator("#text-live .token").evaluate_all(
        "all => all.map((one) => one.style.backgroundColor)"
    )
    assert set(colours) == {shade for shade in shades if shade != "white"}

    box = page.locator("#text-live").bounding_box()
    png = Image.open(io.BytesIO(saved(page, "#take-png")[1])).convert("RGBA")
    assert abs(png.size[0] - 3 * box["width"]) <= 3
    assert abs(png.size[1] - 3 * box["height"]) <= 3
    assert png.getpixel((png.size[0] - 2, png.size[1] - 2))[3] == (255 if ground == "white" else 0)
    assert len(png.getcolors(1 << 24)) > 10
