"""Read ``scaled_dot_product_attention`` in all its forms.

The kernel returns no weights, so they are computed beside it from what it really got, and held
against what it really returned. Knows nothing of modules or models.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.channels import over_channels
from attnreport.recording.exported import KERNELS, torch_function_of
from attnreport.recording.found import Found, Mixed
from attnreport.recording.gradients import as_it_is, await_gradient, through_values
from attnreport.recording.layout import Layout, heads_or_why_not
from attnreport.recording.looping import loop_of
from attnreport.recording.memory import NO_WEIGHTS
from attnreport.recording.operands import Operands
from attnreport.recording.positions import learn_batch
from attnreport.recording.registry import recorder
from attnreport.recording.siblings import sequences_of
from attnreport.recording.streams import Stream
from attnreport.recording.watch import Watch
from attnreport.recording.weights import before_dropout, softmax_weights, to_host
from attnreport.recording.windows import Side, Unlaid, is_ordinary, lay, lay_axis, pieces_for

_CALL = "scaled_dot_product_attention"
# The frames between a recorder and the function that called torch.
_NEAR = 8


@recorder(F.scaled_dot_product_attention)
def scaled_dot_product_attention(  # noqa: PLR0913, PLR0917 - torch's own signature
    watch: Watch,
    output: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> None:
    """Record one call; shapes ``(…, head, query, width)``, ``(…, key head, key, width)``."""
    if query.is_nested:
        _record_nested(watch, (output, query, key, value), is_causal=is_causal, scale=scale)
        return
    queries = watch.streams.of(query)
    # The result has the positions of the queries, whatever the keys are.
    watch.streams.assign(output, queries)
    learn_batch(watch.streams, query)
    learn_batch(watch.streams, key)
    counted = queries if queries is not None and queries.batch else watch.streams.of(key)
    layout = watch.layout((*query.shape[:-1], key.shape[-2]), counted or queries)
    sure = isinstance(layout, Layout) and query.dim() <= 4
    loop = loop_of(watch, _CALL, (*query.shape[:-1], key.shape[-2]), value)
    name = watch.wanted(_CALL, sure=sure, loop=loop)
    if name is None:
        return
    if isinstance(layout, str) or query.dim() > 4 or watch.may_be_tiles(query.shape):
        given = _Given(query, key, value, output, attn_mask, scale, is_causal)
        unlaid = Unlaid() if dropout_p else _record_pieces(watch, name, given, queries)
        if unlaid is None:
            return
        if isinstance(layout, Layout):
            layout = heads_or_why_not(layout, query.shape[:-2], value)
        if isinstance(layout, str):
            layout = unlaid.reason or layout
    if isinstance(layout, str):
        watch.miss(_CALL, layout)
        return
    with quietly(query):
        q, k, v, heads = map(layout.pick, (query, key, value, output))
        if len(k) != len(v):
            # Each is shared by groups of its own size.
            k, v = (each.repeat_interleave(len(q) // len(each), dim=0) for each in (k, v))
        mask = _mask(attn_mask, layout, query)
        operands = Operands(q, k, v, None if dropout_p else heads, scale, mask, is_causal)
        # (key head, heads per group, key), one query: rows are heads here.
        packed = _is_packed_step(query)
        later = not packed and watch.may_wait(operands)
        weights, residual = (None, None) if later else operands.weights()
        if weights is not None and packed:
            weights = weights.reshape(-1, 1, weights.shape[-1])
    asking, answering = sequences_of(watch.streams, query, key)
    found = Found(
        name=name,
        call=_CALL,
        weights=NO_WEIGHTS if weights is None else to_host(weights, ours=True),
        waiting=operands if later else None,
        queries=asking,
        keys=answering,
        dtype=_dtype(query),
        residual=residual,
        reasons=[*layout.reasons, *([before_dropout(dropout_p)] if dropout_p else [])],
        query_axis=watch.region_axes.along(query, layout.pick),
        key_axis=watch.region_axes.along(key, layout.pick),
        channels=query.shape[-2] == key.shape[-2] and over_channels(watch.streams, value),
        copies=layout.copies,
        loop=loop,
    )
    watch.keep(found)
    if weights is None:
        return
    heads = heads.reshape(*weights.shape[:2], heads.shape[-1])
    watch.attended(found, Mixed(heads, output, v, weights, value, exact=not dropout_p))
    if not dropout_p and weights.shape[1] == query.shape[-2]:
        values = v.detach()
        await_gradient(watch, found, output, lambda g: through_values(layout.pick(g), values))


def _kernel(name: str) -> None:
    """Record one of ATen's kernels, which programs and some code call by themselves."""
    operator = getattr(torch.ops.aten, name)
    names = [argument.name for argument in operator.default._schema.arguments]

    @recorder(torch_function_of(operator))
    def record(watch: Watch, output: tuple[torch.Tensor, ...], *args: Any, **kwargs: Any) -> None:
        given = dict(zip(names, args, strict=False)) | kwargs
        watch.returned = output[0]
        scaled_dot_product_attention(
            watch,
            output[0],
            *(given[each] for each in ("query", "key", "value")),
            given.get("attn_mask", given.get("attn_bias")),
            given.get("dropout_p", 0.0),
            given.get("is_causal", False),
            scale=given.get("scale"),
        )


