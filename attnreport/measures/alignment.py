"""How well a head agrees with an alignment that somebody knows to be right."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.errors import InvalidMeasure, one_line
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, Mask, nothing, rows_of
from attnreport.run import Run

Link = tuple[int, int]


@dataclass(frozen=True)
class Alignment:
    """Say which query belongs to which key.

    Which key a query ought to look at is for the maker to say: in a decoder the row of a token
    may be held against that token, or against the next one, which the row helps to predict.

    Attributes:
        queries: the axis of the rows, e.g. the target.
        keys: the axis of the columns, e.g. the source.
        sure: links ``(query, key)`` that must be found.
        possible: links that may be found; the sure ones are among them without being named.
    """

    queries: Axis
    keys: Axis
    sure: frozenset[Link]
    possible: frozenset[Link] = frozenset()

    def __post_init__(self) -> None:
        for query, key in sorted(self.sure | self.possible):
            if not (0 <= query < len(self.queries) and 0 <= key < len(self.keys)):
                raise InvalidMeasure(
                    f"the alignment links query {query} with key {key}, but there are "
                    f"{len(self.queries)} queries and {len(self.keys)} keys"
                )


def read_alignment(text: str, run: Run) -> Alignment:
    """Read the alignment of a run's source and target from the links that aligners write.

    Args:
        text: links ``source-target``, or ``source?target`` for one that is only possible, with
            white space between them (the Pharaoh format). Both numbers count the positions of the
            run's axes from 0, special ones included.
        run: holds cross-attention from one target to one source.

    Raises:
        InvalidMeasure: the text is no such list, a number is out of range, or the run does not
            relate exactly one source and one target.
    """
    pairs = {
        (attention.queries, attention.keys)
        for attention in run.attentions
        if attention.kind == "cross"
    }
    if len(pairs) != 1:
        raise InvalidMeasure(
            f"an alignment needs a run with one source and one target, this one has {len(pairs)} "
            "pairs of them"
        )
    ((queries, keys),) = pairs
    links: dict[str, set[Link]] = {"-": set(), "?": set()}
    for word in text.split():
        found = re.fullmatch(r"(\d{1,9})([-?])(\d{1,9})", word)
        if found is None:
            raise InvalidMeasure(
                f"expected links such as 3-4, or 3?4 for a possible one, got {one_line(word, 40)!r}"
            )
        links[found[2]].add((int(found[3]), int(found[1])))
    return Alignment(queries, keys, frozenset(links["-"]), frozenset(links["?"]))


@measure(
    "alignment_error_rate",
    title="Alignment error rate",
    formula="1 − (|A ∩ S| + |A ∩ P|) / (|A| + |S|); A: the heaviest key of every query, S: sure "
    "links, P: sure and possible links",
    range=(0.0, 1.0),
    source="Och & Ney 2003, A Systematic Comparison of Various Statistical Alignment Models",
    link="https://aclanthology.org/J03-1002/",
    reading="High means that the head looks elsewhere than the alignment says; low is good.",
    low_first=True,
    needs=("alignment",),
)
def alignment_error_rate(attention: Attention, alignment: Alignment) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN where the attention has other axes than the alignment.

    A query links to its heaviest key, to the first of them in a tie. A special query, and a query
    whose heaviest key is special, links to nothing: ``</s>`` stands for no word.
    """
    if (attention.queries, attention.keys) != (alignment.queries, alignment.keys):
        return nothing(attention)
    if not len(attention.keys):
        return nothing(attention)
    heaviest = rows_of(attention).weights.argmax(axis=2)  # (head, query)
    lit = rows_of(attention).lit
    rates = [
        _error_rate(_links(attention, keys, used), alignment)
        for keys, used in zip(heaviest, lit, strict=True)
    ]
    return np.array(rates, dtype=np.float64)


def _links(attention: Attention, keys: NDArray[np.intp], used: Mask) -> frozenset[Link]:
    queries, columns = attention.queries.positions, attention.keys.positions
    return frozenset(
        (query, int(key))
        for query, key in enumerate(keys)
        if used[query] and "special" not in (queries[query].role, columns[key].role)
    )


def _error_rate(links: frozenset[Link], alignment: Alignment) -> float:
    size = len(links) + len(alignment.sure)
    if not size:
        return float("nan")
    possible = alignment.sure | alignment.possible
    return 1.0 - (len(links & alignment.sure) + len(links & possible)) / size
