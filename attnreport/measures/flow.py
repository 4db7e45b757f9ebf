"""Attention flow: how much weight can reach an input through all layers at once.

Rollout adds up what passes along every path; flow asks how much could, if every weight were the
capacity of a pipe. It costs one maximum flow per pair of positions, so it is for small inputs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnreport.axis import Axis
from attnreport.errors import InvalidMeasure
from attnreport.measures.chain import (
    Fusion,
    Joined,
    Part,
    Sequences,
    Settings,
    Step,
    find_axis,
    notes_of,
)
from attnreport.measures.chain import steps as steps_of
from attnreport.measures.pipes import Pipes
from attnreport.measures.registry import Description
from attnreport.run import Run

FLOW = Description(
    title="Attention flow",
    formula="maximum flow from a position after the last layer to an input position, where layer "
    "l joins q and k by a pipe of capacity r·[q = k] + (1 − r)·A(q, k)",
    range=(0.0, 1.0),
    source="Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers, §3",
    link="https://aclanthology.org/2020.acl-main.385/",
    reading="High means that the layers leave much room for that key to reach the query.",
)

# Pipes times pairs of positions: about ten seconds of one core.
WORK_LIMIT = 20_000_000


def flow(  # noqa: PLR0913 - the settings of rollout, and which rows: all but the run have defaults
    run: Run,
    axis: Axis | str | None = None,
    *,
    rows: Sequence[int] | None = None,
    residual: float = 0.5,
    fusion: Fusion = "mean",
    discard: float = 0.0,
) -> Joined:
    """Compute the maximum flow from rows of one sequence to every input position.

    Sequences are joined as in ``rollout``. A value is the largest share of the row that could
    have come from that key; values of a row do not sum to 1, since the same pipe may serve
    several keys. In a causal model the first position drains every row: read it beside the
    others, not against them.

    Args:
        run: what to join.
        axis: the sequence whose rows are wanted, itself or by name; None for that of the last
            attention.
        rows: positions of that sequence to start from; None for all.
        residual: as in ``rollout``.
        fusion: as in ``rollout``.
        discard: as in ``rollout``.

    Raises:
        InvalidMeasure: a setting is out of range, nothing can be joined, or the input is so
            large that it would take minutes.
    """
    settings = Settings(residual=residual, fusion=fusion, discard=discard)
    wanted = find_axis(run, axis)
    starts = tuple(range(len(wanted))) if rows is None else tuple(rows)
    outside = [row for row in starts if not 0 <= row < len(wanted)]
    if outside:
        raise InvalidMeasure(
            f"row {outside[0]} is not a position of {wanted.name!r}, which has {len(wanted)}"
        )
    _check_work(run, wanted, starts)
    taken = list(steps_of(run, settings))
    network = _Network()
    for step in taken:
        network.add(step)
    return Joined(
        method="flow",
        queries=wanted,
        rows=starts,
        parts=network.parts(wanted, starts),
        layers=tuple(step.attention.layer for step in taken),
        settings=settings,
        notes=notes_of(run, taken),
    )


def work_of(run: Run, rows: int) -> int:
    """Return how long flow from so many rows takes, in the unit of ``WORK_LIMIT``."""
    return _pipes(run) * rows * _ends(run)


def _pipes(run: Run) -> int:
    return sum(len(each.queries) * (len(each.keys) + 1) for each in run.attentions)


def _ends(run: Run) -> int:
    return sum(len(axis) for axis in run.axes)


def _check_work(run: Run, wanted: Axis, starts: tuple[int, ...]) -> None:
    """Refuse what would take minutes, and say what to do instead."""
    pipes, ends, work = _pipes(run), _ends(run), work_of(run, len(starts))
    if work > WORK_LIMIT:
        raise InvalidMeasure(
            f"attention flow from {len(starts)} rows of {wanted.name!r} to {ends} positions "
            f"through {pipes} weights is {work / WORK_LIMIT:.1f} times what it takes on; give "
            "fewer rows (rows=[…]) or a shorter input, or use rollout"
        )


class _Network:
    """Number the states of every sequence and lay the pipes between them."""

    def __init__(self) -> None:
        self._pipes = Pipes()
        self._sequences = Sequences()
        self._inputs: list[list[int]] = []  # nodes per sequence, before any attention
        self._tops: list[list[int]] = []  # and after all that were added so far

    def add(self, step: Step) -> None:
        """Lay one attention on top: pipes lead from the new states down to the old."""
        queries, keys = step.attention.queries, step.attention.keys
        old, seen = self._tops[self._number(queries)], self._tops[self._number(keys)]
        new = self._pipes.add_nodes(len(old))
        for query, node in enumerate(new):
            self._pipes.add(node, old[query], float(step.keep[query]))
            for key in np.flatnonzero(step.mix[query]):
                self._pipes.add(node, seen[key], float(step.mix[query, key]))
        self._tops[self._number(queries)] = new

    def parts(self, wanted: Axis, starts: tuple[int, ...]) -> tuple[Part, ...]:
        """Return the flows from the top of ``wanted`` to every input that can be reached."""
        own = self._number(wanted)
        parts = []
        for source in sorted(range(len(self._inputs)), key=lambda source: source != own):
            weights = np.zeros((len(starts), len(self._inputs[source])))
            for row, start in enumerate(starts):
                for key, end in enumerate(self._inputs[source]):
                    weights[row, key] = self._pipes.flow(self._tops[own][start], end)
            if source == own or weights.any():
                parts.append(Part(self._sequences.axes[source], weights))
        return tuple(parts)

    def _number(self, axis: Axis) -> int:
        """Return the number of an axis; a new one starts with one node per position."""
        number = self._sequences.number(axis)
        if number == len(self._inputs):
            self._inputs.append(self._pipes.add_nodes(len(axis)))
            self._tops.append(self._inputs[number])
        return number
