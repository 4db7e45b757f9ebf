"""Record a call that projects queries, keys and values itself: it has the layer's own parameters.

The projections are done once more beside the call, for the chosen example only, and the result is
held against what the call really returned. Knows no torch function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from attnreport.recording.apart import quietly
from attnreport.recording.example import Example
from attnreport.recording.found import Found
from attnreport.recording.gradients import Arrange, await_gradient
from attnreport.recording.laying import Part
from attnreport.recording.looping import loop_of
from attnreport.recording.projection import Projections
from attnreport.recording.sending import Norm
from attnreport.recording.siblings import sequences_of
from attnreport.recording.watch import Watch
from attnreport.recording.weights import before_dropout, distance, to_host


@dataclass
class Reading:
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
class Seen:
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


def record(watch: Watch, seen: Seen, read: Callable[[], Reading]) -> None:
    """Keep one attention, computed by ``read`` only if it is wanted."""
    queries = watch.streams.of(seen.query)
    watch.streams.assign(seen.output, queries)
    # A whole layer is one call; the attention in it is the module its parameters are of.
    loop = None
    if seen.value is not None and not seen.query.is_nested:
        lengths = (seen.batch, len(seen.query), len(seen.key))
        loop = loop_of(watch, seen.call, lengths, seen.value)
    name = watch.wanted(seen.call, seen.owner, loop=loop)
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
    asking, answering = sequences_of(watch.streams, seen.query, seen.key, projected=False)
    found = Found(
        name=name,
        call=seen.call,
        weights=to_host(own, ours=True),
        queries=asking,
        keys=answering,
        dtype=str(seen.query.dtype).removeprefix("torch."),
        residual=residual,
        reasons=[before_dropout(reading.dropout)] if reading.dropout else [],
        query_axis=watch.region_axes.along(seen.query, seen.pick),
        key_axis=watch.region_axes.along(seen.key, seen.pick),
        loop=loop,
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
    projections: Projections, found: Found, seen: Seen, reading: Reading, one: Example
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
