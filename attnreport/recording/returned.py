"""Of the steps of a generation, keep what led to the sequence that was returned.

A search has a row of the batch for each beam, samples have one each, and assisted decoding computes
rows of proposed tokens that it takes back. Here the rows of the one returned sequence are chosen.
Knows lengths and which row was returned; nothing of where that is heard from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from attnreport.run import LedgerEntry

if TYPE_CHECKING:
    from attnreport.recording.found import Found


def of_whole_calls(seen: Sequence[Found | LedgerEntry]) -> list[Found | LedgerEntry]:
    """Return what was seen, with the returned sequence alone where each call had all of it.

    So it is without a cache, and in the first call.
    """
    return [found if isinstance(found, LedgerEntry) else _of_whole_call(found) for found in seen]


def _of_whole_call(found: Found) -> Found | LedgerEntry:
    generation = found.generation
    if found.copies == 1 or generation is None or generation.prompt is None:
        return found
    _, length, keys = found.shape
    if found.reduction is not None or not length == keys == generation.prompt + found.step:
        return found
    rows = generation.followed(found.step + 1)
    if rows is None:
        return found
    if len(rows) <= found.step:
        why = f"of {generation.words} the one that was returned had ended"
        return LedgerEntry(found.name, found.call, None, "; ".join([*found.reasons, why]))
    return _one(found, rows[-1])


def of_returned(calls: Sequence[Found]) -> list[Found]:
    """Return the calls of one module with the rows of the returned sequence alone.

    Calls of a search go on after the sequence ended that was best: these are left out. The calls
    come back as they are where it is not known which rows are the ones.
    """
    first, *later = calls
    generation = first.generation
    if all(each.copies == 1 for each in calls) or generation is None:
        return list(calls)
    rows = generation.followed(len(calls)) if first.step == 0 else None
    if rows is None or any(each.shape[1] != 1 for each in later):
        return list(calls)
    chosen = [_one(each, row) for each, row in zip(calls, rows, strict=False)]
    after = len(calls) - len(rows)
    if after:
        more = f"after its end there were {after} more calls"
        chosen[0] = replace(chosen[0], reasons=[*chosen[0].reasons, more])
    return chosen


def _one(found: Found, place: int) -> Found:
    """Return one copy of the heads, where there are several."""
    if found.copies == 1:
        return found
    heads = len(found.weights) // found.copies
    own = list(range(place * heads, (place + 1) * heads))
    words = found.generation.words if found.generation else ""
    return replace(
        found,
        weights=found.weights[own],
        sink=None if found.sink is None else found.sink[own],
        points=None if found.points is None else found.points.chosen(own, None),
        reasons=[*found.reasons, f"of {words} the one that was returned"],
        copies=1,
    )


def told_apart(found: Found | LedgerEntry) -> Found | LedgerEntry:
    """Return an attention of one sequence, or of several say that they could not be told apart."""
    if isinstance(found, LedgerEntry) or found.copies == 1:
        return found
    words = found.generation.words if found.generation else ""
    why = f"{words}, of which it is not known which one was returned"
    if found.reduction is not None:
        why = f"{words} take more memory than max_memory"
    return LedgerEntry(found.name, found.call, None, "; ".join([*found.reasons, why]))


def accepted(calls: Sequence[Found]) -> list[int] | None:
    """Return how many rows of each call are of tokens that stayed; None where all are.

    What was proposed and taken back is computed once more by the next call, in the same place.

    Args:
        calls: of one self-attention in one generation, whose keys begin at the first position.
    """
    generation = calls[0].generation
    if generation is None or generation.length is None:
        return None
    starts = [each.shape[2] - each.shape[1] for each in calls]
    # The last token that is returned was not looked at any more.
    ends = [*starts[1:], generation.length - 1]
    kept = [end - start for start, end in zip(starts, ends, strict=True)]
    lengths = [each.shape[1] for each in calls]
    fits = all(0 < rows <= length for rows, length in zip(kept[:-1], lengths, strict=False))
    if not fits or kept == lengths or not 0 <= kept[-1] <= lengths[-1]:
        return None
    if any(each.rows is not None for each in calls):
        return None
    ahead = (
        each.weights[:, :rows, end:] for each, rows, end in zip(calls, kept, ends, strict=True)
    )
    return None if any(weights.any() for weights in ahead) else kept


def without_rejected(calls: Sequence[Found], kept: Sequence[int]) -> list[Found]:
    """Return calls with these numbers of rows alone, and of self-attention as many keys."""
    return [_first_rows(each, rows) for each, rows in zip(calls, kept, strict=True) if rows]


def is_returned(calls: Sequence[Found], length: int) -> bool:
    """Tell whether so many positions are those of the sequence that was returned.

    Args:
        calls: the steps.
        length: how many positions they have together.
    """
    generation = calls[0].generation
    if generation is None or generation.length is None:
        return True
    # Where the prompt was given as vectors, only what is new is returned, with a first token or
    # without: as many as there were steps.
    return generation.length in (length + 1, len(calls), len(calls) + 1)


def _first_rows(found: Found, rows: int) -> Found:
    _, length, keys = found.shape
    if rows == length:
        return found
    columns = keys - length + rows if found.queries is found.keys else keys
    return replace(
        found,
        weights=found.weights[:, :rows, :columns],
        sink=None if found.sink is None else found.sink[:, :rows],
        reasons=[*found.reasons, "rows of tokens that were proposed and taken back are left out"],
        gradient=None,
        value_norms=None,
        unweighed="tokens were proposed and taken back",
    )
