"""Compute the weights of a long attention some rows at a time, and keep only what is read off them.

All weights of a long input take more memory than there is, and more time to write and read again
than to compute: here they never leave the processor's cache. Plain tensors in; nothing here knows
where they come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from attnreport.recording.reading import Rows
from attnreport.recording.reducing import Reduction
from attnreport.recording.weights import hide, later_keys, scaled
from attnreport.reduced import LARGEST

# exp of this is 0, and 0 times this is 0.
_LOWEST = -1e4


def reduced_softmax(  # noqa: PLR0913 - the formula has this many terms
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> tuple[Reduction, torch.Tensor]:
    """Return what is kept of softmax(query keyᵀ · scale + mask), and that times the values.

    Arguments as of ``weights.attend``, on the CPU.

    Returns:
        The reduction, and ``(head, query, width)`` at least in float32.
    """
    query, key = scaled(query, key, scale)
    heads, queries, keys = shape = (*query.shape[:2], key.shape[1])
    key, value = _per_head(key, heads), _per_head(value.to(query.dtype), heads)
    every = _Operands(query, key, value, None if mask is None else mask.expand(shape))
    reduction = Reduction(shape)
    mixed = query.new_empty(heads, queries, value.shape[2])
    room = query.new_empty(2, reduction.at_once * keys)
    for rows in reduction.some_rows():
        own = every.of(rows, causal=causal)
        reader = Rows(reduction, rows, own.key.shape[1], own.most)
        for some in reduction.some_heads():
            scores, weights = own.attend(some, room)
            mixed[some, rows] = torch.bmm(weights, own.value[some])
            reader.read(some, weights.float(), scores.float(), relative=True)
    return reduction, mixed


def _per_head(shared: torch.Tensor, heads: int) -> torch.Tensor:
    """Return ``(head, key, width)`` of keys or values that groups of heads share."""
    groups, keys, width = shared.shape
    each = shared.unsqueeze(1).expand(groups, heads // groups, keys, width)
    return each.reshape(heads, keys, width).contiguous()


@dataclass(frozen=True, eq=False)
class _Operands:
    """Hold what some rows of every head are computed from, in one precision.

    Attributes:
        query: ``(head, query, width)``, scaled.
        key: ``(head, key, width)``.
        value: the same.
        mask: ``(head, query, key)`` or None.
        later: which of the last keys come after a query, ``(query, key)``; None where they may be
            looked at.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: torch.Tensor | None
    later: torch.Tensor | None = None

    def of(self, rows: slice, *, causal: bool) -> _Operands:
        """Return those of some rows; of causal attention without the keys after the last."""
        keys, later = self.key.shape[1], None
        if causal:
            keys = min(keys, max(rows.stop, LARGEST))
            length = rows.stop - rows.start
            later = later_keys(length, max(keys - rows.start, 0), self.key.device)
        return replace(
            self,
            query=self.query[:, rows],
            key=self.key[:, :keys],
            value=self.value[:, :keys],
            mask=None if self.mask is None else self.mask[:, rows, :keys],
            later=later,
        )

    @property
    def most(self) -> torch.Tensor | None:
        """Return how many keys each row may look at, ``(query,)``; None for all."""
        return None if self.later is None else self.key.shape[1] - self.later.sum(dim=-1)

    def attend(self, heads: slice, room: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores relative to the largest of their row, and the weights they make.

        Both are ``(head, query, key)``. A row that may look at nothing has weights of zero.

        Args:
            heads: which heads.
            room: where they are written, over what was there.
        """
        query, key = self.query[heads], self.key[heads]
        shape = (*query.shape[:2], key.shape[1])
        scores, weights = (each[: math.prod(shape)].view(shape) for each in room)
        torch.bmm(query, key.mT, out=scores)
        hide(scores, None if self.mask is None else self.mask[heads], self.later)
        highest = scores.amax(dim=-1, keepdim=True)
        blind = highest == -math.inf
        scores.sub_(highest.masked_fill_(blind, 0))
        if self.mask is not None or self.later is not None:
            scores.clamp_(min=_LOWEST)
        torch.softmax(scores, dim=-1, out=weights)
        if self.mask is not None and blind.any():
            weights.masked_fill_(blind, 0)
        return scores, weights
