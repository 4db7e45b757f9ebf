"""Tell examples and positions of an input apart, where its shape does not tell which is which.

``(batch, position, width)`` and ``(position, batch, width)`` look alike. So both are numbered and
followed to a tensor of which it is known where positions lie: scores, or queries. Knows no
attention.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from attnreport.recording.gradients import Arrange, as_it_is
from attnreport.recording.places import ELSEWHERE, Root, lie_along, numbers_of, roots
from attnreport.recording.steps import NOWHERE, Parent, Unclear, agreed, counted, way_back
from attnreport.recording.streams import Streams

# Where positions may be in an input of floats; the last order is that of convolutions.
_PLACES = {2: (0,), 3: (1, 2, 0)}
_ORDERS = ((0, 1), (1, 0), (0, 2))


def learn_batch(streams: Streams, tensor: torch.Tensor, arrange: Arrange = as_it_is) -> None:
    """Find out how many examples a sequence of floats has, and keep that with its stream.

    Args:
        streams: what is known of tensors.
        tensor: one that was made of the sequence.
        arrange: makes ``(…, row, column)`` of what has its shape, of which one are positions.
    """
    stream = streams.of(tensor)
    if stream is None or stream.batch is not None:
        return
    *way, start = _way(streams, tensor)
    # One of several sequences that were one input has no batch of its own, and what was not
    # projected may as well be the heads of one example.
    if start.tag.stream is not stream or len(start.shape) != 3 or not start.tag.entered:
        return
    if not any(parent.tag.projected for parent in way):
        return
    for example, position in _ORDERS:
        examples, positions = (
            _followed(streams, tensor, start, place, arrange) for place in (example, position)
        )
        if examples is None or positions is None:
            continue
        along = any(lie_along(positions, dimension) for dimension in (-2, -1))
        if along and _lead(examples, start.shape[example]):
            stream.batch = start.shape[example]
            return


def example_of(streams: Streams, tensor: torch.Tensor) -> int | None:
    """Return which example of its input a tensor was cut from; None where that is unknown."""
    stream, start = streams.of(tensor), _beginning(streams, tensor)
    if stream is None or start is None or not start.tag.entered or not start.shape:
        return None
    places = [place for place, size in enumerate(start.shape[:2]) if size == stream.batch]
    if len(places) != 1 and not (start.whole and places):
        return None
    numbers = _followed(streams, tensor, start, places[0], as_it_is)
    if numbers is None or not numbers.numel():
        return None
    low, high = numbers.aminmax()
    return int(low) if low == high and low >= 0 else None


def row_of(streams: Streams, tensor: torch.Tensor, arrange: Arrange) -> int | None:
    """Return which position of its sequence the only row of a matrix is; None where unknown.

    Args:
        streams: what is known of tensors.
        tensor: one of the model.
        arrange: makes ``(…, 1, column)`` of what has its shape.
    """
    for root in _roots(streams, tensor):
        numbers = numbers_of(streams, tensor, root)
        if numbers is not None and root.length > 1:
            low, high = (arrange(numbers) % root.length).aminmax()
            return int(low) if low == high else None
    return None


def lie_along_positions(
    streams: Streams, tensor: torch.Tensor, arrange: Arrange, dimension: int = -2
) -> bool:
    """Tell whether the rows, or the columns, of a matrix are positions of what it was made of.

    Args:
        streams: what is known of tensors.
        tensor: one of the model.
        arrange: makes ``(…, row, column)`` of what has its shape.
        dimension: -2 for the rows, -1 for the columns.
    """
    for root in _roots(streams, tensor):
        numbers = numbers_of(streams, tensor, root, pooled=True)
        if numbers is not None and lie_along(arrange(numbers), dimension):
            return True
    return False


def _roots(streams: Streams, tensor: torch.Tensor) -> Iterator[Root]:
    """Yield what a tensor was made of with its positions numbered, the furthest back first."""
    stream, start = streams.of(tensor), _beginning(streams, tensor)
    if start is None or start.tag.learned:
        return  # a parameter has no positions, whatever chose parts of it
    if not start.whole and len(start.shape) in _PLACES:
        for place in _PLACES[len(start.shape)]:
            yield Root(start.tag, counted(start.shape, place), start.shape[place])
    else:
        batch = None if stream is None else stream.batch
        yield from roots(streams, tensor, batch or 1)


def _beginning(streams: Streams, tensor: torch.Tensor) -> Parent | None:
    """Return the tensor that the way to this one begins at."""
    way = _way(streams, tensor)
    return way[-1] if way else None


def _way(streams: Streams, tensor: torch.Tensor) -> list[Parent]:
    """Return what a tensor came from, itself first."""
    tag = streams.tag(tensor)
    if tag is None:
        return []
    own = Parent(tag, tuple(tensor.shape), not tensor.is_floating_point())
    return [own, *way_back(tag)]


def _followed(
    streams: Streams, tensor: torch.Tensor, start: Parent, place: int, arrange: Arrange
) -> torch.Tensor | None:
    """Return where the places along one dimension of the beginning are now."""
    root = Root(start.tag, counted(start.shape, place), start.shape[place])
    numbers = numbers_of(streams, tensor, root, pooled=True)
    if numbers is None:
        return None
    # A class token, or what else has been put beside it, is of every example.
    return arrange(torch.where(numbers == ELSEWHERE, NOWHERE, numbers))


def _lead(numbers: torch.Tensor, count: int) -> bool:
    """Tell whether they are those of examples: one to a matrix, each as often as the others."""
    try:
        each = agreed(agreed(numbers, -1), -2).flatten()
    except Unclear:
        return False
    if numbers.dim() == 2:
        return True
    return torch.equal(each, torch.arange(count).repeat_interleave(len(each) // count))
