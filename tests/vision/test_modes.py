"""The ways in which the picture view shows a map: lines, side by side, each head, smooth."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import vl_convert
from browser import screenshot as picture_of
from PIL import Image
from planted import grid_axis, planted_run, screenshot, slide
from playwright.sync_api import expect

from attnreport import Run
from attnreport.charts import overlay_palette


def two_heads(axis, first, second):
    """A layer of two heads; the class token gives nearly all to one patch in each."""
    one, two = (planted_run(axis, {0: key}).attentions[0] for key in (first, second))
    weights = np.concatenate((one.weights, two.weights))
    return Run((replace(one, weights=weights, head_numbers=()),))


def brightest(shown):
    """Where the map is brightest, as shares of the width and height of what is shown."""
    rows, columns = np.nonzero(shown[..., 0] > 0.9 * shown[..., 0].max())
    height, width, _ = shown.shape
    return (columns.mean() + 0.5) / width, (rows.mean() + 0.5) / height


def copies(page):
    """The copies of the source picture."""
    source = page.locator("#overlay-live svg image").first.get_attribute("href")
    images = page.locator("#overlay-live svg image").all()
    return [image for image in images if image.get_attribute("href") == source]


def shot(page, image):
    image.scroll_into_view_if_needed()
    taken = Image.open(io.BytesIO(picture_of(page, clip=image.bounding_box())))
    # The outermost pixels are half the page's.
    return np.asarray(taken.convert("RGB"), dtype=float)[1:-1, 1:-1]


def test_side_by_side_leaves_the_left_picture_clear(page_of):
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {0: 1 + 6 + 4}), fragment="#view=overlay&query=0&mode=beside")
    page.locator("#overlay-live").scroll_into_view_if_needed()
    left, right = copies(page)
    one, other = left.bounding_box(), right.bounding_box()
    assert other["x"] > one["x"] + one["width"]
    assert other["width"] == pytest.approx(one["width"], abs=1)
    assert np.ptp(shot(page, left).reshape(-1, 3)[:, 0]) < 4
    assert brightest(shot(page, right)) == pytest.approx((4.5 / 6, 1.5 / 4), abs=0.01)


def test_a_click_into_either_copy_chooses_the_patch(page_of):
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {0: 1}), fragment="#view=overlay&mode=beside")
    page.locator("#overlay-live").scroll_into_view_if_needed()
    for nth, (across, down) in enumerate([(50, 30), (110, 70)]):
        box = copies(page)[nth].bounding_box()
        x, y = box["x"] + box["width"] * across / 120, box["y"] + box["height"] * down / 80
        page.mouse.click(x, y)
        wanted = f"query={1 + (down // 20) * 6 + across // 20}"
        page.wait_for_function(f"location.hash.includes('{wanted}')")


def test_each_head_has_its_own_picture(page_of):
    axis = grid_axis(120, 80, 6, 4)
    run = two_heads(axis, 1 + 6 + 4, 1 + 12 + 1)
    page = page_of(run, fragment="#view=overlay&query=0")
    page.select_option("#mode-select", "heads")
    expect(page.locator("#overlay-live svg text", has_text="head 1 (100 %)")).to_be_visible()
    page.wait_for_function("/head=0,1.*mode=heads/.test(location.hash)")
    page.locator("#overlay-live").scroll_into_view_if_needed()
    first, second = copies(page)
    assert brightest(shot(page, first)) == pytest.approx((4.5 / 6, 1.5 / 4), abs=0.02)
    assert brightest(shot(page, second)) == pytest.approx((1.5 / 6, 2.5 / 4), abs=0.02)
    expect(page.locator("#overlay-words")).to_contain_text("(mean of 2 heads)")


def test_exact_lines_go_around_the_patch_that_holds_half(page_of):
    axis = grid_axis(120, 80, 6, 4)
    run = planted_run(axis, {0: 1 + 6 + 4}, share=0.99)
    page = page_of(run, fragment="#view=overlay&query=0&mode=contours")
    expect(page.locator("#overlay-words")).to_contain_text("together hold 50 % (thick)")
    expect(page.locator("#overlay-bar")).to_be_hidden()
    page.locator("#overlay-live").scroll_into_view_if_needed()
    shown = screenshot(page)
    rows, columns = np.nonzero(shown.min(axis=2) > 200)  # the white of the lines
    x, y = (columns + 0.5) / shown.shape[1] * 120, (rows + 0.5) / shown.shape[0] * 80
    # The patch from (80, 20) to (100, 40) holds 99 % of what patches have, more than any line asks.
    inner = (abs(x - 90) < 14) & (abs(y - 30) < 14)
    assert (x[inner].min(), x[inner].max()) == pytest.approx((80, 100), abs=1.5)
    assert (y[inner].min(), y[inner].max()) == pytest.approx((20, 40), abs=1.5)
    on_edges = np.minimum(abs(abs(x[inner] - 90) - 10), abs(abs(y[inner] - 30) - 10))
    assert on_edges.max() < 1.5


def test_smooth_is_interpolated_between_middles_and_says_so(page_of):
    """Read from the screen: halfway between two middles the weight is the mean of both."""
    axis = grid_axis(80, 40, 2, 1)
    weights = np.full((1, 3, 3), 1 / 3, dtype=np.float32)
    weights[0, 0] = (0, 1, 0)
    run = replace(planted_run(axis, {}), attentions=(replace(
        planted_run(axis, {}).attentions[0], weights=weights),))  # fmt: skip
    fragment = "#view=overlay&query=0&patches=smooth&scale=linear&opacity=100"
    page = page_of(run, fragment=fragment)
    expect(page.locator("#overlay-words")).to_contain_text(
        "values are interpolated, not the model’s"
    )
    shown = screenshot(page)
    height, width, _ = shown.shape
    palette = [[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in overlay_palette()]
    for share, weight in ((0.2, 1.0), (0.46, 0.58), (0.4, 0.7)):
        seen = shown[height // 2, round(width * share)]
        assert np.abs(seen - palette[round(254 * weight)]).max() < 16
    page.select_option("#patches-select", "exact")
    expect(page.locator("#overlay-words")).not_to_contain_text("interpolated")
    left = screenshot(page)[height // 2, round(width * 0.4)]
    assert np.abs(left - palette[254]).max() < 6


def test_patches_without_a_grid_are_never_interpolated(page_of):
    even = grid_axis(120, 80, 6, 4)
    positions = (even.positions[0], replace(even.positions[1], box=(8, 4, 20, 20)))
    axis = replace(even, positions=(*positions, *even.positions[2:]))
    page = page_of(planted_run(axis, {0: 1}), fragment="#view=overlay&query=0&patches=smooth")
    expect(page.locator("#overlay-words")).to_contain_text("nothing is interpolated")


def test_the_colour_bar_has_the_weights_of_the_map(page_of):
    axis = grid_axis(80, 80, 4, 4)
    run = planted_run(axis, {0: 1 + 5}, share=0.2)
    page = page_of(run, fragment="#view=overlay&query=0&scale=linear")
    labels = page.locator("#overlay-bar svg text").all_text_contents()
    assert labels == ["0", "0.05", "0.1", "0.15", "0.2"]
    page.select_option("#full-select", "fixed")
    expect(page.locator("#overlay-bar svg text").last).to_have_text("1")


def test_the_colour_bar_always_tells_its_end(page_of):
    run = planted_run(grid_axis(80, 80, 4, 4), {0: 1 + 5}, share=0.0977)
    page = page_of(run, fragment="#view=overlay&query=0")
    seen = page.locator("#overlay-bar svg text").evaluate_all(
        "all => all.filter(one => one.getAttribute('opacity') !== '0').map(one => one.textContent)"
    )
    assert seen == ["0", "0.00488", "0.0293", "0.0977"]


def test_the_address_brings_the_view_back(page_of):
    axis = grid_axis(120, 80, 6, 4)
    address = "#view=overlay&query=0&look=from&mode=beside&patches=smooth&full=fixed&opacity=55"
    address += "&key=3"
    page = page_of(planted_run(axis, {0: 3}), fragment=address)
    chosen = {"look": "from", "mode": "beside", "patches": "smooth", "full": "fixed"}
    for name, value in chosen.items():
        assert page.locator(f"#{name}-select").input_value() == value
    slide(page, 40)
    parts = set(page.evaluate("location.hash.slice(1).split('&')"))
    assert {"look=from", "mode=beside", "patches=smooth", "opacity=40", "key=3"} <= parts


def test_arrow_keys_lead_from_patch_to_patch(page_of):
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {0: 3}), fragment="#view=overlay&query=0")
    live = page.locator("#overlay-live")
    live.focus()
    for key, query in [("ArrowDown", 1), ("ArrowDown", 7), ("ArrowRight", 8), ("Home", 0)]:
        page.keyboard.press(key)
        page.wait_for_function(f"location.hash.includes('query={query}')")
    page.keyboard.press("Escape")
    expect(page.locator("#overlay-words")).to_contain_text("Mean over all queries")


def test_who_looks_says_where_it_comes_from(page_of):
    """By hand: of the key's column, 0.9 comes from a patch and 24 × 0.04 from all others."""
    axis = grid_axis(120, 80, 6, 4)
    run = planted_run(axis, {1 + 7: 0})
    page = page_of(run, fragment="#view=overlay&look=from&key=0")
    column = run.attentions[0].weights[0, :, 0]
    share = column[1:].sum() / column.sum()
    words = page.text_content("#overlay-words")
    assert f"Of all that comes there, {share:.1%}".replace("%", " %") in words
    assert "from special positions" in words


