"""One HTML string from a Run and the charts of it: packing, templates, security policy."""

from attnreport.page.page import Rendered, render

__all__ = ["Rendered", "render"]
