"""Put the steps of a generation together: one query × key matrix per layer.

With a cache a step computes rows for its new positions only. Which calls are steps of one
generation is read from their lengths, each new row where it belongs; calls that do not fit stay
calls of their own. Knows nothing of axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attnreport.recording.laying import Part
from attnreport.recording.returned import (
    accepted,
    is_returned,
    of_returned,
    of_whole_calls,
    told_apart,
    without_rejected,
)
from attnreport.recording.sending import put_together
from attnreport.run import LedgerEntry
from attnreport.valuenorms import ValueNorms

if TYPE_CHECKING:
    from attnreport.recording.found import Found

Floats = NDArray[np.float32]


def stitch(seen: Sequence[Found | LedgerEntry]) -> list[Found | LedgerEntry]:
    """Return what was seen, with the steps of each generation as one, at the first step's place."""
    seen = of_whole_calls(seen)
    calls: dict[tuple[object, ...], list[int]] = {}
    for place, found in enumerate(seen):
        if isinstance(found, LedgerEntry) or found.reduction is not None:
            continue
        if found.query_part is None:
            key = (found.name, found.queries, found.keys, found.generation)
            calls.setdefault(key, []).append(place)
    stitched: dict[int, Found] = {}
    gone: set[int] = set()
    steps: dict[tuple[object, ...], list[int] | None] = {}
    # Self-attention tells what is a generation; cross-attention has the same keys at every step.
    for own in (True, False):
        for (_, queries, keys, generation), places in calls.items():
            if (queries is keys) is not own:
                continue
            group = [found for x in places if not isinstance(found := seen[x], LedgerEntry)]
            lengths = (queries, generation, *(each.shape[1] for each in group))
            joined = _together(group, lengths, steps)
            if joined is not None:
                stitched[places[0]] = joined
                gone.update(places[1:])
    return [told_apart(stitched.get(x, found)) for x, found in enumerate(seen) if x not in gone]


def _together(
    calls: Sequence[Found],
    lengths: tuple[object, ...],
    steps: dict[tuple[object, ...], list[int] | None],
) -> Found | None:
    """Return the calls of one module as one, or None where they are no steps of a generation.

    Args:
        calls: with the same queries and keys.
        lengths: what tells the steps of one generation from other calls.
        steps: of each generation's self-attention which rows were kept of each step; grows.
    """
    own = calls[0].queries is calls[0].keys
    if not own and lengths not in steps:
        return None
    group = of_returned(calls)
    kept = accepted(group) if own and len(calls) > 1 else steps.get(lengths)
    if kept is not None:
        group = without_rejected(group, kept)
    joined = group[0] if len(group) == 1 else _own(group) if own else _cross(group)
    if joined is None or (len(calls) > 1 and own and not is_returned(group, joined.shape[2])):
        return None
    if own:
        steps[lengths] = kept
    return joined


def _own(group: Sequence[Found]) -> Found | None:
    """Return the steps of one self-attention as one, or None where they are no steps."""
    shapes = [each.shape for each in group]
    if len({shape[0] for shape in shapes}) > 1:
        return None
    first = _first_row(shapes)
    ends = list(np.cumsum([shape[1] for shape in shapes]) + first)
    rows = []
    for place, (each, end) in enumerate(zip(group, ends, strict=True)):
        columns = _columns(each, int(end), later=place > 0)
        if columns is None:
            return None
        rows.append(columns)
    total, kept = int(ends[-1]), sum(part.shape[1] for _, part in rows)
    weights = np.zeros((shapes[0][0], kept, total), np.float32)
    row = 0
    for start, part in rows:
        weights[:, row : row + part.shape[1], start : start + part.shape[2]] = part
        row += part.shape[1]
    prompt, starts = _prompt(group[0], int(ends[0]), total), [start for start, _ in rows]
    return _steps(group, weights, Part(first, total, prompt), Part(0, total, prompt), starts)


def _prompt(first: Found, end: int, total: int) -> int:
    """Return how many positions were there before the model went on.

    Proposed tokens may be in the first call too, and a long prompt may come in several.
    """
    known = None if first.generation is None else first.generation.prompt
    return end if known is None or known > total else known


