"""Read attention kernels that torch does not know: transformers' attention functions.

Every model of transformers gets its attention function from one place, ``get_interface``. While a
capture runs, what that returns is wrapped: the function runs as ever, and where no torch function
inside it gave weights, they are computed from what it was called with. Knows that interface and
nothing else of transformers; does not import it.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from attnreport.recording.apart import quietly, without_modes
from attnreport.recording.found import Found, Mixed
from attnreport.recording.hearing import Hearing
from attnreport.recording.layout import Layout
from attnreport.recording.registry import name_of
from attnreport.recording.streams import Stream
from attnreport.recording.watch import Watch
from attnreport.recording.weights import (
    before_dropout,
    distance,
    mix,
    normalise,
    scores_of,
    to_host,
)

# The order in which every attention function of transformers takes them.
_NAMES = ("module", "query", "key", "value", "attention_mask")


def _interface() -> Any:
    """Return transformers' class of interfaces, if transformers is there at all."""
    module = sys.modules.get("transformers.modeling_utils")
    return getattr(module, "AttentionInterface", None)


def _wrapping(original: Callable[..., Any], hearing: Hearing) -> Callable[..., Any]:
    @functools.wraps(original)
    def get_interface(self: Any, *args: Any, **kwargs: Any) -> Any:
        function = original(self, *args, **kwargs)
        watches = hearing.watches()
        return _watched(function, watches) if watches else function

    return get_interface


def _watched(function: Callable[..., Any], watches: list[Watch]) -> Callable[..., Any]:
    @functools.wraps(function)
    def attend(*args: Any, **kwargs: Any) -> Any:
        given = dict(zip(_NAMES, args, strict=False)) | kwargs
        before = [(len(watch.found), *_streams(watch, given)) for watch in watches]
        output = function(*args, **kwargs)
        for watch, (count, queries, keys) in zip(watches, before, strict=True):
            if len(watch.found) == count and not torch.compiler.is_compiling():
                seen = _Seen(name_of(function), given, output, queries, keys)
                with without_modes():
                    watch.attempt(function, _record, seen)
        return output

    return attend


def _streams(watch: Watch, given: dict[str, Any]) -> tuple[Stream | None, Stream | None]:
    """Return whose positions queries and keys have, before the function may write over them."""
    query, key = given.get("query"), given.get("key")
    if not isinstance(query, torch.Tensor) or not isinstance(key, torch.Tensor):
        return None, None
    return watch.streams.of(query), watch.streams.of(key)


# While it runs, a watch sees what attention functions of transformers are called with.
KERNELS = Hearing(_interface, "get_interface", _wrapping)


@dataclass(frozen=True, eq=False)
class _Seen:
    """Hold one call of an attention function: its arguments by name, and what it returned."""

    name: str
    given: dict[str, Any]
    output: Any
    queries: Stream | None
    keys: Stream | None


def _record(watch: Watch, seen: _Seen) -> None:
    """Record one call: ``(batch, head, position, width)`` in, positions before heads out."""
    operands: list[Any] = [seen.given.get(name) for name in ("query", "key", "value")]
    query, key, value = operands
    output = seen.output[0] if isinstance(seen.output, tuple) else seen.output
    if isinstance(output, torch.Tensor):
        watch.streams.assign(output, seen.queries)
    name = watch.wanted(seen.name)
    if name is None:
        return
    if any(not isinstance(x, torch.Tensor) or x.dim() != 4 for x in (query, key, value, output)):
        watch.miss(seen.name, "its arguments are not (batch, head, position, width)")
        return
    layout = watch.layout((*query.shape[:-1], key.shape[-2]), seen.queries)
    if isinstance(layout, str):
        watch.miss(seen.name, layout)
        return
    keys = key.shape[-2]
    with quietly(query):
        weights = _weights(seen.given, layout)
        mixed = mix(weights[..., :keys], layout.pick(value))
        residual = distance(mixed, layout.pick(output.transpose(1, 2)))
    dropout = seen.given.get("dropout") or 0.0
    found = Found(
        name=name,
        call=seen.name,
        weights=to_host(weights[..., :keys]),
        queries=seen.queries,
        keys=seen.keys,
        dtype=str(query.dtype).removeprefix("torch."),
        residual=None if dropout else residual,
        reasons=[*layout.reasons, "computed from what its kernel was called with"],
        copies=layout.copies,
    )
    if dropout:
        found.reasons.append(before_dropout(dropout))
    if weights.shape[-1] > keys:
        found.sink = to_host(weights[..., -1])
    watch.keep(found)
    heads = layout.pick(output.transpose(1, 2))
    values, own = layout.pick(value), weights[..., :keys]
    watch.attended(found, Mixed(heads, output, values, own, value, exact=not dropout))


def _weights(given: dict[str, Any], layout: Layout) -> torch.Tensor:
    """Return ``(head, query, key)``, and a column for the sink where there is one."""
    query = given["query"]
    scores = scores_of(layout.pick(query), layout.pick(given["key"]), given.get("scaling"))
    softcap = given.get("softcap")
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    bias = given.get("position_bias")
    if bias is not None:
        scores = scores + layout.pick(bias.expand(query.shape[0], *bias.shape[1:]))
    scores = _masked(scores, given, layout)
    sinks = given.get("s_aux")
    if sinks is not None:
        each = sinks.to(scores.dtype).repeat(layout.copies)
        column = each.view(-1, 1, 1).expand(-1, scores.shape[1], 1)
        scores = torch.cat([scores, column], dim=-1)
    return normalise(scores, may_be_blind=True)


def _masked(scores: torch.Tensor, given: dict[str, Any], layout: Layout) -> torch.Tensor:
    """Apply the mask, or where there is none that says it all, the rules it stands for."""
    mask, batch = given.get("attention_mask"), given["query"].shape[0]
    _, queries, keys = scores.shape
    if isinstance(mask, torch.Tensor) and mask.dim() == 4:
        own = layout.pick(mask.expand(batch, *mask.shape[1:]))[..., :keys]
        if own.dtype == torch.bool:
            return scores.masked_fill(~own, -math.inf)
        return scores + own.to(scores.dtype)
    # The queries are the last positions of the keys.
    rows = torch.arange(keys - queries, keys, device=scores.device).unsqueeze(-1)
    columns = torch.arange(keys, device=scores.device)
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=scores.device)
    if isinstance(mask, torch.Tensor) and mask.dim() == 2:
        # (batch, key), true where there is no padding, which neither asks nor answers.
        real = mask[layout.start, :keys].bool()
        allowed &= real & real[-queries:].unsqueeze(-1)
    causal = given.get("is_causal")
    if causal is None:
        causal = getattr(given.get("module"), "is_causal", False)
    if causal:
        allowed &= columns <= rows
    if given.get("sliding_window") is not None:
        allowed &= (rows - columns).abs() < given["sliding_window"]
    return scores.masked_fill(~allowed, -math.inf)
