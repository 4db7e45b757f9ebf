"""Keep attention that was followed from its weights to their product with values.

Knows matrices and what was done to the weights on the way; not how either was written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from attnreport.axis import Axis
from attnreport.recording.apart import quietly
from attnreport.recording.following import Followed
from attnreport.recording.gradients import Arrange, await_gradient
from attnreport.recording.layout import Layout, layout_of
from attnreport.recording.streams import Stream
from attnreport.recording.watch import Found, Mixed, Watch
from attnreport.recording.weights import distance, mix, to_host
from attnreport.recording.windows import lay, pieces_for

# How far from 1 a row may sum by rounding alone.
_TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


@dataclass(frozen=True, eq=False)
class Matrices:
    """Hold one product of weights and values, arranged as matrices.

    Attributes:
        weights: ``(…, query, key)`` as they multiplied the values.
        values: ``(…, key, width)``.
        output: ``(…, query, width)``.
        source: the values before they were arranged; their stream is the keys'.
        clean: the weights before dropout and mixing, where that differs.
        rows: the weights before they were arranged; their stream is the queries'.
        arrange: arranges what has the shape of ``rows``, e.g. a gradient, as ``weights`` are.
    """

    weights: torch.Tensor
    values: torch.Tensor
    output: torch.Tensor
    source: torch.Tensor
    clean: torch.Tensor | None = None
    rows: torch.Tensor | None = None
    arrange: Arrange | None = None


def record(watch: Watch, followed: Followed, product: Matrices) -> None:
    """Keep one attention whose weights were followed to here, or say why not."""
    origin = followed.origin
    tag = watch.streams.tag(product.source)
    if tag is not None and tag.executed is not None:
        # A table of relative positions, or the points of a distribution: no positions to see.
        origin.lost = "a product with a parameter"
        return
    name = watch.names.current()
    if not origin.normalised and name is not None and not watch.names.says_attention(name):
        # Sigmoids gate everything; only where it is called attention is it taken for one.
        origin.lost = "a product with values, in a module that is not called attention"
        return
    if origin.used:
        return
    name = watch.wanted(origin.call)
    # One that is not wanted is not lost either: the ledger says so already.
    origin.used = True
    if name is None:
        return
    queries = watch.streams.of(product.weights if product.rows is None else product.rows)
    layout = layout_of(
        (*product.output.shape[:-1], product.weights.shape[-1]), queries, watch.example
    )
    if isinstance(layout, str):
        if not _record_windows(watch, followed, product, queries):
            watch.miss(origin.call, layout)
        return
    with quietly(product.weights):
        mixed = _mixed(watch, product, layout)
        shown, residual = _computed(product, layout, mixed)
        sums = shown.to(torch.promote_types(shown.dtype, torch.float32)).sum(dim=-1)
    found = Found(
        name=name,
        call=origin.call,
        weights=to_host(shown),
        queries=queries,
        keys=watch.streams.of(product.source),
        dtype=str(product.weights.dtype).removeprefix("torch."),
        residual=residual,
        reasons=[*layout.reasons, *followed.reasons],
        query_axis=_rows_axis(watch, product, layout),
        key_axis=watch.axis_along(product.source, layout.pick),
    )
    _judge_rows(found, followed, sums)
    watch.keep(found)
    if isinstance(watch.returned, torch.Tensor):
        watch.attended(found, mixed)
    if product.clean is None:
        _await_gradient(watch, found, product, layout)


def _record_windows(
    watch: Watch, followed: Followed, product: Matrices, queries: Stream | None
) -> bool:
    """Lay windows on their sequence; tell whether that was possible."""
    if product.rows is not None or product.clean is not None:
        return False
    pieces = pieces_for(watch, queries, product.weights, product.source)
    name = watch.names.current()
    if pieces is None or name is None:
        return False
    found = Found(
        name=name,
        call=followed.origin.call,
        weights=np.empty((0, 0, 0), np.float32),
        queries=queries,
        keys=watch.streams.of(product.source),
        dtype=str(product.weights.dtype).removeprefix("torch."),
        residual=None,
        reasons=list(followed.reasons),
    )
    with quietly(product.weights):
        parts = (product.weights, product.values, product.output)
        lay(found, pieces, *(part[pieces.own] for part in parts))
    found.query_axis = found.key_axis = watch.axis_laid(
        product.weights, lambda numbers: numbers[pieces.own.cpu()][:, 0], pieces.rows, pieces.length
    )
    watch.keep(found)
    watch.attended_in_windows(found, product.output, pieces)
    return True


def _rows_axis(watch: Watch, product: Matrices, layout: Layout) -> Axis | None:
    if product.rows is None:
        return watch.axis_along(product.weights, layout.pick)
    arrange = product.arrange or torch.clone
    return watch.axis_along(product.rows, lambda numbers: layout.pick(arrange(numbers)))


def _await_gradient(watch: Watch, found: Found, product: Matrices, layout: Layout) -> None:
    """The weights are in the user's own graph: their gradient only has to be arranged."""
    lead, arrange = product.output.shape[:-2], product.arrange
    if product.rows is None:
        await_gradient(watch, found, product.weights, layout.pick)
    elif arrange is not None:
        await_gradient(
            watch,
            found,
            product.rows,
            lambda gradient: layout.pick(arrange(gradient).expand(*lead, -1, -1)),
        )


def _mixed(watch: Watch, product: Matrices, layout: Layout) -> Mixed:
    """Return the example's part of a product."""
    lead = product.output.shape[:-2]
    values, weights = (
        layout.pick(each.expand(*lead, -1, -1)) for each in (product.values, product.weights)
    )
    heads = layout.pick(product.output)
    return Mixed(
        heads, watch.returned, values, weights, product.source, exact=product.clean is None
    )


def _computed(product: Matrices, layout: Layout, mixed: Mixed) -> tuple[torch.Tensor, float | None]:
    """Return the weights of one example, and how well they reproduce the output."""
    if product.clean is not None:
        lead = product.output.shape[:-2]
        return layout.pick(product.clean.expand(*lead, -1, -1)), None
    precise = torch.promote_types(mixed.weights.dtype, torch.float32)
    again = mix(mixed.weights.to(precise), mixed.values)
    return mixed.weights, distance(again, mixed.heads)


def _judge_rows(found: Found, followed: Followed, sums: torch.Tensor) -> None:
    """Say what rows mean that do not sum to 1: a sink was cut off, or nothing normalises them."""
    tolerance = _TOLERANCE.get(found.dtype, 1e-1)
    odd = torch.isfinite(sums) & ((sums - 1).abs() > tolerance) & (sums != 0)
    if not followed.origin.normalised or (odd.any() and not followed.cut):
        found.normalised = False
        found.reasons.append("rows do not sum to 1")
    elif odd.any():
        found.sink = to_host((1 - sums).clamp(0, 1))
        found.reasons.append("columns of the softmax were cut off: their share is the sink's")
