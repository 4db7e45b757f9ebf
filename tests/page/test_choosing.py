"""Choosing heads, layers and cells, by mouse, keys and address; the words follow."""

from __future__ import annotations

import re

import numpy as np
import pytest
from page_acts import come_to_be_drawn, point_at, shown
from playwright.sync_api import expect
from runs import small_run

from attnreport import Attention, Axis, Run


def expect_head(page, run, layer, head):
    """The page shows this head everywhere: caption, pickers, picture and table."""
    weights = run.attentions[layer].weights[head]
    expect(page.locator("#shown-title")).to_have_text(f"Layer {layer}, head {head}")
    expect(page.locator("#layer-select")).to_have_value(str(layer))
    expect(page.locator("#head-select")).to_have_value(str(head))
    expect(page.locator("#links-caption")).to_have_text(f"layer {layer}, head {head}")
    first = page.locator("#links-body tr").last.locator("td").first
    expect(first).to_have_text(re.compile(f" {weights[-1].max():.4f}$"))
    expect(page.locator("html")).to_have_attribute("data-ready", "true")
    codes = np.rint(np.sqrt(weights.astype(np.float64)) * 254)
    assert come_to_be_drawn(page, codes)


def readout(run, layer, head, query, key):
    """The sentence that the page must say of a cell."""
    attention = run.attentions[layer]
    row = attention.weights[head, query]
    rank = 1 + int((row > row[key]).sum())
    endings = {1: "the most", 2: "2nd", 3: "3rd"}
    weight = "< 0.0001" if 0 < row[key] < 0.0001 else f"{row[key]:.4f}"
    return (
        f"{attention.queries.labels[query]} (query {query}) looks at "
        f"{attention.keys.labels[key]} (key {key}) with weight {weight}, "
        f"{endings.get(rank, f'{rank}th')} of {len(row)} keys."
    )


def test_every_head_can_be_picked(page_of):
    run = small_run(layers=2, heads=3)
    page = page_of(run)
    expect_head(page, run, 0, 0)
    for layer in range(2):
        page.select_option("#layer-select", str(layer))
        for head in range(3):
            page.select_option("#head-select", str(head))
            expect_head(page, run, layer, head)
            assert shown(page) == {"layer": str(layer), "head": str(head)}


def test_buttons_and_brackets_step_over_the_ends_of_layers(page_of):
    run = small_run(layers=2, heads=2)
    page = page_of(run)
    for layer, head in [(0, 1), (1, 0), (1, 1), (0, 0)]:
        page.click("#next-head")
        expect_head(page, run, layer, head)
    for layer, head in [(1, 1), (1, 0), (0, 1), (0, 0)]:
        page.keyboard.press("[")
        expect_head(page, run, layer, head)
    page.keyboard.press("]")
    expect_head(page, run, 0, 1)
    page.click("#previous-head")
    expect_head(page, run, 0, 0)


@pytest.mark.parametrize("pause", [0, 25, 60, 120])
def test_quick_steps_end_where_the_last_one_leads(pause, page_of):
    run = small_run(layers=2, heads=6)
    page = page_of(run)
    for _ in range(9):
        page.keyboard.press("]")
        page.wait_for_timeout(pause)
    page.wait_for_timeout(1500)  # an overtaken step that ends late would draw over the last one
    expect_head(page, run, 1, 3)


@pytest.mark.parametrize(
    ("fragment", "layer", "head"),
    [
        ("#layer=1&head=2", 1, 2),
        ("#head=1", 0, 1),
        ("#layer=1", 1, 0),
        ("#layer=2&head=3", 0, 0),
        ("#layer=-1&head=1e0", 0, 0),
        ("#layer=1.5&head=0x1", 0, 0),
        ("#layer=99999999999999999999&head=", 0, 0),
        ("#%%%&layer&=&__proto__=1", 0, 0),
        ("#layer=1&layer=0&head=1", 1, 1),
        ("#<img src=x onerror=alert(1)>", 0, 0),
    ],
)
def test_address_is_restored_and_nonsense_is_as_if_absent(fragment, layer, head, page_of):
    run = small_run(layers=2, heads=3)
    expect_head(page_of(run, fragment=fragment), run, layer, head)


def test_cell_in_the_address_is_restored(page_of):
    run = small_run()
    page = page_of(run, fragment="#layer=1&head=2&query=3&key=1")
    expect(page.locator("#readout-line")).to_have_text(readout(run, 1, 2, 3, 1))


def test_cell_out_of_range_in_the_address_is_no_cell(page_of):
    page = page_of(small_run(), fragment="#query=5&key=0")
    expect(page.locator("#readout-line")).not_to_contain_text("with weight")


def test_changed_address_is_followed(page_of):
    run = small_run()
    page = page_of(run)
    page.evaluate("location.hash = '#layer=1&head=1'")
    expect_head(page, run, 1, 1)


