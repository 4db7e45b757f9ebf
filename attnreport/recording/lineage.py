"""Tell what a tensor was made of, as far back as the last attention, by the identity of tensors.

Asked for one thing: whether what a layer adds to its attention's output is what its values were
made of. Holds numbers for tensors, never tensors. Knows no attention.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.following import Called, methods
from attnreport.recording.marking import (
    JOINING,
    REARRANGING,
    Living,
    keeps,
    several,
    tensors_of,
    version_of,
)

Tokens = frozenset[int]
_NOTHING: Tokens = frozenset()
_PRODUCTS = methods("matmul", "mm")
_SUMS = methods("add", "sub", "lerp", "addcmul", "addcdiv")
# A residual so changed is another position's.
_ANOTHER_ORDER = methods("roll", "flip")
# What they write to a buffer is beside what was in it: a cache.
_WRITING: set[Any] = {torch.Tensor.__setitem__} | methods(
    "index_copy", "index_put", "scatter", "copy"
)


@dataclass(frozen=True)
class _Line:
    """Hold what a tensor comes from, in numbers of tensors.

    Attributes:
        own: tensors that hold the same numbers, itself among them.
        made: those it was computed from without a matrix of the model or a sum: through a norm.
        read: those that the model's matrices read to make it; None where no matrix did.
    """

    own: Tokens
    made: Tokens
    read: Tokens | None = None


class Lineage:
    """Follow what tensors are made of through torch functions.

    Args:
        learned: tells whether a tensor is a parameter, or was made of parameters alone.
    """

    def __init__(self, learned: Callable[[torch.Tensor], bool]) -> None:
        self._learned = learned
        self._count = itertools.count()
        # With the version of the tensor that it was known of.
        self._known: Living[tuple[int | None, _Line]] = Living()

    def sources(self, tensor: torch.Tensor) -> Tokens:
        """Return the numbers of all tensors that this one was made of, through matrices too."""
        line = self._line(tensor)
        return line.made | (line.read or _NOTHING)

    def own(self, tensor: torch.Tensor) -> Tokens:
        """Return the numbers of the tensors that hold the same as this one."""
        return self._line(tensor).own

    def begin(self, tensor: torch.Tensor) -> None:
        """Forget what a tensor is made of: it mixes positions."""
        self._hold(tensor, self._new())

    def follow(self, call: Called) -> None:
        """Hold what the results of one torch function are made of."""
        line = self._result(call)
        for output in several(call.output):
            if isinstance(output, torch.Tensor):
                token = self._new()
                own = line.own | token.own if _same_numbers(call) else token.own
                self._hold(output, replace(line, own=own, made=line.made | token.own))

    def _result(self, call: Called) -> _Line:
        product = matrix_of(call, self._learned)
        if product is not None:
            line = self._line(product[0])
            return _Line(_NOTHING, _NOTHING, line.made | (line.read or _NOTHING))
        lines = [self._line(x) for x in tensors_of(call) if not self._learned(x)]
        reads = [line.read for line in lines if line.read is not None]
        if call.function in JOINING or call.function in _WRITING:
            return _Line(_NOTHING, _NOTHING, _union(reads) if reads else None)
        # A key of one sequence and a query of another have read nothing in common.
        read = reduce(Tokens.intersection, reads) if reads else None
        if call.function in _SUMS and len(lines) > 1:
            return _Line(_NOTHING, _NOTHING, read)
        own = lines[0].own if lines else _NOTHING
        return _Line(own, _union(line.made for line in lines), read)

    def _line(self, tensor: torch.Tensor) -> _Line:
        known = self._known.get(tensor)
        if known is not None and known[0] == version_of(tensor):
            return known[1]
        line = self._new()
        self._hold(tensor, line)
        return line

    def _new(self) -> _Line:
        token = frozenset({next(self._count)})
        return _Line(token, token)

    def _hold(self, tensor: torch.Tensor, line: _Line) -> None:
        self._known.put(tensor, (version_of(tensor), line))


def matrix_of(
    call: Called, learned: Callable[[torch.Tensor], bool]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Return what is multiplied, and the matrix ``(in, out)``, in a product with parameters."""
    place, turned = 0, False
    if call.function is F.linear:
        other, turned = call.argument(1, "weight", None), True
    elif call.function in _PRODUCTS:
        other = call.argument(1, "other", call.kwargs.get("mat2"))
    elif call.function in {torch.addmm, torch.Tensor.addmm}:
        place, other = 1, call.argument(2, "mat2", None)
    else:
        return None
    if len(call.args) <= place or not isinstance(call.args[place], torch.Tensor):
        return None
    if not isinstance(other, torch.Tensor) or other.dim() != 2 or call.kwargs.get("alpha", 1) != 1:
        return None
    if not learned(other):
        return None
    return call.args[place], other.detach().T if turned else other.detach()


def _same_numbers(call: Called) -> bool:
    if call.function in _ANOTHER_ORDER:
        return False
    return call.function in REARRANGING or keeps(call)


def _union(parts: Iterable[Tokens]) -> Tokens:
    return _NOTHING.union(*parts)
