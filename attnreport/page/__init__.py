"""One HTML string from a Run and the charts of it: packing, templates, security policy."""

from attnreport.page.form import MeasuredRun
from attnreport.page.notebook import in_notebook, still_png
from attnreport.page.opening import Opening, asked_for, opening
from attnreport.page.page import Rendered, measured_for, render

__all__ = [
    "MeasuredRun",
    "Opening",
    "Rendered",
    "asked_for",
    "in_notebook",
    "measured_for",
    "opening",
    "render",
    "still_png",
]
