"""A label may hold anything; what an SVG cannot hold is shown by a sign."""

from __future__ import annotations

import subprocess
import sys
from xml.etree import ElementTree as ET

import pytest

from attnreport.charts.labels import drawable

# In a process of its own: over a character that XML forbids the drawer ends the whole process.
_DRAW = """
import sys
import numpy as np
from attnreport import Attention, Axis, Position
from attnreport.charts import heatmap
from attnreport.page.vega import svg
label = "".join(chr(int(code)) for code in sys.argv[1].split(","))
axis = Axis("text", (Position(label), Position("b")))
attention = Attention(np.full((1, 2, 2), 0.5, np.float32), "l", 0, "self", axis, axis)
sys.stdout.reconfigure(encoding="utf-8")
print(svg(heatmap(attention, 0)))
"""


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        ("a\0b", "a␀b"),
        ("\x1b[31m", "␛[31m"),
        ("".join(map(chr, range(1, 9))), "␁␂␃␄␅␆␇␈"),
        ("\ufffe\uffff", "��"),
        ("\ud800", "�"),
        ("a\udfffb", "a�b"),
        ("a\x7f\x85\U0001ffff", "a␡��"),
        (" \u200b", "␣ U+200B"),
        ("naïve 猫 👩‍👧 <&>'\"", "naïve 猫 👩‍👧 <&>'\""),
    ],
)
def test_label_is_drawn_with_signs_for_what_svg_cannot_hold(label, drawn):
    assert drawable([label]) == [drawn]
    codes = ",".join(str(ord(character)) for character in label)
    result = subprocess.run(
        [sys.executable, "-c", _DRAW, codes], capture_output=True, check=False, encoding="utf-8"
    )
    assert result.returncode == 0, result.stderr
    texts = {"".join(node.itertext()) for node in ET.fromstring(result.stdout).iter()}  # noqa: S314
    assert drawn in texts
