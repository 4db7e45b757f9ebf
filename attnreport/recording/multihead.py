"""Read ``multi_head_attention_forward``, what ``nn.MultiheadAttention`` computes with.

Knows torch's own rule for masks and hints; nothing of modules or models.
"""

from __future__ import annotations

import inspect
import math
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.example import Example, added, heads_of
from attnreport.recording.recomputing import Reading, Seen, record
from attnreport.recording.registry import recorder
from attnreport.recording.watch import Watch

_SIGNATURE = inspect.signature(F.multi_head_attention_forward)


@recorder(F.multi_head_attention_forward)
def multi_head_attention_forward(
    watch: Watch, output: tuple[torch.Tensor, Any], *args: Any, **kwargs: Any
) -> None:
    """Record one call; shapes ``(query, batch, width)`` or ``(query, width)``, as torch's own."""
    bound = _SIGNATURE.bind(*args, **kwargs)
    bound.apply_defaults()
    call = SimpleNamespace(**bound.arguments)
    batched, example = call.query.dim() == 3, watch.example

    def pick(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[:, example] if batched else tensor

    def read() -> Reading:
        one = _functional(call, pick, example if batched else 0)
        dropout = call.dropout_p if call.training else 0.0
        reading = Reading(*one.attend(), pick(output[0]), dropout, len(one.extra), one=one)
        if not dropout:
            reading.gradient = lambda gradient: one.gradient(pick(gradient))
            reading.part = one.part
        return reading

    batch = call.query.shape[1] if batched else 1
    seen = Seen(
        "multi_head_attention_forward",
        *(call.query, call.key, output[0], batch, pick),
        value=call.value,
    )
    record(watch, seen, read)


def _functional(call: SimpleNamespace, pick: Any, example: int) -> Example:
    """Read torch's arguments; what is done with masks and hints is torch's own rule."""
    heads = call.num_heads
    own = slice(example * heads, (example + 1) * heads)
    if call.use_separate_proj_weight:
        matrices = (call.q_proj_weight, call.k_proj_weight, call.v_proj_weight)
    else:
        matrices = call.in_proj_weight.chunk(3)
    # With the hint, no padding and no weights asked for, torch does not read the mask.
    hint = call.is_causal and call.key_padding_mask is None and not call.need_weights
    mask = None if hint else added(call.attn_mask, call.query.dtype)
    if mask is not None and mask.dim() == 3:
        mask = mask[own]
    padding = added(call.key_padding_mask, call.query.dtype)
    if padding is not None:
        padding = padding if padding.dim() == 1 else padding[example]
        mask = padding if mask is None else mask + padding
    extra = []
    if call.bias_k is not None:
        extra.append((heads_of(call.bias_k[0], heads), heads_of(call.bias_v[0], heads)))
    if call.add_zero_attn:
        zero = call.query.new_zeros(heads, 1, call.query.shape[-1] // heads)
        extra.append((zero, zero))
    return Example(
        inputs=(pick(call.query), pick(call.key), pick(call.value)),
        matrices=matrices,
        biases=(None,) * 3 if call.in_proj_bias is None else call.in_proj_bias.chunk(3),
        out=(call.out_proj_weight, call.out_proj_bias),
        heads=heads,
        mask=mask,
        causal=hint,
        empty=math.nan if call.need_weights else 0.0,
        extra=tuple(extra),
        static=tuple(None if x is None else x[own] for x in (call.static_k, call.static_v)),
    )
