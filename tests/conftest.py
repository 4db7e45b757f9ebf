"""What all tests share: small runs, and a browser to show their pages in."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import browser as browsers
import pytest
import timm_beside_cpu_torch
from drivers import Chromium, Firefox
from playwright.sync_api import expect, sync_playwright
from runs import small_run

from attnreport import Report, Run

timm_beside_cpu_torch.install()
timm_beside_cpu_torch.install_for_children()
# As long as Playwright waits elsewhere: its 5 s fail a test where the machine has other work.
expect.set_options(timeout=30_000)


@pytest.fixture
def run_of():
    """A function that makes a small run; ``runs.small_run`` says of what."""
    return small_run


@pytest.fixture(scope="session")
def playwright():
    """What drives all browsers."""
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def chromium(playwright):
    """One Chromium for all page tests."""
    opened = Chromium(playwright, browsers.chromium())
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def firefox(playwright, tmp_path_factory):
    """One Firefox for all page tests."""
    opened = Firefox(playwright, browsers.firefox(), tmp_path_factory.mktemp("firefox"))
    yield opened
    opened.close()


@pytest.fixture(params=browsers.BOTH)
def browser(request):
    """Each browser in turn, so that every page test runs in both."""
    return request.getfixturevalue(request.param)


@contextmanager
def _pages(browser, folder):
    """A function that opens a page: of HTML, of a file, or of a run's report.

    A page that logs, fails, breaks its own policy or asks for anything fails the test at its end.
    """
    watch = browsers.Watch(browser)
    folder.mkdir(exist_ok=True)

    def open_page(content: Run | Path | str, **options):
        if isinstance(content, Run):
            content = Report(content).html()
        if isinstance(content, str):
            path = folder / f"page{len(watch.pages)}.html"
            path.write_bytes(content.encode())
            content = path
        return watch.open(content, **options)

    yield open_page
    assert watch.close() == []


@pytest.fixture
def page_of(browser, tmp_path):
    """A function that opens a page, of HTML, of a file or of a run, and watches it."""
    with _pages(browser, tmp_path) as open_page:
        yield open_page


@pytest.fixture
def either_page_of(request, tmp_path):
    """Such a function in one of the browsers, for what takes longer to run than to look at.

    Each has half of these tests, by their names; what they draw runs in both elsewhere.
    """
    chosen = browsers.BOTH[sum(request.node.nodeid.encode()) % len(browsers.BOTH)]
    with _pages(request.getfixturevalue(chosen), tmp_path) as open_page:
        yield open_page


@pytest.fixture
def saved(browser):
    """A function from a page and a button to the file that the page then saves: name and bytes."""
    return lambda page, button: browser.saved(page, lambda: page.click(button))
