"""Heads worth a look: a short list, each with its reason in words.

Every kind of behaviour has a measure, a threshold and a sentence, below in one table. The list
takes the strongest head of each kind in turn, then the second of each, and so on, so that it does
not show ten heads of one kind. A head is listed once, under the first kind that claims it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.measures.alignment import Alignment
from attnreport.measures.registry import Measured, Scores, all_head_scores
from attnreport.measures.share import Sort, positions_of
from attnreport.measures.similarity import head_similarity
from attnreport.run import Run

# With fewer rows or columns than this an even spread already looks like a pattern.
SMALLEST = 5


@dataclass(frozen=True)
class NotableHead:
    """Say why one head is worth a look.

    Attributes:
        layer: ``Attention.layer``.
        head: number of the head in it, from 0.
        measure: name of the measure that stands out.
        value: what that measure gave.
        reason: one sentence that a person can read.
    """

    layer: int
    head: int
    measure: str
    value: float
    reason: str


@dataclass(frozen=True)
class _Kind:
    """Say from which value on a measure is worth a sentence.

    ``low`` turns it round: then small values stand out. With a ``sort``, an attention most of
    whose keys are of that sort is passed over: there an even spread looks at it too.
    """

    measure: str
    threshold: float
    sentence: str
    low: bool = False
    sort: Sort | None = None

    def passes(self, value: float) -> bool:
        return value <= self.threshold if self.low else value >= self.threshold

    def applies(self, attention: Attention) -> bool:
        if min(len(attention.queries), len(attention.keys)) < SMALLEST:
            return False
        return self.sort is None or float(positions_of(attention.keys, self.sort).mean()) <= 0.5


# In the order in which they claim a head: what is rarest and says most comes first.
_KINDS = (
    _Kind(
        "alignment_error_rate",
        0.5,
        "follows the given alignment, with an error rate of {value:.2f}",
        low=True,
    ),
    _Kind("ablation", 0.1, "matters: without it the model does worse by {value:.2f}"),
    _Kind(
        "induction_probe",
        0.3,
        "attends to what followed the same token before, {value:.2f} of its weight on a random "
        "sequence",
    ),
    _Kind(
        "induction",
        0.3,
        "attends to what followed the same token before, {value:.2f} of its weight",
    ),
    _Kind(
        "duplicate_token", 0.3, "attends to the same token further back, {value:.2f} of its weight"
    ),
    _Kind("previous_token", 0.5, "attends to the previous token, {value:.2f} of its weight"),
    _Kind("next_token", 0.5, "attends to the next token, {value:.2f} of its weight"),
    _Kind("same_token", 0.5, "attends to the token itself, {value:.2f} of its weight"),
    _Kind("sink_share", 0.8, "sends {value:.2f} of its weight to the model's sink"),
    _Kind("first_token", 0.8, "attends to the first position, {value:.2f} of its weight"),
    _Kind(
        "special_share",
        0.8,
        "attends to special positions, {value:.2f} of its weight",
        sort="special",
    ),
    _Kind("image_share", 0.8, "attends to the picture, {value:.2f} of its weight", sort="image"),
    _Kind("vertical", 0.8, "attends to one key from everywhere, {value:.2f} of its weight"),
    _Kind(
        "entropy",
        0.1,
        "is sharply focused: its entropy is {value:.2f} of the largest possible",
        low=True,
    ),
    _Kind(
        "entropy",
        0.98,
        "spreads evenly over all it can see: its entropy is {value:.2f} of the largest possible",
    ),
    _Kind(
        "redundancy",
        0.99,
        "does nearly the same as head {other} of its layer, cosine {value:.3f}",
    ),
)


def notable_heads(
    run: Run,
    limit: int = 10,
    *,
    measured: Mapping[str, Measured] | None = None,
    alignment: Alignment | None = None,
) -> tuple[NotableHead, ...]:
    """Return the heads that stand out, at most one entry per head, the same ones every time.

    Args:
        run: what to look through. Attentions with fewer than five queries or keys are passed
            over: there an even spread already looks like a pattern.
        limit: the most entries to return.
        measured: scores taken before, as ``all_head_scores`` returns them; None to take them now.
        alignment: a gold alignment; its best head then comes first.
    """
    if measured is None:
        options = {} if alignment is None else {"alignment": alignment}
        measured = all_head_scores(run, **options)
    ranked = [
        _ranked(run, kind, measured[kind.measure]) for kind in _KINDS if kind.measure in measured
    ]
    taken: dict[tuple[int, int], NotableHead] = {}
    # The best of every kind, then the second best; a head that is taken makes room for the next.
    queues = [iter(each) for each in ranked]
    while queues and len(taken) < limit:
        queues = [queue for queue in queues if len(taken) >= limit or _take_next(queue, taken)]
    return tuple(taken.values())


def _take_next(queue: Iterator[NotableHead], taken: dict[tuple[int, int], NotableHead]) -> bool:
    """Move the next head that is not taken yet from the queue; return False when it is empty."""
    for found in queue:
        if (found.layer, found.head) not in taken:
            taken[found.layer, found.head] = found
            return True
    return False


def _ranked(run: Run, kind: _Kind, scores: Measured) -> list[NotableHead]:
    """Return the heads of one kind, strongest first; ties go by layer and head."""
    found = []
    for attention, values in zip(run.attentions, scores.values, strict=True):
        passing = [head for head, value in enumerate(values) if kind.passes(float(value))]
        if passing and kind.applies(attention):
            found += _described(attention, kind, values, passing)
    return sorted(found, key=lambda each: each.value if kind.low else -each.value)


def _described(
    attention: Attention, kind: _Kind, values: Scores, heads: list[int]
) -> list[NotableHead]:
    """Return an entry for each of these heads of one attention, in their order."""
    others = _nearest(attention) if kind.measure == "redundancy" else None
    entries = []
    for head in heads:
        other = None if others is None else int(others[head])
        # Of two heads that do the same, only the later one is said to be redundant.
        if other is not None and other > head:
            continue
        value = float(values[head])
        numbers = attention.head_numbers
        does = kind.sentence.format(value=value, other=None if other is None else numbers[other])
        reason = f"layer {attention.layer} head {numbers[head]} {does}"
        entries.append(NotableHead(attention.layer, numbers[head], kind.measure, value, reason))
    return entries


def _nearest(attention: Attention) -> NDArray[np.intp]:
    """Return ``(head,)``: the other head of the layer that each head resembles most."""
    similar = np.nan_to_num(head_similarity(attention), nan=-1.0)
    np.fill_diagonal(similar, -2.0)
    return np.asarray(similar.argmax(axis=1))
