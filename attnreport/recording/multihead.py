"""Read ``torch.nn``'s own attention: ``multi_head_attention_forward`` and the fused encoder paths.

All three get the layer's parameters, so the projections are done once more beside the call, for
the chosen example only, and the result is held against what the call really returned. Knows
nothing of modules or models.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.example import Example, added, heads_of
from attnreport.recording.found import Found
from attnreport.recording.gradients import Arrange, await_gradient
from attnreport.recording.laying import Part
from attnreport.recording.projection import Projections
from attnreport.recording.registry import recorder
from attnreport.recording.sending import Norm
from attnreport.recording.watch import Watch
from attnreport.recording.weights import before_dropout, distance, to_host

_SIGNATURE = inspect.signature(F.multi_head_attention_forward)
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

    def read() -> _Reading:
        one = _functional(call, pick, example if batched else 0)
        dropout = call.dropout_p if call.training else 0.0
        reading = _Reading(*one.attend(), pick(output[0]), dropout, len(one.extra), one=one)
        if not dropout:
            reading.gradient = lambda gradient: one.gradient(pick(gradient))
            reading.part = one.part
        return reading

    batch = call.query.shape[1] if batched else 1
    seen = _Seen(
        "multi_head_attention_forward",
        *(call.query, call.key, output[0], batch, pick),
        value=call.value,
    )
    _record(watch, seen, read)


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


@recorder(torch._native_multi_head_attention)
def native_multi_head_attention(
    watch: Watch, output: tuple[torch.Tensor, Any], *args: Any, **kwargs: Any
) -> None:
    """Record the fused call ``nn.MultiheadAttention`` makes; ``(batch, position, width)``."""
    call = _named(_NATIVE, args, kwargs)

    def read() -> _Reading:
        source = _dense(call.query, watch.example)
        one = _fused(call, call.num_head, source, watch.example)
        return _Reading(*one.attend(), _dense(output[0], watch.example), one=one)

    batch = call.query.size(0)
    seen = _Seen(
        "_native_multi_head_attention",
        *(call.query, call.query, output[0], batch, _of(watch)),
        value=call.value,
    )
    _record(watch, seen, read)


@recorder(torch._transformer_encoder_layer_fwd)
def transformer_encoder_layer(
    watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any
) -> None:
    """Record a whole fused ``nn.TransformerEncoderLayer``; ``(batch, position, width)``."""
    call = _named(_LAYER, args, kwargs)

    def read() -> _Reading:
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
        return _Reading(
            weights,
            computed,
            _dense(output, watch.example),
            one=one,
            residual=source,
            norm=norm,
        )

    batch = call.src.size(0)
    seen = _Seen(
        "_transformer_encoder_layer_fwd",
        *(call.src, call.src, output, batch),
        *(_of(watch), call.qkv_weight),
    )
    _record(watch, seen, read)


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


@dataclass
class _Reading:
    """Hold what was computed beside a call, and the real output of the same shape."""

    weights: torch.Tensor
    computed: torch.Tensor
    output: torch.Tensor
    dropout: float = 0.0
    extra: int = 0
    gradient: Arrange | None = None
    part: Callable[[int], torch.Tensor] | None = None
    one: Example | None = None
    residual: torch.Tensor | None = None
    norm: Norm | None = None


@dataclass
class _Seen:
    """Hold what a call is called, its sequences, its batch, and a parameter of its module.

    ``pick`` takes one example, ``(position, width)``, out of a sequence; ``value`` is what the
    values are made of, where the call returns their projected mixture.
    """

    call: str
    query: torch.Tensor
    key: torch.Tensor
    output: torch.Tensor
    batch: int
    pick: Arrange
    owner: torch.Tensor | None = None
    value: torch.Tensor | None = None


def _record(watch: Watch, seen: _Seen, read: Callable[[], _Reading]) -> None:
    queries = watch.streams.of(seen.query)
    watch.streams.assign(seen.output, queries)
    # A whole layer is one call; the attention in it is the module its parameters are of.
    name = watch.wanted(seen.call, seen.owner)
    if name is None:
        return
    if watch.example >= seen.batch:
        reason = f"example {watch.example} was asked for, the batch has {seen.batch}"
        watch.miss(seen.call, reason)
        return
    with quietly(seen.query):
        reading = read()
        residual = None if reading.dropout else distance(reading.computed, reading.output)
        weights, extra = reading.weights, reading.extra
        own = weights[..., : weights.shape[-1] - extra]
    found = Found(
        name=name,
        call=seen.call,
        weights=to_host(own, ours=True),
        queries=queries,
        keys=watch.streams.of(seen.key),
        dtype=str(seen.query.dtype).removeprefix("torch."),
        residual=residual,
        reasons=[before_dropout(reading.dropout)] if reading.dropout else [],
        query_axis=watch.axis_along(seen.query, seen.pick),
        key_axis=watch.axis_along(seen.key, seen.pick),
    )
    if seen.query.is_nested:
        # A nested tensor holds the positions before the padding, and nothing else.
        found.query_part = found.key_part = Part(0, own.shape[-1])
        found.reasons.append("the padding is left out, as in the model's nested tensor")
    if extra:
        found.sink = to_host(weights[..., -extra:].sum(dim=-1))
        found.reasons.append("the learned or zero keys that torch.nn adds are the sink")
    watch.keep(found)
    if watch.projections is not None and reading.one is not None:
        _weigh(watch.projections, found, seen, reading, reading.one)
    if reading.part is not None:
        watch.projected(found, seen.pick(seen.output), reading.part)
    if reading.gradient is not None:
        await_gradient(watch, found, seen.output, reading.gradient)


def _weigh(
    projections: Projections, found: Found, seen: _Seen, reading: _Reading, one: Example
) -> None:
    """Weigh what the keys send; a whole layer adds the residual itself."""
    with quietly(seen.query):
        sent = one.sent()
    projections.weigh(found, sent)
    if reading.residual is not None:
        projections.add_at_once(found, sent, reading.residual, reading.norm)
    elif not seen.output.is_nested and seen.value is not None:
        rows = seen.pick(seen.output)
        projections.add_up(found, sent, seen.value, rows, seen.output)


def _of(watch: Watch) -> Arrange:
    return lambda tensor: tensor[watch.example]


def _dense(tensor: torch.Tensor, example: int) -> torch.Tensor:
    """Return one example, without the padding that a nested tensor does not have."""
    # A nested tensor cannot be indexed everywhere, but always unbound.
    dense: torch.Tensor = tensor.unbind()[example] if tensor.is_nested else tensor[example]
    return dense
