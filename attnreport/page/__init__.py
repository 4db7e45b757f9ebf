"""One HTML string from a Run and the charts of it: packing, templates, security policy."""

from attnreport.page.notebook import in_notebook, still_png
from attnreport.page.page import Rendered, render

__all__ = ["Rendered", "in_notebook", "render", "still_png"]
