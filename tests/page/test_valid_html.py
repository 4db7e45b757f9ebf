"""The Nu Html Checker finds no error in a report, nor in what its script makes of it."""

from __future__ import annotations

import re

from every_view import FRAGMENTS, every_run
from hostile import STRINGS, run_with
from nu_checker import errors_of
from runs import small_run

from attnreport import Report
from attnreport.build import build_run
from attnreport.sources import Request

EXAMPLE = "examples/bar.png"
_DATA = re.compile(r"<script.*?</script>", re.DOTALL)


def test_no_report_has_an_error(tmp_path):
    reports = {
        "text": build_run(Request("demo:text", "Ada met Grace. Then Ada met", values=True)),
        "translate": build_run(Request("demo:translate", "Thursday, 5 March 2021")),
        "vision": build_run(Request("demo:vision", EXAMPLE)),
        "every view": every_run(),
        "hostile": run_with(STRINGS[::4]),
        "long": small_run(queries=100),
    }
    for name, run in reports.items():
        (tmp_path / f"{name}.html").write_text(Report(run).html(), "utf-8")
    assert errors_of(tmp_path) == {f"{name}.html": [] for name in sorted(reports)}


def test_what_the_page_makes_of_itself_has_none_either(page_of, tmp_path):
    page = page_of(every_run())
    page.click("#open-help")
    live = tmp_path / "live"
    live.mkdir()
    for view, fragment in FRAGMENTS.items():
        page.evaluate("fragment => { location.hash = fragment }", fragment)
        page.wait_for_timeout(300)
        (live / f"{view}.html").write_text(_DATA.sub("", page.content()), "utf-8")
    assert errors_of(live) == {f"{view}.html": [] for view in sorted(FRAGMENTS)}


def test_the_checker_sees_an_error(tmp_path):
    wrong = {"p.html": ("<p><div></p>", "No “p” element"), "img.html": ("<img>", "missing")}
    for name, (markup, _) in wrong.items():
        page = Report(small_run()).html().replace("<main>", f"<main>{markup}", 1)
        (tmp_path / name).write_text(page, "utf-8")
    for name, found in errors_of(tmp_path).items():
        assert any(wrong[name][1] in error for error in found)
