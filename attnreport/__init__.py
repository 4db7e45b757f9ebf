"""See the attention of any PyTorch model in one self-contained HTML file.

::

    with attnreport.capture(model) as recording:
        model(**inputs)
    attnreport.Report(recording.run()).save("report.html")

``capture`` watches one real run, a ``Run`` holds what it found, a ``Report`` draws it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from attnreport.attention import Attention
from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.errors import AttentionNotFound, AttnreportError
from attnreport.pixels import Pixels
from attnreport.run import LedgerEntry, Provenance, Run

if TYPE_CHECKING:
    from attnreport.recording import Recording, capture
    from attnreport.report import Report

__version__ = "0.1.0"

__all__ = [
    "Attention",
    "AttentionNotFound",
    "AttnreportError",
    "Axis",
    "Call",
    "LedgerEntry",
    "Pixels",
    "Position",
    "Provenance",
    "Recording",
    "Report",
    "Run",
    "capture",
]

# torch takes seconds to import and Altair most of one: a script that only loads a Run, and
# `attnreport --help`, should wait for neither.
_LAZY = {
    "Recording": "attnreport.recording",
    "Report": "attnreport.report",
    "capture": "attnreport.recording",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module 'attnreport' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
