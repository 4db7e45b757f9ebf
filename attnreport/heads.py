"""Heads in order of a measure, and the ones worth a look, as plain rows for the command line."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from attnreport.errors import InvalidMeasure, one_line
from attnreport.measures import (
    Alignment,
    NotableHead,
    all_head_scores,
    find_measure,
    notable_heads,
)
from attnreport.run import Run


@dataclass(frozen=True)
class RankedHead:
    """Hold one head and all that was measured of it.

    Attributes:
        layer: ``Attention.layer``.
        head: number of the head in it, from 0.
        name: module path of the layer.
        scores: every measure by name; None where it has no meaning for this head.
    """

    layer: int
    head: int
    name: str
    scores: dict[str, float | None]


@dataclass(frozen=True)
class Ranking:
    """Hold the heads of a run, by ``measure``: largest first, or smallest where low is good.

    Attributes:
        model: what the model is called.
        input: the input as given.
        target: what was differentiated, in words; empty where nothing was.
        measure: name of the measure that ranks.
        heads: all heads; those for which the measure has no meaning come last.
        notable: heads that stand out by any measure, each with its reason in words.
    """

    model: str
    input: str
    target: str
    measure: str
    heads: tuple[RankedHead, ...]
    notable: tuple[NotableHead, ...]


def ranked(run: Run, measure: str, alignment: Alignment | None = None) -> Ranking:
    """Return the heads of ``run`` in order of ``measure``.

    Args:
        run: whose heads.
        measure: name of the measure that ranks.
        alignment: a gold alignment, for the measures that need one.

    Raises:
        InvalidMeasure: there is no such measure, or the run lacks what it needs.
    """
    chosen = find_measure(measure)
    if "alignment" in chosen.needs and alignment is None:
        raise InvalidMeasure(f"the measure {measure!r} needs a gold alignment; give --alignment")
    if not chosen.suits(run):
        raise InvalidMeasure(f"the measure {measure!r} needs a run with {chosen.wants}")
    options = {} if alignment is None else {"alignment": alignment}
    scores = all_head_scores(run, **options)
    sign = 1 if chosen.low_first else -1
    heads = [
        RankedHead(
            attention.layer,
            number,
            attention.name,
            {
                name: _number(float(measured.values[place][head]))
                for name, measured in scores.items()
            },
        )
        for place, attention in enumerate(run.attentions)
        for head, number in enumerate(attention.head_numbers)
    ]

    def place(head: RankedHead) -> tuple[bool, float, int, int]:
        value = head.scores[measure]
        return value is None, sign * (value or 0.0), head.layer, head.head

    return Ranking(
        model=run.provenance.model,
        input=run.provenance.input_text,
        target=run.target,
        measure=measure,
        heads=tuple(sorted(heads, key=place)),
        notable=notable_heads(run, measured=scores, alignment=alignment),
    )


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 6)


def table(ranking: Ranking, limit: int) -> str:
    """Return the heads worth a look and the first ``limit`` heads as lines of text."""
    lines = [found.reason for found in ranking.notable]
    if lines:
        lines = ["Heads worth a look", *(f"  {line}" for line in lines), ""]
    if ranking.target:
        lines += [f"Differentiated: {one_line(ranking.target)}", ""]
    title = find_measure(ranking.measure).title
    rows = [("layer", "head", title.lower(), "module")]
    rows += [
        (str(head.layer), str(head.head), _text(head.scores[ranking.measure]), one_line(head.name))
        for head in ranking.heads[:limit]
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines += [
        "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    if len(ranking.heads) > limit:
        lines.append(f"… and {len(ranking.heads) - limit} more; --limit shows them")
    return "\n".join(lines)


def as_json(ranking: Ranking) -> str:
    """Return the whole ranking as one JSON object."""
    return msgspec.json.encode(ranking).decode()


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
