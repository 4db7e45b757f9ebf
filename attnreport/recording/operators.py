"""Read attention kernels that are operators: flash-attn's, torch's own for lengths that vary.

Such a kernel gets ``(batch, position, head, width)``, or with packed sequences ``(position, head,
width)`` and where each of them begins. What its arguments mean is read from their names; what comes
of it is held against what the kernel returned, so that no other meaning goes unnoticed.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from attnreport.attention import RESIDUAL_TOLERANCE, tolerance_of
from attnreport.recording.apart import quietly
from attnreport.recording.found import Found, Mixed
from attnreport.recording.gradients import as_it_is
from attnreport.recording.layout import Layout
from attnreport.recording.places import Pieces
from attnreport.recording.positions import learn_batch
from attnreport.recording.registry import Recorder, operator_recorders
from attnreport.recording.rules import FROM_OPERANDS, Rules, packed
from attnreport.recording.siblings import sequences_of
from attnreport.recording.watch import Watch
from attnreport.recording.weights import before_dropout, distance, mix, to_host
from attnreport.recording.windows import Side, is_ordinary, lay, pieces_for

_NONE = np.empty((0, 0, 0), np.float32)
# What the arguments are called, in one library or another.
_CALLED = {
    "query": ("q", "query"),
    "key": ("k", "key"),
    "value": ("v", "value"),
    "rows": ("cu_seqlens_q", "cu_seq_q", "cum_seq_q"),
    "columns": ("cu_seqlens_k", "cu_seq_k", "cum_seq_k"),
    "causal": ("causal", "is_causal"),
    "scale": ("softmax_scale", "scale"),
    "dropout": ("dropout_p", "p_dropout"),
    "softcap": ("softcap",),
    "slopes": ("alibi_slopes",),
    "sinks": ("s_aux", "learnable_sink"),
    "before": ("window_size_left",),
    "after": ("window_size_right",),
    "window": ("window_size",),
}
_MEANING = {name: meaning for meaning, names in _CALLED.items() for name in names}
# Where it writes to.
_NOT_READ = {"out", "out_"}
_OPERANDS = {"query", "key", "value"}
_NEEDED = {*_OPERANDS, "causal", "scale"}
_ATTENTION = re.compile(r"attention|attn|sdpa", re.IGNORECASE)
# ATen's other kernels have another order of dimensions.
_ATEN = "aten::_flash_attention_forward"


@operator_recorders
def recorder_of_kernel(operator: Any) -> Recorder | None:
    """Return what records an operator whose arguments are those of an attention kernel."""
    if isinstance(operator, torch._ops.OpOverloadPacket):
        operator = getattr(operator, "default", None)
    schema = getattr(operator, "_schema", None)
    if schema is None or (schema.name.startswith("aten::") and schema.name != _ATEN):
        return None
    meant = {_MEANING.get(argument.name) for argument in schema.arguments}
    if meant >= _NEEDED:
        return functools.partial(_record, schema)
    if meant >= _OPERANDS:
        return functools.partial(_try, schema)
    return functools.partial(_say, schema) if _ATTENTION.search(schema.name) else None


@dataclass(frozen=True, eq=False)
class _Call:
    """Hold one call of a kernel: its arguments by their meaning, and the others by name."""

    name: str
    given: dict[str, Any]
    others: dict[str, Any]
    output: torch.Tensor

    @property
    def operands(self) -> tuple[torch.Tensor, ...]:
        """Return queries, keys, values and output, each ``(…, position, head, width)``."""
        return (*(self.given[name] for name in ("query", "key", "value")), self.output)

    def rules(self) -> Rules:
        """Return what the kernel was told, but for the places of packed sequences."""
        window = [x if x is not None and x >= 0 else None for x in self._window()]
        scale = self.given.get("scale")
        return Rules(
            scale=None if scale is None else float(scale),
            softcap=self.given.get("softcap") or None,
            causal=bool(self.given.get("causal")),
            before=window[0],
            after=window[1],
            slopes=self.given.get("slopes"),
            sinks=self.given.get("sinks"),
        )

    def _window(self) -> tuple[Any, Any]:
        if self.given.get("window") is not None:
            before, after = self.given["window"]
            return before, after
        return self.given.get("before"), self.given.get("after")

    def starts(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Return where packed sequences begin, of queries and of keys."""
        rows, columns = self.given.get("rows"), self.given.get("columns")
        if rows is None:
            return None
        return rows.to(torch.int64), (rows if columns is None else columns).to(torch.int64)


