"""The table of strongest links: the largest weights of each row, and nothing that is no link."""

from __future__ import annotations

import numpy as np
from browser import BOTH_BROWSERS

from attnreport import Attention, Axis, Run

pytestmark = BOTH_BROWSERS

_WEIGHTS = np.array(
    [[1, 0, 0, 0], [0.25, 0.75, 0, 0], [0.2, 0.5, 0.3, 0], [0.1, 0.2, np.nan, 0.3]], np.float32
)
_CELLS = [
    ["a 1.0000", "–", "–"],
    ["b 0.7500", "a 0.2500", "–"],
    ["b 0.5000", "c 0.3000", "a 0.2000"],
    ["c NaN", "d 0.3000", "b 0.2000"],
]


def cells_of(page):
    rows = page.locator("#links-body tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_the_table_is_the_same_with_and_without_a_script(page_of):
    axis = Axis.of_labels("text", tuple("abcd"))
    run = Run((Attention(_WEIGHTS[None], "layer", 0, "self", axis, axis),))
    assert cells_of(page_of(run, java_script_enabled=False, ready=False)) == _CELLS
    assert cells_of(page_of(run)) == _CELLS