def _first_row(shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the position of the first row: a cache may have been there before the capture."""
    (_, queries, keys), (_, more, later) = shapes[:2]
    return keys - queries if later == keys + more else 0


def _columns(step: Found, end: int, *, later: bool) -> tuple[int, Floats] | None:
    """Return where a step's columns begin and the columns, or None if its lengths do not fit.

    Args:
        step: one call.
        end: one after the position of its last row.
        later: whether it is not the first step.
    """
    weights = step.weights
    _, queries, keys = step.shape
    if keys == end:
        return 0, weights
    # One new row is the mark of a step; without it two calls of equal lengths would look alike.
    if later and queries != 1:
        return None
    if keys > end:
        # A static cache is as long as it may become, and looks at nothing beyond its end.
        return None if weights[..., end:].any() else (0, weights[..., :end])
    # A sliding cache has forgotten what is before its window.
    return (end - keys, weights) if later and keys > 1 else None


def _cross(group: Sequence[Found]) -> Found | None:
    if len({each.weights.shape[::2] for each in group}) > 1:
        return None
    weights = np.concatenate([each.weights for each in group], axis=1)
    prompt, total = group[0].shape[1], sum(each.shape[1] for each in group)
    return _steps(group, weights, Part(0, total, prompt), None, [0] * len(group))


def _steps(
    group: Sequence[Found],
    weights: Floats,
    rows: Part,
    columns: Part | None,
    starts: Sequence[int],
) -> Found:
    first = group[0].shape[1]
    how = f"{len(group)} calls put together: {first} positions, then step by step"
    return joined(group, weights, how, starts, query_part=rows, key_part=columns)


def joined(
    group: Sequence[Found],
    weights: Floats,
    how: str,
    starts: Sequence[int] = (),
    *,
    gradients: bool = False,
    **more: Any,
) -> Found:
    """Return several calls as one.

    Args:
        group: the calls, in the order of their rows.
        weights: ``(head, query, key)`` of all of them.
        how: what was done, for the ledger.
        starts: the first key that each call saw; 0 where nothing is given.
        gradients: whether theirs are put together too, the keys being the same.
        more: other fields of ``Found``.
    """
    residuals = [each.residual for each in group]
    sinks = [each.sink for each in group if each.sink is not None]
    found = [each.gradient for each in group if gradients and each.gradient is not None]
    reasons = dict.fromkeys(reason for each in group for reason in each.reasons)
    starts = starts or [0] * len(group)
    norms = put_together([each.value_norms for each in group], starts, weights.shape[2])
    fields: dict[str, Any] = {
        "weights": weights,
        "residual": _worst(residuals),
        "sink": np.concatenate(sinks, axis=1) if len(sinks) == len(group) else None,
        "normalised": all(each.normalised for each in group),
        "reasons": [how, *reasons],
        "gradient": np.concatenate(found, axis=1) if len(found) == len(group) else None,
        "points": None,
        "value_norms": norms,
        "unweighed": next((each.unweighed for each in group if each.value_norms is None), ""),
        "unsummed": _unsummed(group, norms),
    }
    return replace(group[0], **{**fields, **_rows(group), **more})


def _rows(group: Sequence[Found]) -> dict[str, Any]:
    """Return which rows are kept of all steps together, and of how many."""
    if all(each.rows is None for each in group):
        return {}
    rows: list[int] = []
    length = 0
    for each in group:
        own = range(each.shape[1]) if each.rows is None else each.rows
        rows += [length + row for row in own]
        length += each.shape[1]
    return {"rows": rows, "length": length}


def _unsummed(group: Sequence[Found], norms: ValueNorms | None) -> str:
    """Return why the steps together have no block."""
    if norms is None or norms.block is not None:
        return ""
    whys = (each.unsummed for each in group if each.unsummed)
    return next(whys, "its steps do not add alike, or its cache is longer than what is in it")


def _worst(residuals: Iterable[float | None]) -> float | None:
    known = list(residuals)
    return None if None in known else max(x for x in known if x is not None)