def test_the_table_has_boxes_and_weights(page_of, saved):
    axis = grid_axis(120, 80, 6, 4)
    run = two_heads(axis, 1 + 6 + 4, 1 + 12 + 1)
    page = page_of(run, fragment="#view=overlay&query=0&mode=heads&head=0,1")
    _, content = saved(page, "#take-csv")
    header, *rows = csv.reader(io.StringIO(content.decode()))
    assert header == ["", "x0", "y0", "x1", "y1", "head 0", "head 1"]
    assert [row[0] for row in rows] == list(axis.labels)
    assert rows[0][1:5] == [""] * 4
    assert tuple(map(float, rows[8][1:5])) == axis.positions[8].box
    weights = np.array([row[5:] for row in rows], dtype=np.float32)
    assert np.array_equal(weights.T, run.attentions[0].weights[:, 0])


@pytest.mark.parametrize("mode", ["over", "beside", "contours"])
def test_the_spec_draws_the_same_elsewhere(page_of, saved, mode):
    """The exported Vega-Lite, drawn by vl-convert, shows what the page does."""
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {0: 1 + 6 + 4}), fragment=f"#view=overlay&query=0&mode={mode}")
    spec = json.loads(saved(page, "#take-spec")[1])
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/v")
    for layer in spec["layer"]:
        for side in ("x", "y"):
            layer["encoding"][side]["axis"] = None
    png = vl_convert.vegalite_to_png({**spec, "padding": 0})
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)
    assert drawn[..., 0].max() > 150
    if mode != "beside":
        shown = screenshot(page)
        # Strokes at the edge take some room of their own, on every side.
        down, across = (drawn.shape[side] - shown.shape[side] for side in (0, 1))
        assert 0 <= down <= 6
        drawn = drawn[down // 2 :, across // 2 :][: shown.shape[0], : shown.shape[1]]
        assert drawn.shape == shown.shape
        assert np.abs(drawn - shown).mean() < 6
