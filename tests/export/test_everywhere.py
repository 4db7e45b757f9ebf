"""A report is readable where much is forbidden: strict servers, print, forced colours, 320 px."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect
from runs import small_run

from attnreport import Attention, Axis, Report, Run

# What Jenkins sends with every artifact unless an administrator relaxes it.
JENKINS = "sandbox; default-src 'none'; img-src 'self'; style-src 'self';"
CONTROLS = "button:visible, select:visible, input:visible, textarea:visible"
VIEWS = ["heatmap", "arrows", "text"]


class Strict(SimpleHTTPRequestHandler):
    """Serve files as Jenkins does."""

    def end_headers(self):
        self.send_header("Content-Security-Policy", JENKINS)
        super().end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def strict(tmp_path):
    """The folder that is served, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Strict, directory=tmp_path))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield tmp_path, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_strict_server_leaves_a_readable_page(strict, browser):
    folder, address = strict
    run = small_run(queries=6, model="owner/name")
    Report(run).save(folder / "report.html")
    page = browser.new_context().new_page()
    page.goto(f"{address}/report.html")
    expect(page.locator("html")).not_to_have_attribute("data-ready", "true")
    assert page.inner_text("h1") == "Attention of owner/name"
    facts = page.locator("section[aria-labelledby=provenance-title] dl").first
    expect(facts).to_be_visible()
    assert "owner/name" in facts.inner_text()
    assert page.locator("#links-body tr").count() == 6
    assert f"{run.attentions[0].weights[0, 5].max():.4f}" in page.inner_text("#links-body")
    picture = page.locator("#heatmap-still svg").first
    expect(picture).to_be_visible()
    fills = picture.locator("rect[fill]").evaluate_all(
        "all => all.map(one => one.getAttribute('fill'))"
    )
    assert len({fill for fill in fills if fill.startswith("#")}) > 10
    labels = picture.locator("text").all_text_contents()
    assert set(run.attentions[0].keys.labels) <= set(labels)
    assert page.locator(CONTROLS).count() == 0
    page.context.close()


def test_print_has_no_controls_and_nothing_is_cut(browser, page_of):
    page = page_of(small_run(queries=20), viewport={"width": 720, "height": 1000})
    assert page.locator(CONTROLS).count() > 10
    browser.emulate_media(page, media="print")
    assert page.locator(CONTROLS).count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 720
    expect(page.locator("#heatmap-live svg")).to_be_visible()
    pdf = browser.pdf(page)
    assert pdf.startswith(b"%PDF-")
    assert len(pdf) > 20_000


def test_the_shown_head_is_printed_first_whatever_stood_beside_it(browser, page_of):
    page = page_of(small_run(), viewport={"width": 900, "height": 900})
    # As on a wide screen, which Firefox prints without telling the page of the paper's width.
    page.evaluate("document.querySelector('.desk').prepend(document.querySelector('#heads'))")
    browser.emulate_media(page, media="print")
    heads, shown = (page.locator(one).bounding_box() for one in ("#heads", "#stage"))
    assert shown["y"] < heads["y"]


@pytest.mark.parametrize("opened", [False, True])
def test_how_to_read_the_picture_is_printed_and_then_as_it_was(opened, page_of):
    page = page_of(small_run())
    if opened:
        page.click(".how summary")
    explained = page.locator(".how p").filter(visible=True)
    assert bool(explained.count()) == opened
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert explained.count() > 2
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert bool(explained.count()) == opened


def test_without_scripts_how_to_read_the_picture_is_open_and_printed(browser, page_of):
    page = page_of(small_run(), java_script_enabled=False, ready=False)
    browser.emulate_media(page, media="print")
    assert page.locator(".how p").filter(visible=True).count() > 2


@pytest.mark.parametrize("view", ["heatmap", "arrows&graph=arcs", "text"])
def test_on_paper_nothing_scrolls_and_every_shade_is_printed(view, browser, page_of):
    page = page_of(small_run(layers=30, queries=60), fragment=f"#view={view}&query=1")
    browser.emulate_media(page, media="print")
    cut = """() => [...document.querySelectorAll(".live:not([hidden]), .scroll, .heads, .input")]
      .filter(({ scrollHeight, clientHeight, scrollWidth, clientWidth }) =>
        scrollHeight > clientHeight + 1 || scrollWidth > clientWidth + 1)
      .map(({ id, className }) => id || className)"""
    assert page.evaluate(cut) == []
    shades = """() => [...document.querySelectorAll(".live:not([hidden]) *")]
      .map((node) => getComputedStyle(node).printColorAdjust)"""
    assert set(page.evaluate(shades)) == {"exact"}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_forced_colours_leave_what_a_colour_says(view, theme, page_of):
    options = {"forced_colors": "active", "color_scheme": theme, "reduced_motion": "reduce"}
    page = page_of(small_run(), fragment=f"#view={view}&query=1", **options)
    expect(page.locator(f"#{view}-live")).to_be_visible()
    backgrounds = "all => all.map(one => getComputedStyle(one).backgroundColor)"
    bars = page.locator("#readout-top .bar").evaluate_all(backgrounds)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground not in bars
    tabs = page.locator(".tabs button:visible")
    assert len(set(tabs.evaluate_all(backgrounds))) == 2  # the pressed one and the others
    if view == "text":
        shades = page.locator("#text-live [data-role]").evaluate_all(backgrounds)
        assert len(set(shades)) == 5


def test_nothing_moves_by_itself(page_of):
    page = page_of(small_run(), reduced_motion="reduce")
    page.click("#next-head")
    assert page.evaluate("document.getAnimations().length") == 0


LONG = "a_very_long_label_that_no_phone_is_wide_enough_for" * 3


def long_run():
    axis = Axis.of_labels(LONG, [LONG, *"bcdefgh", "字" * 60])
    weights = small_run(layers=1, heads=2, queries=9).attentions[0].weights
    return Run((Attention(weights.copy(), f"{LONG}.{LONG}", 0, "self", axis, axis),))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("make", [small_run, long_run], ids=["short", "long"])
def test_a_narrow_screen_scrolls_one_way_only(view, make, page_of):
    page = page_of(make(), fragment=f"#view={view}", viewport={"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_a_narrow_screen_without_scripts_scrolls_one_way_only(page_of):
    page = page_of(
        long_run(), ready=False, java_script_enabled=False, viewport={"width": 320, "height": 640}
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