def _bound(schema: Any, output: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
    names = [argument.name for argument in schema.arguments]
    values = dict(zip(names, args, strict=False)) | kwargs
    given = {_MEANING[name]: value for name, value in values.items() if name in _MEANING}
    others = {name: value for name, value in values.items() if name not in _MEANING}
    first = output if isinstance(output, torch.Tensor) else output[0]
    return _Call(schema.name, given, others, first)


def _record(schema: Any, watch: Watch, output: Any, *args: Any, **kwargs: Any) -> None:
    call = _bound(schema, output, args, kwargs)
    queries = watch.streams.of(call.given["query"])
    watch.streams.assign(call.output, queries)
    name = watch.wanted(call.name)
    if name is None:
        return
    strange = [
        key
        for key, value in call.others.items()
        if isinstance(value, torch.Tensor) and value.dim() and key not in _NOT_READ
    ]
    slopes = call.given.get("slopes")
    if slopes is not None and slopes.dim() > 1:
        strange.append("slopes for each example")
    starts, shape = call.starts(), call.given["query"].shape
    if strange:
        watch.miss(call.name, f"it was called with {', '.join(strange)}, which is not read")
    elif starts is None and len(shape) == 4:
        _record_batch(watch, name, call)
    elif starts is not None and len(shape) == 3:
        _record_packed(watch, name, call, starts)
    else:
        watch.miss(call.name, f"its queries have a shape that is not known, {tuple(shape)}")


def _try(schema: Any, watch: Watch, output: Any, *args: Any, **kwargs: Any) -> None:
    """Record an operator that says no more than its operands: by the formula that gives its result.

    Its heads may come before the positions or behind them, and it may be causal.
    """
    call = _bound(schema, output, args, kwargs)
    watch.streams.assign(call.output, watch.streams.of(call.given["query"]))
    name = watch.wanted(call.name)
    if name is None:
        return
    for layout, operands in _readings(watch, call):
        for causal in (False, True):
            rules = replace(call.rules(), causal=causal)
            if _explains(rules, operands):
                _keep(watch, name, call, rules, operands, copies=layout.copies)
                return
    _say(schema, watch, output)


def _readings(watch: Watch, call: _Call) -> Iterator[tuple[Layout, list[torch.Tensor]]]:
    """Yield queries, keys, values and output of the example, heads first, as they may be meant."""
    query = call.given["query"]
    for arrange in (as_it_is, _forward):
        operands = [arrange(each) for each in call.operands]
        if not _fit(operands):
            continue
        learn_batch(watch.streams, query, arrange)
        shape = (*operands[0].shape[:-1], operands[1].shape[-2])
        layout = watch.layout(shape, watch.streams.of(query))
        if isinstance(layout, Layout):
            yield layout, [layout.pick(each) for each in operands]


def _say(schema: Any, watch: Watch, output: Any, *args: Any, **kwargs: Any) -> None:
    """Say of an operator that it cannot be read."""
    reason = "it is an operator of its own, and no formula that is known gives what it returned"
    watch.miss(schema.name, reason)


def _forward(tensor: torch.Tensor) -> torch.Tensor:
    """Bring heads before the positions, where there are heads."""
    return tensor.transpose(1, 2) if tensor.dim() == 4 else tensor


def _fit(operands: Sequence[torch.Tensor]) -> bool:
    """Tell whether shapes are those of attention: ``(…, head, position, width)``."""
    query, key, value, output = (each.shape for each in operands)
    heads = len(query) < 3 or (key[-3] > 0 and query[-3] % key[-3] == 0)
    return (
        len(query) == len(key) == len(value) == len(output) > 1
        and heads
        and query[-1] == key[-1]
        and key[:-1] == value[:-1]
        and output[:-1] == query[:-1]
        and output[-1] == value[-1]
    )


def _explains(rules: Rules, operands: Sequence[torch.Tensor]) -> bool:
    *_, residual = _computed(rules, operands)
    dtype = str(operands[0].dtype).removeprefix("torch.")
    return residual is not None and residual <= tolerance_of(dtype)


def _computed(
    rules: Rules, operands: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, float | None]:
    """Return weights, those of keys alone, and how far what they mix is from what was returned."""
    query, key, value, real = operands
    with quietly(query):
        weights = rules.weights(query, key)
        own = weights[..., : key.shape[1]]
        return weights, own, distance(mix(own, value), real)


def _record_batch(watch: Watch, name: str, call: _Call) -> None:
    """Record ``(batch, position, head, width)``."""
    query, key, value, output = (each.transpose(1, 2) for each in call.operands)
    layout = watch.layout((*query.shape[:-1], key.shape[-2]), watch.streams.of(call.given["query"]))
    if isinstance(layout, str):
        watch.miss(call.name, layout)
        return
    rules = call.rules()
    if layout.copies > 1:
        sinks, slopes = (
            None if each is None else each.repeat(layout.copies)
            for each in (rules.sinks, rules.slopes)
        )
        rules = replace(rules, sinks=sinks, slopes=slopes)
    picked = [layout.pick(each) for each in (query, key, value, output)]
    _keep(watch, name, call, rules, picked, copies=layout.copies)


def _record_packed(
    watch: Watch, name: str, call: _Call, starts: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Record ``(position, head, width)`` of several sequences, one after the other."""
    stream = watch.streams.of(call.given["query"])
    batch, count = None if stream is None else stream.batch, len(starts[0]) - 1
    if batch in (None, 1):
        queries, keys = (len(call.given[side]) for side in ("query", "key"))
        rules = replace(call.rules(), places=packed(starts, queries, keys))
        whole = [each.transpose(0, 1) for each in call.operands]
        _keep(watch, name, call, rules, whole)
    elif batch != count or watch.example >= count:
        why = f"{count} sequences are packed, the batch has {batch}: which is which is not known"
        watch.miss(call.name, why)
    else:
        rows, columns = (slice(*x[watch.example : watch.example + 2].tolist()) for x in starts)
        parts = zip(call.operands, (rows, columns, columns, rows), strict=True)
        own = [each[part].transpose(0, 1) for each, part in parts]
        _keep(watch, name, call, call.rules(), own, _pieces(watch, call, rows, columns))


def _pieces(watch: Watch, call: _Call, rows: slice, columns: slice) -> Pieces | None:
    """Return where the positions of one sequence were before the padding was taken out."""
    query, key = call.given["query"], call.given["key"]
    pieces = pieces_for(
        watch,
        watch.streams.of(query),
        query.shape[1:2],
        Side(query, lambda numbers: numbers[rows].transpose(0, 1)),
        Side(key, lambda numbers: numbers[columns, :1].transpose(0, 1)),
    )
    return pieces if isinstance(pieces, Pieces) and not is_ordinary(pieces) else None


def _keep(  # noqa: PLR0913, PLR0917 - what is known of one call
    watch: Watch,
    name: str,
    call: _Call,
    rules: Rules,
    operands: Sequence[torch.Tensor],
    pieces: Pieces | None = None,
    copies: int = 1,
) -> None:
    """Keep one example: queries, keys, values and output, each ``(head, position, width)``."""
    query, _, value, real = operands
    dropout = call.given.get("dropout") or 0.0
    weights, own, residual = _computed(rules, operands)
    residual = None if dropout else residual
    dtype = str(query.dtype).removeprefix("torch.")
    if residual is not None and residual > RESIDUAL_TOLERANCE.get(dtype, 0.0):
        why = f"what its arguments say is not what it returned, by {residual:.2g}"
        watch.miss(call.name, why)
        return
    sequences = sequences_of(watch.streams, call.given["query"], call.given["key"])
    found = Found(name, call.name, _NONE, *sequences, dtype, None)
    found.reasons += [FROM_OPERANDS, *rules.reasons]
    found.residual, found.copies = residual, copies
    if dropout:
        found.reasons.append(before_dropout(dropout))
    if pieces is not None:
        lay(found, pieces, own, found, None)
    else:
        found.weights = to_host(own)
        found.sink = to_host(weights[..., -1]) if rules.sinks is not None else None
    watch.keep(found)
    if pieces is None:
        source = call.given["value"]
        watch.attended(found, Mixed(real, call.output, value, own, source, exact=not dropout))
