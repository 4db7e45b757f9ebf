"""The page where it is hard: no script, a frame without an origin, small screens, dark ones."""

from __future__ import annotations

import base64
import html
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import wait_until_ready
from every_view import FRAGMENTS, every_run
from page_acts import comes_to_be
from playwright.sync_api import expect
from runs import small_run

from attnreport import Report

# How far the page reaches over its width, less a scroll bar's where a browser has one.
_TOO_WIDE = """document.documentElement.scrollWidth - document.documentElement.clientWidth"""
SIZES = [(1440, 900), (390, 844), (320, 640)]


def test_without_script_heading_picture_and_table_are_there(page_of):
    run = small_run(input_text="the cat saw the dog")
    page = page_of(run, java_script_enabled=False, ready=False)
    assert page.inner_text("h1") == "Attention of tiny"
    assert page.inner_text("blockquote") == "the cat saw the dog"
    assert page.locator("#heatmap-still svg").first.is_visible()
    for label in run.attentions[0].keys.labels:
        assert page.locator("#heatmap-still svg text", has_text=label).count() >= 2
    rows = page.locator("#links-body tr")
    assert rows.count() == 5
    strongest = f"{run.attentions[0].weights[0, 2].max():.4f}"
    assert strongest in rows.nth(2).inner_text()
    assert "demo" not in page.inner_text("dl")
    assert not page.locator("#controls").is_visible()
    assert not page.locator("#heatmap-live").is_visible()
    assert not page.locator("#readout").is_visible()


def test_without_script_a_long_picture_is_pooled_and_says_so(page_of):
    page = page_of(small_run(queries=100), java_script_enabled=False, ready=False)
    assert "the largest weight in a block of 5 × 5 positions" in " ".join(
        page.inner_text("#heatmap-still").split()
    )


def test_with_script_the_live_picture_takes_the_still_ones_place(page_of):
    page = page_of(small_run())
    assert page.locator("#heatmap-live").is_visible()
    assert not page.locator("#heatmap-still").is_visible()
    assert page.locator("#controls").is_visible()
    assert page.locator("#readout").is_visible()


