"""What a recorder hands over: one attention as it was found, and what its heads returned.

Plain data; knows neither how it was computed nor what becomes of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.points import Points
from attnreport.recording.generation import Generation
from attnreport.recording.laying import Part
from attnreport.recording.operands import Operands
from attnreport.recording.parts import Partial
from attnreport.recording.reducing import Reduction
from attnreport.recording.streams import Stream
from attnreport.recording.weights import to_host
from attnreport.valuenorms import ValueNorms


@dataclass
class Found:
    """Hold one attention as a recorder found it, before its axes are known.

    Attributes:
        name: module path.
        call: what computed it.
        weights: ``(head, query, key)`` float32; empty where they were reduced.
        queries: the sequence of the rows, where it could be followed.
        keys: the sequence of the columns.
        dtype: precision of the computation.
        residual: see ``Attention.residual``.
        sink: see ``Attention.sink``.
        normalised: see ``Attention.normalised``.
        reasons: what is to be known about it, for the ledger.
        query_part: which positions of their sequence the rows are, where not simply all.
        key_part: the same of the columns.
        gradient: of the user's scalar with respect to the weights, once a backward brought it.
        value_norms: see ``Attention.value_norms``.
        unweighed: why there are none, for the ledger, where they are asked for.
        unsummed: why they have no block, for the ledger; empty where they have one.
        heads: which heads of the layer were kept, where not all.
        rows: which of its queries the rows of ``weights`` are, where not all.
        length: how many queries there were, where not all were kept.
        reduction: what is kept where all weights would have taken too much memory.
        query_axis: what the rows stand for, where their regions could be followed.
        key_axis: the same of the columns.
        channels: whether queries and keys are the channels of each head, not positions.
        partial: which rows these are, where other parts of the same attention may come.
        copies: how many times each head is there, once for each row that the example has in a
            generation; which of them was returned is known when it ends.
        generation: which one it is of, where it is of one.
        step: how many calls its module had in the generation before this one.
        waiting: what the weights are to be computed from, once it is known whether all are kept.
        points: see ``Attention.points``.
        loop: see ``looping.loop_of``.
        place: which position of its sequence the only query of a loop's call is, where known.
    """

    name: str
    call: str
    weights: NDArray[np.float32]
    queries: Stream | None
    keys: Stream | None
    dtype: str
    residual: float | None
    sink: NDArray[np.float32] | None = None
    normalised: bool = True
    reasons: list[str] = field(default_factory=list)
    query_part: Part | None = None
    key_part: Part | None = None
    gradient: NDArray[np.float32] | None = None
    value_norms: ValueNorms | None = None
    unweighed: str = "its heads were not followed to a projection"
    unsummed: str = ""
    heads: list[int] | None = None
    rows: list[int] | None = None
    length: int | None = None
    reduction: Reduction | None = None
    query_axis: Axis | None = None
    key_axis: Axis | None = None
    channels: bool = False
    partial: Partial | None = None
    copies: int = 1
    generation: Generation | None = None
    step: int = 0
    waiting: Operands | None = None
    points: Points | None = None
    loop: object = None
    place: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Return how many heads, queries and keys there are, kept or not."""
        if self.waiting is not None:
            return self.waiting.shape
        if self.reduction is not None:
            return self.reduction.shape
        heads, rows, keys = self.weights.shape
        return heads, rows if self.length is None else self.length, keys

    def choose_heads(self, heads: list[int]) -> None:
        """Keep these heads alone, of every copy."""
        count = len(self.weights) // self.copies
        places = [copy * count + head for copy in range(self.copies) for head in heads]
        self.heads = heads
        self.weights = self.weights[places]
        self.sink = None if self.sink is None else self.sink[places]
        self.points = None if self.points is None else self.points.chosen(places, None)

    def settle(self) -> None:
        """Compute the weights that waited."""
        operands, self.waiting = self.waiting, None
        if operands is not None:
            weights, self.residual = operands.weights()
            self.weights = to_host(weights, ours=True)

    def cut(self, array: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return of ``(…, query, key)`` the rows that are kept."""
        return array if self.rows is None else array.take(self.rows, axis=-2)


@dataclass(frozen=True, eq=False)
class Mixed:
    """Hold what the heads of one example returned, and of what.

    Attributes:
        heads: ``(head, query, width)``, a view of ``returned`` if it can be.
        returned: the tensor that the model goes on with.
        values: ``(key head, key, width)``.
        weights: ``(head, query, key)`` that the values were multiplied by.
        source: the tensor of the model that the values are of.
        exact: whether these are the weights that are shown.
    """

    heads: torch.Tensor
    returned: torch.Tensor
    values: torch.Tensor
    weights: torch.Tensor
    source: torch.Tensor
    exact: bool = True
