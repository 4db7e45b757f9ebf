"""Tell linear attention, which has channels where attention has positions.

With a softmax over the keys of each channel (Shen et al. 2021, https://arxiv.org/abs/1812.01243)
keys are multiplied with values first, once for all queries. Then the rows of the first product are
channels, and so are the keys of the second. Found by where the numbers of positions lie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from attnreport.recording.parts import Partial
from attnreport.recording.places import numbers_of, roots
from attnreport.recording.steps import Unclear, agreed, part_of_tensor
from attnreport.recording.streams import Stream
from attnreport.recording.watch import Watch
from attnreport.recording.windows import Side

WHY = (
    "linear attention: keys are multiplied with values first, once for all queries, so that there "
    "is no matrix of weights over positions"
)
# What the first product returned is made of this.
_CONTEXT = Partial(object(), np.zeros(0, np.bool_))


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
    for root in roots(watch.streams, rows.tensor, stream.batch or 1):
        numbers = numbers_of(watch.streams, rows.tensor, root)
        if numbers is not None:
            each = rows.arrange(numbers).expand(*lead, -1, -1)
            return _is_clear(each, -2) and not _is_clear(each, -1)
    return False


def _is_clear(numbers: torch.Tensor, dimension: int) -> bool:
    try:
        agreed(numbers, dimension)
    except Unclear:
        return False
    return True
