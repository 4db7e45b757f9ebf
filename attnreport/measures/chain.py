"""How the attentions of a run follow on one another, as rollout and flow both see it.

Every sequence (axis) has a state per position. An attention replaces the state of its queries'
axis by a mixture of that state, carried past the layer by the residual connection, and of the
state of its keys' axis as it was at that moment. Walking through the run in the order of
execution this way joins self-attention and cross-attention alike; nothing has to be said about
encoders or decoders. This module knows which attentions take part and what each one mixes, not
what is made of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.errors import InvalidMeasure
from attnreport.measures.reduced_rows import refuse_reduced
from attnreport.measures.rows import Array, is_self, rows_of
from attnreport.run import Run

Fusion = Literal["mean", "max", "min"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Say how heads are fused and layers joined.

    Attributes:
        residual: share of a state that passes a layer unchanged, 0 to 1; 0.5 in the paper.
        fusion: how the heads become one matrix: their mean, maximum or minimum.
        discard: share of the visible keys of every row, the lightest ones, that is set to 0
            before the row is divided by its sum again; 0 to below 1.

    Raises:
        InvalidMeasure: one of them is out of range.
    """

    residual: float = 0.5
    fusion: Fusion = "mean"
    discard: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.residual <= 1:
            raise InvalidMeasure(f"residual must lie between 0 and 1, got {self.residual}")
        if not 0 <= self.discard < 1:
            raise InvalidMeasure(f"discard must be at least 0 and below 1, got {self.discard}")
        if self.fusion not in get_args(Fusion):
            raise InvalidMeasure(f"fusion must be mean, max or min, got {self.fusion!r}")


@dataclass(frozen=True, eq=False)
class Step:
    """Hold what one attention does to the state of its queries' axis.

    Attributes:
        attention: the attention.
        keep: ``(query,)`` share of the old state that stays: the residual, or 1 where the row
            has no weight left and the position can only pass on itself.
        mix: ``(query, key)`` share taken from each key; ``keep + mix.sum(axis=1)`` is 1.
        dead: how many rows have no weight left.
    """

    attention: Attention
    keep: Array
    mix: Array
    dead: int


@dataclass(frozen=True, eq=False)
class Part:
    """Hold the shares that one input sequence has in the joined rows.

    Attributes:
        keys: what the columns stand for.
        weights: ``(query, key)`` float64, read-only.
    """

    keys: Axis
    weights: Array

    def __post_init__(self) -> None:
        self.weights.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Joined:
    """Hold a whole run joined into one matrix per input sequence.

    Attributes:
        method: ``"rollout"`` or ``"flow"``.
        queries: what the rows stand for: positions at the top of the model.
        rows: the positions in ``queries`` that the rows of every part stand for.
        parts: one per input sequence that reaches the rows, the queries' own first.
        layers: ``Attention.layer`` of every attention that took part.
        settings: how it was joined.
        notes: what a reader must know, in words: what was left out, how far it drifted.
    """

    method: Literal["rollout", "flow"]
    queries: Axis
    rows: tuple[int, ...]
    parts: tuple[Part, ...]
    layers: tuple[int, ...]
    settings: Settings
    notes: tuple[str, ...]

    def part(self, axis: Axis | str) -> Part:
        """Return the part whose columns are that axis, given itself or by name."""
        for part in self.parts:
            if axis in (part.keys, part.keys.name):
                return part
        known = ", ".join(part.keys.name for part in self.parts)
        raise InvalidMeasure(f"the joined rows have no part for {axis!r}; known are: {known}")


class Sequences:
    """Number the axes of a run as they are met; equal axes have one number.

    Hashing an axis visits all its positions, which at 512 tokens costs more than a layer does;
    comparing it with itself costs nothing.
    """

    def __init__(self) -> None:
        self.axes: list[Axis] = []

    def number(self, axis: Axis) -> int:
        """Return the number of an axis, a new one if it was not met before."""
        if axis not in self.axes:
            self.axes.append(axis)
        return self.axes.index(axis)


