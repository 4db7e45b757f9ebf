"""Whatever a string says, the page shows it as text: nothing runs and no element is made of it."""

from __future__ import annotations

import unicodedata

import pytest
from hostile import STRINGS, benign, rotated, run_with
from playwright.sync_api import expect

from attnreport import Report

_CHUNK = 8
CHUNKS = [STRINGS[start : start + _CHUNK] for start in range(0, len(STRINGS), _CHUNK)]

# Elements with their attributes' names, outside the charts: a chart leaves out what is blank.
_SHAPE = """() => [...document.querySelectorAll("*")]
  .filter((node) => !node.closest("svg") || node.matches("svg"))
  .map((node) => `${node.tagName} ${[...node.attributes].map(({ name }) => name).sort()}`)"""
_PARSED = f"""(markup) => {{
  const document = new DOMParser().parseFromString(markup, "text/html");
  return ({_SHAPE})();
}}"""
_FOREIGN = """() => [...document.querySelectorAll("svg *")]
  .map(({ localName }) => localName)
  .filter((name) => !["g", "path", "text", "tspan", "image", "rect", "defs", "clipPath", "line",
    "style", "title", "linearGradient", "stop"].includes(name))"""


def as_parsed(text):
    """What an HTML parser makes of a text that the page shows: one kind of line end."""
    return as_shown(text).replace("\r\n", "\n").replace("\r", "\n")


def as_shown(text):
    """What the page makes of a text: signs for what no page can hold, names where nothing shows."""
    if text and all(map(leaves_no_mark, text)):
        return " ".join("␣" if one.isspace() else f"U+{ord(one):04X}" for one in text)
    return "".join(map(sign, text))


def sign(character):
    code = ord(character)
    if code < 0x20 and character not in "\t\n\r":
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    surrogate = 0xD800 <= code <= 0xDFFF
    return "\ufffd" if 0x80 <= code < 0xA0 or noncharacter or surrogate else character


def leaves_no_mark(character):
    invisible = unicodedata.category(character)[0] in "ZC" or "\ufe00" <= character <= "\ufe0f"
    return invisible and sign(character) == character


@pytest.fixture(scope="module")
def parsed_shape(chromium):
    """A function from markup to the shape that a browser parses, without running any of it."""
    page = chromium.new_page()
    yield lambda markup: page.evaluate(_PARSED, markup)
    page.close()


@pytest.fixture(scope="module")
def plain_shape(parsed_shape):
    return parsed_shape(Report(run_with(benign(CHUNKS[0]))).html())


@pytest.mark.parametrize("chunk", CHUNKS, ids=range(len(CHUNKS)))
def test_markup_has_one_shape_whatever_the_strings_say(chunk, parsed_shape):
    plain = parsed_shape(Report(run_with(benign(chunk))).html())
    assert len(plain) > 100
    for by in range(len(chunk)):
        assert parsed_shape(Report(run_with(rotated(chunk, by))).html()) == plain, chunk[by]


@pytest.mark.parametrize("chunk", CHUNKS, ids=range(len(CHUNKS)))
def test_nothing_runs_and_everything_is_shown(chunk, page_of):
    run = run_with(chunk)
    page, plain = page_of(run), page_of(run_with(benign(chunk)))
    for opened in (page, plain):
        opened.select_option("#layer-select", str(len(chunk)))
        expect(opened.locator("#shown-title")).to_have_text(f"Layer {len(chunk)}, head 0")
        opened.select_option("#layer-select", "0")
        expect(opened.locator("#shown-title")).to_have_text("Layer 0, head 0")
        opened.focus("#heatmap-live")
        opened.keyboard.press("ArrowDown")
        expect(opened.locator("#readout-line")).to_contain_text("(query 0)")
        opened.wait_for_timeout(150)
    assert page.evaluate("window.__pwned") is None
    assert page.evaluate(_SHAPE) == plain.evaluate(_SHAPE)
    assert page.evaluate(_FOREIGN) == []
    # Made by script, line ends stay as they are; parsed, they are all of one kind.
    labels = page.eval_on_selector_all(
        "#links-body th", "(nodes) => nodes.map(({ textContent }) => textContent)"
    )
    assert labels == [as_shown(string) for string in chunk]
    assert page.text_content("h1") == f"Attention of {as_parsed(chunk[0])}"
    notes = page.eval_on_selector_all(
        ".notes li", "(nodes) => nodes.map(({ textContent }) => textContent)"
    )
    assert notes[: len(chunk)] == [as_parsed(string) for string in chunk]


def test_views_show_hostile_labels_as_text(page_of):
    page = page_of(run_with(STRINGS[:24]))
    for tab in page.locator("[data-view]:not([hidden])").all():
        tab.click()
        expect(tab).to_have_attribute("aria-pressed", "true")
        page.wait_for_timeout(300)
        assert page.evaluate(_FOREIGN) == []
    assert page.evaluate("window.__pwned") is None


def test_the_shape_sees_an_element_more(parsed_shape, plain_shape):
    # A comparison that sees nothing proves nothing.
    page = Report(run_with(benign(CHUNKS[0]))).html()
    assert (
        parsed_shape(page.replace("<h1>Attention of", "<h1><b>Attention</b> of", 1)) != plain_shape
    )
