"""Tell whose positions the two sides of weights are: of what scores were a product of.

Between that product and the softmax scores are masked, by what another sequence may have said, and
turned over, where two sequences look at each other by the same scores. So the way is followed back
to the product itself, and forth again with the numbers of its rows. Knows no softmax.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from attnreport.recording.places import Root, lie_along, numbers_of
from attnreport.recording.steps import Crossing, Parent, counted, is_constant
from attnreport.recording.streams import Stream, Streams


@dataclass(frozen=True, eq=False)
class Sides:
    """Hold what the rows and the columns of weights are positions of."""

    queries: Stream | None
    keys: Stream | None


UNKNOWN = Sides(None, None)


def sides_of(
    streams: Streams, weights: torch.Tensor, arrange: Callable[[torch.Tensor], torch.Tensor]
) -> Sides | None:
    """Return whose positions they are, or None where scores were not followed to a product.

    Args:
        streams: what is known of tensors.
        weights: a tensor of the model.
        arrange: makes ``(…, query, key)`` of what has its shape.
    """
    found = product_of(streams, weights)
    if found is None:
        return None
    product, crossing = found
    left, right = crossing.left, crossing.right
    if left is None or right is None:
        return None
    if left is right:
        return Sides(left, right)
    along = _where_rows_lie(streams, weights, product, crossing, arrange)
    if along is None:
        return None
    return Sides(left, right) if along == -2 else Sides(right, left)


def product_of(streams: Streams, weights: torch.Tensor) -> tuple[Parent, Crossing] | None:
    """Return the last product of two sequences on the way to here, if no projection is later."""
    tag, shape = streams.tag(weights), tuple(weights.shape)
    while tag is not None and tag.step is not None and tag.features is None:
        if tag.step.crossing is not None:
            return Parent(tag, shape, whole=False), tag.step.crossing
        parent = next((each for each in tag.step.parents if not is_constant(each.tag)), None)
        if parent is None:
            return None
        tag, shape = parent.tag, parent.shape
    return None


def is_between(streams: Streams, weights: torch.Tensor) -> bool:
    """Tell whether a tensor holds what a product of two sequences was, or was made of it."""
    found = product_of(streams, weights)
    return found is not None and found[1].left is not None and found[1].right is not None


def _where_rows_lie(
    streams: Streams,
    weights: torch.Tensor,
    product: Parent,
    crossing: Crossing,
    arrange: Callable[[torch.Tensor], torch.Tensor],
) -> int | None:
    """Return -2 where the product's rows are rows of the weights, -1 where they are columns."""
    if product.shape[crossing.rows] > 1:
        numbered, usual = crossing.rows, -2
    elif product.shape[crossing.columns] > 1:
        numbered, usual = crossing.columns, -1
    else:
        return -2
    numbers = counted(product.shape, numbered)
    moved = numbers_of(streams, weights, Root(product.tag, numbers, 0))
    if moved is None:
        return None
    arranged = arrange(moved)
    for along in (-2, -1):
        if lie_along(arranged, along):
            return -2 if along == usual else -1
    return None
