"""Tell sequences apart that were counted as examples of one.

Two pictures that are to be matched often go through an encoder as one batch, and are taken apart
before each looks at the other (Wang et al. 2024, DUSt3R, section 3.1). They have one stream then,
and their positions are not the same. Knows no attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import torch

from attnreport.recording.steps import Step, counted, moved, way_back
from attnreport.recording.streams import Stream, Streams, Tag

# So many steps lie at most between a projection and the product with the keys.
_FURTHEST = 24
# Which of several examples: a dimension of the tensor they were in, and a place along it.
_Place = tuple[int, int]


def sequences_of(
    streams: Streams, query: torch.Tensor, key: torch.Tensor, *, projected: bool = True
) -> tuple[Stream | None, Stream | None]:
    """Return what queries and keys are positions of, tensors of the model; as ``told_apart``."""
    queries, keys = streams.of(query), streams.of(key)
    return told_apart((queries, keys), streams.tag(query), streams.tag(key), projected=projected)


def told_apart(
    sequences: tuple[Stream | None, Stream | None],
    query: Tag | None,
    key: Tag | None,
    *,
    projected: bool = True,
) -> tuple[Stream | None, Stream | None]:
    """Return two parts of a stream where queries and keys are different examples of it.

    Args:
        sequences: the streams of queries and keys, returned as they are where they are two.
        query: what is known of the queries.
        key: what is known of the keys.
        projected: whether a projection has made them, so that features were cut since.
    """
    stream = sequences[0]
    if stream is None or stream is not sequences[1]:
        return sequences
    if projected:
        query, key = _projected_from(query), _projected_from(key)
    if query is None or key is None or query is key:
        return sequences
    asked, answering = _way(query), _way(key)
    known = {id(tag): place for place, tag in enumerate(asked)}
    for place, tag in enumerate(answering):
        if id(tag) in known:
            places = _taken(asked[: known[id(tag)]], answering[:place])
            if places is not None:
                return stream.part(places[0]), stream.part(places[1])
            break
    return sequences


def _projected_from(tag: Tag | None) -> Tag | None:
    """Return what the last projection on the way to here read."""
    if tag is None:
        return None
    for parent in islice(way_back(tag), _FURTHEST):
        if tag.features is not None:
            return parent.tag
        tag = parent.tag
    return None


def _way(tag: Tag) -> list[Tag]:
    """Return what a tensor came from, itself first."""
    return [tag, *(parent.tag for parent in way_back(tag))]


def _taken(asked: Sequence[Tag], answering: Sequence[Tag]) -> tuple[_Place, _Place] | None:
    """Return which examples two tensors are, whose ways part; None where they share some.

    Args:
        asked: the way from there on, the last first.
        answering: the other one.
    """
    moves = [_moves(way) for way in (asked, answering)]
    if not all(moves):
        return None
    shape = moves[0][0].parents[0].shape
    # Examples come first; where they were counted as pieces of one, one piece is taken out.
    for dimension in range(min(len(shape) - 2, 2)):
        numbers = counted(shape, dimension)
        found = [_numbers(steps, numbers) for steps in moves]
        if any(dimension and len(each) > 1 for each in found):
            continue
        if all(found) and not found[0] & found[1]:
            return (dimension, min(found[0])), (dimension, min(found[1]))
    return None


def _moves(way: Sequence[Tag]) -> list[Step]:
    """Return the first steps of a way, which do nothing but move numbers."""
    steps: list[Step] = []
    for tag in reversed(way):
        if tag.step is None or not tag.step.bare or len(tag.step.parents) != 1:
            break
        steps.append(tag.step)
    return steps


def _numbers(steps: Sequence[Step], numbers: torch.Tensor) -> set[int]:
    """Return which numbers are left after these steps; none where that is unclear."""
    left: torch.Tensor | None = numbers
    for step in steps:
        left = None if left is None else moved(step, [left])
    return set() if left is None else set(torch.unique(left).tolist())
