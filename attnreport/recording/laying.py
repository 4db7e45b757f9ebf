"""Which axis each side of an attention lies on: by the stream it belongs to, or by numbers.

Knows streams, names and lengths; has no weights in its hands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from attnreport.axis import Axis, Position
from attnreport.recording.streams import Stream

if TYPE_CHECKING:
    from attnreport.recording.found import Found


@dataclass(frozen=True)
class Part:
    """Say which positions of its sequence one side of an attention has.

    Attributes:
        start: first position.
        stop: one after the last.
        prompt: how many positions the sequence had before the model went on with it; None where
            it did not.
    """

    start: int
    stop: int
    prompt: int | None = None


class Axes:
    """Give every sequence one name, and every part of it one axis, the same for all layers."""

    def __init__(self, found: Sequence[Found]) -> None:
        self._names = _names(found)
        self._axes: dict[tuple[str, Part], Axis] = {}

    def of(self, stream: Stream | None, length: int, part: Part | None) -> Axis:
        """Return the axis of ``length`` positions of a stream."""
        described = None if stream is None else stream.axis
        if described is not None and part is None and len(described) == length:
            return described
        if part is None:
            # Which of its positions these are is not known: their numbers are all there is.
            described, part = None, Part(0, length)
        name = self._names[stream]
        if (name, part) not in self._axes:
            self._axes[name, part] = _cut(_whole(described, name, part), part)
        return self._axes[name, part]

    def misfit(self, stream: Stream | None, length: int, part: Part | None, side: str) -> str:
        """Say that what was given says nothing of these positions; empty where it does."""
        if stream is not None and stream.pictured:
            return f"where its {side} lie in the picture could not be followed: they are numbered"
        if stream is None or stream.axis is None or len(stream.axis) == length:
            return ""
        if part is not None and _known(stream.axis, part):
            return ""
        return (
            f"{length} {side}, but axis {stream.axis.name!r} has "
            f"{len(stream.axis)} positions: they are numbered"
        )


def _known(axis: Axis, part: Part) -> bool:
    return len(axis) >= part.stop or len(axis) == part.prompt


def _whole(described: Axis | None, name: str, part: Part) -> Axis:
    """Return the whole sequence up to where the part ends."""
    if described is not None and len(described) >= part.stop and part.prompt is None:
        return described
    if described is not None and len(described) in (part.stop, part.prompt):
        positions = described.positions
        text, picture = described.text, described.picture
    else:
        known = part.stop if part.prompt is None else part.prompt
        positions = tuple(Position(str(place)) for place in range(known))
        text, picture = None, None
    more = range(len(positions), part.stop)
    made = tuple(Position(str(x), role="generated") for x in more)
    return Axis(name, positions + made, text, picture)


def _cut(axis: Axis, part: Part) -> Axis:
    return replace(axis, positions=axis.positions[part.start : part.stop])


def _names(found: Sequence[Found]) -> dict[Stream | None, str]:
    """Name each sequence that takes part: by its axis, by its role, or by a number."""
    used = dict.fromkeys(stream for each in found for stream in (each.queries, each.keys))
    plain = [stream for stream in used if stream is None or stream.axis is None]
    source = _source(found) if len(used) == 2 else None
    if source is not None:
        names = {stream: "source" if stream is source else "target" for stream in plain}
    elif len(used) == 1:
        names = dict.fromkeys(plain, "tokens")
    else:
        names = {stream: f"sequence {place + 1}" for place, stream in enumerate(plain)}
    for stream in used:
        if stream is not None and stream.axis is not None:
            names[stream] = stream.axis.name
    return names


def _source(found: Sequence[Found]) -> Stream | None:
    """Return the one sequence that only answers in cross-attention, and never asks."""
    cross = [each for each in found if each.queries is not each.keys]
    answering = {each.keys for each in cross} - {each.queries for each in cross}
    return answering.pop() if len(answering) == 1 else None
