"""What the page gives away: pictures, numbers, a spec and a link, from a file and from a frame."""

from __future__ import annotations

import csv
import html
import io
import json
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
from PIL import Image
from playwright.sync_api import expect
from runs import small_run, softmax

from attnreport import Attention, Axis, Report, Run

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg):
    return ElementTree.fromstring(svg)  # noqa: S314 - our own page made it


def texts_of(svg):
    return {node.text for node in parsed(svg).iter(f"{SVG}text")}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ground", ["white", "transparent"])
def test_svg_is_the_shown_picture_in_paper_colours(theme, ground, page_of, saved):
    run = small_run(queries=5)
    page = page_of(run, color_scheme=theme, fragment="#layer=1&head=2")
    page.select_option("#ground-select", ground)
    name, content = saved(page, "#take-svg")
    assert name == "attention-layer-1-head-2.svg"
    root = parsed(content)
    assert set(run.attentions[1].keys.labels) <= texts_of(content)
    hrefs = [image.get("{http://www.w3.org/1999/xlink}href") for image in root.iter(f"{SVG}image")]
    # The picture and its colour bar.
    assert [href[:22] for href in hrefs] == ["data:image/png;base64,"] * 2
    assert {"colour: weight, from 0 to 1, √ scale", "0", "0.05", "1"} <= texts_of(content)
    fills = [rect.get("fill") for rect in root.findall(f"{SVG}rect")]
    assert fills == (["white"] if ground == "white" else [])
    # Dark labels on white, whatever the reader's theme is.
    assert b"#3a3a45" in content
    expect(page.locator("#taking-words")).to_contain_text("is being saved")
    # The page itself is as it was.
    shown = page.locator("#heatmap-live svg text").first.get_attribute("fill")
    assert (shown == "#3a3a45") == (theme == "light")
    assert page.locator("#heatmap-live svg > rect[fill=white]").count() == 0


@pytest.mark.parametrize("view", ["heatmap", "arrows"])
def test_png_is_three_times_as_large_on_the_chosen_ground(view, page_of, saved):
    page = page_of(small_run(), fragment=f"#view={view}")
    box = page.locator(f"#{view}-live svg").bounding_box()
    name, content = saved(page, "#take-png")
    assert name == "attention-layer-0-head-0.png"
    image = Image.open(io.BytesIO(content)).convert("RGBA")
    if view == "heatmap":
        # Below it, from where its cells begin, are the colour bar and its words.
        bar = page.locator("#colourbar svg").bounding_box()
        cells = page.locator("#heatmap-live svg image").bounding_box()
        box["height"] += bar["height"] + 32
        box["width"] = max(box["width"], cells["x"] - box["x"] + bar["width"])
    assert abs(image.size[0] - 3 * box["width"]) <= 18
    assert abs(image.size[1] - 3 * box["height"]) <= 6
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    assert len(image.getcolors(1 << 24)) > 10
    page.select_option("#ground-select", "transparent")
    _, content = saved(page, "#take-png")
    assert Image.open(io.BytesIO(content)).convert("RGBA").getpixel((0, 0))[3] == 0


LABELS = ["=1+1", "+x", "-x", "@x", "a,b", 'a"b', "a\nb", "字"]


def test_csv_is_the_shown_weights_and_no_formulas(page_of, saved):
    axis = Axis.of_labels("text", LABELS)
    run = Run((Attention(softmax((1, 8, 8), 0), "a", 0, "self", axis, axis),))
    page = page_of(run, fragment="#hideKeys=1&rows=2-7")
    name, content = saved(page, "#take-csv")
    assert name == "attention-layer-0-head-0.csv"
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    expected = ["'=1+1", "'+x", "'-x", "'@x", "a,b", 'a"b', "a\nb", "字"]
    assert header == ["", expected[0], *expected[2:]]
    assert [row[0] for row in rows] == expected[2:]
    numbers = np.array([row[1:] for row in rows], np.float32)
    shown = np.delete(run.attentions[0].weights[0], 1, axis=1)[2:]
    np.testing.assert_array_equal(numbers, shown)


