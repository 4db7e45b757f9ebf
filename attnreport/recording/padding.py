"""Leave out the padding of the chosen example, where nothing looks at it.

Knows what tokenizers call padding and what the weights say; a name alone is not believed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attnreport.attention import Attention, Weights
from attnreport.axis import Axis
from attnreport.valuenorms import ValueNorms

_PAD = re.compile(r"[\[<]\|?pad\|?[\]>]", re.IGNORECASE)


@dataclass(frozen=True)
class Cut:
    """Say what is left of an axis, and how many positions are not."""

    keep: slice
    axis: Axis
    removed: int


def padding_of(attentions: Sequence[Attention]) -> tuple[dict[Axis, Cut], tuple[str, ...]]:
    """Return what is to be cut from which axis, and notes on what was found.

    Padding is cut where it is at an end of an axis, carries a tokenizer's label for it, and no
    other position gives it any weight in any layer.
    """
    cuts: dict[Axis, Cut] = {}
    notes = []
    for axis in dict.fromkeys(side for each in attentions for side in (each.queries, each.keys)):
        cut = _cut(axis)
        if cut is None:
            continue
        if all(_unseen(each, axis, cut) for each in attentions):
            cuts[axis] = cut
            notes.append(
                f"{cut.removed} padding positions of {axis.name!r} are left out: "
                "no other position looks at them"
            )
        else:
            notes.append(f"the padding of {axis.name!r} is shown: other positions look at it")
    return cuts, tuple(notes)


def _cut(axis: Axis) -> Cut | None:
    real = [place for place, label in enumerate(axis.labels) if not _PAD.fullmatch(label)]
    if not real:
        return None
    keep = slice(real[0], real[-1] + 1)
    removed = len(axis) - (keep.stop - keep.start)
    if not removed:
        return None
    return Cut(keep, Axis(axis.name, axis.positions[keep], axis.text), removed)


def _unseen(attention: Attention, axis: Axis, cut: Cut) -> bool:
    """Tell whether no row that stays looks at a column that goes."""
    if attention.keys != axis:
        return True
    weights: Weights = attention.weights
    own = _cut(attention.queries)
    if own is not None:
        weights = weights[:, own.keep]
    return not (np.any(weights[..., : cut.keep.start]) or np.any(weights[..., cut.keep.stop :]))


def without(attention: Attention, cuts: Mapping[Axis, Cut]) -> Attention:
    """Return the attention without padded rows and columns."""
    rows, columns = cuts.get(attention.queries), cuts.get(attention.keys)
    if rows is None and columns is None:
        return attention
    kept_rows = slice(None) if rows is None else rows.keep
    kept_columns = slice(None) if columns is None else columns.keep

    def kept(array: Weights, *sides: slice) -> Weights:
        index: tuple[Any, ...] = (..., *sides)
        return np.ascontiguousarray(array[index])

    sink, gradient, norms = attention.sink, attention.gradient, attention.value_norms
    points, kept_queries = attention.points, list(range(len(attention.queries)))[kept_rows]
    return replace(
        attention,
        weights=kept(attention.weights, kept_rows, kept_columns),
        queries=attention.queries if rows is None else rows.axis,
        keys=attention.keys if columns is None else columns.axis,
        sink=None if sink is None else kept(sink, kept_rows),
        gradient=None if gradient is None else kept(gradient, kept_rows, kept_columns),
        value_norms=None
        if norms is None
        else ValueNorms(
            kept(norms.heads, kept_columns),
            kept(norms.mixed, kept_rows, kept_columns),
            None if norms.block is None else kept(norms.block, kept_rows, kept_columns),
            normed=norms.normed,
        ),
        points=None if points is None else points.chosen(None, kept_queries),
    )
