"""Head scores in the overview: sorted pictures, a chart of layers × heads, and a filter."""

from __future__ import annotations

import numpy as np
import pytest
from page_acts import comes_to_rest, document
from playwright.sync_api import expect
from runs import small_run

from attnreport.measures import all_head_scores

_PIXELS = """async () => {
  const image = new Image();
  image.src = document.querySelector("#overview-live svg image").getAttribute("href");
  await image.decode();
  const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
  return [height, width, Array.from(data)];
}"""


def chart_of(page):
    """The chart's pixels once it is drawn: (row, column, rgba)."""
    height, width, values = comes_to_rest(lambda: page.evaluate(_PIXELS), pause=0.2)
    return np.array(values).reshape(height, width, 4)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_head_has_the_colour_of_its_score(theme, page_of):
    run = small_run()
    page = page_of(run, color_scheme=theme)
    page.select_option("#sort-select", "previous_token")
    page.select_option("#tiles-select", "chart")
    expect(page.locator("#score-bar")).to_be_visible()
    palette = bytes.fromhex(document(page)["palettes"][theme])
    drawn = chart_of(page)
    scores = run.measure("previous_token").array
    # Behind every layer's heads stands their mean.
    scores = np.column_stack([scores, scores.mean(axis=1)])
    assert drawn.shape[:2] == scores.shape
    for place, score in np.ndenumerate(scores):
        code = round(float(score) * 253)
        wanted = palette[3 * code : 3 * code + 3]
        assert np.abs(drawn[place][:3] - list(wanted)).max() <= 6, place
        assert drawn[place][3] == 255
    texts = page.locator("#overview-live svg").text_content()
    for score in (scores[1, 1], scores[1, -1]):
        assert f"{score:.2f}".removeprefix("0") in texts
    box = page.locator("#overview-live svg image").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4)
    expect(page.locator("#shown-title")).to_have_text(
        f"Mean of the heads (layer: {len(run.attentions) - 1})"
    )


def test_the_filter_leaves_out_smaller_scores_and_says_how_many(page_of):
    run = small_run()
    scores = run.measure("previous_token").array
    bound = round(100 * float(np.sort(scores, axis=None)[-2])) - 1
    kept = int((scores >= bound / 100).sum())
    assert 0 < kept < scores.size
    page = page_of(run, fragment=f"#sort=previous_token&tiles=chart&atLeast={bound}")
    expect(page.locator("#kept-words")).to_have_text(f"{kept} of {scores.size} heads")
    with_means = np.column_stack([scores, scores.mean(axis=1)])
    assert (chart_of(page)[..., 3] == 255).tolist() == (with_means >= bound / 100).tolist()
    page.select_option("#tiles-select", "sorted")
    expect(page.locator("#overview-live .mark-text.role-mark text")).to_have_count(kept)
    page.locator("#atLeast").fill("0")
    expect(page.locator("#overview-live .mark-text.role-mark text")).to_have_count(scores.size)
    expect(page.locator("#kept-words")).to_have_text("")


def test_the_mean_of_every_layer_stands_behind_its_heads(page_of):
    run = small_run()
    page = page_of(run, color_scheme="light")
    layers, heads = len(run.attentions), run.attentions[0].heads
    palette = np.frombuffer(bytes.fromhex(document(page)["palettes"]["light"]), np.uint8)
    drawn = chart_of(page)[..., :3]
    side = drawn.shape[0] // layers
    assert drawn.shape[1] == (heads + 1) * side
    for layer, attention in enumerate(run.attentions):
        mean = attention.weights.astype(np.float64).mean(axis=0)
        tile = drawn[layer * side : (layer + 1) * side, heads * side :]
        largest = palette.reshape(-1, 3)[round(254 * np.sqrt(mean.max()))]
        # Somewhere in it is the colour of the largest mean, and nowhere a darker one.
        assert np.abs(tile.astype(int) - largest).max(axis=2).min() <= 6
        assert tile.sum(axis=2).min() >= int(largest.astype(int).sum()) - 18
    box = page.locator("#overview-live svg image").bounding_box()
    one = box["width"] / (heads + 1)
    page.mouse.click(box["x"] + (heads + 0.5) * one, box["y"] + 1.5 * one)
    expect(page.locator("#shown-title")).to_have_text("Mean of the heads (layer: 1)")
    page.mouse.move(box["x"] + (heads + 0.5) * one, box["y"] + 0.5 * one)
    expect(page.locator("#overview-live")).to_have_attribute(
        "title", "Mean of the heads (layer: 0)"
    )
    page.focus("#overview-live")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#shown-title")).to_have_text(f"Layer 1, head {heads - 1}")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(page.locator("#shown-title")).to_have_text("Mean of the heads (layer: 0)")


def test_without_a_measure_there_is_nothing_to_chart_or_filter(page_of):
    page = page_of(small_run())
    for name in ("tiles-label", "atLeast-label", "score-bar"):
        assert not page.locator(f"#{name}").is_visible()


def test_only_measures_that_say_something_of_a_head_can_be_chosen(page_of):
    choices = (
        page_of(small_run())
        .locator("#sort-select option")
        .evaluate_all("all => all.map(({ value }) => value)")
    )
    scores = all_head_scores(small_run())
    told = [name for name, found in scores.items() if np.isfinite(found.array).any()]
    assert choices == ["layer", *told]
    assert "image_share" in scores.keys() - set(told)


@pytest.mark.parametrize("width", [1440, 390])
def test_no_label_gives_way_to_the_mean_or_touches_it(width, page_of):
    page = page_of(small_run(heads=12), viewport={"width": width, "height": 900})
    labels = page.locator("#overview-live svg text").evaluate_all(
        "all => all.map(one => [one.textContent, one.getBoundingClientRect().toJSON()])"
    )
    columns = [(text, box) for text, box in labels if not text.startswith("layer")]
    assert [text for text, _ in columns] == [*map(str, range(12)), "mean"]
    lefts = [box["left"] for _, box in columns[1:]]
    assert all(box["right"] + 1 <= left for (_, box), left in zip(columns, lefts, strict=False))
    sideways = "({ scrollWidth, clientWidth }) => scrollWidth - clientWidth"
    assert page.locator("#overview-live").evaluate(sideways) == 0
