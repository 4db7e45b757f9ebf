"""Keep ``torch.nn``'s fused encoder paths open while a mode watches.

``nn.TransformerEncoder``, its layer and ``nn.MultiheadAttention`` leave their fused path when
``torch.overrides.has_torch_function`` says that somebody watches; the other path differs by 5e-7,
and by far more on padded positions. Here the question is answered as if nobody did, for these
modules alone. The fused functions themselves are torch functions, so that the mode sees them.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from attnreport.recording.apart import without_modes

_ASKING = frozenset({"torch.nn.modules.activation", "torch.nn.modules.transformer"})

_lock = threading.Lock()
_users = 0
_original: Any = torch.overrides.has_torch_function


@contextlib.contextmanager
def unseen_by_fast_paths(kind: type[TorchFunctionMode]) -> Iterator[None]:
    """Answer ``torch.nn``'s question without modes of this kind; may be entered many times."""
    global _users, _original  # noqa: PLW0603 - it is the interpreter that is changed
    with _lock:
        if not _users:
            _original = torch.overrides.has_torch_function
            _put(_answer(kind, _original))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if not _users:
                _put(_original)


def _put(function: Any) -> None:
    torch.overrides.has_torch_function = function


def _answer(
    kind: type[TorchFunctionMode], original: Callable[[Iterable[Any]], bool]
) -> Callable[[Iterable[Any]], bool]:
    def has_torch_function(args: Iterable[Any]) -> bool:
        if sys._getframe(1).f_globals.get("__name__") not in _ASKING:
            return original(args)
        with without_modes(kind):
            return original(args)

    return has_torch_function
