"""What all tests share: small runs, and a browser to show their pages in."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm_beside_cpu_torch
from browser import ARGUMENTS, Watch, chromium
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
def browser():
    """One Chromium for all page tests."""
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture
def page_of(browser, tmp_path):
    """A function that opens a page: of HTML, of a file, or of a run's report.

    A page that logs, fails, breaks its own policy or asks for anything fails the test at its end.
    """
    watch = Watch(browser)

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