def test_hover_tells_the_exact_weight(page_of):
    run = small_run(queries=5)
    page = page_of(run)
    for query in range(5):
        for key in range(5):
            point_at(page, query, key, (5, 5))
            expect(page.locator("#readout-line")).to_have_text(readout(run, 0, 0, query, key))
    page.mouse.move(1, 1)
    expect(page.locator("#readout-line")).not_to_contain_text("with weight")


def test_hover_tells_a_coded_weight_with_its_error(page_of):
    run = small_run(layers=2, heads=4, queries=192)
    page = page_of(run)
    for query, key in [(0, 0), (100, 7), (191, 191), (3, 180)]:
        point_at(page, query, key, (192, 192))
        expect(page.locator("#readout-line")).to_contain_text(f"(query {query})")
        expect(page.locator("#readout-line")).to_contain_text(f"(key {key})")
        stated, error = map(float, page.inner_text("#readout-line b").split(" ± "))
        true = float(run.attentions[0].weights[0, query, key])
        assert abs(stated - true) <= error * 1.05 + 1e-6


def test_click_keeps_a_cell_and_escape_lets_it_go(page_of):
    run = small_run()
    page = page_of(run)
    point_at(page, 2, 4, (5, 5), click=True)
    assert shown(page) == {"layer": "0", "head": "0", "query": "2", "key": "4"}
    point_at(page, 0, 0, (5, 5))
    page.mouse.move(1, 1)
    expect(page.locator("#readout-line")).to_have_text(readout(run, 0, 0, 2, 4))
    page.focus("#heatmap-live")
    page.keyboard.press("Escape")
    expect(page.locator("#readout-line")).not_to_contain_text("with weight")
    assert shown(page) == {"layer": "0", "head": "0"}


def test_arrow_keys_walk_and_stop_at_the_edges(page_of):
    run = small_run(layers=1, heads=1, queries=3, keys=4)
    page = page_of(run)
    page.focus("#heatmap-live")
    walk = [
        ("ArrowDown", 0, 0),  # the first key only says where one is
        ("ArrowDown", 1, 0),
        ("ArrowRight", 1, 1),
        ("End", 1, 3),
        ("ArrowRight", 1, 3),
        ("PageDown", 2, 3),
        ("ArrowDown", 2, 3),
        ("ArrowUp", 1, 3),
        ("Home", 1, 0),
        ("ArrowLeft", 1, 0),
        ("PageUp", 0, 0),
        ("ArrowUp", 0, 0),
    ]
    for press, query, key in walk:
        page.keyboard.press(press)
        expect(page.locator("#readout-line")).to_have_text(readout(run, 0, 0, query, key))
        assert (shown(page)["query"], shown(page)["key"]) == (str(query), str(key))


def test_pinned_cell_stays_with_the_next_head(page_of):
    run = small_run()
    page = page_of(run)
    point_at(page, 1, 2, (5, 5), click=True)
    page.mouse.move(1, 1)
    page.keyboard.press("]")
    expect(page.locator("#readout-line")).to_have_text(readout(run, 0, 1, 1, 2))


def test_choices_of_another_layer_that_has_fewer_heads(page_of):
    from dataclasses import replace  # noqa: PLC0415

    run = small_run(layers=2, heads=4)
    narrow = replace(
        run.attentions[1], weights=run.attentions[1].weights[:1].copy(), head_numbers=(0,)
    )
    run = replace(run, attentions=(run.attentions[0], narrow))
    page = page_of(run, fragment="#head=3")
    page.select_option("#layer-select", "1")
    expect_head(page, run, 1, 0)


def test_a_head_that_stands_out_says_why_where_it_is_shown(page_of):
    # Head 1 looks at the position before it, head 0 evenly at all.
    before = np.eye(8, k=-1, dtype=np.float32)
    before[0, 0] = 1
    weights = np.stack([np.full((8, 8), 1 / 8, np.float32), before])
    axis = Axis.of_labels("text", [f"t{at}" for at in range(8)])
    page = page_of(Run((Attention(weights, "layer", 0, "self", axis, axis, residual=0.0),)))
    page.locator(".notable a", has_text="head 1 attends to the previous token").click()
    expect(page.locator("#shown-title")).to_have_text("Layer 0, head 1")
    expect(page.locator("#worth")).to_have_text(
        "layer 0 head 1 attends to the previous token, 1.00 of its weight."
    )
    assert page.inner_text(".notable [aria-current]").startswith("layer 0 head 1")
    page.select_option("#head-select", "0,1")
    expect(page.locator("#worth")).to_be_hidden()
    assert page.locator(".notable [aria-current]").count() == 0


def test_only_what_is_kept_can_be_hidden(page_of):
    page = page_of(small_run())
    buttons = page.locator("#hide-query"), page.locator("#hide-key")
    for button in buttons:
        expect(button).to_be_hidden()
    point_at(page, 1, 2, (5, 5), click=True)
    for button in buttons:
        expect(button).to_be_visible()
    buttons[1].click()
    expect(page.locator("#hidden-words")).to_contain_text("Not shown: 1 of 5 keys")
    for button in buttons:
        expect(button).to_be_hidden()
