"""How a tensor came from others, as far as that only moved positions: what is kept of each step.

Every tensor keeps its last step. Where it is asked for, the numbers of positions take the same way
again: ``move`` makes, from numbers in the place of a step's inputs, those of its result. What torch
functions do to positions is the business of moves.py; which numbers there are, of places.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnreport.recording.streams import Stream, Tag

# The number of what is padding, or a constant that the model wrote.
NOWHERE = -1
# So many steps are there at most from the beginning of a way.
LONGEST = 512

Move = Callable[[Sequence[torch.Tensor]], torch.Tensor]


class Unclear(Exception):
    """Say that one number of a result would have to be two positions."""


# One is made for every tensor that a model makes: not frozen, which makes them three times as slow.
@dataclass(slots=True, eq=False)
class Parent:
    """Hold what a tensor came from: what is known of it, and its shape at that time."""

    tag: Tag
    shape: tuple[int, ...]
    whole: bool  # whether it holds whole numbers, such as ids


@dataclass(slots=True, eq=False)
class Crossing:
    """Say of a product of two sequences whose positions its sides are.

    Attributes:
        left: what the first operand belongs to.
        right: what the second does.
        rows: which dimension of the result has the first one's positions.
        columns: which has the second one's.
    """

    left: Stream | None
    right: Stream | None
    rows: int = -2
    columns: int = -1


@dataclass(slots=True, eq=False)
class Step:
    """Hold how one tensor came from others.

    Attributes:
        parents: these others; none for a constant.
        after: shape of the one.
        move: makes its numbers from theirs, each of the shape of its tensor.
        length: how many steps there are back to the beginning.
        beginning: what is known of the tensor that the way begins at; None for a constant.
        bare: whether nothing but places changed.
        pools: whether several positions became one, which has the number of the first of them.
        crossing: whose positions lie along which side where two sequences were multiplied.
    """

    parents: tuple[Parent, ...]
    after: tuple[int, ...]
    move: Move
    length: int
    beginning: Tag | None
    bare: bool = False
    pools: bool = False
    crossing: Crossing | None = None


def is_constant(tag: Tag) -> bool:
    """Tell whether a tensor holds nothing but what the model wrote itself."""
    return tag.step is not None and tag.step.beginning is None


def beginning_of(tag: Tag) -> Tag:
    """Return what is known of the tensor that the way to this one begins at."""
    return tag if tag.step is None or tag.step.beginning is None else tag.step.beginning


def main_parent(step: Step) -> Parent | None:
    """Return the first thing that a tensor came from and that flows, or else is a parameter."""
    known = [parent for parent in step.parents if not is_constant(parent.tag)]
    return next(
        (each for each in known if not beginning_of(each.tag).learned),
        known[0] if known else None,
    )


def way_back(tag: Tag) -> Iterator[Parent]:
    """Yield what a tensor came from, step by step: of each step its main parent."""
    while tag.step is not None and (parent := main_parent(tag.step)) is not None:
        yield parent
        tag = parent.tag


def moved(step: Step, before: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return the numbers after a step; None where they are unclear."""
    try:
        after = step.move(before)
    except (Unclear, RuntimeError, IndexError, TypeError):
        return None
    return after if tuple(after.shape) == step.after else None


def length_of(tag: Tag) -> int:
    """Return how many steps there are from there."""
    return 0 if tag.step is None else tag.step.length


def counted(shape: Sequence[int], dimension: int) -> torch.Tensor:
    """Return the number of each place along one dimension, of this shape."""
    sizes = [1] * len(shape)
    sizes[dimension] = shape[dimension]
    return torch.arange(shape[dimension]).view(sizes).expand(*shape)


def agreed(numbers: torch.Tensor, dimension: int) -> torch.Tensor:
    """Return the one number along a dimension, which stays as one of length 1.

    Raises:
        Unclear: there are two; ``NOWHERE`` agrees with every number.
    """
    if not numbers.shape[dimension]:
        raise Unclear
    if not numbers.stride(dimension):
        return numbers.narrow(dimension, 0, 1)
    highest = numbers.amax(dim=dimension, keepdim=True)
    if bool(((numbers != highest) & (numbers != NOWHERE)).any()):
        raise Unclear
    return highest


def memory_of(values: Parent) -> Parent:
    """Return the tensor that values were cut from, before they were projected; or themselves."""
    projected = False
    while (step := values.tag.step) is not None and len(step.parents) == 1:
        if values.tag.features is not None and not projected:
            projected = True
        elif not step.bare:
            break
        values = step.parents[0]
    return values


def part_of_tensor(tag: Tag | None) -> Any:
    """Return which part of an attention a tensor was made of, by moves alone."""
    while tag is not None and tag.part is None:
        step: Step | None = tag.step
        if step is None or step.pools:
            return None
        tag = next((x.tag for x in step.parents if not is_constant(x.tag)), None)
    return None if tag is None else tag.part
