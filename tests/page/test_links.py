"""The table of strongest links: the largest weights of each row, and nothing that is no link."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import expect
from runs import small_run

from attnreport import Attention, Axis, Run

_WEIGHTS = np.array(
    [[1, 0, 0, 0], [0.25, 0.75, 0, 0], [0.2, 0.5, 0.3, 0], [0.1, 0.2, np.nan, 0.3]], np.float32
)
_CELLS = [
    ["a 1.0000", "–", "–"],
    ["b 0.7500", "a 0.2500", "–"],
    ["b 0.5000", "c 0.3000", "a 0.2000"],
    ["c NaN", "d 0.3000", "b 0.2000"],
]


# Without scripts there is no frame after frame, for which Playwright's own click waits.
_CLICK = "(node) => node.click()"


def cells_of(page):
    rows = page.locator("#links-body tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_the_table_is_the_same_with_and_without_a_script(page_of):
    axis = Axis.of_labels("text", tuple("abcd"))
    run = Run((Attention(_WEIGHTS[None], "layer", 0, "self", axis, axis),))
    assert cells_of(page_of(run, java_script_enabled=False, ready=False)) == _CELLS
    assert cells_of(page_of(run)) == _CELLS


def test_a_long_table_is_folded_and_follows_the_head_when_it_is_opened(page_of):
    run = small_run(layers=1, heads=2, queries=120)
    page = page_of(run)
    rows = page.locator("#links-body tr, #links-rest tr")
    first, rest = page.locator("#links-body tr"), page.locator("#links-rest tr")
    assert page.locator("#links-fold summary").inner_text() == "The other 100 queries"
    expect(first).to_have_count(20)
    expect(first.first).to_be_visible()
    expect(rest.first).to_be_hidden()
    page.select_option("#head-select", "1")
    expect(page.locator("#shown-title")).to_have_text("Layer 0, head 1")
    for head in (1, 0):
        if head == 1:
            page.click("#links-fold summary")
        else:
            page.select_option("#head-select", "0")
        weights = run.attentions[0].weights[head]
        expect(rows.nth(119)).to_contain_text(f"{weights[119].max():.4f}")
        expect(rows).to_have_count(120)
        for query in (0, 50, 119):
            strongest = run.attentions[0].keys.labels[int(weights[query].argmax())]
            expect(rows.nth(query).locator("bdi").first).to_have_text(strongest)
    page.click("#links-fold summary")
    page.select_option("#head-select", "1")
    expect(first.nth(19)).to_contain_text(f"{run.attentions[0].weights[1, 19].max():.4f}")
    expect(rest.first).to_be_hidden()


def test_a_long_table_is_whole_without_scripts(page_of):
    run = small_run(layers=1, heads=1, queries=120)
    page = page_of(run, java_script_enabled=False, ready=False)
    page.locator("#links-fold summary").evaluate(_CLICK)
    assert page.locator("#links-body tr:visible, #links-rest tr:visible").count() == 120


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_on_paper_a_long_table_has_its_first_rows_and_says_what_is_left_out(
    script, browser, page_of
):
    page = page_of(small_run(queries=120), java_script_enabled=script, ready=script)
    summary = page.locator("#links-fold summary")
    assert summary.inner_text() == "The other 100 queries"
    browser.emulate_media(page, media="print")
    assert page.locator("#links-body tr:visible").count() == 20
    assert page.locator("#links-rest tr:visible").count() == 0
    words = " ".join(summary.inner_text().split())
    assert words.startswith("The other 100 queries are left out; unfold them before printing")
    browser.emulate_media(page, media="screen")
    summary.evaluate(_CLICK)
    browser.emulate_media(page, media="print")
    assert page.locator("#links-rest tr:visible").count() == 100
    assert summary.inner_text() == "The other 100 queries"
