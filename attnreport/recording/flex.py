"""Read ``flex_attention``: its score and mask functions are evaluated for every pair of positions.

Seen is the operator inside, with the functions as the compiler made them. Knows nothing of
modules or models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from attnreport.recording.apart import quietly
from attnreport.recording.found import Found, Mixed
from attnreport.recording.layout import Layout
from attnreport.recording.registry import recorder
from attnreport.recording.siblings import sequences_of
from attnreport.recording.watch import Watch
from attnreport.recording.weights import distance, mix, normalise, scores_of, to_host

_CALL = "flex_attention"


@recorder(torch.ops.higher_order.flex_attention)
def flex_attention(  # noqa: PLR0913, PLR0917 - torch's own signature
    watch: Watch,
    output: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    score_mod: Callable[..., torch.Tensor],
    block_mask: tuple[Any, ...],
    scale: float,
    kernel_options: Any,
    score_mod_other_buffers: tuple[Any, ...] = (),
    mask_mod_other_buffers: tuple[Any, ...] = (),
) -> None:
    """Record one call; shapes ``(batch, head, query, width)``, keys with as many heads or fewer."""
    real = output[0]
    queries = watch.streams.of(query)
    watch.streams.assign(real, queries)
    name = watch.wanted(_CALL)
    if name is None:
        return
    layout = watch.layout((*query.shape[:-1], key.shape[-2]), queries)
    if isinstance(layout, str):
        watch.miss(_CALL, layout)
        return
    with quietly(query):
        scores = scores_of(layout.pick(query), layout.pick(key), scale)
        place = _places(scores, layout)
        scores = _over_grid(score_mod, len(score_mod_other_buffers), scored=True)(
            scores, *place, *score_mod_other_buffers
        )
        allowed = _over_grid(block_mask[-1], len(mask_mod_other_buffers), scored=False)(
            *place, *mask_mod_other_buffers
        )
        scores = scores.masked_fill(~allowed, -math.inf)
        weights = normalise(scores, may_be_blind=True)
        residual = distance(mix(weights, layout.pick(value)), layout.pick(real))
    asking, answering = sequences_of(watch.streams, query, key)
    found = Found(
        name=name,
        call=_CALL,
        weights=to_host(weights, ours=True),
        queries=asking,
        keys=answering,
        dtype=str(query.dtype).removeprefix("torch."),
        residual=residual,
        reasons=list(layout.reasons),
        copies=layout.copies,
    )
    watch.keep(found)
    watch.attended(found, Mixed(layout.pick(real), real, layout.pick(value), weights, value))


def _places(scores: torch.Tensor, layout: Layout) -> tuple[torch.Tensor, ...]:
    """Return the indices that the functions get: batch and head of each matrix, queries, keys."""
    rows, queries, keys = scores.shape
    device, heads = scores.device, rows // layout.copies
    row = torch.arange(rows, device=device)
    return (
        layout.start + row // heads,
        row % heads,
        torch.arange(queries, device=device),
        torch.arange(keys, device=device),
    )


def _over_grid(function: Callable[..., torch.Tensor], buffers: int, *, scored: bool) -> Any:
    """Return the function of one pair as one of all heads, queries and keys."""
    for batch, head, query, key in (
        (None, None, None, 0),
        (None, None, 0, None),
        (0, 0, None, None),
    ):
        places = (batch, head, query, key, *(None,) * buffers)
        function = torch.vmap(function, in_dims=(0, *places) if scored else places)
    return function
