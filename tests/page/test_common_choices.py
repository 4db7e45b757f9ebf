"""What all views share: hidden sinks, rows scaled to 1, order, finding, zoom; and their errors."""

from __future__ import annotations

import re

import numpy as np
import pytest
from page_acts import IMAGE, document, drawn_codes, point_at, shown, templates
from playwright.sync_api import expect
from runs import small_run, softmax

from attnreport import Attention, Axis, Position, Run
from attnreport.page.scripts import joined


def labels_beside(page, run):
    """The names of the shown queries, from the top."""
    texts = page.locator("#heatmap-live svg text").all_text_contents()
    names = set(run.attentions[0].queries.labels)
    return [text for text in texts if text in names]


def test_hidden_sinks_leave_the_rest_as_it_is(page_of):
    run = small_run(queries=6)
    page = page_of(run, fragment="#sinks=hidden")
    words = page.inner_text("#hidden-words")
    share = run.attentions[0].weights[0][:, 0].sum() / 6
    assert f"1 of 6 keys, with {share * 100:.1f} % of the weight" in words
    assert "What is left is not scaled up" in words
    codes = np.rint(np.sqrt(run.attentions[0].weights[0][:, 1:].astype(np.float64)) * 254)
    assert np.abs(drawn_codes(page) - codes).max() <= 1


def test_shares_of_rounded_weights_are_told_as_such(page_of):
    page = page_of(small_run(layers=2, heads=4, queries=192), fragment="#sinks=hidden")
    assert re.search(r"with about \d+\.\d % of the weight", page.inner_text("#hidden-words"))
    page.click("[data-view=arrows]")
    words = page.locator("#arrows-words")
    expect(words).to_have_text(re.compile(r"down to about 0\.\d+: about \d+\.\d % of all weight"))


def test_rows_are_scaled_to_one_only_when_asked(page_of):
    run = small_run(queries=6)
    page = page_of(run, fragment="#sinks=hidden")
    page.select_option("#rescale-select", "on")
    expect(page.locator("#hidden-words")).to_contain_text("scaled to add up to 1")
    left = run.attentions[0].weights[0][:, 1:].astype(np.float64)
    scaled = left / left.sum(axis=1, keepdims=True)
    assert np.abs(drawn_codes(page) - np.rint(np.sqrt(scaled) * 254)).max() <= 1
    point_at(page, 3, 1, (6, 5))
    expect(page.locator("#readout-line b")).to_have_text(f"{scaled[3, 1]:.4f}")
    assert shown(page)["rescale"] == "on"
    page.select_option("#sinks-select", "shown")
    expect(page.locator("#rescale-label")).to_be_hidden()
    expect(page.locator("#hidden-words")).to_have_text("")


_SCENE = """async ([fragment, shapes]) => {
  %s
  const report = readJson("document");
  const choices = { views: ["heatmap"], sorts: ["layer"] };
  const state = stateOfHash(fragment, shapes, choices, { layer: 0, heads: [0] });
  const { base, errorAt } = await sceneOf(new Weights(report), state, "light");
  return [Array.from(base.values), Array.from(base.values, (_, index) => errorAt(index))];
}"""


def words_of(length):
    """An axis whose words have one to three tokens."""
    text, positions = "", []
    for index in range(length):
        text += " " if index % 3 == 0 else ""
        positions.append(Position("x", span=(len(text), len(text) + 1)))
        text += "x"
    return Axis("text", tuple(positions), text)


@pytest.mark.parametrize("choice", ["unit=words", "sinks=hidden&rescale=on", "head=0,1,2"])
def test_stated_errors_cover_what_was_made_of_coded_weights(choice, page_of, tmp_path):
    axis = words_of(186)
    weights = softmax((8, 186, 186), 3)
    run = Run((Attention(weights, "a", 0, "self", axis, axis),))
    page = page_of(run)
    assert not document(page)["exact"]
    entry = tmp_path / "entry.js"
    modules = templates() / "js"
    for path in modules.glob("*.js"):
        (tmp_path / path.name).write_text(path.read_text("utf-8"), "utf-8")
    entry.write_text(
        "// @ts-check\n"
        'import { sceneOf } from "./scene.js";\n'
        'import { stateOfHash } from "./state.js";\n'
        'import { Weights } from "./weights.js";\n'
    )
    shapes = [{"heads": 8, "queries": 186, "keys": 186}]
    values, errors = page.evaluate(_SCENE % joined(entry), [f"#{choice}", shapes])
    true = expected(weights.astype(np.float64), choice)
    off = np.abs(np.array(values).reshape(true.shape) - true)
    stated = np.array(errors).reshape(true.shape)
    assert (off <= stated + 1e-6).all()
    assert stated.max() < 0.2
    assert off.max() > stated.mean() / 20  # a bound that is far from every error tells nothing


def expected(weights, choice):
    if choice == "unit=words":
        summed = weights[0].reshape(186, 62, 3).sum(axis=2)
        return summed.reshape(62, 3, 62).mean(axis=1)
    if choice == "head=0,1,2":
        return weights[:3].mean(axis=0)
    left = weights[0].copy()
    left[:, 0] = 0
    return left / left.sum(axis=1, keepdims=True)


def test_what_was_hidden_by_hand_comes_back_one_by_one(page_of):
    page = page_of(small_run(queries=6), fragment="#hideKeys=1,3&hideQueries=2")
    names = page.locator("#hidden-names button")
    assert names.all_text_contents() == ["t2 ↩", "t1 ↩", "t3 ↩"]
    names.nth(1).click()
    expect(names).to_have_count(2)
    assert (shown(page)["hideKeys"], shown(page)["hideQueries"]) == ("3", "2")
    page.click("#show-all")
    expect(names).to_have_count(0)
    assert set(shown(page)) == {"layer", "head"}


