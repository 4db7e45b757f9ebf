"""The overlay in a real browser: what is laid over the picture lies where it belongs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from planted import covered_at, grid_axis, planted_run, screenshot
from playwright.sync_api import expect

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.charts import overlay_palette, overlay_view
from attnreport.page.overlays import overlays


def test_a_click_on_a_patch_chooses_it(page_of):
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {1 + 6 + 2: 1 + 18 + 5}), fragment="#view=overlay")
    page.locator("#overlay-live").scroll_into_view_if_needed()
    box = page.locator("#overlay-live svg image").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 50 / 120, box["y"] + box["height"] * 30 / 80)
    page.mouse.move(0, 0)
    expect(page.locator("#overlay-words")).to_contain_text("Of what “r1 c2” looks at")
    assert "query=9" in page.url
    x, y = covered_at(page, (120, 80))
    assert (x, y) == pytest.approx((110, 70), abs=1.5)


def test_who_looks_at_a_key_is_the_column(page_of):
    axis = grid_axis(120, 80, 6, 4)
    run = planted_run(axis, {1 + 7: 0})
    page = page_of(run, fragment="#view=overlay&look=from&key=0")
    expect(page.locator("#overlay-words")).to_contain_text("Who looks at “[CLS]”")
    assert covered_at(page, (120, 80)) == pytest.approx((30, 30), abs=1.5)


def test_a_picture_is_seen_first_and_its_class_token_asks(page_of):
    page = page_of(planted_run(grid_axis(120, 80, 6, 4), {0: 1 + 18 + 5}))
    expect(page.locator("#overlay-live")).to_be_visible()
    expect(page.locator("#overlay-words")).to_contain_text("Of what “[CLS]” looks at")
    assert covered_at(page, (120, 80)) == pytest.approx((110, 70), abs=1.5)
    page.get_by_role("button", name="Heatmap").click()
    expect(page.locator("#heatmap-live")).to_be_visible()
    page.reload()
    expect(page.locator("#heatmap-live")).to_be_visible()


def test_of_a_prompt_the_last_token_asks(page_of):
    picture = grid_axis(80, 80, 2, 2, prefix=("<s>",))
    words = (Position("see", span=(0, 3)), Position(":", span=(3, 4)))
    prompt = Axis("prompt", (*picture.positions, *words), "see:", picture.picture)
    page = page_of(planted_run(prompt, {6: 1}))
    expect(page.locator("#overlay-words")).to_contain_text("Of what “:” looks at")


def test_of_layers_the_last_that_looks_at_the_picture_opens(page_of):
    axis, text = grid_axis(120, 80, 6, 4), Axis.of_labels("text", ["a", "b"])
    looks = planted_run(axis, {0: 3}).attentions[0]
    even = np.full((1, 2, 2), 0.5, np.float32)
    reads = Attention(weights=even, name="reads", layer=0, kind="self", queries=text, keys=text)
    layers = [reads, looks, looks, reads]
    run = Run(tuple(replace(each, layer=layer) for layer, each in enumerate(layers)))
    expect(page_of(run).locator("#shown-title")).to_have_text("Layer 2, head 0")


def test_a_name_above_the_picture_chooses_it(page_of):
    axis = grid_axis(120, 80, 6, 4, prefix=("[CLS]", "[register 0]"))
    page = page_of(planted_run(axis, {1: 2 + 23}), fragment="#view=overlay")
    page.locator("#overlay-live .token", has_text="[register 0]").click()
    page.mouse.move(0, 0)
    words = page.locator("#overlay-words")
    expect(words).to_contain_text("Of what “[register 0]” looks at")
    assert covered_at(page, (120, 80)) == pytest.approx((110, 70), abs=1.5)


def test_keys_step_from_query_to_query(page_of):
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {0: 3}), fragment="#view=overlay&query=0&key=0")
    page.locator("#overlay-live").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#overlay-words")).to_contain_text("Of what “r0 c0” looks at")


def test_words_say_what_fell_on_the_picture(page_of):
    picture = grid_axis(80, 80, 2, 2, prefix=("[CLS]",))
    keys = Axis(
        "prompt",
        (*picture.positions, Position("cat", span=(0, 3))),
        "cat",
        picture.picture,
    )
    queries = Axis("answer", (Position("it"),))
    run = planted_run(queries, {0: 0}, keys=keys, share=0.5)
    page = page_of(run, fragment="#view=overlay&query=0")
    assert page.text_content("#overlay-words") == (
        "Of what “it” looks at, 40.0 % falls on the picture, 50.0 % on special positions and "
        "10.0 % on text. Largest patch: 0.1000; full colour stands for 0.1000."
    )


def test_each_map_can_have_its_own_scale(page_of):
    axis = grid_axis(80, 80, 4, 4)
    run = planted_run(axis, {0: 1 + 5}, share=0.2)
    page = page_of(run, fragment="#view=overlay&query=0&scale=linear")
    assert "full colour stands for 0.2000" in page.text_content("#overlay-words")
    middle = screenshot(page)
    height, width, _ = middle.shape
    seen = middle[round(height * 3 / 8), round(width * 3 / 8)]
    full = [int(overlay_palette()[254][at : at + 2], 16) for at in (1, 3, 5)]
    wanted = 0.8 * np.array(full) + 0.2 * np.array((20, 30, 60))
    assert np.abs(seen - wanted).max() <= 4


def test_patches_that_make_no_grid_are_drawn_one_by_one(page_of):
    even = grid_axis(120, 80, 6, 4)
    positions = list(even.positions)
    positions[1] = Position("cut", box=(8, 4, 20, 20))
    axis = Axis("picture", tuple(positions), picture=even.picture)
    page = page_of(planted_run(axis, {0: 1}), fragment="#view=overlay&query=0")
    assert page.locator("#overlay-live svg image").count() == 1
    assert covered_at(page, (120, 80)) == pytest.approx((14, 12), abs=1.5)


def test_a_run_without_a_picture_has_no_such_tab(page_of, run_of):
    page = page_of(run_of(), fragment="#view=overlay")
    expect(page.locator("#overlay-tab")).to_be_hidden()
    assert page.locator("[data-view=heatmap]").get_attribute("aria-pressed") == "true"
    expect(page.locator("#heatmap-live")).to_be_visible()


def test_a_layer_without_places_says_so(page_of):
    picture = grid_axis(80, 80, 2, 2)
    text = Axis.of_labels("text", ["a", "b"])
    first = planted_run(picture, {0: 1}).attentions[0]
    second = planted_run(text, {0: 1}).attentions[0]
    run = Run((first, replace(second, layer=1)))
    page = page_of(run, fragment="#layer=1&head=0&view=overlay")
    assert "No position of this layer has a place" in page.text_content("#overlay-words")
    expect(page.locator("#overlay-live svg")).to_be_hidden()


def test_the_picture_stands_in_the_page_once():
    noise = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)
    axis = grid_axis(500, 300, 5, 3, image=Image.fromarray(noise))
    other = Axis("latents", axis.positions[1:4], picture=axis.picture)
    run = planted_run(axis, {0: 1}, keys=other)
    found = overlays(run, None)
    assert [place["picture"] for place in found["places"]] == [0, 0]
    (picture,) = found["pictures"]
    assert picture["url"].startswith("data:image/jpeg;base64,")
    assert Report(run).html().count(picture["url"]) == 1


def test_a_picture_that_the_still_lacks_travels_in_the_document(page_of):
    """The page opens with a layer without places; the next one has them."""
    text, picture = Axis.of_labels("text", ["a", "b"]), grid_axis(80, 80, 2, 2)
    first = planted_run(text, {0: 1}).attentions[0]
    second = planted_run(picture, {0: 2}).attentions[0]
    run = Run((first, replace(second, layer=1)))
    page = page_of(run, fragment="#layer=1&head=0&view=overlay&query=0")
    assert covered_at(page, (80, 80)) == pytest.approx((60, 20), abs=1.5)


def test_a_jpeg_is_shown(page_of):
    noise = np.random.default_rng(0).integers(0, 255, (300, 500, 3), dtype=np.uint8)
    axis = grid_axis(500, 300, 5, 3, image=Image.fromarray(noise))
    page = page_of(planted_run(axis, {0: 8}), fragment="#view=overlay&query=0")
    assert covered_at(page, (500, 300)) == pytest.approx((250, 150), abs=40)


def test_the_chart_fits_its_schema():
    overlay_view().to_dict()


def test_without_script_the_picture_stands_still(page_of):
    axis = grid_axis(120, 80, 6, 4)
    page = page_of(planted_run(axis, {0: 1 + 9}), ready=False, java_script_enabled=False)
    still = page.locator(".still").first  # as with scripts, the picture comes before its weights
    assert "what [CLS] looks at: 99.6% of its attention falls on the picture" in still.inner_text()
    assert "full colour stands for 0.9000" in still.inner_text()
    patches = still.locator("svg path[fill]").evaluate_all(
        "nodes => nodes.map(node => [node.getAttribute('fill'), node.getBoundingClientRect()])"
        ".filter(([fill]) => fill.startsWith('#')).map(([fill, box]) => [fill, box.x, box.y])"
    )
    image = still.locator("svg image").bounding_box()
    brightest = [place for fill, *place in patches if fill == overlay_palette()[254]]
    assert len(brightest) == 1
    assert brightest[0][0] - image["x"] == pytest.approx(image["width"] * 3 / 6, abs=1.5)
    assert brightest[0][1] - image["y"] == pytest.approx(image["height"] * 1 / 4, abs=1.5)


def test_rounded_shares_are_of_a_whole_and_said_to_be_rounded(page_of):
    """Codes are rounded one by one: added up they may come to more than all there is."""
    axis = grid_axis(160, 160, 16, 16)
    weights = np.full((12, 257, 257), 1 / 257, dtype=np.float32)
    attentions = [Attention(weights, f"{n}", n, "self", axis, axis) for n in range(4)]
    page = page_of(Run(tuple(attentions)), fragment="#view=overlay&query=0")
    report = page.evaluate("JSON.parse(document.getElementById('document').textContent)")
    code = round((report["levels"] - 1) * 257**-0.5)
    assert 257 * (code / (report["levels"] - 1)) ** 2 > 1
    words = page.text_content("#overlay-words")
    assert "about 99.6 % falls on the picture, about 0.4 % on special positions" in words


def test_patches_over_each_other_are_said_to_mix(page_of):
    """Two frames of one picture, or tiles and the whole: no colour is one weight any more."""
    even = grid_axis(120, 80, 6, 4)
    for axis, mixed in ((even, False), (replace(even, positions=even.positions * 2), True)):
        page = page_of(planted_run(axis, {0: 3}), fragment="#view=overlay&query=0")
        words = page.text_content("#overlay-words")
        assert ("Here patches lie over each other, so colours mix" in words) == mixed
