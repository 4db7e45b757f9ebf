"""The whole page by keyboard alone: everything is reached, seen, worked and left again."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
import pytest
from browser import screenshot
from every_view import FRAGMENTS, every_run
from page_acts import comes_to_be, shown
from PIL import Image
from playwright.sync_api import expect

# What can be reached, in the order of the document; kept in the page so that a place is a number.
_STOPS = """() => {
  const stops = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  window.stops = [...document.querySelectorAll(stops)].filter((node) => node.checkVisibility());
  return window.stops.map((node) => {
    const { x, y, width, height } = node.getBoundingClientRect();
    const name = node.id || node.textContent.trim();
    return { name, x: x + scrollX, y: y + scrollY, width, height };
  });
}"""
_FOCUSED = "() => window.stops.indexOf(document.activeElement)"
_RING = 8  # pixels around a control in which its ring must lie
_ONE_COLUMN = {"width": 860, "height": 900}


def stops_of(page):
    """Names and places of all that Tab must reach."""
    return page.evaluate(_STOPS)


def walk(page, key, count):
    """Where the focus is after each press, as places among the stops."""
    places = []
    for _ in range(count):
        page.keyboard.press(key)
        places.append(page.evaluate(_FOCUSED))
    return places


def tab_to(page, selector):
    """Press Tab until the focus is there."""
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab does not lead to {selector}")


def follows(before, after):
    """After comes below, or in the same line further on."""
    below = after["y"] >= before["y"] + before["height"] - 4
    beside = after["x"] >= before["x"] + before["width"] - 4
    return below or (beside and after["y"] + after["height"] > before["y"])


def overview_is_last(page):
    """Whether Tab reaches all heads only after the last control of the shown head."""
    names = [stop["name"] for stop in stops_of(page)]
    return names.index("sort-select") > names.index("take-link")


@pytest.mark.parametrize("view", ["part of a heatmap", "arcs", "picture"])
def test_tab_reaches_every_control_in_the_order_of_reading(view, page_of):
    page = page_of(every_run(), fragment=FRAGMENTS[view], viewport=_ONE_COLUMN)
    page.evaluate("document.querySelectorAll('details').forEach((node) => { node.open = true })")
    stops = stops_of(page)
    assert len(stops) > 25
    there = walk(page, "Tab", len(stops))
    assert [stops[place]["name"] for place in there] == [stop["name"] for stop in stops]
    back = walk(page, "Shift+Tab", len(stops) - 1)
    assert back == list(reversed(range(len(stops) - 1)))
    disordered = [(a["name"], b["name"]) for a, b in pairwise(stops) if not follows(a, b)]
    assert disordered == []


def test_tab_goes_from_column_to_column_where_there_are_two(page_of):
    page = page_of(every_run(), viewport={"width": 1440, "height": 900})
    stops = stops_of(page)
    left = [
        stop["x"] + stop["width"] < page.locator("#stage").bounding_box()["x"] for stop in stops
    ]
    assert left.count(True) >= 2
    assert left.index(False) == left.count(True)  # all of the left column first
    # On a narrower screen the shown head comes first, which is what the page is about. A page
    # hears of its new width some time after it was asked for.
    page.set_viewport_size(_ONE_COLUMN)
    assert comes_to_be(lambda: overview_is_last(page), True)
    page.set_viewport_size({"width": 1440, "height": 900})
    names = [stop["name"] for stop in stops]
    assert comes_to_be(lambda: [stop["name"] for stop in stops_of(page)], names) == names


def test_tab_leaves_the_page_at_its_end(page_of):
    page = page_of(every_run())
    stops = stops_of(page)
    assert walk(page, "Tab", len(stops) + 1)[-2:] == [len(stops) - 1, -1]


def pixels(png):
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


def luminance(colours):
    """WCAG's relative luminance of sRGB colours, 0 to 1."""
    shares = colours.astype(np.float64) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def contrast(before, after):
    """WCAG's contrast of every pixel to what it was."""
    lower, higher = np.sort([luminance(before), luminance(after)], axis=0)
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_focus_is_seen_around_every_control(theme, page_of):
    # As high as the page, so that nothing moves while the focus does.
    page = page_of(every_run(), color_scheme=theme, viewport={"width": 1280, "height": 3000})
    stops, plain = stops_of(page), pixels(screenshot(page))
    unseen = []
    for stop in stops:
        page.keyboard.press("Tab")
        x, y = (max(0, round(stop[side]) - _RING) for side in "xy")
        width, height = (round(stop[side]) + 2 * _RING for side in ("width", "height"))
        clip = {"x": x, "y": y, "width": min(width, 1280 - x), "height": height}
        focused = pixels(screenshot(page, clip=clip))
        before = plain[y : y + focused.shape[0], x : x + focused.shape[1]]
        # A ring is at least as much as a line of one pixel around the control (WCAG 2.2, 2.4.13).
        if (contrast(before, focused) >= 3).sum() < 2 * (stop["width"] + stop["height"]):
            unseen.append(stop["name"])
    assert unseen == []