def test_queries_in_order_of_their_largest_weight(page_of):
    run = small_run(queries=6)
    page = page_of(run, fragment="#rowOrder=focus")
    order = np.argsort(-run.attentions[0].weights[0].max(axis=1), kind="stable")
    names = [run.attentions[0].queries.labels[query] for query in order]
    assert [name for name in labels_beside(page, run) if name in names][-6:] == names


def test_find_goes_from_one_to_the_next_and_back(page_of):
    labels = ["a cat", "dog", "Cat", "bird", "concat"]
    axis = Axis.of_labels("text", labels)
    page = page_of(Run((Attention(softmax((1, 5, 5), 0), "a", 0, "self", axis, axis),)))
    page.keyboard.press("/")
    page.keyboard.type("cat")
    found = page.locator("#found-words")
    expect(found).to_have_text("query 1 of 3")
    for press, place, query in [
        ("Enter", 2, 2),
        ("Enter", 3, 4),
        ("Enter", 1, 0),
        ("Shift+Enter", 3, 4),
    ]:
        page.keyboard.press(press)
        expect(found).to_have_text(f"query {place} of 3")
        assert shown(page)["query"] == str(query)
    page.keyboard.type("x")
    expect(found).to_have_text("Not found among what is shown.")


def test_zoom_by_frame_wheel_keys_and_back(browser, page_of):
    page = page_of(small_run(queries=20))
    box = page.locator(IMAGE).bounding_box()
    cell = box["width"] / 20
    page.mouse.move(box["x"] + 4.5 * cell, box["y"] + 2.5 * cell)
    page.mouse.down()
    page.mouse.move(box["x"] + 11.5 * cell, box["y"] + 9.5 * cell)
    page.mouse.up()
    expect(page.locator("#zoom-words")).to_have_text("8 of 20 × 8 of 20")
    assert (shown(page)["rows"], shown(page)["columns"]) == ("2-9", "4-11")
    assert "query" not in shown(page)  # the drag kept no cell
    page.focus("#heatmap-live")
    page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    assert (shown(page)["rows"], shown(page)["columns"]) == ("3-10", "3-10")
    page.click("#zoom-reset")
    expect(page.locator("#zoom-words")).to_have_text("")
    page.mouse.move(box["x"] + 0.5 * cell, box["y"] + 0.5 * cell)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    expect(page.locator("#zoom-words")).to_have_text("16 of 20 × 16 of 20")
    assert shown(page)["rows"] == "0-15"  # at the pointer, which was in the corner
    browser.double_click(page, box["x"] + 0.5 * cell, box["y"] + 0.5 * cell)
    expect(page.locator("#zoom-words")).to_have_text("")


def test_two_fingers_zoom(browser, page_of):
    page = page_of(small_run(queries=20), has_touch=True)
    box = page.locator(IMAGE).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    browser.touch(page, "start", [(x - 30, y), (x + 30, y)])
    for apart in range(35, 100, 5):
        browser.touch(page, "move", [(x - apart, y), (x + apart, y)])
        page.wait_for_timeout(30)
    browser.touch(page, "end", [])
    expect(page.locator("#zoom-words")).not_to_have_text("")
    first, last = map(int, shown(page)["rows"].split("-"))
    assert last - first + 1 < 16


def test_fingers_zoom_between_them_and_one_moves_the_picture(browser, page_of):
    page = page_of(small_run(queries=20), has_touch=True)
    box = page.locator(IMAGE).bounding_box()

    def touch(kind, *points):
        places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        browser.touch(page, kind, places)
        page.wait_for_timeout(40)

    # In the upper right corner, where both windows then lie.
    touch("start", (0.85, 0.1), (0.95, 0.1))
    for apart in (0.06, 0.07, 0.08, 0.09):
        touch("move", (0.9 - apart, 0.1), (0.9 + apart, 0.1))
    touch("end")
    expect(page.locator("#heatmap-live")).to_have_attribute("data-zoomed", "")
    rows, columns = (list(map(int, shown(page)[side].split("-"))) for side in ("rows", "columns"))
    assert rows[0] < 4
    assert columns[1] > 15
    size = rows[1] - rows[0] + 1
    assert size < 16

    box = page.locator(IMAGE).bounding_box()
    before = page.evaluate("scrollY")
    touch("start", (0.5, 0.7))
    for step in range(1, 5):
        touch("move", (0.5 + step / 10, 0.7 - step / 10))
    touch("end")
    moved = round(0.4 * size)
    expect(page.locator("#zoom-words")).to_have_text(f"{size} of 20 × {size} of 20")
    after = [list(map(int, shown(page)[side].split("-"))) for side in ("rows", "columns")]
    assert abs(after[0][0] - rows[0] - moved) <= 1
    assert abs(columns[0] - after[1][0] - moved) <= 1
    assert page.evaluate("scrollY") == before
    assert "query" not in shown(page)


def test_every_choice_is_restored_from_the_address(page_of):
    page = page_of(small_run(layers=1, heads=4, queries=9))
    page.select_option("#head-select", "0,1,2,3")
    for name, value in [
        ("combine", "max"), ("scale", "log"), ("range", "row"), ("sinks", "hidden"),
        ("rescale", "on"), ("order", "weight"), ("rowOrder", "focus"),
    ]:  # fmt: skip
        page.select_option(f"#{name}-select", value)
        expect(page.locator(f"#{name}-select")).to_have_value(value)
    again = page_of(
        small_run(layers=1, heads=4, queries=9), fragment=page.evaluate("location.hash")
    )
    assert shown(again) == shown(page)
    np.testing.assert_array_equal(drawn_codes(again), drawn_codes(page))
