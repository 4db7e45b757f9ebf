"""Compute the weights of a long attention some rows at a time, and keep only what is read off them.

All weights of a long input take more memory than there is, and more time to write and read again
than to compute: here they never leave the processor's cache. Plain tensors in; nothing here knows
where they come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch

from attnreport.recording.reading import MOMENTS, Heads, Rows
from attnreport.recording.reducing import Reduction
from attnreport.recording.room import Pool
from attnreport.recording.weights import hide, later_keys, precisely
from attnreport.reduced import LARGEST

# The score of what may not be looked at: its weight is 0, and 0 times this is 0.
_LOWEST = torch.finfo(torch.float32).min


def reduced_softmax(  # noqa: PLR0913 - the formula has this many terms
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    pool: Pool | None = None,
    block: int = 2,
) -> tuple[Reduction, torch.Tensor]:
    """Return what is kept of softmax(query keyᵀ · scale + mask), and that times the values.

    Arguments as of ``weights.attend``, on the CPU. What is computed is written to ``pool``, over
    what was there.

    Returns:
        The reduction, and ``(head, query, width)`` at least in float32, in the pool.
    """
    pool = pool or Pool()
    query, key, scale = precisely(query, key, scale)
    heads, queries = query.shape[:2]
    shape = (heads, queries, key.shape[1])
    key = _per_head(key, pool.room("keys", (heads, *key.shape[1:]), query.dtype))
    # The sums that are wanted of every row are products too: one does it all.
    width = MOMENTS + value.shape[2]
    factors = pool.room("factors", (heads, key.shape[1], width), query.dtype)
    _per_head(value, factors[..., MOMENTS:])
    products = pool.room("products", (heads, queries, width), query.dtype)
    mask = None if mask is None else mask.expand(shape)
    every = _Operands(query, key, factors, mask, scale, slice(0, queries))
    reduction = Reduction(shape, block=block)
    parts = [every.of(rows, causal=causal) for rows in reduction.some_rows()]
    known = [Rows(reduction, part.rows, part.keys, part.most) for part in parts]
    # The keys and values of a head stay in the cache for all of its rows.
    for some in reduction.some_heads():
        reader = Heads(reduction, some, pool)
        for part, rows in zip(parts, known, strict=True):
            scores, weights = part.attend(some, pool)
            own = part.factors[some]
            own[..., :MOMENTS] = rows.moments
            product = torch.bmm(weights, own, out=products[some, part.rows])
            reader.read(rows, weights.float(), scores.float(), product[..., :MOMENTS])
        reader.finish()
    return reduction, products[..., MOMENTS:]


def _per_head(shared: torch.Tensor, room: torch.Tensor) -> torch.Tensor:
    """Write ``(key head, …)`` of keys or values, which groups of heads share, for each head."""
    groups = len(shared)
    room.view(groups, len(room) // groups, *room.shape[1:]).copy_(shared.unsqueeze(1))
    return room


@dataclass(frozen=True, eq=False)
class _Operands:
    """Hold what some rows of every head are computed from, in one precision.

    Attributes:
        query: ``(head, query, width)``.
        key: ``(head, key, width)``.
        factors: ``(head, key, width)``, what the weights are multiplied by.
        mask: ``(head, query, key)`` or None.
        scale: what scores are multiplied by.
        rows: which queries these are.
        later: which of the last keys come after a query, ``(query, key)``; None where they may be
            looked at.
    """

    query: torch.Tensor
    key: torch.Tensor
    factors: torch.Tensor
    mask: torch.Tensor | None
    scale: float
    rows: slice
    later: torch.Tensor | None = None

    @property
    def keys(self) -> int:
        """Return how many keys there are."""
        return self.key.shape[1]

    def of(self, rows: slice, *, causal: bool) -> _Operands:
        """Return those of some rows; of causal attention without the keys after the last."""
        keys, later = self.keys, None
        if causal:
            keys = min(keys, max(rows.stop, LARGEST))
            length = rows.stop - rows.start
            later = later_keys(length, max(keys - rows.start, 0), self.key.device)
        return replace(
            self,
            query=self.query[:, rows],
            key=self.key[:, :keys],
            factors=self.factors[:, :keys],
            mask=None if self.mask is None else self.mask[:, rows, :keys],
            rows=rows,
            later=later,
        )

    @property
    def most(self) -> torch.Tensor | None:
        """Return how many keys each row may look at, ``(query,)``; None for all."""
        return None if self.later is None else self.keys - self.later.sum(dim=-1)

    def attend(self, heads: slice, pool: Pool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return finite scores, and the weights they make.

        Both are ``(head, query, key)``. A row that may look at nothing has weights of zero.

        Args:
            heads: which heads.
            pool: where they are written, over those of other heads.
        """
        query, key = self.query[heads], self.key[heads]
        shape = (*query.shape[:2], key.shape[1])
        scores, weights = (pool.room(name, shape, query.dtype) for name in ("scores", "weights"))
        scores.baddbmm_(query, key.mT, beta=0, alpha=self.scale)
        if self.mask is None:
            hide(scores, None, self.later, _LOWEST)
            torch.softmax(scores, dim=-1, out=weights)
            return scores, weights
        # A mask may add the lowest number to a whole row, which is not blind for that.
        hide(scores, self.mask[heads], self.later)
        torch.softmax(scores, dim=-1, out=weights)
        blind = scores.amax(dim=-1, keepdim=True) == -math.inf
        if blind.any():
            weights.masked_fill_(blind, 0)
        return scores.clamp_(min=_LOWEST), weights
