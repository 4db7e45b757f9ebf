"""Scores that were taken while the model ran, and that a run carries along; nothing is computed."""

from __future__ import annotations

from collections.abc import Callable

from attnreport.measures.registry import measure
from attnreport.run import Run, Taken


def _has(name: str) -> Callable[[Run], bool]:
    return lambda run: name in run.taken


@measure(
    "ablation",
    title="Ablation",
    formula="loss without the head − loss with it, or logit with it − logit without; what the "
    "number is and what stood in for the head's output is said at the end of the page",
    range=(None, None),
    source="Michel, Levy & Neubig 2019, Are Sixteen Heads Really Better than One?, §2.2",
    link="https://arxiv.org/abs/1905.10650",
    reading="High means that the model does worse without this head.",
    level="run",
    suits=_has("ablation"),
    wants="ablated heads: give --ablate when the model runs",
)
def ablation(run: Run) -> tuple[Taken, ...]:
    """Return ``(head,)`` per attention, in units of the number; NaN for what stayed as it was."""
    return run.taken["ablation"]


@measure(
    "induction_probe",
    title="Induction, probed",
    formula="mean over q of the second half of Σ w(q, k) over k < q where k − 1 has q's token, on "
    "a random sequence that is repeated once",
    range=(0.0, 1.0),
    source="Olsson et al. 2022, In-context Learning and Induction Heads (prefix matching)",
    link="https://transformer-circuits.pub/2022/in-context-learning-and-induction-heads/index.html",
    reading="High means that a repeated token looks at what followed it the last time.",
    level="run",
    suits=_has("induction_probe"),
    wants="a second run on a repeated sequence: give --probe induction when the model runs",
)
def induction_probe(run: Run) -> tuple[Taken, ...]:
    """Return ``(head,)`` per attention in [0, 1]; NaN where queries and keys differ."""
    return run.taken["induction_probe"]