for _name in KERNELS:
    _kernel(_name)


def _record_nested(watch: Watch, operands: tuple[torch.Tensor, ...], **told: Any) -> None:
    """Record one example of sequences that have lengths of their own: the call as if it was alone.

    Such a call has no mask and no dropout in torch.
    """
    output, query, *_ = operands
    watch.streams.assign(output, watch.streams.of(query))
    if watch.example >= output.shape[0]:
        watch.miss(_CALL, f"example {watch.example} was asked for, the batch has {output.shape[0]}")
        return
    parts = [each.unbind()[watch.example].unsqueeze(0) for each in operands]
    for part, whole in zip(parts, operands, strict=True):
        watch.streams.assign(part, watch.streams.of(whole))
    scaled_dot_product_attention(watch, *parts, **told)


@dataclass(frozen=True, eq=False)
class _Given:
    """Hold one call: what it got and what it returned."""

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    output: torch.Tensor
    mask: torch.Tensor | None
    scale: float | None
    causal: bool


def _record_pieces(watch: Watch, name: str, given: _Given, queries: Stream | None) -> Unlaid | None:
    """Lay windows or blocks on their sequence, or return why that was not possible."""
    query, lead = given.query, given.query.shape[:-2]
    rows, columns = Side(query, as_it_is), Side(given.key, as_it_is)
    pieces = pieces_for(watch, queries, lead, rows, columns)
    if isinstance(pieces, Unlaid):
        return pieces
    if is_ordinary(pieces):
        return Unlaid()
    found = Found(name, _CALL, NO_WEIGHTS, queries, queries, _dtype(query), None)
    with quietly(query):
        q, k = (each.expand(*lead, -1, -1).flatten(0, -3) for each in (query, given.key))
        mask = given.mask
        if mask is not None:
            mask = mask.expand(*lead, *mask.shape[-2:]).flatten(0, -3)
        weights = softmax_weights(q, k, scale=given.scale, mask=mask, causal=given.causal)
        weights = weights.reshape(*lead, *weights.shape[-2:])
        values = given.value.expand(*lead, -1, -1)
        lay(found, pieces, weights, found, (weights, values, given.output))
    lay_axis(watch, found, lead, (rows, columns), pieces)
    watch.keep(found)
    if pieces.covering:
        watch.attended_in_windows(found, given.output, pieces)
    return None


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _is_packed_step(query: torch.Tensor) -> bool:
    """Tell whether transformers has put the heads of a group where the queries should be.

    In a decoding step with grouped queries its ``sdpa_attention_forward`` reshapes
    ``(batch, head, 1, width)`` to ``(batch, key head, heads per group, width)``. The call alone
    looks like several queries; the function around it knows that there is one.
    """
    frame = sys._getframe(1)
    for _ in range(_NEAR):
        if frame.f_back is None:
            return False
        frame = frame.f_back
        if frame.f_code.co_name == "sdpa_attention_forward":
            groups = getattr(frame.f_locals.get("module"), "num_key_value_groups", 1)
            return bool(frame.f_locals.get("q_length") == 1 and query.shape[-2] == groups > 1)
    return False


def _mask(mask: torch.Tensor | None, layout: Layout, query: torch.Tensor) -> torch.Tensor | None:
    """Return the example's part of a mask, which may lack leading dimensions or have ones."""
    if mask is None:
        return None
    lead = query.shape[:-2]
    return layout.pick(mask.expand(*lead, *mask.shape[-2:]))
