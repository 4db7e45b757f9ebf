"""Which recorder reads which torch function. Knows no recorder itself, and nothing of a Run.

A recorder is a function ``record(watch, output, *args, **kwargs)``: what torch returned, then what
torch was called with. It is called after the torch function, never instead of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from attnreport.recording.exported import torch_function_of

Recorder = Callable[..., None]

_RECORDERS: dict[Any, Recorder] = {}
_FINDERS: list[Callable[[Any], Recorder | None]] = []
_OPERATORS = (torch._ops.OpOverload, torch._ops.OpOverloadPacket)


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
        reading_of.cache_clear()
        return record

    return register


def operator_recorders(find: Callable[[Any], Recorder | None]) -> Callable[[Any], Recorder | None]:
    """Register what finds the recorder of an operator that is no torch function, or None."""
    _FINDERS.append(functools.cache(find))
    reading_of.cache_clear()
    return find


# Models may make functions as they run: not all of them are held.
@functools.lru_cache(maxsize=4096)
def reading_of(called: Any) -> tuple[Any, Recorder | None]:
    """Return the torch function that is called, by itself or as an operator, and its recorder."""
    function = torch_function_of(called) if isinstance(called, _OPERATORS) else called
    return function, recorder_of(function)


def recorder_of(function: Any) -> Recorder | None:
    """Return the recorder that reads this torch function, or None."""
    record = _RECORDERS.get(function)
    if record is None and isinstance(function, _OPERATORS):
        found = (find(function) for find in _FINDERS)
        record = next((each for each in found if each is not None), None)
    return record


def name_of(function: Any) -> str:
    """Return what a torch function is called, e.g. ``"softmax"``."""
    return str(getattr(function, "__name__", function))
