"""axe-core finds nothing wrong with any view, and numbers are read on every colour (WCAG 2.2)."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from axe_playwright_python.base import AXE_SCRIPT
from drivers import Firefox
from every_view import FRAGMENTS, every_run
from page_acts import templates
from playwright.sync_api import expect

from attnreport import Report
from attnreport.charts.heatmap import ink_on
from attnreport.charts.theme import palette, signed_palette
from attnreport.page.scripts import joined

# Every rule that is on by itself, good practice included, and the one of WCAG 2.2 that is not.
_CHECK = """async (part) => {
  const options = { preload: false, rules: { "target-size": { enabled: true } } };
  const { violations, incomplete, passes } = await axe.run(part, options);
  const named = (rules) => rules.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id}: ${target} ${failureSummary ?? ""}`));
  return { violations: named(violations), unsure: incomplete.map(({ id }) => id),
    passed: passes.map(({ id }) => id) };
}"""
_OPEN_ALL = "document.querySelectorAll('details').forEach((node) => { node.open = true })"


@pytest.fixture
def checked():
    """A function that has axe-core look at a page as it stands."""

    def check(page, part="html"):
        # By the debugger, not by the page, whose policy lets no foreign script in.
        if page.evaluate("!window.axe"):
            page.evaluate(AXE_SCRIPT)
        return page.evaluate(_CHECK, part)

    return check


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 390)])
def test_no_view_violates_a_rule(theme, width, page_of, checked):
    page = page_of(every_run(), color_scheme=theme, viewport={"width": width, "height": 900})
    page.evaluate(_OPEN_ALL)
    wrong = {}
    for view, fragment in FRAGMENTS.items():
        page.evaluate("fragment => { location.hash = fragment }", fragment)
        page.wait_for_timeout(300)
        # What stands outside the desk is the same in every view.
        wrong[view] = checked(page, ".desk" if wrong else "html")["violations"]
    assert wrong == {view: [] for view in FRAGMENTS}


# What lies behind pictures in print, by the theme that they were drawn for.
_GROUNDS = {"light": "rgba(0, 0, 0, 0)", "dark": "rgb(24, 24, 32)"}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_on_paper_everything_is_read_whatever_the_screen_was(theme, browser, page_of, checked):
    page = page_of(every_run(), color_scheme=theme)
    grounds = """() => [...document.querySelectorAll("svg")].filter((svg) => svg.checkVisibility())
      .map((svg) => svg.closest(".live, #colourbar, #overlay-bar"))
      .map((around) => getComputedStyle(around).backgroundColor)"""
    wrong = {}
    for view in ("arrows", "words", "picture", "chart of scores"):
        page.evaluate("fragment => { location.hash = fragment }", FRAGMENTS[view])
        page.wait_for_timeout(300)
        browser.emulate_media(page, media="print")
        page.wait_for_timeout(300)
        # The labels of pictures stay as they were drawn, and so does their ground. Paper is light
        # to Firefox, which a page that is still open follows.
        drawn = page.evaluate("document.documentElement.dataset.theme")
        assert drawn == theme or isinstance(browser, Firefox)
        assert set(page.evaluate(grounds)) == {_GROUNDS[drawn]}
        paper = {"include": [".desk"], "exclude": ["svg"]}
        wrong[view] = checked(page, paper)["violations"]
        browser.emulate_media(page, media="screen")
    assert wrong == {view: [] for view in wrong}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_panel_violates_a_rule(theme, page_of, checked):
    page = page_of(every_run(), color_scheme=theme)
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    for panel, opener in [("#help", "#open-help"), ("#taken", "#take-link")]:
        page.click(opener)
        expect(page.locator(panel)).to_be_visible()
        assert checked(page)["violations"] == []
        page.keyboard.press("Escape")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_without_scripts_violates_no_rule(theme, page_of, checked):
    # Without its own scripts, in a browser that runs axe-core's.
    own = re.compile(r'<script(?! type="application/json").*?</script>', re.DOTALL)
    still = own.sub("", Report(every_run()).html())
    page = page_of(still, color_scheme=theme, ready=False)
    page.evaluate(_OPEN_ALL)
    assert checked(page)["violations"] == []
    assert page.is_visible("#heatmap-still")


def test_axe_sees_what_is_wrong_and_leaves_open_only_contrast_on_pictures(page_of, checked):
    page = page_of(every_run(), fragment=FRAGMENTS["heatmap"])
    found = checked(page)
    assert {"color-contrast", "target-size", "label", "aria-dialog-name"} & set(
        found["passed"]
    ) >= {
        "color-contrast",
        "target-size",
    }
    assert set(found["unsure"]) <= {"color-contrast"}
    page.evaluate("""() => {
      document.getElementById("layer-select").removeAttribute("aria-label");
      document.querySelector(".brand").style.color = "#bbbbbb";
      for (const name of ["zoom-in", "zoom-out"]) {
        document.getElementById(name).style = "min-width: 0; width: 8px; padding: 0";
      }
    }""")
    seen = {violation.partition(":")[0] for violation in checked(page)["violations"]}
    assert seen == {"select-name", "color-contrast", "target-size"}


def contrast(one, other):
    """WCAG's contrast of two colours ``#rrggbb``."""

    def luminance(colour):
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_numbers_are_read_on_every_colour(page_of):
    colours = [c for theme in ("light", "dark") for c in (*palette(theme), *signed_palette(theme))]
    inks = [ink_on(colour) for colour in colours]
    assert min(map(contrast, colours, inks)) >= 4.5
    assert set(inks) == {"#000000", "#ffffff"}
    page = page_of("<!doctype html><title>inks</title>", ready=False)
    script = f"{joined(templates() / 'js' / 'palette.js')}\nconst colours = {json.dumps(colours)};"
    of_page = "colours.map((colour) => inkOn(paletteOf(colour.slice(1)), 0))"
    assert page.evaluate(f"() => {{ {script}\nreturn {of_page} }}") == inks
