"""Tell attention over channels from attention over positions, by where the features went.

In cross-covariance attention (El-Nouby et al. 2021, XCiT https://arxiv.org/abs/2106.09681) the keys
are the channels of a head, and what they are mixed along are the positions. The numbers of the
features take the way of the values again, from the projection on. Knows no softmax.
"""

from __future__ import annotations

import torch

from attnreport.recording.gradients import Arrange
from attnreport.recording.places import Root, numbers_of
from attnreport.recording.steps import Parent, is_constant
from attnreport.recording.streams import Streams

# So many steps lie at most between a projection and the product with the values.
_FURTHEST = 24


def over_channels(streams: Streams, values: torch.Tensor, arrange: Arrange = torch.clone) -> bool:
    """Tell whether the keys are features, and each of the width is not.

    Args:
        streams: what is known of tensors.
        values: a tensor of the model.
        arrange: makes ``(…, key, width)`` of it.
    """
    found = _projected(streams, values)
    if found is None or values.dim() < 3:
        return False
    tag, shape, dimension = found.tag, found.shape, found.tag.features
    if dimension is None or len(shape) < -dimension:
        return False
    numbers = torch.arange(shape[dimension]).view(-1, *[1] * (-1 - dimension)).expand(shape)
    if tag is streams.tag(values):
        moved: torch.Tensor | None = numbers
    else:
        moved = numbers_of(streams, values, Root(tag, numbers, 0))
    if moved is None or 0 in moved.shape:
        return False
    moved = arrange(moved)
    if moved.shape[-2] < 2:
        return False
    along_keys = moved.amax(dim=-1)
    constant = bool((along_keys == moved.amin(dim=-1)).all())
    return constant and bool((along_keys[..., 1:] != along_keys[..., :-1]).all())


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
