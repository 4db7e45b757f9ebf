"""Keep attention that was followed from its weights to their product with values.

Knows matrices and what was done to the weights on the way; not how either was written.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from attnreport.axis import Axis
from attnreport.recording.apart import quietly
from attnreport.recording.channels import LINEAR, is_linear, over_channels
from attnreport.recording.following import Followed
from attnreport.recording.found import Found, Mixed
from attnreport.recording.gradients import Arrange, as_it_is, await_gradient
from attnreport.recording.layout import Layout, heads_or_why_not
from attnreport.recording.looping import loop_of
from attnreport.recording.parts import Partial
from attnreport.recording.places import Pieces
from attnreport.recording.positions import example_of, learn_batch, row_of
from attnreport.recording.sides import UNKNOWN, Sides, sides_of
from attnreport.recording.streams import Stream
from attnreport.recording.watch import Watch
from attnreport.recording.weights import distance, mix, to_host
from attnreport.recording.windows import (
    Side,
    Unlaid,
    is_ordinary,
    lay,
    lay_axis,
    part_of,
    pieces_for,
    some_rows,
)

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
        align: arranges what has the shape of ``source`` as ``values`` are.
        sides: whose positions queries and keys are; ``record`` finds it out.
    """

    weights: torch.Tensor
    values: torch.Tensor
    output: torch.Tensor
    source: torch.Tensor
    clean: torch.Tensor | None = None
    rows: torch.Tensor | None = None
    arrange: Arrange | None = None
    align: Arrange = as_it_is
    sides: Sides = UNKNOWN

    @property
    def lead(self) -> torch.Size:
        """Return the leading dimensions, whichever they are."""
        return self.output.shape[:-2]


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
    if not watch.may_keep:
        if not origin.unwanted:
            watch.wanted(origin.call)  # for the ledger: nothing is
        origin.used = origin.unwanted = True
        return
    product = replace(product, sides=_sides(watch, product))
    if origin.unwanted or (origin.used and not origin.laid and not followed.cut):
        return
    layout = _layout(watch, product)
    if isinstance(layout, Layout) and _is_another_example(watch, product):
        origin.used = True
        return
    # Only what may be a piece may be a part of an attention, and not one of its own.
    part = _may_be_pieces(watch, followed, product, layout)
    whole = isinstance(layout, Layout) and len(product.lead) <= 2 and not followed.cut
    shape = (*product.output.shape[:-1], product.weights.shape[-1])
    loop = loop_of(watch, origin.call, shape, product.source)
    name = watch.wanted(origin.call, part=part, sure=whole, loop=None if part else loop)
    # One that is not wanted is not lost either: the ledger says so already.
    origin.used = True
    if name is None:
        origin.unwanted = True
        return
    partial = None
    if part:
        layout, partial = _arrangement(watch, followed, product, layout)
    if isinstance(layout, Layout):
        own = loop if partial is None else None
        _record_whole(watch, followed, product, layout, name, partial, own)


def _is_another_example(watch: Watch, product: Matrices) -> bool:
    """Tell whether one matrix alone is of an example of the batch that is not wanted."""
    if product.lead or watch.generation is not None:
        return False
    example = example_of(watch.streams, _rows(product).tensor)
    return example is not None and example != watch.example


def _sides(watch: Watch, product: Matrices) -> Sides:
    """Return whose positions queries and keys are; the result has those of the queries."""
    streams, rows, returned = watch.streams, _rows(product), watch.returned
    found = sides_of(streams, rows.tensor, rows.arrange)
    if found is None:
        return Sides(streams.of(rows.tensor), streams.of(product.source))
    whole = None if found.queries is None else found.queries.whole
    if isinstance(returned, torch.Tensor) and streams.of(returned) is not whole:
        streams.assign(returned, whole)
    return found


def _stream_with_batch(watch: Watch, product: Matrices) -> Stream | None:
    """Return what the queries belong to, or what else tells how many examples there are."""
    sides = product.sides
    known = [sides.queries, watch.streams.of(_rows(product).tensor), sides.keys]
    first = sides.queries or known[1]
    return next((each for each in known if each is not None and each.batch is not None), first)


def _record_whole(  # noqa: PLR0913, PLR0917 - what is known of one product
    watch: Watch,
    followed: Followed,
    product: Matrices,
    layout: Layout,
    name: str,
    partial: Partial | None,
    loop: object,
) -> None:
    """Keep the example's weights as they are."""
    origin = followed.origin
    with quietly(product.weights):
        mixed = _mixed(watch, product, layout)
        shown, residual = _computed(product, layout, mixed)
        sums = shown.to(torch.promote_types(shown.dtype, torch.float32)).sum(dim=-1)
    found = Found(
        name=name,
        call=origin.call,
        weights=to_host(shown, ours=partial is None and watch.reduces(shown.shape)),
        queries=product.sides.queries,
        keys=product.sides.keys,
        dtype=str(product.weights.dtype).removeprefix("torch."),
        residual=residual,
        reasons=[*layout.reasons, *followed.reasons],
        query_axis=_rows_axis(watch, product, layout),
        key_axis=watch.region_axes.along(product.source, layout.pick),
        channels=shown.shape[-2] == shown.shape[-1]
        and over_channels(watch.streams, product.source, product.align),
        partial=partial,
        copies=layout.copies,
        loop=loop,
    )
    if found.loop is not None and found.queries is found.keys:
        rows = _rows(product)
        found.place = row_of(watch.streams, rows.tensor, rows.arrange)
    _judge_rows(found, followed, sums)
    watch.keep(found)
    if partial is not None:
        watch.laid.add(name)
    if isinstance(watch.returned, torch.Tensor):
        watch.attended(found, mixed)
    if product.clean is None:
        _await_gradient(watch, found, product, layout)


