"""From what the recorders found to the attentions of a Run: axes, kinds and the ledger.

Knows sequences and lengths; has no torch function in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from attnreport.axis import Axis
from attnreport.errors import InvalidRun
from attnreport.recording.streams import Stream
from attnreport.run import Attention, Kind, LedgerEntry

if TYPE_CHECKING:
    from attnreport.recording.watch import Found, Watch


@dataclass(frozen=True)
class Assembled:
    """Hold the three parts of a Run that a watch can give."""

    attentions: tuple[Attention, ...]
    ledger: tuple[LedgerEntry, ...]
    notes: tuple[str, ...] = ()


def assemble(watch: Watch) -> Assembled:
    """Return what a watch saw as attentions and ledger, in the order of execution."""
    attentions: list[Attention] = []
    ledger: list[LedgerEntry] = []
    axes = _Axes([found for found in watch.found if not isinstance(found, LedgerEntry)])
    calls: dict[str, int] = {}
    for found in watch.found:
        if isinstance(found, LedgerEntry):
            ledger.append(found)
            continue
        calls[found.name] = calls.get(found.name, 0) + 1
        entry, attention = _lay(found, len(attentions), axes, calls[found.name])
        ledger.append(entry)
        if attention is not None:
            attentions.append(attention)
    ledger += _not_captured(watch, ledger)
    return Assembled(tuple(attentions), tuple(ledger))


def _lay(found: Found, layer: int, axes: _Axes, call: int) -> tuple[LedgerEntry, Attention | None]:
    _, length, width = found.weights.shape
    reasons = list(found.reasons)
    if found.queries is None or found.keys is None:
        reasons.append("no input could be followed to its queries or keys")
    reasons += axes.misfits(found, length, width)
    if call > 1:
        reasons.append(f"call {call} of this module")
    if not found.weights.size:
        reasons = ["it has no positions: nothing to show", *reasons]
        return LedgerEntry(found.name, found.call, None, "; ".join(reasons)), None
    try:
        attention = Attention(
            weights=found.weights,
            name=found.name,
            layer=layer,
            kind=_kind(found),
            queries=axes.of(found.queries, length),
            keys=axes.of(found.keys, width),
            dtype=found.dtype,
            residual=found.residual,
            sink=found.sink,
            normalised=found.normalised,
        )
    except InvalidRun as error:
        # A recorder that broke the contract must not cost the user the other layers.
        return LedgerEntry(found.name, found.call, None, str(error)), None
    return LedgerEntry(found.name, found.call, layer, "; ".join(reasons)), attention


def _kind(found: Found) -> Kind:
    if found.queries is None and found.keys is None:
        return "self" if found.weights.shape[1] == found.weights.shape[2] else "cross"
    return "self" if found.queries is found.keys else "cross"


class _Axes:
    """Give every stream one name, and every stream and length one axis."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._names = _names(found)
        self._axes: dict[tuple[str, int], Axis] = {}

    def of(self, stream: Stream | None, length: int) -> Axis:
        if stream is not None and stream.axis is not None and len(stream.axis) == length:
            return stream.axis
        name = self._names[stream]
        return self._axes.setdefault((name, length), Axis.numbered(name, length))

    def misfits(self, found: Found, length: int, width: int) -> list[str]:
        """Say where an axis was given and its length is another."""
        reasons = []
        for stream, positions, side in (
            (found.queries, length, "queries"),
            (found.keys, width, "keys"),
        ):
            if stream is not None and stream.axis is not None and len(stream.axis) != positions:
                reasons.append(
                    f"{positions} {side}, but axis {stream.axis.name!r} has "
                    f"{len(stream.axis)} positions: they are numbered"
                )
        return reasons


def _names(found: Sequence[Found]) -> dict[Stream | None, str]:
    """Name each sequence that takes part: by its axis, by its role, or by a number."""
    used = dict.fromkeys(stream for each in found for stream in (each.queries, each.keys))
    asking = {each.queries for each in found}
    crossed = {each.keys for each in found if each.queries is not each.keys}
    answering = {
        stream
        for stream in crossed
        if not any(each.queries is stream and each.keys is not stream for each in found)
    }
    names: dict[Stream | None, str] = {}
    plain = [stream for stream in used if stream is None or stream.axis is None]
    if len(used) == 2 and len(answering) == 1 and asking:
        source = next(iter(answering))
        names = {stream: "source" if stream is source else "target" for stream in plain}
    elif len(used) == 1:
        names = dict.fromkeys(plain, "tokens")
    else:
        names = {stream: f"sequence {place + 1}" for place, stream in enumerate(plain)}
    for stream in used:
        if stream is not None and stream.axis is not None:
            names[stream] = stream.axis.name
    return names


def _not_captured(watch: Watch, ledger: Sequence[LedgerEntry]) -> list[LedgerEntry]:
    """Return a line for everything that looks like attention and gave nothing."""
    entries = [
        LedgerEntry(origin.name, origin.call, None, f"its result went into {origin.lost}")
        for origin in watch.origins
        if origin.lost and not origin.used and origin.name is not None and len(origin.shape) > 2
    ]
    entries += [
        LedgerEntry(path, type(module).__name__, None, "TorchScript runs where nothing can watch")
        for path, module in watch.names.model.named_modules()
        if isinstance(module, torch.jit.ScriptModule)
    ]
    names = [entry.name for entry in (*ledger, *entries)]
    entries += [
        LedgerEntry(path, kind, None, "it ran, and no attention weights were seen in it")
        for path, kind in watch.names.silent(names)
    ]
    if watch.outside:
        reason = f"{watch.outside} computations of attention outside the model's modules"
        entries.append(LedgerEntry("", "outside the model", None, reason))
    return entries
