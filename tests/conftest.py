"""What all tests share: small runs, and a browser to show their pages in."""

from __future__ import annotations

from pathlib import Path

import browser as browsers
import pytest
import timm_beside_cpu_torch
from playwright.sync_api import sync_playwright
from runs import small_run

from attnreport import Report, Run

timm_beside_cpu_torch.install()
timm_beside_cpu_torch.install_for_children()


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
    opened = playwright.chromium.launch(
        executable_path=browsers.chromium(), args=list(browsers.ARGUMENTS)
    )
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def firefox(playwright, tmp_path_factory):
    """One Firefox for all page tests that run in both browsers."""
    opened = browsers.Firefox(playwright, tmp_path_factory.mktemp("firefox"))
    yield opened
    opened.close()


@pytest.fixture
def browser(request):
    """Chromium, or each in turn where a test is marked with ``BOTH_BROWSERS``."""
    return request.getfixturevalue(getattr(request, "param", "chromium"))


@pytest.fixture
def page_of(browser, tmp_path):
    """A function that opens a page: of HTML, of a file, or of a run's report.

    A page that logs, fails, breaks its own policy or asks for anything fails the test at its end.
    """
    watch = browsers.Watch(browser)

    def open_page(content: Run | Path | str, **options):
        if isinstance(content, Run):
            content = Report(content).html()
        if isinstance(content, str):
            path = tmp_path / f"page{len(watch.pages)}.html"
            path.write_bytes(content.encode())
            content = path
        return watch.open(content, **options)

    yield open_page
    assert watch.close() == []