def _layout(watch: Watch, product: Matrices) -> Layout | str:
    """Return how to pick the example, as far as shapes tell."""
    shape = (*product.output.shape[:-1], product.weights.shape[-1])
    rows = _rows(product)
    learn_batch(watch.streams, rows.tensor, rows.arrange)
    # Of learned queries only the values tell it.
    learn_batch(watch.streams, product.source, product.align)
    stream = _stream_with_batch(watch, product)
    batch = None if stream is None or product.lead else stream.batch
    if batch is not None and watch.example >= batch and watch.generation is None:
        return f"example {watch.example} was asked for, the batch has {batch}"
    return watch.layout(shape, stream)


def _arrangement(
    watch: Watch, followed: Followed, product: Matrices, layout: Layout | str
) -> tuple[Layout | str, Partial | None]:
    """Return how to pick the example, and which rows these are; no layout where all is done."""
    origin = followed.origin
    pieces = _pieces(watch, product, _stream_with_batch(watch, product))
    if isinstance(pieces, Pieces):
        rows = some_rows(pieces)
        if rows is not None and isinstance(layout, Layout) and not origin.laid:
            return layout, part_of(pieces, origin, rows)
        if not is_ordinary(pieces):
            _record_pieces(watch, followed, product, pieces)
            return "", None
    if origin.laid:
        return "", None
    layout = _unlaid(watch, followed, product, layout, pieces)
    if isinstance(layout, str):
        watch.miss(origin.call, layout)
        return "", None
    return layout, None


def _unlaid(
    watch: Watch,
    followed: Followed,
    product: Matrices,
    layout: Layout | str,
    pieces: Pieces | Unlaid,
) -> Layout | str:
    """Return how to pick the example where nothing was cut, or why it is not told."""
    linear = isinstance(pieces, Unlaid) and is_linear(
        watch, _stream_with_batch(watch, product), product.lead, _rows(product), product.source
    )
    if linear:
        return LINEAR
    if isinstance(layout, Layout):
        # Cut weights meet several values: that these lack a dimension says nothing of heads.
        values = None if followed.cut else product.values
        layout = heads_or_why_not(layout, product.lead, values)
    if isinstance(layout, str) and isinstance(pieces, Unlaid):
        return pieces.reason or layout
    return layout


def _may_be_pieces(
    watch: Watch,
    followed: Followed,
    product: Matrices,
    layout: Layout | str,
) -> bool:
    """Tell whether it is worth asking: it costs time, and most attentions are whole."""
    asking, answering = product.output.shape[-2], product.weights.shape[-1]
    return (
        isinstance(layout, str)
        or len(product.lead) > 2
        or watch.may_be_tiles(product.output.shape)
        or followed.cut
        or (
            asking != answering
            and product.sides.queries is product.sides.keys
            # One query is mostly a step of a generation.
            and (asking > 1 or watch.names.current() in watch.laid)
        )
    )


def _pieces(watch: Watch, product: Matrices, queries: Stream | None) -> Pieces | Unlaid:
    """Return where windows or blocks belong, or why that cannot be told."""
    pieces = pieces_for(
        watch, queries, product.lead, _rows(product), Side(product.source, product.align)
    )
    if isinstance(pieces, Pieces) and pieces.columns.shape[-1] != product.weights.shape[-1]:
        # Of keys that came in several parts the source is the first part only.
        return Unlaid()
    return pieces


def _rows(product: Matrices) -> Side:
    if product.rows is None:
        return Side(product.weights, as_it_is)
    return Side(product.rows, product.arrange or as_it_is)


def _record_pieces(watch: Watch, followed: Followed, product: Matrices, pieces: Pieces) -> None:
    """Lay windows or blocks on their sequence."""
    name = watch.names.current() or ""
    queries, origin = product.sides.queries, followed.origin
    found = Found(
        name=name,
        call=origin.call,
        weights=np.empty((0, 0, 0), np.float32),
        queries=queries,
        keys=queries,
        dtype=str(product.weights.dtype).removeprefix("torch."),
        residual=None,
        reasons=list(followed.reasons),
    )
    with quietly(product.weights):
        used, values = (
            each.expand(*product.lead, -1, -1) for each in (product.weights, product.values)
        )
        shown: torch.Tensor = used
        held: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None
        held = (used, values, product.output)
        if product.clean is not None:
            shown, held = product.clean.expand(*product.lead, -1, -1), None
        lay(found, pieces, shown, origin, held)
    # Other columns of the same rows may be on their way to another product.
    all_there = bool(np.all(found.weights.sum(axis=-1) > 1 - _TOLERANCE["float32"]))
    sides = _rows(product), Side(product.source, product.align)
    lay_axis(watch, found, product.lead, sides, pieces)
    origin.laid = True
    watch.laid.add(name)
    watch.keep(found)
    tag = watch.streams.tag(watch.returned)
    if tag is not None:
        tag.part = found.partial
    if pieces.covering and (not followed.cut or all_there):
        watch.attended_in_windows(found, product.output, pieces)


def _rows_axis(watch: Watch, product: Matrices, layout: Layout) -> Axis | None:
    if product.rows is None:
        return watch.region_axes.along(product.weights, layout.pick)
    arrange = product.arrange or as_it_is
    return watch.region_axes.along(product.rows, lambda numbers: layout.pick(arrange(numbers)))


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