@pytest.mark.parametrize("view", ["heatmap", "arrows"])
def test_spec_draws_the_same_picture_elsewhere(view, page_of, saved):
    run = small_run(queries=5)
    page = page_of(run, fragment=f"#layer=1&head=2&view={view}")
    name, content = saved(page, "#take-spec")
    assert name == "attention-layer-1-head-2.vl.json"
    spec = json.loads(content)
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/")
    drawn = vl_convert.vegalite_to_svg(spec)
    assert set(run.attentions[1].keys.labels) <= texts_of(drawn)
    _, picture = saved(page, "#take-svg")
    beside = texts_of(picture) - texts_of(drawn)
    # What the spec has not is the colour bar's.
    assert texts_of(drawn) <= texts_of(picture)
    assert bool(beside) == (view == "heatmap")


def test_the_bar_below_a_taken_picture_has_its_colours(page_of, saved):
    """In the PNG's own pixels: white at 0, darker and darker to the darkest at 1."""
    page = page_of(small_run(), color_scheme="dark")
    _, content = saved(page, "#take-png")
    image = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=float).mean(axis=2)
    bar = page.locator("#colourbar svg image").bounding_box()
    tall, wide = (round(3 * bar[side]) for side in ("height", "width"))
    first = image.shape[0] - round(3 * page.locator("#colourbar svg").bounding_box()["height"])
    row = image[first + tall // 2]
    ends = np.flatnonzero(row < 250)
    left = ends[-1] - wide + 1
    steps = row[left : ends[-1] + 1 : wide // 8]
    assert (np.diff(steps) < 0).all() and steps[0] > 230 and steps[-1] < 70


def test_a_picture_larger_than_a_canvas_is_said_and_its_svg_is_whole(page_of, saved):
    # 20 pixels a token, three for one in the PNG: more than the 65,535 that a canvas is high.
    page = page_of(small_run(1, 1, 1200), fragment="#view=arrows")
    page.click("#take-png")
    expect(page.locator("#taking-words")).to_contain_text("too large for a PNG")
    _, picture = saved(page, "#take-svg")
    assert picture.count(b">t") == 2 * 1199
    assert b"t1199<" in picture


def test_text_view_gives_all_but_a_spec_which_it_has_not(page_of):
    page = page_of(small_run(), fragment="#view=text")
    for button in ("#take-csv", "#take-svg", "#take-png"):
        expect(page.locator(button)).to_be_visible()
    expect(page.locator("#take-spec")).to_be_hidden()


def test_link_leads_back_to_what_is_shown(browser, page_of):
    page = page_of(small_run())
    browser.allow_clipboard(page)
    page.select_option("#head-select", "2")
    expect(page.locator("#shown-title")).to_have_text("Layer 0, head 2")
    page.click("#take-link")
    expect(page.locator("#taking-words")).to_have_text("The link is copied.")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith("file://")
    assert link.endswith("#layer=0&head=2")


def framed(run, page_of):
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(Report(run).html())}"'
    style = 'style="width:100%;height:2000px"'
    page = page_of(f"<!doctype html><title>a</title>{frame} {style}></iframe>", ready=False)
    inside = page.frame_locator("iframe")
    inside.locator("html[data-ready=true]").wait_for(state="attached")
    return inside


def test_a_frame_that_may_not_save_shows_the_text(page_of):
    run = small_run()
    inside = framed(run, page_of)
    for button, start in (("#take-csv", ",[CLS],t1"), ("#take-svg", "<svg "), ("#take-spec", "{")):
        inside.locator(button).click()
        expect(inside.locator("#taken")).to_be_visible()
        assert inside.locator("#taken-text").input_value().startswith(start)
        inside.locator("#taken-copy").click()
        expect(inside.locator("#taken-words")).to_contain_text("cop", ignore_case=True)
        inside.locator("#taken-close").click()
        expect(inside.locator("#taken")).to_be_hidden()


def test_a_frame_shows_the_picture_and_the_end_of_the_link(page_of):
    inside = framed(small_run(), page_of)
    inside.locator("#take-png").click()
    image = inside.locator("#taken-picture img")
    expect(image).to_be_visible()
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
    inside.locator("#taken-close").click()
    inside.locator("#take-link").click()
    expect(inside.locator("#taken-text")).to_have_value("#layer=0&head=0")
