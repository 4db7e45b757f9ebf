"""A report opens by itself: from a file, without a network, a console message or a broken rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from browser import Watch
from page_acts import comes_to_be, drawn_codes
from runs import small_run

from attnreport import Report


def test_page_becomes_ready_in_silence(page_of, run_of):
    page = page_of(run_of())
    assert page.inner_text("h1") == "Attention of tiny"
    assert page.title() == "Attention of tiny"


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_page_shows_first_the_head_worth_a_look_and_says_why(script, page_of):
    # Head 1 of layer 2 always looks at the token before it.
    run = small_run(layers=3, heads=2, queries=8)
    weights = run.attentions[2].weights.copy()
    weights[1] = np.eye(8, k=-1)
    weights[1, 0, 0] = 1
    found = replace(run.attentions[2], weights=weights)
    run = replace(run, attentions=(*run.attentions[:2], found))
    page = page_of(run, java_script_enabled=script, ready=script)
    assert page.inner_text("#shown-title") == "Layer 2, head 1"
    why = "layer 2 head 1 attends to the previous token, 1.00 of its weight."
    assert page.text_content("#worth") == why
    assert "This page opens with the first of these." in page.inner_text("#heads")
    still = page.locator("#heatmap-still svg").first
    assert still.get_attribute("aria-label") == "Heatmap of layer 2, head 1"
    cells = page.locator("#links-body tr td:nth-of-type(1)").all_text_contents()
    labels = found.keys.labels
    assert cells == [f"{labels[max(query - 1, 0)]} 1.0000" for query in range(8)]
    if script:
        np.testing.assert_array_equal(drawn_codes(page), np.rint(weights[1] * 254))


@pytest.mark.parametrize(
    ("script", "what"),
    [
        ("console.log('hello')", "console: hello"),
        ("setTimeout(() => { throw new Error('late') })", "error: late"),
        ("fetch('http://127.0.0.1:47999/').catch(() => {})", "request: http://127.0.0.1:47999/"),
        ("alert('boo')", "dialog: boo"),
    ],
)
def test_the_watch_sees_what_a_page_must_not_do(browser, tmp_path, script, what):
    # The guard of every other page test is itself tested: a watch that sees nothing proves nothing.
    path = tmp_path / "bad.html"
    path.write_text(f"<!doctype html><title>bad</title><script>{script}</script>")
    watch = Watch(browser)
    page = watch.open(path, ready=False)
    # What is asked of a page lets its events in.
    comes_to_be(lambda: page.title() and what in watch.seen, True)
    assert what in watch.close()


def test_the_watch_sees_a_broken_policy(browser, tmp_path):
    policy = "default-src 'none'; style-src 'none'"
    path = tmp_path / "bad.html"
    path.write_text(
        f'<!doctype html><meta http-equiv="Content-Security-Policy" content="{policy}">'
        "<style>p { color: red }</style><p>text</p>"
    )
    watch = Watch(browser)
    watch.open(path, ready=False)
    assert any(seen.startswith("style-src") for seen in watch.close())


_ADD_SCRIPT = """() => {
  const script = document.createElement("script");
  try {
    script.textContent = "window.__ran = true";
    document.head.append(script);
  } catch (error) {
    return error.name; // Trusted Types refuse the text itself
  }
  return String(window.__ran ?? "refused");
}"""


def test_no_other_script_gets_in_as_its_own_do(browser, run_of, tmp_path):
    path = tmp_path / "report.html"
    Report(run_of()).save(path)
    watch = Watch(browser)
    page = watch.open(path)
    assert page.evaluate("typeof vegaEmbed") == "function"
    assert page.evaluate(_ADD_SCRIPT) in {"TypeError", "refused"}
    watch.close()


def test_still_pictures_stay_where_a_script_is_damaged(browser, run_of, tmp_path):
    html = Report(run_of()).html()
    start = html.index('id="scripts">["') + 1000
    path = tmp_path / "damaged.html"
    path.write_text(html[:start] + "AAAAAAAA" + html[start + 8 :], encoding="utf-8")
    watch = Watch(browser)
    page = watch.open(path, ready=False)
    wrong = lambda: page.title() and any(seen.startswith("error: ") for seen in watch.seen)  # noqa: E731
    assert comes_to_be(wrong, True)
    assert page.is_visible("#heatmap-still svg")
    assert not page.is_visible("#heatmap-live")
    watch.close()
