"""Which recorder reads which torch function. Knows no recorder itself, and nothing of a Run.

A recorder is a function ``record(watch, output, *args, **kwargs)``: what torch returned, then what
torch was called with. It is called after the torch function, never instead of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Recorder = Callable[..., None]

_RECORDERS: dict[Any, Recorder] = {}


def recorder(*functions: Any) -> Callable[[Recorder], Recorder]:
    """Register a recorder for these torch functions, as a ``TorchFunctionMode`` sees them.

    Raises:
        ValueError: one of them has a recorder already; two would count one attention twice.
    """

    def register(record: Recorder) -> Recorder:
        for function in functions:
            known = _RECORDERS.get(function)
            if known is not None:
                raise ValueError(
                    f"{name_of(function)} is read by {known.__module__}.{known.__name__} already; "
                    "a torch function has one recorder"
                )
            _RECORDERS[function] = record
        return record

    return register


def recorder_of(function: Any) -> Recorder | None:
    """Return the recorder that reads this torch function, or None."""
    return _RECORDERS.get(function)


def name_of(function: Any) -> str:
    """Return what a torch function is called, e.g. ``"softmax"``."""
    return str(getattr(function, "__name__", function))
