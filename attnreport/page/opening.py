"""What a page shows first, and why: where to look must not be left to whoever opens it.

A picture comes first where there is one, then the heads that relate two sequences, and of several
the first of those worth a look.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from attnreport.attention import Attention
from attnreport.measures import NotableHead
from attnreport.run import Run

# Where an attention is in its run, and a head in its attention.
Place = tuple[int, int]


@dataclass(frozen=True)
class Opening:
    """Hold where the layer and head are that a page opens with, and in a sentence why."""

    place: Place
    why: str


def asked_for(place: Place) -> Opening:
    """Return the opening that somebody chose."""
    return Opening(place, "This page opens with the head that was asked for when it was made.")


def opening(run: Run, notable: Iterable[NotableHead]) -> Opening:
    """Return the opening that suits the run.

    Args:
        run: what the page shows.
        notable: its heads worth a look, most telling first.
    """
    pictured = [each for each in run.attentions if each.keys.pictured]
    relating = [each for each in pictured or run.attentions if _relates_two(each)]
    if pictured:
        seen = pictured[-1].keys.seen[0]
        return _last(run, relating or pictured, f"looks at the {seen}")
    layers = [each.layer for each in relating or run.attentions]
    found = next((each for each in notable if each.layer in layers), None)
    if found is not None:
        at = run.place(found.layer)
        of_two = " that relates two sequences" if relating else ""
        why = f"This page opens with the first of these{of_two}."
        return Opening((at, run.attentions[at].head_place(found.head)), why)
    if relating:
        return _last(run, relating, "relates two sequences")
    return Opening((0, 0), "This page opens with the first head.")


def _relates_two(attention: Attention) -> bool:
    return attention.kind in {"cross", "deformable"} and attention.queries != attention.keys


def _last(run: Run, attentions: list[Attention], does: str) -> Opening:
    why = f"This page opens with the first head of the last layer that {does}."
    return Opening((run.place(attentions[-1].layer), 0), why)
