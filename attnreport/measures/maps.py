"""Every joined map that a run allows, for whoever shows them all.

One maker per kind of map, in ``_MAKERS``: it takes a run and returns no map where the run lacks
what it needs, or where it would take longer than a reader waits. What may be left out so, or is
said of all maps alike, is decided here; how a map is computed is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import numpy as np

from attnreport.axis import Axis
from attnreport.measures.chain import Fusion, Joined, Settings, chains
from attnreport.measures.flow import FLOW, flow, work_of
from attnreport.measures.gradient import gradient_maps, gradients_left_out, relevance_maps
from attnreport.measures.joinedmap import JoinedMap
from attnreport.measures.norms import block_maps, value_maps, values_left_out
from attnreport.measures.registry import Description
from attnreport.measures.rollout import ROLLOUT, rollout
from attnreport.run import Run

# About half a second of flow: what is drawn unasked must not make a report wait.
_FLOW_WORK = 600_000
# About five seconds of rollout, as multiplications.
_ROLLOUT_WORK = 100_000_000_000
# More ways to fuse the heads are drawn where they are cheap: to make, and beside so many heads.
_SHORT = 64
_FUSED_WORK = 2_000_000_000
_MANY_HEADS = 36


def joined_maps(run: Run) -> tuple[JoinedMap, ...]:
    """Return every map that this run allows, the same ones every time."""
    if is_reduced(run):
        return ()
    return tuple(_warned(run, found) for make in _MAKERS for found in make(run))


def is_reduced(run: Run) -> bool:
    """Tell whether positions were joined while the run was captured."""
    return any(attention.reduced is not None for attention in run.attentions)


def rollout_maps(run: Run) -> tuple[JoinedMap, ...]:
    """Return attention rollout by every head fusion, for every pair of sequences that it joins."""
    found = []
    for axis in _tops(run):
        if _rollout_work(run, axis) > _ROLLOUT_WORK:
            continue
        fusions = _fusions(run, axis)
        joined = [rollout(run, axis, fusion=fusion) for fusion in fusions]
        found += _maps("rollout", ROLLOUT, joined, fusions, _rows_of_rollout(joined[0]))
    return tuple(found)


def flow_maps(run: Run) -> tuple[JoinedMap, ...]:
    """Return attention flow by the mean of the heads, where the input is small enough."""
    found = []
    for axis in _tops(run):
        if work_of(run, len(axis)) <= _FLOW_WORK:
            rows = "A row does not add up to 1: the same weight can carry several keys."
            found += _maps("flow", FLOW, [flow(run, axis)], ("mean",), rows)
    return tuple(found)


def maps_of_gradients(run: Run) -> tuple[JoinedMap, ...]:
    """Return relevance and gradient × attention, where something was differentiated."""
    tops = [axis for axis in _tops(run) if _rollout_work(run, axis) <= _ROLLOUT_WORK]
    return (*relevance_maps(run, tops), *gradient_maps(run))


def left_out(run: Run) -> tuple[str, ...]:
    """Return in whole sentences which map was left out because it would take too long."""
    if is_reduced(run):
        return ("Rollout and flow were left out: they need all weights, not blocks of them.",)
    also = " and relevance" if run.differentiated else ""
    too_long = tuple(
        f"Attention rollout{also} of {axis.name} was left out of this page, since so many "
        "positions take too long; attnreport.measures.rollout(run) makes it."
        for axis in _tops(run)
        if _rollout_work(run, axis) > _ROLLOUT_WORK
    )
    return (*too_long, *gradients_left_out(run), *values_left_out(run))


def _fusions(run: Run, axis: Axis) -> tuple[Fusion, ...]:
    heads = sum(attention.heads for attention in run.attentions)
    cheap = heads >= _MANY_HEADS and _rollout_work(run, axis) <= _FUSED_WORK
    return get_args(Fusion) if cheap or len(axis) <= _SHORT else ("mean",)


def _rollout_work(run: Run, axis: Axis) -> int:
    """Return about how many multiplications the rollout of one sequence takes."""
    return sum(len(each.queries) * len(each.keys) * len(axis) for each in run.attentions)


_MAKERS: tuple[Callable[[Run], tuple[JoinedMap, ...]], ...] = (
    rollout_maps,
    flow_maps,
    maps_of_gradients,
    value_maps,
    block_maps,
)


def _tops(run: Run) -> Iterator[Axis]:
    """Yield the sequence that the model ends with, then those that feed it and attend themselves.

    One attention joined with nothing would be itself again, so its sequence is left out.
    """
    chained = [attention for attention in run.attentions if chains(attention)]
    if len(chained) < 2:
        return
    last = chained[-1].queries
    yield last
    sources = dict.fromkeys(each.keys for each in chained if each.queries == last)
    for source in sources:
        own = [each for each in chained if each.queries == source]
        if source != last and len(own) > 1:
            yield source


def _maps(
    name: str,
    about: Description,
    joined: list[Joined],
    fusions: tuple[str, ...],
    rows: str,
) -> list[JoinedMap]:
    """Return one map per pair of sequences, a variant for each way in which heads were fused."""
    first = joined[0]
    return [
        JoinedMap(
            name=name,
            about=about,
            queries=first.queries,
            keys=part.keys,
            choice="head fusion",
            variants=fusions,
            values=np.stack([each.part(part.keys).weights for each in joined]).astype(np.float32),
            assumed=_assumed(first.settings, len(first.layers)),
            notes=(rows, *(f"{note[0].upper()}{note[1:]}." for note in first.notes)),
        )
        for part in first.parts
    ]


def _assumed(settings: Settings, layers: int) -> tuple[tuple[str, str], ...]:
    discard = f"the lightest {settings.discard:.0%} of each row" if settings.discard else "nothing"
    return (
        ("layers joined", str(layers)),
        ("residual", f"r = {settings.residual:g}"),
        ("discarded", discard),
    )


def _rows_of_rollout(joined: Joined) -> str:
    if len(joined.parts) == 1:
        return "Every row adds up to 1."
    names = " and ".join(part.keys.name for part in joined.parts)
    return f"A row adds up to 1 over {names} together."


def _warned(run: Run, found: JoinedMap) -> JoinedMap:
    """Return the map with a word on layers that the run does not hold."""
    if not run.missed:
        return found
    note = (
        f"{len(run.missed)} of the model's attention computations could not be captured, and this "
        "map is made without them."
    )
    return replace(found, notes=(*found.notes, note))
