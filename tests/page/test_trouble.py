"""What is wrong with a run is said first and shown plainly: NaN, missed layers, unchecked ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from page_acts import drawn_codes, palette_of, point_at, screen_colours
from playwright.sync_api import expect
from runs import small_run

from attnreport import LedgerEntry, Run

NONFINITE = {"light": (0xC2, 0x18, 0x5B), "dark": (0xFF, 0x5C, 0x9A)}


def with_nonfinite(run):
    """The run with a NaN and two infinities in head 0 of layer 0."""
    weights = run.attentions[0].weights.copy()
    weights[0, 1, 2], weights[0, 3, 0], weights[0, 4, 4] = np.nan, np.inf, -np.inf
    return replace(run, attentions=(replace(run.attentions[0], weights=weights),))


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("queries", [5, 300])  # with the exact weights in the page, and without
def test_nonfinite_weights_have_a_colour_of_their_own(theme, queries, page_of):
    run = with_nonfinite(small_run(layers=1, heads=3, queries=queries))
    page = page_of(run, color_scheme=theme, viewport={"width": 1700, "height": 1500})
    codes = drawn_codes(page)
    last = len(palette_of(page, theme)) - 1
    assert tuple(palette_of(page, theme)[last]) == NONFINITE[theme]
    assert {tuple(place) for place in np.argwhere(codes == last)} == {(1, 2), (3, 0), (4, 4)}
    if queries == 5:
        return  # numbers stand in the middle of cells that large
    colours = screen_colours(page, queries, queries)
    for place in [(1, 2), (3, 0), (4, 4)]:
        assert np.abs(colours[place].astype(int) - NONFINITE[theme]).max() <= 2


def test_nonfinite_weights_are_counted_in_a_warning(page_of):
    page = page_of(with_nonfinite(small_run(layers=1)))
    warning = page.inner_text(".warnings")
    assert "3 weights of layer 0 (encoder.layer.0.attention) are NaN or infinite." in warning
    assert page.is_visible(".nonfinite-key")


def test_nonfinite_weights_are_read_out_as_such(page_of):
    page = page_of(with_nonfinite(small_run(layers=1)))
    for query, key, words in [(1, 2, "weight NaN."), (3, 0, "weight infinite")]:
        point_at(page, query, key, (5, 5))
        expect(page.locator("#readout-line")).to_contain_text(words)


def test_still_picture_shows_nonfinite_weights_too(page_of):
    page = page_of(with_nonfinite(small_run(layers=1)), java_script_enabled=False, ready=False)
    still = page.inner_html("#heatmap-still").lower()
    assert still.count("#c2185b") == 3


def test_finite_run_warns_of_nothing(page_of):
    page = page_of(small_run())
    assert page.locator(".warnings").count() == 0
    assert page.locator(".nonfinite-key").count() == 0
    assert "no attention missed" in page.inner_text(".facts")


def test_missed_attention_raises_a_banner_and_opens_the_ledger(page_of):
    run = small_run()
    missed = LedgerEntry("decoder.flash", "flash_attn", reason="no recorder reads this kernel")
    page = page_of(Run(run.attentions, (*run.ledger, missed), run.provenance))
    assert "1 of 3 attention computations could not be captured." in page.inner_text(".warnings")
    assert page.locator("details[open] .missed").count() == 1
    row = page.inner_text(".missed")
    for words in ("not captured", "decoder.flash", "flash_attn", "no recorder reads this kernel"):
        assert words in row
    assert "no attention missed" not in page.inner_text(".facts")


def test_whole_ledger_stays_closed(page_of):
    page = page_of(small_run())
    assert page.locator("[aria-labelledby=ledger-title] details[open]").count() == 0
    assert "2 computations captured, 0 not" in page.inner_text("main")


@pytest.mark.parametrize(
    ("residual", "words"),
    [
        (0.25, "miss its own output by 2.5e-01 (expected at most 1e-05)"),
        (None, "could not be checked against its output"),
        (float("nan"), "miss its own output by nan"),
    ],
)
def test_layer_that_fails_its_check_is_warned_about(residual, words, page_of):
    run = small_run(layers=1)
    bad = replace(run.attentions[0], residual=residual)
    page = page_of(replace(run, attentions=(bad,)))
    assert words in page.inner_text(".warnings")
    assert "every layer checked" not in page.inner_text(".facts")


def test_layers_with_one_fault_are_warned_about_in_one_sentence(page_of):
    run = small_run(layers=7)
    residuals = (None, None, None, 0.25, 1e-7, 0.5, None)
    layers = tuple(
        replace(each, residual=residual)
        for each, residual in zip(run.attentions, residuals, strict=True)
    )
    page = page_of(replace(run, attentions=layers))
    warnings = page.locator(".warnings p")
    assert warnings.count() == 2
    assert "layers 3, 5 miss their own outputs, layer 5 by 5.0e-01" in warnings.nth(0).inner_text()
    unchecked = "layers 0–2, 6 could not be checked against their outputs"
    assert unchecked in warnings.nth(1).inner_text()


def test_nonfinite_weights_of_several_layers_are_counted_together(page_of):
    run = small_run(layers=2)
    both = tuple(
        replace(with_nonfinite(small_run(layers=1)).attentions[0], layer=layer, name=each.name)
        for layer, each in enumerate(run.attentions)
    )
    page = page_of(replace(run, attentions=both))
    assert "6 weights of layers 0–1 are NaN or infinite." in page.inner_text(".warnings")
