"""Read attention kernels that torch does not know: transformers' attention functions.

Every model of transformers gets its attention function from one place, ``get_interface``. While a
capture runs, what that returns is wrapped: the function runs as ever, and where no torch function
inside it gave weights, they are computed from what it was called with. Knows that interface and
nothing else of transformers; does not import it.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnreport.recording.apart import quietly, without_modes
from attnreport.recording.found import Found, Mixed
from attnreport.recording.hearing import Hearing
from attnreport.recording.layout import Layout
from attnreport.recording.registry import name_of
from attnreport.recording.rules import FROM_OPERANDS, Places, Rules, packed
from attnreport.recording.siblings import told_apart
from attnreport.recording.streams import Stream, Tag
from attnreport.recording.watch import Watch
from attnreport.recording.weights import (
    before_dropout,
    distance,
    mix,
    to_host,
)

# The order in which every attention function of transformers takes them.
_NAMES = ("module", "query", "key", "value", "attention_mask")
# Where packed sequences begin; it takes all four to be told so.
_STARTS = ("cu_seq_lens_q", "cu_seq_lens_k")
_LONGEST = ("max_length_q", "max_length_k")


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
        calls = [(watch, _Seen(name_of(function), given, len(watch.found))) for watch in watches]
        for watch, seen in calls:
            watch.attempt(function, _begin, seen)
        output = function(*args, **kwargs)
        for watch, seen in calls:
            if len(watch.found) == seen.count and not torch.compiler.is_compiling():
                seen.output = output
                with without_modes():
                    watch.attempt(function, _record, seen)
        return output

    return attend


# While it runs, a watch sees what attention functions of transformers are called with.
KERNELS = Hearing(_interface, "get_interface", _wrapping)


@dataclass(slots=True, eq=False)
class _Seen:
    """Hold one call of an attention function.

    Attributes:
        name: of the function.
        given: its arguments by name.
        count: how much was found until then.
        query: what was known of the queries before the call, which may write over them.
        key: the same of the keys.
        output: what it returned.
    """

    name: str
    given: dict[str, Any]
    count: int
    query: Tag | None = None
    key: Tag | None = None
    output: Any = None

    def sequences(self) -> tuple[Stream | None, Stream | None]:
        """Return whose positions queries and keys have."""
        sides = [None if tag is None else tag.stream for tag in (self.query, self.key)]
        return told_apart((sides[0], sides[1]), self.query, self.key)


def _begin(watch: Watch, seen: _Seen) -> None:
    query, key = seen.given.get("query"), seen.given.get("key")
    if isinstance(query, torch.Tensor) and isinstance(key, torch.Tensor):
        seen.query, seen.key = watch.streams.tag(query), watch.streams.tag(key)


def _record(watch: Watch, seen: _Seen) -> None:
    """Record one call: ``(batch, head, position, width)`` in, positions before heads out."""
    operands: list[Any] = [seen.given.get(name) for name in ("query", "key", "value")]
    query, key, value = operands
    output = seen.output[0] if isinstance(seen.output, tuple) else seen.output
    queries, keys = seen.sequences()
    stream = None if queries is None else queries.whole
    if isinstance(output, torch.Tensor):
        watch.streams.assign(output, stream)
    name = watch.wanted(seen.name)
    if name is None:
        return
    if any(not isinstance(x, torch.Tensor) or x.dim() != 4 for x in (query, key, value, output)):
        watch.miss(seen.name, "its arguments are not (batch, head, position, width)")
        return
    layout = watch.layout((*query.shape[:-1], key.shape[-2]), stream)
    if isinstance(layout, str):
        watch.miss(seen.name, layout)
        return
    count = key.shape[-2]
    with quietly(query):
        rules = _rules(seen.given, layout)
        weights = rules.weights(layout.pick(query), layout.pick(key))
        mixed = mix(weights[..., :count], layout.pick(value))
        residual = distance(mixed, layout.pick(output.transpose(1, 2)))
    dropout = seen.given.get("dropout") or 0.0
    found = Found(
        name=name,
        call=seen.name,
        weights=to_host(weights[..., :count]),
        queries=queries,
        keys=keys,
        dtype=str(query.dtype).removeprefix("torch."),
        residual=None if dropout else residual,
        reasons=[*layout.reasons, FROM_OPERANDS, *rules.reasons],
        copies=layout.copies,
    )
    if dropout:
        found.reasons.append(before_dropout(dropout))
    if weights.shape[-1] > count:
        found.sink = to_host(weights[..., -1])
    watch.keep(found)
    heads = layout.pick(output.transpose(1, 2))
    values, own = layout.pick(value), weights[..., :count]
    watch.attended(found, Mixed(heads, output, values, own, value, exact=not dropout))


def _rules(given: dict[str, Any], layout: Layout) -> Rules:
    """Return what the function was told, of the rows of one example."""
    query, sinks, bias = given["query"], given.get("s_aux"), given.get("position_bias")
    rules = Rules(
        scale=given.get("scaling"),
        softcap=given.get("softcap"),
        bias=None if bias is None else layout.pick(bias.expand(len(query), *bias.shape[1:])),
        sinks=None if sinks is None else sinks.repeat(layout.copies),
    )
    mask = given.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.dim() != 4:
        return _rules_instead(rules, given, layout)
    own = layout.pick(mask.expand(len(query), *mask.shape[1:]))[..., : given["key"].shape[-2]]
    if own.dtype == torch.bool:
        return replace(rules, allowed=own)
    return replace(rules, bias=own if rules.bias is None else rules.bias + own)


def _rules_instead(rules: Rules, given: dict[str, Any], layout: Layout) -> Rules:
    """Add what a mask stands for where there is none that says it all."""
    mask, queries, keys = (
        given.get("attention_mask"),
        given["query"].shape[-2],
        given["key"].shape[-2],
    )
    allowed = None
    if isinstance(mask, torch.Tensor) and mask.dim() == 2:
        # (batch, key), true where there is no padding, which neither asks nor answers.
        real = mask[layout.start, :keys].bool()
        allowed = real & real[-queries:].unsqueeze(-1)
    causal, window = given.get("is_causal"), given.get("sliding_window")
    if causal is None:
        causal = getattr(given.get("module"), "is_causal", False)
    near = None if window is None else window - 1
    places = None if isinstance(mask, torch.Tensor) else _packed(given, layout)
    return replace(
        rules, allowed=allowed, causal=bool(causal), before=near, after=near, places=places
    )


def _packed(given: dict[str, Any], layout: Layout) -> tuple[Places, Places] | None:
    """Return the places of several sequences in one row, if the function was told of any.

    It is told where they begin, or sees it in positions that begin anew.
    """
    batch, _, queries, _ = given["query"].shape
    keys = given["key"].shape[-2]
    starts = [given.get(name) for name in _STARTS]
    if all(given.get(name) is not None for name in (*_STARTS, *_LONGEST)):
        first, last = (x.to(torch.int64) for x in starts if x is not None)
        row = layout.start
        return packed((first - row * queries, last - row * keys), queries, keys)
    positions = given.get("position_ids")
    if not isinstance(positions, torch.Tensor) or batch != 1 or positions.shape[-1] != queries:
        return None
    positions = positions.flatten()
    if len(positions) != queries or queries != keys or bool((positions.diff() == 1).all()):
        return None
    begins = (positions == positions.min()).nonzero().flatten()
    ends = torch.cat([begins, begins.new_tensor([queries])])
    return packed((ends, ends), queries, keys)
