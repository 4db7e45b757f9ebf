"""The page holds the weights: in its bytes, in its modules, and on the screen."""

from __future__ import annotations

import numpy as np
import pytest
from page_acts import (
    document,
    drawn_codes,
    packed_codes,
    packed_exact,
    palette_of,
    screen_colours,
    weights_of_modules,
)
from runs import small_run

LARGE = {"layers": 2, "heads": 4, "queries": 192}  # more than a page carries exactly
CASES = {
    "small": {"layers": 2, "heads": 3, "queries": 5},
    "causal": {"layers": 1, "heads": 2, "queries": 40, "causal": True},
    "cross": {"layers": 2, "heads": 2, "queries": 3, "keys": 17},
    "one cell": {"layers": 1, "heads": 1, "queries": 1},
    "large": LARGE,
    "large causal": {**LARGE, "causal": True},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_head_comes_back(case, page_of):
    run = small_run(**case)
    page = page_of(run)
    levels, exact = document(page)["levels"], document(page)["exact"]
    assert exact is (case["layers"] * case["heads"] * case["queries"] ** 2 * 4 < 1 << 20)
    for attention in run.attentions:
        if exact:
            stored = packed_exact(page, attention.layer, attention.weights.shape)
            np.testing.assert_array_equal(stored, attention.weights)
        for head, weights in enumerate(attention.weights):
            codes = packed_codes(page, attention.layer, head, weights.shape)
            roots = np.sqrt(weights.astype(np.float64))
            # The stated error: half a step in √w.
            assert np.abs(codes / (levels - 1) - roots).max() <= 0.5 / (levels - 1) + 1e-7
            read = weights_of_modules(page, attention.layer, head)
            if exact:
                np.testing.assert_array_equal(read, weights)
            else:
                decoded = (codes / (levels - 1)) ** 2
                np.testing.assert_allclose(read, decoded, rtol=1e-6, atol=1e-9)


def test_large_page_states_its_error(page_of):
    page = page_of(small_run(**LARGE))
    levels = document(page)["levels"]
    assert f"a code of {levels} steps" in page.text_content(".how")
    assert f"± {0.5 / (levels - 1):.4f}" in page.text_content(".how")
    assert f"Weights were rounded to {levels} steps of √w" in page.text_content(".notes")


def test_small_page_says_that_it_is_exact(page_of):
    page = page_of(small_run())
    assert "exact float32 weights" in page.text_content(".how")
    assert "No weight was rounded, pooled or left out" in page.text_content(".notes")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("case", ["causal", "large"])
def test_screen_shows_every_weight_in_its_colour(case, theme, page_of):
    run = small_run(**CASES[case])
    page = page_of(run, color_scheme=theme, viewport={"width": 1600, "height": 1600})
    weights = run.attentions[0].weights[0]
    palette = palette_of(page, theme)
    levels = len(palette) - 1
    codes = drawn_codes(page)
    roots = np.sqrt(weights.astype(np.float64))
    # Twice half a step: a coded page draws from what it read back.
    assert np.abs(codes / (levels - 1) - roots).max() <= 1 / (levels - 1)
    on_screen = screen_colours(page, *weights.shape).astype(int)
    assert np.abs(on_screen - palette[codes]).max() <= 2


def test_larger_weights_stand_out_more_from_the_ground(page_of):
    for theme, sign in (("light", -1), ("dark", 1)):
        palette = palette_of(page_of(small_run(), color_scheme=theme), theme).astype(int)
        brightness = palette[:-1] @ [0.299, 0.587, 0.114]
        steps = sign * np.diff(brightness)
        assert steps.min() >= -1  # colours are whole numbers
        assert sign * (brightness[-1] - brightness[0]) >= 150
