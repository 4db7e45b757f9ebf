"""Weights from queries, keys and the rules that a kernel was told instead of a mask.

A kernel gets numbers: whether it is causal, how wide its window is, where packed sequences begin.
Plain tensors in, plain tensors out; nothing here knows where they come from.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from attnreport.recording.weights import normalise, scores_of

# What is to be said of weights that were computed so, for the ledger.
FROM_OPERANDS = "computed from what its kernel was called with"
# What follows the last packed sequence: no query and no key has the other's.
_NO_QUERY, _NO_KEY = -1, -2


@dataclass(frozen=True, eq=False)
class Places:
    """Say where each query, or each key, is.

    Attributes:
        sequence: ``(position,)`` int, which of the packed sequences it is of.
        position: ``(position,)`` int, on the axis of the keys of its sequence.
    """

    sequence: torch.Tensor
    position: torch.Tensor


def unpacked(queries: int, keys: int, device: torch.device) -> tuple[Places, Places]:
    """Return the places where nothing is packed: the queries are the last positions of the keys."""
    rows = torch.arange(keys - queries, keys, device=device)
    columns = torch.arange(keys, device=device)
    return Places(torch.zeros_like(rows), rows), Places(torch.zeros_like(columns), columns)


def packed(
    starts: tuple[torch.Tensor, torch.Tensor], queries: int, keys: int
) -> tuple[Places, Places]:
    """Return the places of packed sequences.

    Args:
        starts: of queries and of keys ``(sequence + 1,)``: where each begins, and the end.
        queries: how many there are, of all sequences and what follows them.
        keys: the same of the keys.
    """
    asking, answering = starts
    more = answering.diff() - asking.diff()
    return (
        _places(asking, queries, more, _NO_QUERY),
        _places(answering, keys, torch.zeros_like(more), _NO_KEY),
    )


def _places(starts: torch.Tensor, length: int, shift: torch.Tensor, nowhere: int) -> Places:
    each = torch.arange(length, device=starts.device)
    which = torch.bucketize(each, starts[1:], right=True)
    inside = which < len(starts) - 1
    known = which.clamp(max=len(starts) - 2)
    return Places(which.where(inside, nowhere), each - starts[known] + shift[known])


@dataclass(frozen=True, eq=False)
class Rules:
    """Hold what a kernel is told.

    Attributes:
        places: of queries and keys; None where the queries are the last positions of the keys.
        scale: of the scores; 1/√width where None.
        softcap: the scores stay below it, by tanh.
        bias: added to the scores, broadcasts to ``(head, query, key)``.
        allowed: boolean, broadcasts to ``(head, query, key)``: where may be looked.
        causal: whether nothing later may be looked at.
        before: how many positions before its own a query sees; None for all.
        after: how many after its own; None for all.
        slopes: ``(head,)``, by how much a score sinks for each position between (ALiBi).
        sinks: ``(head,)``, the score of what every query may look at besides.
    """

    places: tuple[Places, Places] | None = None
    scale: float | None = None
    softcap: float | None = None
    bias: torch.Tensor | None = None
    allowed: torch.Tensor | None = None
    causal: bool = False
    before: int | None = None
    after: int | None = None
    slopes: torch.Tensor | None = None
    sinks: torch.Tensor | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Return what is to be said of it, for the ledger."""
        count = 1 if self.places is None else int(self.places[1].sequence.max()) + 1
        return (f"{count} packed sequences, each of which looks at itself alone",) * (count > 1)

    def weights(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Return ``(head, query, key)``, and a last column for the sinks where there are any.

        Args:
            query: ``(head, query, width)``.
            key: ``(key head, key, width)``; fewer heads are shared by groups of neighbours.
        """
        scores = scores_of(query, key, self.scale)
        if self.softcap:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if self.bias is not None:
            scores = scores + self.bias.to(scores.dtype)
        scores = self._masked(scores)
        if self.sinks is not None:
            column = self.sinks.to(scores.dtype).view(-1, 1, 1).expand(-1, scores.shape[1], 1)
            scores = torch.cat([scores, column], dim=-1)
        return normalise(scores, may_be_blind=True)

    def _masked(self, scores: torch.Tensor) -> torch.Tensor:
        _, queries, keys = scores.shape
        asking, answering = self.places or unpacked(queries, keys, scores.device)
        allowed = asking.sequence.unsqueeze(-1) == answering.sequence
        ahead = answering.position - asking.position.unsqueeze(-1)
        if self.slopes is not None:
            scores = scores - self.slopes.to(scores.dtype).view(-1, 1, 1) * ahead.abs()
        if self.causal:
            allowed &= ahead <= 0
        if self.before is not None:
            allowed &= ahead >= -self.before
        if self.after is not None:
            allowed &= ahead <= self.after
        scores = scores.masked_fill(~allowed, -math.inf)
        return scores if self.allowed is None else scores.masked_fill(~self.allowed, -math.inf)
