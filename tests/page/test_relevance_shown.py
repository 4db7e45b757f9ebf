# ruff: noqa: S106 - this is a token of a vocabulary, no secret
"""Relevance of the demos, in a real browser: what is said, which numbers, and over the picture."""

from __future__ import annotations

import numpy as np
import pytest
from page_acts import document, weights_of_modules
from playwright.sync_api import expect

from attnreport.build import capture_run
from attnreport.measures import relevance
from attnreport.sources import Request


@pytest.fixture(autouse=True)
def in_the_checkout(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


def pick(page, title):
    page.select_option("#layer-select", label=title)
    expect(page.locator("#shown-title")).to_contain_text(title.split(" · ", maxsplit=1)[0])
    return int(page.input_value("#layer-select"))


def near(page, read, values):
    """Whether the page's numbers are these, as near as its codes are."""
    largest = float(values.max())
    roots = np.sqrt(np.clip(read, 0, None)) - np.sqrt(np.clip(values, 0, None))
    step = 0.5 / (document(page)["levels"] - 1) * np.sqrt(max(largest, 1))
    return np.abs(roots).max() <= (1e-6 if document(page)["exact"] else step + 1e-4)


def test_a_character_of_a_date_rests_on_the_one_it_was_copied_from(page_of):
    run = capture_run(Request("demo:translate", "3/5/21", target_token="3"))
    page = page_of(run)
    place = pick(page, "Relevance · target → source")
    words = page.locator(".joined:visible")
    expect(words).to_contain_text("y is the logit of token 6 (“3”) at position 6 (“0”)")
    expect(words).to_contain_text("no weight of the model")
    read = weights_of_modules(page, place, 0)
    (_, part) = relevance(run, axis="target")
    assert near(page, read, part.weights)
    # 3/5/21 becomes 2021-03-05: the 3 that is about to be written is the source's first.
    assert read[6].argmax() == 0
    assert read[6, 0] > 2 * read[6, 1:].max()


def test_relevance_of_a_class_is_laid_over_the_picture(page_of):
    run = capture_run(Request("demo:vision", "examples/bar.png", target_class="predicted"))
    page = page_of(run, fragment="#view=overlay&query=0")
    place = pick(page, "Relevance · picture → picture")
    expect(page.locator(".joined:visible")).to_contain_text(
        "y is the logit of class 1 (“bar”), which the model predicts."
    )
    (part,) = relevance(run)
    row = part.weights[0] - np.eye(len(part.weights))[0]
    assert near(page, weights_of_modules(page, place, 0)[0], row)
    expect(page.locator("#overlay-words")).to_contain_text(f"Largest patch: {row[1:].max():.4f}")
    expect(page.locator("#overlay-live svg image").first).to_be_visible()
