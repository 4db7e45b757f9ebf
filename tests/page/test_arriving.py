"""A report that is still on its way: the shown head first, other layers when they have come."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from browser import wait_until_ready
from page_acts import drawn_codes
from playwright.sync_api import expect
from runs import small_run

from attnreport import Report

LAYERS = 3


@pytest.fixture
def report() -> str:
    """A report of a few layers that opens with the second one."""
    return Report(small_run(layers=LAYERS, queries=40), layer=1).html()


@pytest.fixture
def slow(report) -> Iterator[tuple[str, threading.Event]]:
    """The address of a report that comes as far as its scripts, and what lets the rest come."""
    rest = threading.Event()
    cut = report.index("</script>", report.index('<script type="module"')) + len("</script>")

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(report[:cut].encode())
            self.wfile.flush()
            rest.wait(30)
            self.wfile.write(report[cut:].encode())

        def log_message(self, *words):
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Slow)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", rest
    rest.set()
    server.shutdown()
    thread.join()
    server.server_close()


def expected_codes(layer: int) -> np.ndarray:
    """What the page draws of the first head of a layer."""
    weights = small_run(layers=LAYERS, queries=40).attentions[layer].weights[0]
    return np.rint(np.sqrt(weights.astype(np.float64)) * 254)


def test_shown_head_is_drawn_while_the_file_still_comes(browser, slow):
    address, rest = slow
    context = browser.new_context()
    page = context.new_page()
    page.goto(address, wait_until="commit")
    wait_until_ready(page)
    assert page.evaluate("document.readyState") == "loading"
    assert page.inner_text("#shown-title") == "Layer 1, head 0"
    np.testing.assert_allclose(drawn_codes(page), expected_codes(1), atol=1)

    page.select_option("#layer-select", "2")
    page.wait_for_timeout(200)
    assert page.inner_text("#shown-title") == "Layer 1, head 0"  # there is nothing else yet
    links = page.text_content("#links-body")
    rest.set()
    expect(page.locator("#shown-title")).to_have_text("Layer 2, head 0")
    # The table is filled once the picture is drawn, which the title goes before.
    expect(page.locator("#links-body")).not_to_have_text(links)
    np.testing.assert_allclose(drawn_codes(page), expected_codes(2), atol=1)
    expect(page.locator("#cut-off")).to_be_hidden()
    context.close()


@pytest.mark.parametrize("lost", [100, 2_000, 12_000])
def test_file_that_was_cut_off_says_so(lost, report, page_of):
    page = page_of(report[:-lost])
    expect(page.locator("#cut-off")).to_be_visible()
    assert "cut off" in page.inner_text("#cut-off")
    assert page.inner_text("#shown-title") == "Layer 1, head 0"


def test_whole_file_does_not(report, page_of):
    page = page_of(report)
    page.wait_for_function("document.readyState === 'complete'")
    assert page.locator("#cut-off").is_hidden()
