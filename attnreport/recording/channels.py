"""Tell channels from positions, by where the numbers of either lie in a product.

In cross-covariance attention (El-Nouby et al. 2021, XCiT https://arxiv.org/abs/2106.09681) the keys
are the channels of a head, and what they are mixed along are the positions. In linear attention
with a softmax over the keys of each channel (Shen et al. 2021, https://arxiv.org/abs/1812.01243)
keys are multiplied with values first, once for all queries: the rows of the first product are
channels, and so are the keys of the second. Knows no softmax.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from attnreport.recording.gradients import Arrange
from attnreport.recording.parts import Partial
from attnreport.recording.places import Root, lie_along, numbers_of, roots
from attnreport.recording.sides import product_of
from attnreport.recording.steps import Parent, counted, is_constant, part_of_tensor
from attnreport.recording.streams import Stream, Streams
from attnreport.recording.watch import Watch
from attnreport.recording.windows import Side

LINEAR = (
    "its rows or its columns are features, not positions: as in linear attention, where keys are "
    "multiplied with values first, once for all queries, or where each feature pools all "
    "positions: no matrix of weights over positions"
)
# What the first product returned is made of this.
_CONTEXT = Partial(object(), np.zeros(0, np.bool_))
# So many steps lie at most between a projection and the product with the values.
_FURTHEST = 24


def over_channels(streams: Streams, values: torch.Tensor, arrange: Arrange | None = None) -> bool:
    """Tell whether the keys are features, and each of the width is not.

    Args:
        streams: what is known of tensors.
        values: a tensor of the model.
        arrange: makes ``(…, key, width)`` of it, where it is not.
    """
    found = _projected(streams, values)
    if found is None or values.dim() < 3:
        return False
    tag, shape, dimension = found.tag, found.shape, found.tag.features
    if dimension is None or len(shape) < -dimension:
        return False
    numbers = counted(shape, dimension)
    if tag is streams.tag(values):
        moved: torch.Tensor | None = numbers
    else:
        moved = numbers_of(streams, values, Root(tag, numbers, 0))
    if moved is None or 0 in moved.shape:
        return False
    moved = moved if arrange is None else arrange(moved)
    if not moved.stride(-2):
        # They do not change along the keys: most attentions end here.
        return False
    # Along a stride of 0 all are alike: one of them tells as much.
    once = tuple(slice(None) if stride else slice(0, 1) for stride in moved.stride())
    return moved.shape[-2] > 1 and lie_along(moved[once], -2)


def _projected(streams: Streams, values: torch.Tensor) -> Parent | None:
    """Return the result of the projection or convolution that the values were cut from."""
    tag = streams.tag(values)
    shape = tuple(values.shape)
    for _ in range(_FURTHEST):
        if tag is None:
            return None
        if tag.features is not None:
            return Parent(tag, shape, whole=False)
        parents = () if tag.step is None else tag.step.parents
        parent = next((each for each in parents if not is_constant(each.tag)), None)
        if parent is None:
            return None
        tag, shape = parent.tag, parent.shape
    return None


def is_linear(
    watch: Watch, stream: Stream | None, lead: Sequence[int], rows: Side, source: torch.Tensor
) -> bool:
    """Tell whether a product is one of the two of linear attention.

    Args:
        watch: whose call is being recorded.
        stream: what the rows belong to.
        lead: the leading dimensions.
        rows: the weights.
        source: the values, as the model has them.
    """
    if part_of_tensor(watch.streams.tag(source)) is _CONTEXT:
        return True
    if stream is None or not _rows_are_channels(watch, stream, lead, rows):
        return False
    tag = watch.streams.tag(watch.returned)
    if tag is not None:
        tag.part = _CONTEXT
    return True


def _rows_are_channels(watch: Watch, stream: Stream, lead: Sequence[int], rows: Side) -> bool:
    if product_of(watch.streams, rows.tensor) is not None:
        # Both sides are positions since the last projection: neither is features.
        return False
    for root in roots(watch.streams, rows.tensor, stream.batch or 1):
        if not _has_features(root):
            continue
        numbers = numbers_of(watch.streams, rows.tensor, root)
        if numbers is not None:
            # A shape may be read in two ways, of which one says nothing.
            each = rows.arrange(numbers).expand(*lead, -1, -1)
            if lie_along(each, -1):
                return True
    return False


def _has_features(root: Root) -> bool:
    """Tell whether a sequence has several numbers at each position; a mask has not."""
    sizes, strides = root.numbers.shape, root.numbers.stride()
    return any(size > 1 and not stride for size, stride in zip(sizes, strides, strict=True))
