"""Attention rollout: all layers multiplied into one matrix of shares."""

from __future__ import annotations

import numpy as np

from attnreport.axis import Axis
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
from attnreport.measures.registry import Description
from attnreport.measures.rows import Array
from attnreport.run import Run

ROLLOUT = Description(
    title="Attention rollout",
    formula="X ← r·X + (1 − r)·A·Y for every layer, from X = I; A: the fused heads, rows summing "
    "to 1; X: state of the queries' sequence, Y: of the keys' (Y = X in self-attention)",
    range=(0.0, 1.0),
    source="Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers, §3; joined over "
    "cross-attention as in Ferrando et al. 2022 (ALTI+), with weights in place of contributions",
    link="https://aclanthology.org/2020.acl-main.385/",
    reading="High means that much of what stands at the query in the end came from that key.",
)


def rollout(
    run: Run,
    axis: Axis | str | None = None,
    *,
    residual: float = 0.5,
    fusion: Fusion = "mean",
    discard: float = 0.0,
) -> Joined:
    """Join the layers of a run into the shares that each input position has in each row.

    With one sequence this is Â_L ⋯ Â_1 with Â = r·I + (1 − r)·A. With an encoder and a decoder
    it is the same product over both sequences laid end to end: a target row then has shares of
    source and of target, and both together sum to 1. Weights say what is mixed, not how large it
    is: rollout ignores values, norms and feed-forward layers.

    In a causal model the first position sees only itself, so what reaches it never leaves, and
    the share of the first position grows with depth whatever the layers do. How far it has
    grown is stated in the notes.

    Args:
        run: what to join.
        axis: the sequence whose rows are wanted, itself or by name; None for that of the last
            attention.
        residual: share r that the residual connection carries past each attention, 0 to 1.
        fusion: how heads become one: ``"mean"``, ``"max"`` or ``"min"``.
        discard: share of each row's visible keys to leave out, lightest first; the row is
            divided by its sum again.

    Returns:
        Parts whose rows, taken together, sum to 1.

    Raises:
        InvalidMeasure: a setting is out of range, or nothing can be joined.
    """
    settings = Settings(residual=residual, fusion=fusion, discard=discard)
    wanted = find_axis(run, axis)
    sequences = Sequences()
    # state[axis][source] is (position of axis, position of source), axes by their numbers.
    state: dict[int, dict[int, Array]] = {}
    taken = []
    drift = _Drift(wanted)
    for step in steps_of(run, settings):
        queries, keys = (
            sequences.number(each) for each in (step.attention.queries, step.attention.keys)
        )
        for new in {queries, keys} - set(state):  # before its first attention each is itself
            state[new] = {new: np.eye(len(sequences.axes[new]))}
        old, seen = state[queries], state[keys]
        state[queries] = _joined(step, old, seen)
        drift.see(step)
        taken.append(step)
    shares = state[sequences.number(wanted)]
    parts = tuple(Part(sequences.axes[source], weights) for source, weights in shares.items())
    return Joined(
        method="rollout",
        queries=wanted,
        rows=tuple(range(len(wanted))),
        parts=parts,
        layers=tuple(step.attention.layer for step in taken),
        settings=settings,
        notes=notes_of(run, taken) + drift.notes(parts),
    )


def _joined(step: Step, old: dict[int, Array], seen: dict[int, Array]) -> dict[int, Array]:
    """Return keep·old + mix·seen, per source, as a new state."""
    new = {source: step.keep[:, None] * shares for source, shares in old.items()}
    for source, shares in seen.items():
        brought = step.mix @ shares  # (query, key) @ (key, source)
        new[source] = new[source] + brought if source in new else brought
    return new


class _Drift:
    """Watch whether a sequence is causal, and how much its first position holds per layer."""

    def __init__(self, axis: Axis) -> None:
        self._axis = axis
        self._firsts: list[float] = []
        self._causal = True

    def see(self, step: Step) -> None:
        attention = step.attention
        if attention.keys != self._axis or attention.queries != self._axis or len(self._axis) < 2:
            return
        self._causal = self._causal and not np.triu(step.mix, 1).any()
        sums = step.mix[1:].sum(axis=1)
        if sums.any():
            self._firsts.append(float(step.mix[1:, 0].sum() / sums.sum()))

    def notes(self, parts: tuple[Part, ...]) -> tuple[str, ...]:
        if not self._causal or not self._firsts:
            return ()
        own = next(part.weights for part in parts if part.keys == self._axis)
        return (
            f"{self._axis.name} is causal: what reaches its first position stays there, so that "
            f"the rollout drifts to it. Its share of the later rows is {own[1:, 0].mean():.2f} "
            f"after joining, and {np.mean(self._firsts):.2f} in the layers by themselves",
        )
