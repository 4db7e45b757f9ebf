"""Joined maps in the page: their numbers, their colours, and that no one takes them for heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page_acts import (
    come_to_be_drawn,
    comes_to_be,
    document,
    drawn_codes,
    point_at,
    screen_colours,
    shown,
    weights_of_modules,
)
from playwright.sync_api import expect
from runs import small_run

from attnreport import Report
from attnreport.measures import Description, JoinedMap, joined_maps
from attnreport.page import form
from attnreport.page.joining import joined_map

OWN = Description(
    title="Relevance",
    formula="R <b>& more",
    range=(0.0, None),
    unit="nats",
    source="Somebody 2026",
    link="https://example.invalid/paper",
    reading="High means much.",
)


def own_map(run, values):
    attention = run.attentions[0]
    return JoinedMap(
        name="relevance",
        about=OWN,
        queries=attention.queries,
        keys=attention.keys,
        choice="class",
        variants=("cat", "dog")[: len(values)],
        values=np.float32(values),
        assumed=(("start", "identity"),),
        notes=("It was made for a test.",),
    )


@pytest.fixture
def page_with(page_of, monkeypatch):
    """A function that opens the page of a run with these maps and no other."""

    def open_page(run, *maps, **options):
        monkeypatch.setattr(form, "joined_maps", lambda _: maps)
        return page_of(run, **options)

    return open_page


def pick(page, title):
    page.select_option("#layer-select", label=title)
    expect(page.locator("#shown-title")).to_contain_text(title.split(" · ", maxsplit=1)[0])


@pytest.mark.parametrize("queries", [6, 128], ids=["exact", "coded"])
def test_every_map_and_variant_comes_back(queries, page_of):
    heads = {6: 2, 128: 6}[queries]
    run = small_run(layers=3, heads=heads, queries=queries)
    page = page_of(run)
    told = document(page)
    assert told["exact"] is (queries == 6)
    for place, found in enumerate(joined_maps(run)):
        for variant, values in enumerate(found.values):
            read = weights_of_modules(page, 3 + place, variant)
            roots = np.abs(np.sqrt(read) - np.sqrt(values))
            assert roots.max() <= (1e-7 if told["exact"] else 0.5 / 254 + 1e-6)
    place = 3 + len(joined_maps(run))
    for layer, attention in enumerate(run.attentions):
        read = weights_of_modules(page, place, layer)
        expected = attention.weights.astype(np.float64).mean(axis=0)
        step = 0 if told["exact"] else 0.5 / (told["levels"] - 1)
        error = (np.sqrt(expected) + step) ** 2 - expected
        assert (np.abs(read - expected) <= error + 1e-6).all()


def test_gradients_become_maps_and_what_was_differentiated_is_said(page_of):
    plain, rng = small_run(layers=2, heads=2, queries=6), np.random.default_rng(0)
    gradients = [rng.normal(0, 1, each.weights.shape).astype("f") for each in plain.attentions]
    attentions = [
        replace(each, gradient=found if each.layer else None)
        for each, found in zip(plain.attentions, gradients, strict=True)
    ]
    run = replace(plain, attentions=tuple(attentions), target="the logit of <b>")
    page = page_of(run)
    name = run.attentions[1].queries.name
    pick(page, f"Gradient × attention · {name} → {name}")
    expect(page.locator(".joined:visible")).to_contain_text("y is the logit of <b>.")
    place = int(page.input_value("#layer-select"))
    products = (gradients[1] * run.attentions[1].weights).clip(min=0).mean(axis=0)
    np.testing.assert_allclose(weights_of_modules(page, place, 0), products, atol=1e-6)
    pick(page, f"Relevance · {name} → {name}")
    assert "No gradient of the logit of <b> arrived at layer 0." in page.inner_text(".warnings")
    terms = page.locator("section[aria-labelledby=provenance-title] dl").inner_text()
    assert "differentiated\nthe logit of <b>" in terms


def test_a_map_is_drawn_like_a_head_and_said_to_be_none(page_of):
    run = small_run(layers=2, heads=2, queries=5)
    (found, *_) = joined_maps(run)
    page = page_of(run)
    assert page.locator(".joined:visible").count() == 0
    expect(page.locator("optgroup").last).to_have_attribute(
        "label", "Joined over layers, not weights of the model"
    )
    pick(page, "Attention rollout · text → text")
    page.select_option("#head-select", label="head fusion: max")
    expect(page.locator("#shown-title")).to_have_text("Attention rollout (head fusion: max)")
    expect(page.locator("#head-select")).to_have_attribute("aria-label", "head fusion")
    expect(page.locator("#leads")).to_be_hidden()
    words = page.locator(".joined:visible")
    expect(words).to_have_count(1)
    for part in (found.about.formula, found.about.source, "no weight of the model", "r = 0.5"):
        expect(words).to_contain_text(part)
    expect(words).to_contain_text("Every row adds up to 1.")
    codes = np.rint(np.sqrt(found.values[1].astype(np.float64)) * 254)
    assert np.abs(drawn_codes(page) - codes).max() <= 1
    point_at(page, 3, 2, (5, 5))
    value = found.values[1][3, 2]
    expect(page.locator("#readout-line")).to_contain_text(
        f"(key 2) have, by attention rollout, {value:.4f}"
    )
    page.select_option("#layer-select", "1")
    expect(page.locator("#leads")).to_be_visible()
    assert page.locator(".joined:visible").count() == 0


def test_steps_stay_among_heads_and_among_maps(page_of):
    run = small_run(layers=2, heads=1, queries=5)
    page = page_of(run, fragment="#layer=1")
    page.click("#next-head")
    expect(page.locator("#shown-title")).to_have_text("Layer 0, head 0")
    count = len(document(page)["maps"])
    pick(page, "Attention rollout · text → text")
    page.click("#previous-head")
    assert shown(page)["map"] == str(count - 1)
    page.click("#next-head")
    assert shown(page) == {"map": "0", "head": "0"}


def test_values_of_both_signs_have_their_own_colours(page_with):
    run = small_run(layers=2, heads=2, queries=3)
    values = [[[-2, 0, 1], [0.5, -0.5, np.nan], [2.5, 0, -2.5]]]
    page = page_with(run, own_map(run, values))
    pick(page, "Relevance · text → text")
    words = page.locator(".joined:visible")
    expect(words).to_contain_text("R <b>& more")
    expect(words).to_contain_text("no fixed largest value, in nats")
    expect(page.locator("#scale-words")).to_have_text("colour: value, from −2.5 to 2.5, √ scale")
    palette = np.frombuffer(
        bytes.fromhex(document(page)["signedPalettes"]["light"]), np.uint8
    ).reshape(-1, 3)
    shares = np.array(values[0]) / 2.5
    codes = 127 + np.rint(127 * np.sign(shares) * np.sqrt(np.abs(shares)))
    codes[np.isnan(codes)] = 255
    np.testing.assert_array_equal(drawn_codes(page), codes)
    page.select_option("#scale-select", "linear")
    linear = np.rint(127 + 127 * shares)
    linear[np.isnan(linear)] = 255
    expect(page.locator("#scale-words")).to_contain_text("linear")
    # The middle of a cell has its number, so a corner of the picture's own pixels is compared.
    assert come_to_be_drawn(page, linear)
    # Blue below 0, red above, as light as paper at 0.
    assert palette[20][2] > palette[20][0]
    assert palette[234][0] > palette[234][2]
    assert palette[127].min() > 215
    point_at(page, 0, 0, (3, 3))
    expect(page.locator("#readout-line b")).to_have_text("-2.0000")


def test_values_above_1_fill_the_scale_and_not_more(page_with):
    run = small_run(layers=2, heads=2, queries=3)
    values = np.full((2, 3, 3), 0.25)
    values[0, 1, 1], values[1, 2, 2] = 16, 64
    page = page_with(run, own_map(run, values))
    pick(page, "Relevance · text → text")
    expect(page.locator("#scale-words")).to_have_text("colour: value, from 0 to 64, √ scale")
    codes = np.rint(254 * np.sqrt(values / 64))
    assert np.abs(drawn_codes(page) - codes[0]).max() <= 1
    expect(page.locator("#colourbar text").last).to_have_text("64")
    page.select_option("#head-select", label="class: dog")
    expect(page.locator("#shown-title")).to_have_text("Relevance (class: dog)")
    assert comes_to_be(lambda: drawn_codes(page)[2, 2], 254) == 254
    bars = page.eval_on_selector_all("#readout-top .bar", "(all) => all.map((b) => b.style.width)")
    assert max(float(width.removesuffix("%")) for width in bars) <= 100


def test_arrows_tell_the_signs_apart(page_with):
    run = small_run(layers=2, heads=2, queries=3)
    page = page_with(run, own_map(run, [[[-2, 0, 1], [0, 0, 0], [0, 0, -1]]]))
    pick(page, "Relevance · text → text")
    page.click("[data-view=arrows]")
    expect(page.locator("#arrows-legend")).to_have_text("above 0 below 0 ")
    expect(page.locator("#arrows-words")).to_contain_text("3 strongest links, down to 1.000")


def test_other_views_draw_maps(page_of):
    run = small_run(layers=2, heads=2, queries=5)
    (found, *_) = joined_maps(run)
    page = page_of(run)
    pick(page, "Attention rollout · text → text")
    page.click("[data-view=text]")
    page.click("#text-live .flow >> nth=0 >> .token >> nth=2")
    expected = np.rint(np.sqrt(found.values[0][2]) * 254).astype(int)
    told = document(page)["palettes"]["light"]
    colours = [tuple(bytes.fromhex(told[code * 6 : code * 6 + 6])) for code in expected]
    drawn = page.eval_on_selector_all(
        "#text-live .flow:last-child .token", "(all) => all.map((t) => t.style.backgroundColor)"
    )
    assert drawn == [f"rgb{colour}" for colour in colours]


def test_a_page_that_joins_positions_joins_those_of_maps_too():
    run = small_run(layers=2, heads=2, queries=256)
    (found, *_) = joined_maps(run)
    starts = [0, *range(1, 256, 4)]  # [CLS] stays alone, then four each and three at the end
    expected = np.add.reduceat(np.add.reduceat(found.values, starts, axis=2), starts, axis=1)
    expected /= np.diff([*starts, 256])[:, None]
    joined = joined_map(found, 4)
    np.testing.assert_allclose(joined.values, expected, atol=1e-6)
    np.testing.assert_allclose(joined.values.sum(axis=2), 1, atol=1e-5)
    report = Report(run, max_size=640_000)
    assert any(
        "neighbouring positions of a kind were joined" in words for words in report.reductions
    )


def test_dark_maps_begin_at_the_dark(page_with):
    run = small_run(layers=2, heads=1, queries=3)
    page = page_with(run, own_map(run, np.eye(3)[None] - 0.5), color_scheme="dark")
    pick(page, "Relevance · text → text")
    codes = (np.eye(3) * 254).astype(int).tolist()
    assert comes_to_be(lambda: drawn_codes(page).tolist(), codes) == codes
    colours = screen_colours(page, 3, 3)
    assert colours[0, 0].tolist() != colours[0, 1].tolist()
