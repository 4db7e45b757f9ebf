"""From what the recorders found to the attentions of a Run: axes, kinds and the ledger.

Knows sequences and lengths; has no torch function in it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from attnreport.attention import Attention, Kind
from attnreport.axis import Axis
from attnreport.errors import InvalidRun
from attnreport.picture import UNLAID
from attnreport.pixels import Pixels
from attnreport.recording.laying import Axes
from attnreport.recording.looping import join_loops
from attnreport.recording.padding import padding_of, without
from attnreport.recording.parts import join_parts
from attnreport.recording.scripted import hidden_attention
from attnreport.recording.selection import Selection, Skipped
from attnreport.recording.stitching import stitch
from attnreport.recording.weightless import kind_of
from attnreport.run import LedgerEntry

if TYPE_CHECKING:
    from attnreport.recording.following import Origin
    from attnreport.recording.found import Found
    from attnreport.recording.watch import Watch


@dataclass(frozen=True)
class Assembled:
    """Hold the parts of a Run that a watch can give."""

    attentions: tuple[Attention, ...]
    ledger: tuple[LedgerEntry, ...]
    notes: tuple[str, ...] = ()


def assemble(watch: Watch) -> Assembled:
    """Return what a watch saw as attentions and ledger, in the order of execution."""
    watch.settle()
    attentions: list[Attention] = []
    ledger: list[LedgerEntry] = []
    seen = join_loops(stitch(join_parts(watch.found)))
    axes = Axes([found for found in seen if not isinstance(found, LedgerEntry)])
    calls: Counter[str] = Counter()
    skipped: set[LedgerEntry] = set()
    number = 0
    for found in seen:
        if isinstance(found, LedgerEntry):
            if not isinstance(found, Skipped):
                ledger.append(_explained(watch, found))
            elif found not in skipped:
                ledger.append(found)
            if isinstance(found, Skipped):
                skipped.add(found)
                number += 1
            continue
        calls[found.name] += 1
        kept = _selected(found, watch.selection)
        entry, attention = _lay(kept, number, axes, calls[found.name])
        if watch.projections is not None and attention is not None:
            why = _unweighed(kept, attention)
            entry = replace(entry, reason="; ".join(filter(None, (entry.reason, why))))
        ledger.append(entry)
        if attention is not None:
            attentions.append(attention)
            number += 1
    ledger += _not_captured(watch, ledger)
    cuts, notes = padding_of(attentions)
    notes += _unlaid(watch, attentions)
    return Assembled(
        tuple(without(attention, cuts) for attention in attentions),
        tuple(ledger),
        (*notes, *([watch.memory.note] if watch.memory.note else [])),
    )


def _unlaid(watch: Watch, attentions: Sequence[Attention]) -> tuple[str, ...]:
    """Say it where a picture was described, and no attention could be followed from it."""
    whats = [origin.what for origin in watch.regions.book.origins]
    given = next((what for what in whats if isinstance(what, Pixels)), None)
    sides = [axis for each in attentions for axis in (each.queries, each.keys)]
    if given is None or not sides or any(axis.pictured for axis in sides):
        return ()
    if watch.selection.layers is not None:  # those that look at it may have been left out
        return ()
    return (f"{UNLAID} the {given.name}: no positions could be followed from it to an attention",)


def _selected(found: Found, selection: Selection) -> Found:
    """Return it with the rows that were asked for alone, where some are left to be cut."""
    own = range(found.shape[1]) if found.rows is None else found.rows
    rows = selection.rows_of(own)
    if rows is None:
        return found
    kept = [own[place] for place in rows]
    norms, sink, gradient = found.value_norms, found.sink, found.gradient
    if norms is not None:
        block = None if norms.block is None else norms.block[rows]
        norms = replace(norms, mixed=norms.mixed[rows], block=block)
    said = f"{len(kept)} of {found.shape[1]} queries were selected"
    return replace(
        found,
        weights=found.weights[:, rows],
        sink=None if sink is None else sink[:, rows],
        gradient=None if gradient is None else gradient[:, rows],
        value_norms=norms,
        points=None if found.points is None else found.points.chosen(None, rows),
        rows=kept,
        length=found.shape[1],
        reasons=[*found.reasons, said],
    )


def _lay(found: Found, layer: int, axes: Axes, call: int) -> tuple[LedgerEntry, Attention | None]:
    _, length, width = found.shape
    reasons = [*found.reasons, *_said_of_streams(found)]
    sides = (
        (found.query_axis, found.queries, length, found.query_part, "queries"),
        (found.key_axis, found.keys, width, found.key_part, "keys"),
    )
    if found.channels:
        reasons.append("its queries and keys are the channels of each head, not positions")
    for known, stream, count, part, side in sides:
        if found.channels:
            continue
        if known is None and (misfit := axes.misfit(stream, count, part, side)):
            reasons.append(misfit)
    if call > 1:
        reasons.append(f"call {call} of this module")
    if not math.prod(found.shape) or found.rows == []:
        what = "no positions" if found.rows is None else "none of these queries"
        reasons = [f"it has {what}: nothing to show", *reasons]
        return LedgerEntry(found.name, found.call, None, "; ".join(reasons)), None
    if found.channels:
        queries = keys = Axis.of_labels("channels", [f"channel {place}" for place in range(width)])
    else:
        queries = found.query_axis or axes.of(found.queries, length, found.query_part)
        keys = found.key_axis or axes.of(found.keys, width, found.key_part)
    try:
        attention = _attention(found, layer, _kept(queries, found), keys)
    except InvalidRun as error:
        # A recorder that broke the contract must not cost the user the other layers.
        return LedgerEntry(found.name, found.call, None, str(error)), None
    if found.reduction is not None:
        reasons.append(f"every {found.reduction.block} neighbouring positions are joined")
        if any(position.box for axis in _whole(attention) for position in axis):
            reasons.append("joined patches that make no rectangle have no place in the picture")
    return LedgerEntry(found.name, found.call, layer, "; ".join(reasons)), attention


def _kept(axis: Axis, found: Found) -> Axis:
    if found.rows is None:
        return axis
    return replace(axis, positions=tuple(axis.positions[row] for row in found.rows))


def _unweighed(found: Found, attention: Attention) -> str:
    """Return why the lengths of what its keys send are not known, or not all of them."""
    if attention.value_norms is None:
        return f"its values are not weighed: {found.unweighed}"
    if attention.value_norms.block is None:
        return f"its values are weighed without the residual: {found.unsummed}"
    return ""


def _attention(found: Found, layer: int, queries: Axis, keys: Axis) -> Attention:
    reduction = found.reduction
    attention = partial(
        Attention,
        name=found.name,
        layer=layer,
        kind=_kind(found),
        dtype=found.dtype,
        residual=found.residual,
        head_numbers=tuple(found.heads or ()),
        points=found.points,
    )
    if reduction is None:
        return attention(
            weights=found.weights,
            queries=queries,
            keys=keys,
            sink=found.sink,
            normalised=found.normalised,
            gradient=found.gradient,
            value_norms=found.value_norms,
        )
    return attention(
        weights=reduction.weights(normalised=found.normalised),
        queries=reduction.joined(queries),
        keys=reduction.joined(keys),
        sink=reduction.joined_sink(),
        normalised=found.normalised and reduction.whole_rows(),
        reduced=reduction.exact(queries, keys, normalised=found.normalised),
    )


def _said_of_streams(found: Found) -> list[str]:
    """Return what is to be said of what its queries and keys belong to."""
    if found.queries is None or found.keys is None:
        return ["no input could be followed to its queries or keys"]
    if found.queries.whole is not found.queries:
        return ["its queries and its keys were taken out of one batch, as two sequences"]
    return []


def _whole(attention: Attention) -> tuple[Axis, ...]:
    """Return the axes of a reduced attention before positions were joined."""
    reduced = attention.reduced
    return () if reduced is None else (reduced.queries, reduced.keys)


def _kind(found: Found) -> Kind:
    if found.channels:
        return "channels"
    if found.points is not None:
        return "deformable"
    if found.queries is None and found.keys is None:
        return "self" if found.shape[1] == found.shape[2] else "cross"
    return "self" if found.queries is found.keys else "cross"


def _not_captured(watch: Watch, ledger: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return a line for everything that looks like attention and gave nothing."""
    entries = [
        LedgerEntry(origin.name, origin.call, None, _lost(watch, origin.name, origin.lost))
        for origin in watch.origins
        if not origin.used and origin.name is not None and _is_attention(origin)
    ]
    entries += [
        LedgerEntry(path, type(module).__name__, None, "TorchScript runs where nothing can watch")
        for path, module in watch.names.modules()
        if isinstance(module, torch.jit.ScriptModule)
    ]
    # Many modules have one class, and few have any.
    kinds = {type(module) for _, module in watch.names.modules()}
    hidden = {kind: list(hidden_attention(kind)) for kind in kinds}
    entries += [
        LedgerEntry(
            path, name, None, "a function of TorchScript, which runs where nothing can watch"
        )
        for path, module in watch.names.modules()
        for name in hidden[type(module)]
        if watch.names.ran(path)
    ]
    names = [entry.name for entry in (*ledger, *entries)]
    entries += [
        LedgerEntry(path, kind, None, _unseen(kind)) for path, kind in watch.names.silent(names)
    ]
    if watch.outside:
        reason = f"{watch.outside} computations of attention outside the model's modules"
        entries.append(LedgerEntry("", "outside the model", None, reason))
    return entries


def _is_attention(origin: Origin) -> bool:
    """Tell whether weights that were not used by any values were attention, as far as is known."""
    return origin.between or (bool(origin.lost) and len(origin.shape) > 2)


def _explained(watch: Watch, entry: LedgerEntry) -> LedgerEntry:
    """Say first what the layer is, where that is known of its kind."""
    words = kind_of(watch.names.class_of(entry.name))
    if not words or words in entry.reason:
        return entry
    return replace(entry, reason=f"{words}; {entry.reason}")


def _lost(watch: Watch, name: str, function: str) -> str:
    words = kind_of(watch.names.class_of(name))
    became = f"its result went into {function}" if function else "its result multiplied no values"
    return "; ".join(filter(None, (words, became)))


def _unseen(kind: str) -> str:
    return kind_of(kind) or "it ran, and no attention weights were seen in it"
