"""Read the fused calls of ``nn.MultiheadAttention`` and of a whole ``nn.TransformerEncoderLayer``.

Torch takes them in eval mode. Knows the arguments of its C++ part; nothing of modules or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.example import Example, added
from attnreport.recording.gradients import Arrange
from attnreport.recording.recomputing import Reading, Seen, record
from attnreport.recording.registry import recorder
from attnreport.recording.sending import Norm
from attnreport.recording.watch import Watch

_NATIVE = [
    "query",
    "key",
    "value",
    "embed_dim",
    "num_head",
    "qkv_weight",
    "qkv_bias",
    "proj_weight",
    "proj_bias",
    "mask",
    "need_weights",
    "average_attn_weights",
    "mask_type",
]
_LAYER = [
    "src",
    "embed_dim",
    "num_heads",
    "qkv_weight",
    "qkv_bias",
    "proj_weight",
    "proj_bias",
    "use_gelu",
    "norm_first",
    "eps",
    "norm_weight_1",
    "norm_bias_1",
    "norm_weight_2",
    "norm_bias_2",
    "ffn_weight_1",
    "ffn_bias_1",
    "ffn_weight_2",
    "ffn_bias_2",
    "mask",
    "mask_type",
]


@recorder(torch._native_multi_head_attention)
def native_multi_head_attention(
    watch: Watch, output: tuple[torch.Tensor, Any], *args: Any, **kwargs: Any
) -> None:
    """Record the fused call ``nn.MultiheadAttention`` makes; ``(batch, position, width)``."""
    call = _named(_NATIVE, args, kwargs)

    def read() -> Reading:
        source = _dense(call.query, watch.example)
        one = _fused(call, call.num_head, source, watch.example)
        return Reading(*one.attend(), _dense(output[0], watch.example), one=one)

    batch = call.query.size(0)
    seen = Seen(
        "_native_multi_head_attention",
        *(call.query, call.query, output[0], batch, _of(watch)),
        value=call.value,
    )
    record(watch, seen, read)


@recorder(torch._transformer_encoder_layer_fwd)
def transformer_encoder_layer(
    watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any
) -> None:
    """Record a whole fused ``nn.TransformerEncoderLayer``; ``(batch, position, width)``."""
    call = _named(_LAYER, args, kwargs)

    def read() -> Reading:
        source = _dense(call.src, watch.example)
        first = (source.shape[-1:], call.norm_weight_1, call.norm_bias_1, call.eps)
        inner = F.layer_norm(source, *first) if call.norm_first else source
        one = _fused(call, call.num_heads, inner, watch.example)
        weights, mixed = one.attend()
        computed = _rest_of_layer(call, source, mixed.to(source.dtype))
        norm = None
        if not call.norm_first:
            rows = source + mixed.to(source.dtype)
            norm = Norm(call.norm_weight_1.detach(), call.eps, centred=True, rows=rows)
        return Reading(
            weights,
            computed,
            _dense(output, watch.example),
            one=one,
            residual=source,
            norm=norm,
        )

    batch = call.src.size(0)
    seen = Seen(
        "_transformer_encoder_layer_fwd",
        *(call.src, call.src, output, batch),
        *(_of(watch), call.qkv_weight),
    )
    record(watch, seen, read)


def _named(names: Sequence[str], args: tuple[Any, ...], kwargs: dict[str, Any]) -> SimpleNamespace:
    """Return the arguments of a function of torch's C++ part by their names."""
    given = dict(zip(names, args, strict=False)) | kwargs
    return SimpleNamespace(**{"mask": None, "mask_type": None} | given)


def _fused(call: SimpleNamespace, heads: int, source: torch.Tensor, example: int) -> Example:
    mask = call.mask
    if mask is not None and mask.dim() > 2:
        # (batch, head, query, key)
        mask = mask[example]
    elif mask is not None and call.mask_type == 1:
        # (batch, key)
        mask = mask[example]
    return Example(
        inputs=(source, source, source),
        matrices=call.qkv_weight.chunk(3),
        biases=call.qkv_bias.chunk(3),
        out=(call.proj_weight, call.proj_bias),
        heads=heads,
        mask=added(mask, source.dtype),
    )


def _rest_of_layer(
    call: SimpleNamespace, source: torch.Tensor, attended: torch.Tensor
) -> torch.Tensor:
    """Return what the layer makes of its attention: residual sums, norms and the feed-forward."""
    width = source.shape[-1:]

    def norm(tensor: torch.Tensor, place: int) -> torch.Tensor:
        weight, bias = getattr(call, f"norm_weight_{place}"), getattr(call, f"norm_bias_{place}")
        return F.layer_norm(tensor, width, weight, bias, call.eps)

    def feed_forward(tensor: torch.Tensor) -> torch.Tensor:
        activation = F.gelu if call.use_gelu else F.relu
        hidden = activation(F.linear(tensor, call.ffn_weight_1, call.ffn_bias_1))
        return F.linear(hidden, call.ffn_weight_2, call.ffn_bias_2)

    if call.norm_first:
        middle = source + attended
        return middle + feed_forward(norm(middle, 2))
    middle = norm(source + attended, 1)
    return norm(middle + feed_forward(middle), 2)


def _of(watch: Watch) -> Arrange:
    return lambda tensor: tensor[watch.example]


def _dense(tensor: torch.Tensor, example: int) -> torch.Tensor:
    """Return one example, without the padding that a nested tensor does not have."""
    # A nested tensor cannot be indexed everywhere, but always unbound.
    dense: torch.Tensor = tensor.unbind()[example] if tensor.is_nested else tensor[example]
    return dense
