"""A report opens by itself: from a file, without a network, a console message or a broken rule."""

from __future__ import annotations

import pytest
from browser import BOTH_BROWSERS, Watch

from attnreport import Report

pytestmark = BOTH_BROWSERS


def test_page_becomes_ready_in_silence(page_of, run_of):
    page = page_of(run_of())
    assert page.inner_text("h1") == "Attention of tiny"
    assert page.title() == "Attention of tiny"


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
    page.wait_for_timeout(300)
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
    page.wait_for_timeout(300)
    assert page.is_visible("#heatmap-still svg")
    assert not page.is_visible("#heatmap-live")
    assert any(seen.startswith("error: ") for seen in watch.close())