def find_axis(run: Run, axis: Axis | str | None) -> Axis:
    """Return the axis whose rows are asked for; None is that of the last attention that chains.

    Raises:
        InvalidMeasure: no attention chains, or none that chains has such queries.
    """
    refuse_reduced(run, "joining layers")
    met = Sequences()
    last = None
    for each in filter(chains, run.attentions):
        met.number(each.queries)
        last = each.queries
    if last is None:
        raise InvalidMeasure(
            "no attention of this run can be joined: expected self-attention with the same "
            "queries and keys, or cross-attention between two sequences"
        )
    if axis is None:
        return last
    found = [each for each in met.axes if axis in (each, each.name)]
    if len(found) != 1:
        names = ", ".join(each.name for each in met.axes)
        problem = "several axes are" if found else "no axis that can be joined is"
        raise InvalidMeasure(f"{problem} called {axis!r}; give one of: {names}")
    return found[0]


def chains(attention: Attention) -> bool:
    """Tell whether the states of two axes, or of one, go through this attention as a whole.

    A self-attention whose queries are not its keys (one step of a generation) does not: which
    of the keys' states the queries take up cannot be told from the axes.
    """
    return is_self(attention) or (attention.kind == "cross" and attention.queries != attention.keys)


def steps(run: Run, settings: Settings) -> Iterator[Step]:
    """Yield what every attention that chains does, in the order of execution."""
    for attention in run.attentions:
        if not chains(attention):
            continue
        fused = _discard(_fuse(attention, settings.fusion), settings.discard)
        sums = fused.sum(axis=1, keepdims=True)
        alive = sums > 0
        mix = (1 - settings.residual) * fused / np.where(alive, sums, 1.0)
        keep = np.where(alive[:, 0], settings.residual, 1.0)
        yield Step(attention, keep, mix, int(np.count_nonzero(~alive)))


def notes_of(run: Run, taken: list[Step]) -> tuple[str, ...]:
    """Return in words which attentions and rows of a run could not be joined."""
    notes = []
    left = len(run.attentions) - len(taken)
    if left:
        notes.append(
            f"not joined, since queries and keys do not chain: {_count(left, 'attention')}"
        )
    dead = sum(step.dead for step in taken)
    if dead:
        notes.append(f"without weight, so that they pass on only themselves: {_count(dead, 'row')}")
    broken = sum(int(rows_of(step.attention).nonfinite.sum()) for step in taken)
    if broken:
        notes.append(f"left out, since they hold NaN or infinity: {_count(broken, 'row')} of heads")
    return tuple(notes)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _fuse(attention: Attention, fusion: Fusion) -> Array:
    """Return ``(query, key)``: the heads as one, per row over the heads where it is usable."""
    rows = rows_of(attention)
    fused: NDArray[np.floating]
    if fusion == "mean":  # a row that is not usable is 0 and adds nothing
        count = np.maximum(rows.usable.sum(axis=0), 1)
        fused = rows.weights.sum(axis=0, dtype=np.float64) / count[:, None]
    elif fusion == "max":  # a row that is not usable is 0 and never the largest
        fused = rows.weights.max(axis=0)
    elif rows.usable.all():
        fused = rows.weights.min(axis=0)
    else:
        least = np.where(rows.usable[:, :, None], rows.weights, np.inf).min(axis=0)
        fused = np.where(np.isinf(least), 0.0, least)
    return np.asarray(fused, dtype=np.float64)


def _discard(fused: Array, share: float) -> Array:
    """Set the lightest ``share`` of the keys with weight to 0 in every row, rounded down.

    Counting only keys that have weight keeps a causal row from spending its quota on keys it
    never saw. Of equal weights the earlier key goes first.
    """
    if not share:
        return fused
    visible = np.count_nonzero(fused, axis=1)
    hidden = fused.shape[1] - visible
    # 0.29 of 100 keys are 29, though as floats they are a little less.
    cut = hidden + np.floor(share * visible + 1e-9).astype(np.int64)
    rank = np.empty(fused.shape, dtype=np.int64)
    order = np.argsort(fused, axis=1, kind="stable")
    np.put_along_axis(rank, order, np.arange(fused.shape[1])[None, :], axis=1)
    return np.where(rank < cut[:, None], 0.0, fused)