@pytest.mark.parametrize("size", SIZES, ids=lambda size: str(size[0]))
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_no_sideways_scrolling(size, theme, script, page_of):
    run = small_run(
        layers=3,
        heads=12,
        queries=24,
        model="sentence-transformers/" + "a-model-with-a-rather-long-name" * 4,
        input_text="word" * 80,
        command="attnreport build " + "x" * 300,
    )
    page = page_of(
        run,
        color_scheme=theme,
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=script,
        ready=script,
    )
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true })")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_at_320_pixels_no_view_and_no_control_reaches_over_the_edge(page_of):
    # WCAG 2.2, 1.4.10: what is not a table or a map needs no scrolling sideways.
    page = page_of(every_run(), viewport={"width": 320, "height": 640})
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true })")
    outside = """() => [...document.querySelectorAll("button, select, input, summary, h2, p, svg")]
      .filter((node) => node.checkVisibility() && (node.getBoundingClientRect().right >
        document.documentElement.clientWidth + 0.5 ||
        (node.matches(".tabs button") && node.offsetHeight > 36)))
      .map((node) => node.id || node.outerHTML.slice(0, 80))"""
    found = {}
    for view, fragment in FRAGMENTS.items():
        page.evaluate("fragment => { location.hash = fragment }", fragment)
        page.wait_for_timeout(250)
        found[view] = (page.evaluate(_TOO_WIDE), page.evaluate(outside))
    assert found == {view: (0, []) for view in FRAGMENTS}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_ground_follows_the_theme(theme, page_of):
    page = page_of(small_run(), color_scheme=theme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colour == {"light": "rgb(251, 251, 253)", "dark": "rgb(16, 16, 22)"}[theme]


def notebook(run):
    """A cell of a notebook with a report in it."""
    return f"<!doctype html><title>notebook</title>{Report(run)._repr_html_()}"


def test_the_frame_of_a_notebook_is_as_high_as_its_page(page_of):
    page = page_of(notebook(small_run(queries=8)), ready=False)
    wait_until_ready(page.frames[1])
    inside = "document.documentElement.scrollHeight - document.documentElement.clientHeight"
    assert comes_to_be(lambda: page.frames[1].evaluate(inside), 0) == 0
    before = page.locator("iframe").bounding_box()["height"]
    page.frames[1].locator(".how summary").click()
    grown = lambda: page.locator("iframe").bounding_box()["height"] > before + 100  # noqa: E731
    assert comes_to_be(grown, True)
    page.frames[1].locator(".how summary").click()
    height = lambda: page.locator("iframe").bounding_box()["height"]  # noqa: E731
    assert comes_to_be(height, before) == before


def test_the_height_is_taken_from_the_frame_itself_alone(page_of):
    page = page_of(notebook(small_run()), ready=False)
    wait_until_ready(page.frames[1])
    page.wait_for_timeout(200)
    before = page.locator("iframe").bounding_box()["height"]
    page.evaluate("window.postMessage({ attnreport: 5 }, '*')")
    page.wait_for_timeout(200)
    assert page.locator("iframe").bounding_box()["height"] == before


def test_the_frame_covers_the_picture_and_leaves_it_where_frames_are_dropped(page_of):
    run = small_run()
    cell = notebook(run)
    top = "() => document.elementFromPoint(20, 40).tagName"
    page = page_of(cell, ready=False)
    wait_until_ready(page.frames[1])
    assert page.evaluate(top) == "IFRAME"
    dropped = re.sub(r"<iframe.*</iframe>|<script>.*</script>", "", cell, flags=re.DOTALL)
    page = page_of(dropped, ready=False)
    assert page.evaluate(top) == "IMG"
    url = page.get_attribute("img", "src").removeprefix("data:image/png;base64,")
    assert base64.b64decode(url) == Report(run)._repr_png_()
    assert page.locator("img").bounding_box()["width"] > 100
    assert page.get_attribute("img", "alt") == "Attention of layer 0, head 0"


def test_notebook_frame_becomes_ready_and_works(page_of):
    frame_html = Report(small_run())._repr_html_()
    page = page_of(f"<!doctype html><title>notebook</title>{frame_html}", ready=False)
    frame = page.frames[1]
    wait_until_ready(frame)
    frame.select_option("#head-select", "2")
    frame.wait_for_selector("#shown-title >> text=Layer 0, head 2")
    assert frame.evaluate("self.origin") == "null"


def test_link_inside_a_notebook_frame_stays_in_the_page(page_of):
    # Head 1 always looks at the token before: a head worth a look, so the page links to it.
    run = small_run(layers=1, heads=2, queries=12)
    weights = run.attentions[0].weights.copy()
    weights[1] = np.eye(12, k=-1)
    weights[1, 0, 0] = 1
    run = replace(run, attentions=(replace(run.attentions[0], weights=weights),))
    page = page_of(f"<!doctype html><title>book</title>{Report(run)._repr_html_()}", ready=False)
    frame = page.frames[1]
    wait_until_ready(frame)
    frame.locator(".notable a", has_text="head 1 attends to the previous token").click()
    expect(frame.locator("#shown-title")).to_have_text("Layer 0, head 1")


def test_page_inside_a_frame_that_forbids_scripts_is_whole(page_of):
    inside = html.escape(Report(small_run()).html())
    page = page_of(
        f'<!doctype html><title>mail</title><iframe sandbox srcdoc="{inside}"></iframe>',
        ready=False,
        expected=("Blocked script execution in 'about:srcdoc'",),
    )
    frame = page.frame_locator("iframe")
    assert frame.locator("h1").inner_text() == "Attention of tiny"
    assert frame.locator("#heatmap-still svg").first.is_visible()


@pytest.mark.parametrize(
    ("view", "width"),
    [("heatmap", 1440), ("heatmap", 1280), ("heatmap", 900), ("picture", 1440), ("arcs", 1440)],
)
def test_no_option_stands_alone_in_a_row(view, width, page_of):
    viewport = {"width": width, "height": 900}
    page = page_of(every_run(), fragment=FRAGMENTS[view], viewport=viewport)
    tops = page.locator("#options label:visible").evaluate_all(
        "all => all.map(one => Math.round(one.getBoundingClientRect().top / 10))"
    )
    assert len(tops) > 5
    assert all(tops.count(top) > 1 for top in tops)
