"""A report opens by itself: from a file, without a network, a console message or a broken rule."""

from __future__ import annotations

import pytest
from browser import BOTH_BROWSERS, Watch

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
