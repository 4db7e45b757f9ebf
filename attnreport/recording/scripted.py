"""Find functions of TorchScript that a module's code calls: what runs in them nothing can watch.

Only the code is read, never run: names that a ``forward`` uses, and the functions it calls use.
Knows which operators of a graph are attention's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

import torch

# With a softmax a graph may make weights; with the other it hides them whole.
_ATTENTION = re.compile(r"aten::(_?softmax|scaled_dot_product_attention)\b")
# So deep are calls followed into functions of Python.
_DEEPEST = 3


def hidden_attention(kind: type[torch.nn.Module]) -> Iterator[str]:
    """Yield the names of TorchScript functions that a module's forward may call for attention."""
    if issubclass(kind, torch.jit.ScriptModule):
        return  # it is one whole, and has no forward of Python
    known: set[int] = set()
    for name, function in _reached(kind.forward, _DEEPEST, known):
        if _ATTENTION.search(str(function.graph)):
            yield name


def _reached(function: Any, depth: int, known: set[int]) -> Iterator[tuple[str, Any]]:
    function = getattr(function, "__wrapped__", function)
    if not isinstance(function, FunctionType) or id(function) in known:
        return
    known.add(id(function))
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, torch.jit.ScriptFunction):
            if id(value) not in known:
                known.add(id(value))
                yield name, value
        elif depth and isinstance(value, FunctionType) and _of_same(value, function):
            yield from _reached(value, depth - 1, known)


def _names(code: CodeType) -> Iterator[str]:
    """Yield what a function, and the functions inside it, look up outside of them."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _of_same(function: FunctionType, other: FunctionType) -> bool:
    """Tell whether two functions are of one package: others do not call its modules' helpers."""
    packages = [str(each.__module__).partition(".")[0] for each in (function, other)]
    return packages[0] == packages[1]
