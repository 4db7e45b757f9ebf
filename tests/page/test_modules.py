"""The page's pure modules by themselves: in both browsers always, and in Node where it is there."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from page_acts import templates

from attnreport.page.scripts import joined

CASES = Path(__file__).parent.parent / "js"
_RUN = """
const failed = {};
for (const [name, check] of Object.entries(CASES)) {
  try { await check(); } catch (error) { failed[name] = String(error); }
}
return [Object.keys(CASES).length, failed];
"""


@pytest.fixture
def folder(tmp_path):
    """The modules and their cases side by side, as each imports the other."""
    for source in (templates() / "js", CASES):
        for path in source.glob("*.js"):
            shutil.copy(path, tmp_path)
    (tmp_path / "package.json").write_text(json.dumps({"type": "module"}))
    return tmp_path


def test_modules_in_browsers(folder, page_of):
    script = joined(folder / "cases.js")
    page = page_of("<!doctype html><title>cases</title>", ready=False)
    count, failed = page.evaluate(f"async () => {{ {script}\n{_RUN} }}")
    assert failed == {}
    assert count >= 15


def test_a_wrong_module_fails_its_case(folder, page_of):
    codes = folder / "codes.js"
    codes.write_text(codes.read_text().replace("0.5 / (levels - 1)", "0.4 / (levels - 1)"))
    page = page_of("<!doctype html><title>cases</title>", ready=False)
    _, failed = page.evaluate(f"async () => {{ {joined(folder / 'cases.js')}\n{_RUN} }}")
    assert list(failed) == [
        "the error covers every weight of a code",
        "a map's code tells its value, to its error",
    ]


if shutil.which("node"):

    def test_modules_in_node(folder):
        result = subprocess.run(
            ["node", "--test", "cases.test.js"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert "# fail 0" in result.stdout
