"""Put the rows of a loop together: a decoder that looks at its source once in each of its steps.

A recurrent decoder (Bahdanau et al. 2014, https://arxiv.org/abs/1409.0473, section 3.1) calls its
attention with one query at a time, on the same values. These calls are rows of one matrix. That
the values are the same is told by where they came from, position by position: lengths prove
nothing. Knows no module.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from attnreport.recording.laying import Part
from attnreport.recording.places import Root, numbers_of
from attnreport.recording.steps import Parent, memory_of
from attnreport.recording.stitching import joined
from attnreport.recording.streams import Rank, Stream
from attnreport.run import LedgerEntry

if TYPE_CHECKING:
    from attnreport.recording.found import Found
    from attnreport.recording.watch import Watch


def loop_of(watch: Watch, call: str, shape: Sequence[int], values: torch.Tensor) -> object:
    """Return what calls of one query have in common where they look at the same values.

    Args:
        watch: whose call is being recorded.
        call: what computes them.
        shape: ``(…, query, key)``.
        values: a tensor of the model.
    """
    if shape[-2] != 1 or shape[-1] < 2 or watch.generation is not None:
        return None
    tag = watch.streams.tag(values)
    if tag is None or values.dim() < 2:
        return None
    memory = memory_of(Parent(tag, tuple(values.shape), whole=False))
    *leading, _ = memory.shape
    numbers = torch.arange(math.prod(leading)).view(*leading, 1).expand(memory.shape)
    placed = numbers_of(watch.streams, values, Root(memory.tag, numbers, 0))
    if placed is None:
        return None
    # Along a stride of 0 all are alike: once tells as much.
    once = placed[tuple(slice(None) if stride else slice(0, 1) for stride in placed.stride())]
    which = hashlib.blake2b(once.numpy().tobytes(), digest_size=16).digest()
    return memory.tag, which, call, *shape


def join_loops(seen: Sequence[Found | LedgerEntry]) -> list[Found | LedgerEntry]:
    """Return what was seen, with the calls of each loop as one, at the first call's place."""
    loops: dict[tuple[object, ...], list[int]] = {}
    for place, found in enumerate(seen):
        if not isinstance(found, LedgerEntry) and _is_step(found):
            loops.setdefault((found.name, found.loop), []).append(place)
    whole: dict[int, Found] = {}
    gone: set[int] = set()
    targets: dict[tuple[object, ...], Stream] = {}
    for places in loops.values():
        if len(places) > 1:
            calls = [found for x in places if not isinstance(found := seen[x], LedgerEntry)]
            whole[places[0]] = _as_rows(calls, targets)
            gone.update(places[1:])
    return [whole.get(place, found) for place, found in enumerate(seen) if place not in gone]


def _is_step(found: Found) -> bool:
    alone = found.query_part is None and found.partial is None
    return alone and found.loop is not None and found.reduction is None


def _as_rows(calls: Sequence[Found], targets: dict[tuple[object, ...], Stream]) -> Found:
    """Return the calls of one loop as rows, each a position of what the loop goes along."""
    count, keys = len(calls), calls[0].keys
    ordered = sorted(calls, key=lambda each: -1 if each.place is None else each.place)
    first = ordered[0].place
    if first is not None and [each.place for each in ordered] == list(range(first, first + count)):
        calls, queries, part = ordered, keys, Part(first, first + count)
    else:
        queries, part = _along(calls, targets), Part(0, count)
    return joined(
        calls,
        np.concatenate([each.weights for each in calls], axis=1),
        f"{count} calls of one query each put together: they look at the same values",
        gradients=True,
        queries=queries,
        query_axis=None,
        query_part=part,
    )


def _along(calls: Sequence[Found], targets: dict[tuple[object, ...], Stream]) -> Stream | None:
    """Return the sequence that a loop goes along, which is not the one it looks at."""
    keys = calls[0].keys
    own = [each.queries for each in calls if each.queries is not keys]
    if own and own[-1] is not None:
        return own[-1]
    # What a recurrence is in comes from its source: it is a sequence of its own all the same.
    return targets.setdefault((keys, len(calls)), Stream(Rank.MADE))