@pytest.mark.parametrize(
    ("view", "key", "field"),
    [
        ("heatmap", "ArrowRight", "key"),
        ("arrows", "ArrowDown", "query"),
        ("text", "ArrowRight", "query"),
        ("overlay", "PageDown", "query"),
    ],
)
def test_arrow_keys_walk_through_every_view(view, key, field, page_of):
    layer = 0 if view == "overlay" else 1
    page = page_of(every_run(), fragment=f"#layer={layer}")
    tab_to(page, f"[data-view={view}]")
    page.keyboard.press("Enter")
    expect(page.locator(f"[data-view={view}]")).to_have_attribute("aria-pressed", "true")
    tab_to(page, f"#{view}-live")
    places = []
    for _ in range(3):
        page.keyboard.press(key)
        places.append(comes_to_be(lambda: shown(page).get(field), str(len(places))))
    assert places == ["0", "1", "2"]
    label = every_run().attentions[layer].queries.labels[int(shown(page)["query"])]
    expect(page.locator("#readout-line")).to_contain_text(label)
    page.keyboard.press("Escape")
    assert comes_to_be(lambda: shown(page).get(field), None) is None
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") not in ("", f"{view}-live")


@pytest.mark.parametrize("tiles", ["chart of scores", "heatmap"])
def test_arrow_keys_walk_through_all_heads(tiles, page_of):
    page = page_of(every_run(), fragment=FRAGMENTS[tiles])
    before = page.inner_text("#shown-title")
    tab_to(page, "#overview-live")
    key = "ArrowRight" if page.evaluate("!location.hash.includes('head=2')") else "ArrowLeft"
    page.keyboard.press(key)
    expect(page.locator("#shown-title")).not_to_have_text(before)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") != "overview-live"


def test_pickers_and_sliders_follow_the_keys(page_of):
    page = page_of(every_run(), fragment="#layer=1&view=arrows")
    tab_to(page, "#head-select")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#shown-title")).to_have_text("Layer 1, head 1")
    tab_to(page, "#least")
    page.keyboard.press("ArrowRight")
    assert comes_to_be(lambda: shown(page).get("least"), "1") == "1"


def test_the_panel_of_keys_opens_holds_the_focus_and_closes(page_of):
    # On a screen too low for it, where the panel must not open at its end.
    page = page_of(every_run(), fragment="#layer=1", viewport={"width": 390, "height": 500})
    panel = page.locator("#help")
    for opener, key in [("#open-help", "Enter"), ("#heatmap-live", "?")]:
        tab_to(page, opener)
        page.keyboard.press(key)
        expect(panel).to_be_visible()
        assert page.evaluate("document.getElementById('help').scrollTop") == 0
        page.keyboard.press("?")  # once more does nothing
        reached = set()
        for _ in range(6):
            reached.add(page.evaluate("document.activeElement.id"))
            page.keyboard.press("Tab")
        # The panel's title first; the panel itself, where it scrolls; no name is the browser.
        controls = {"keys-on", "close-help"}
        assert controls <= reached <= {*controls, "help-title", "help", ""}
        page.keyboard.press("Escape")
        expect(panel).to_be_hidden()
        assert page.evaluate("`#${document.activeElement.id}`") == opener


def test_single_keys_do_nothing_behind_the_panel_and_can_be_turned_off(page_of):
    # WCAG 2.1.4: speech input types letters where nobody meant a command.
    page = page_of(every_run(), fragment="#layer=1&head=1")
    page.keyboard.press("?")
    # What the page leaves alone is the browser's: "/" is Firefox's own search, so it comes last.
    for keys in ["[ ] ] ?", "Space Escape [ ] ] ? /"]:
        tab_to(page, "#keys-on")
        for key in keys.split():
            page.keyboard.press(key)
        page.wait_for_timeout(200)
        assert page.inner_text("#shown-title") == "Layer 1, head 1"
        assert page.evaluate("document.activeElement.id") != "find"
    expect(page.locator("#help")).to_be_hidden()


@pytest.mark.parametrize("control", ["#zoom-reset", "#show-all", "#hidden-names button"])
def test_a_control_that_goes_when_it_is_used_leaves_the_focus_there(control, page_of):
    page = page_of(every_run(), fragment="#layer=1&rows=0-4&columns=1-6&hideKeys=4")
    tab_to(page, control)
    around = [stop["name"] for stop in stops_of(page)]
    at = page.evaluate(_FOCUSED)
    page.keyboard.press("Enter")
    expect(page.locator(control)).to_be_hidden()
    page.keyboard.press("Tab")
    next_one = page.evaluate("document.activeElement.id")
    assert next_one in around[at - 1 : at + 3]
