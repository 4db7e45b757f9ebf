"""Put the parts of one attention together: products of one softmax, or blocks of rows.

A model with block-sparse attention computes some rows, or some columns, at a time. Each part was
laid on the whole sequence already; here they are added up. Knows arrays and which rows were asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.recording.laying import Part
from attnreport.run import LedgerEntry

if TYPE_CHECKING:
    from attnreport.recording.found import Found

Floats = NDArray[np.float32]
# How far from 1 a row may sum: what is left is the share of what is no position.
_LEFT = 1e-3
NO_POSITION = "the share of what is no position of the sequence is the sink's"


@dataclass(frozen=True, eq=False)
class Partial:
    """Say that an attention may be a part of one.

    Attributes:
        origin: what made its weights: other columns of the same rows have the same.
        asked: ``(position,)`` bool, which rows it has.
        rows: ``(query,)`` int, the position of each row; None where it is laid on the whole
            sequence already.
        over: the origins of parts whose output the model wrote this one's output over.
    """

    origin: object
    asked: NDArray[np.bool_]
    rows: NDArray[np.int64] | None = None
    over: list[object] = field(default_factory=list)


def join_parts(seen: Sequence[Found | LedgerEntry]) -> list[Found | LedgerEntry]:
    """Return what was seen, with the parts of each attention as one, at the first part's place."""
    groups: dict[int, list[tuple[Found, Partial]]] = {}
    open_at: dict[str, int] = {}
    for place, found in enumerate(seen):
        if isinstance(found, LedgerEntry) or found.partial is None:
            continue
        start, part = open_at.get(found.name), found.partial
        if start is None or not _belongs(found, part, groups[start]):
            open_at[found.name] = start = place
        groups.setdefault(start, []).append((found, part))
    return [
        _joined(groups[place]) if place in groups else found
        for place, found in enumerate(seen)
        if place in groups or isinstance(found, LedgerEntry) or found.partial is None
    ]


def _belongs(found: Found, part: Partial, group: Sequence[tuple[Found, Partial]]) -> bool:
    """Tell whether these are other columns of the same rows, or other rows of the same matrix.

    Or the same rows once more, where the model wrote them over the first ones.
    """
    first, _ = group[0]
    others = [other for _, other in group]
    if found.shape[0] != first.shape[0] or len(part.asked) != len(others[0].asked):
        return False
    if any(other.origin in part.over for other in others):
        return True
    return all(
        part.origin is other.origin or not np.any(part.asked & other.asked) for other in others
    )


def _summed(group: Sequence[tuple[Found, Partial]]) -> Floats:
    """Return the sum of the parts; of a row that was written over, what was written last."""
    total = _laid(*group[0])
    for place, (found, part) in enumerate(group[1:], 1):
        if any(other.origin in part.over for _, other in group[:place]):
            total = np.where(part.asked[None, :, None], 0, total)
        total = total + _laid(found, part)
    return total


def _laid(found: Found, part: Partial) -> Floats:
    if part.rows is None:
        return found.weights
    whole = np.zeros((len(found.weights), len(part.asked), len(part.asked)), np.float32)
    whole[:, part.rows] = found.weights
    return whole


def _joined(group: Sequence[tuple[Found, Partial]]) -> Found | LedgerEntry:
    first, part = group[0]
    asked = np.any([each.asked for _, each in group], axis=0)
    if len(group) == 1 and (part.rows is not None or (first.reduction is not None and asked.all())):
        return replace(first, partial=None)
    reasons = list(dict.fromkeys(reason for found, _ in group for reason in found.reasons))
    if any(found.reduction is not None for found, _ in group):
        why = "its parts together take more memory than max_memory"
        return LedgerEntry(first.name, first.call, None, "; ".join([*reasons, why]))
    return _whole(first, group, asked, reasons)


def _whole(
    first: Found,
    group: Sequence[tuple[Found, Partial]],
    asked: NDArray[np.bool_],
    reasons: list[str],
) -> Found | LedgerEntry:
    weights, residuals = _summed(group), [found.residual for found, _ in group]
    rows, part = np.flatnonzero(asked), None
    if len(rows) < len(asked):
        if rows[-1] - rows[0] + 1 != len(rows):
            why = f"only {len(rows)} of its {len(asked)} rows could be put back on their sequence"
            return LedgerEntry(first.name, first.call, None, "; ".join([*reasons, why]))
        part = Part(int(rows[0]), int(rows[-1]) + 1)
        weights = weights[:, rows]
    rows_axis, columns_axis = _axes(group, part)
    sink = share_of_no_position(weights)
    if sink is not None:
        reasons.append(NO_POSITION)
    return replace(
        first,
        weights=weights,
        residual=None if None in residuals else max(x for x in residuals if x is not None),
        reasons=reasons,
        sink=sink,
        normalised=bool(first.normalised and weights.sum(axis=-1).max(initial=0) < 1 + _LEFT),
        query_part=part,
        query_axis=rows_axis,
        key_axis=columns_axis,
        gradient=None,
        value_norms=None,
        partial=None,
    )


def share_of_no_position(weights: Floats) -> Floats | None:
    """Return what rows ``(head, query, key)`` lack to 1, or None where nothing is missing."""
    left = 1 - weights.sum(axis=-1)
    # A row that may look at nothing is zeros, and no padding has its share.
    sink = np.where(weights.any(axis=-1), left.clip(0, 1), 0).astype(np.float32)
    return sink if np.any(sink > _LEFT) else None


def _axes(
    group: Sequence[tuple[Found, Partial]], part: Part | None
) -> tuple[Axis | None, Axis | None]:
    """Return what rows and columns stand for, as far as those tell that know most of it."""
    knowing = (found for found, each in group if each.asked.all() or len(group) == 1)
    found = next((found for found in knowing if found.query_axis), None)
    if found is None or found.query_axis is None:
        return None, None
    rows = found.query_axis
    if part is not None:
        rows = replace(rows, positions=rows.positions[part.start : part.stop])
    return rows, found.key_axis
