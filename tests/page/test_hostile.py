"""Whatever a string says, the page shows it as text: nothing runs and no element is made of it."""

from __future__ import annotations

import re
from difflib import unified_diff

import pytest
from hostile import FAMILIES, STRINGS, as_parsed, as_shown, benign, run_with, with_signs
from page_acts import comes_to_rest, shown
from playwright.sync_api import expect

from attnreport import Report

_EACH = 57  # strings of one page, so that all pages have the same number
PAGES = [STRINGS[start : start + _EACH] for start in range(0, len(STRINGS), _EACH)]
# Data and code that no string stands in.
_BULK = re.compile(r'<script type="application/json" id="(?:scripts|layer-\d+)">.*?</script>')

# Elements with their attributes' names, outside the charts: which labels have room there depends
# on how long they are.
_SHAPE = """(document) => [...document.querySelectorAll("*")]
  .filter((node) => !node.closest("svg") || node.matches("svg"))
  .map((node) => `${node.tagName} ${[...node.attributes].map(({ name }) => name).sort()}`)"""
_PARSED = f"""(markups) => markups.map((markup) => {{
  const parsed = new DOMParser().parseFromString(markup, "text/html");
  const text = (selector) => parsed.querySelector(selector)?.textContent;
  const shape = ({_SHAPE})(parsed).join();
  return [shape, text("title"), text("h1"), text("blockquote"), text(".notes li"),
    text("#links-body th"), text("option"), text("#shown-pair")];
}})"""
_FOREIGN = """() => [...document.querySelectorAll("svg *")]
  .map(({ localName }) => localName)
  .filter((name) => !["g", "path", "text", "tspan", "image", "rect", "defs", "clipPath", "line",
    "style", "title", "linearGradient", "stop"].includes(name))"""
# Whatever holds a string and shows nothing of it, by what Unicode itself calls invisible. The text
# view shows the text, whose own spaces are spaces.
_BLANK = r"""() => [...document.querySelectorAll(".live:not([hidden]) svg text, option, .added, " +
    "#links-body th, #readout-line bdi, .notes li, h1, h2")]
  .filter(({ textContent }) => !/[^\p{Z}\p{C}\p{DI}\u2800]/u.test(textContent))
  .map(({ outerHTML }) => outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def parsed(chromium, firefox):
    """A function from markups to what both browsers make of each, without running any of it."""
    contexts = [browser.new_context() for browser in (chromium, firefox)]
    pages = [context.new_page() for context in contexts]

    def parse(markups):
        small = [_BULK.sub("", markup) for markup in markups]
        found, other = (page.evaluate(_PARSED, small) for page in pages)
        assert found == other
        return found

    yield parse
    for context in contexts:
        context.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_markup_has_one_shape_whatever_the_string_in_every_place(family, parsed):
    strings = FAMILIES[family]
    [(plain, *_)] = parsed([Report(run_with(benign(strings[:1]))).html()])
    assert plain.count(",") > 100
    found = parsed([Report(run_with((string,))).html() for string in strings])
    for string, (shape, title, heading, text, note, label, option, pair) in zip(
        strings, found, strict=True
    ):
        said = as_parsed(string)
        assert shape == plain, string
        assert heading == f"Attention of {said}"
        assert title.startswith("Attention of ")
        assert text == said.removeprefix("\n") or text == said
        assert (note, label) == (said, said)
        assert with_signs(string).replace("\r\n", "\n").replace("\r", "\n") in option
        assert said in pair


def test_the_shape_sees_an_element_more(parsed):
    # A comparison that sees nothing proves nothing.
    page = Report(run_with(benign("a"))).html()
    more = page.replace("<h1>Attention of", "<h1><b>Attention</b> of", 1)
    [(one, *_), (other, *_)] = parsed([page, more])
    assert one != other


def views_of(page, count):
    """What a page makes of itself in every view, by what was done."""
    seen = {}

    def note(name):
        seen[name] = comes_to_rest(lambda: page.evaluate(f"({_SHAPE})(document)"))
        assert page.evaluate(_FOREIGN) == [], name
        assert page.evaluate(_BLANK) == [], name

    page.select_option("#layer-select", str(count))
    expect(page.locator("#shown-title")).to_have_text(f"Layer {count}, head 0")
    note("last layer")
    page.select_option("#layer-select", "0")
    expect(page.locator("#shown-title")).to_have_text("Layer 0, head 0")
    page.focus("#heatmap-live")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#readout-line")).to_contain_text("(query 0)")
    note("heatmap")
    for view in ("arrows", "text"):
        page.click(f"[data-view={view}]")
        expect(page.locator(f"[data-view={view}]")).to_have_attribute("aria-pressed", "true")
        note(view)
    return seen


def changes(plain, found):
    """By view, what stands in one page and not in the other."""
    return {
        view: different
        for view in plain
        if (different := list(unified_diff(plain[view], found[view], n=0, lineterm="")))
    }


@pytest.fixture(scope="module")
def plain_views():
    """What the same pages make of themselves with benign strings, by browser and their number."""
    return {}


@pytest.mark.parametrize("strings", PAGES, ids=range(len(PAGES)))
def test_nothing_runs_and_everything_is_shown(strings, browser, page_of, plain_views):
    count = len(strings)
    plain = plain_views.setdefault(browser, {})
    if count not in plain:
        plain[count] = views_of(page_of(run_with(benign(strings))), count)
    page = page_of(run_with(strings))
    found = views_of(page, count)
    assert not changes(plain[count], found)
    assert page.evaluate("window.__pwned") is None
    assert shown(page)["view"] == "text"
    # Made by script, line ends stay as they are; parsed, they are all of one kind.
    contents = "(nodes) => nodes.map(({ textContent }) => textContent)"
    labels = page.eval_on_selector_all("#links-body th", contents)
    assert labels == [as_shown(string) for string in strings]
    notes = page.eval_on_selector_all(".notes li", contents)
    assert notes[:count] == [as_parsed(string) for string in strings]


def test_there_are_enough_strings():
    assert len(set(STRINGS)) == len(STRINGS) >= 500
