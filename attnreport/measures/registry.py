"""The registry of measures: what each one is called, says and comes from, and how it is taken.

A measure gives one number per head. It is a function with a description, so that the page, the
command line and a reader's own code show the same formula and the same source. This module knows
the shape of a measure and of what it returns, and none of the measures themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.errors import InvalidMeasure
from attnreport.measures.reduced_rows import ReducedRows
from attnreport.measures.rows import nothing, rows_of
from attnreport.reduced import Reduced
from attnreport.run import Run

Scores = NDArray[np.float64]
Counts = NDArray[np.int64]
Level = Literal["attention", "run"]
_Function = TypeVar("_Function", bound=Callable[..., Any])
_Exact = TypeVar("_Exact", bound=Callable[..., Scores])


@dataclass(frozen=True, kw_only=True)
class Description:
    """Say what a number means, in the words the page shows.

    Attributes:
        title: what it is called above a chart.
        formula: how it is computed, as plain text with Unicode mathematics; w is the weight,
            q a query, k a key, Q and K how many there are.
        range: smallest and largest value it can take; None where the input decides.
        unit: what it is counted in; empty for a share.
        source: paper and section it comes from.
        link: where that paper lies.
        reading: what a high value means, in one sentence.
        low_first: whether the heads with the smallest values are the ones to look at.
    """

    title: str
    formula: str
    range: tuple[float | None, float | None]
    source: str
    link: str
    reading: str
    unit: str = ""
    low_first: bool = False


@dataclass(frozen=True, kw_only=True)
class Measure(Description):
    """Hold a description and the function that it describes.

    Attributes:
        name: what it is asked for by.
        level: ``"attention"`` if the function takes one ``Attention`` and returns ``(head,)``,
            ``"run"`` if it takes the ``Run`` and returns one ``(head,)`` array per attention.
        needs: names of the keyword arguments that the function must be given.
        suits: tells of a run whether it holds what is measured; others have no such score.
        wants: in words what a run must hold for that; empty where every run does.
        function: what computes it.
    """

    name: str
    level: Level
    needs: tuple[str, ...]
    suits: Callable[[Run], bool]
    wants: str
    function: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Measured:
    """Hold one score for every head of a run.

    Attributes:
        name: the measure.
        values: per attention, in the order of the run, ``(head,)`` float64, read-only; NaN where
            the measure has no meaning for that head.
        masked: per attention, ``(head,)`` rows that were left out because all was masked.
        nonfinite: per attention, ``(head,)`` rows that were left out because of NaN or infinity.
    """

    name: str
    values: tuple[Scores, ...]
    masked: tuple[Counts, ...]
    nonfinite: tuple[Counts, ...]

    axes = ("layer", "head")

    @property
    def array(self) -> Scores:
        """Return ``(layer, head)`` float64, padded with NaN where a layer has fewer heads."""
        padded = np.full((len(self.values), max(map(len, self.values))), np.nan)
        for layer, scores in enumerate(self.values):
            padded[layer, : len(scores)] = scores
        return padded


_MEASURES: dict[str, Measure] = {}
_EXACT: dict[str, Callable[[Attention, ReducedRows], Scores]] = {}


def measure(  # noqa: PLR0913 - every argument is a line of the explanation that the page shows
    name: str,
    *,
    title: str,
    formula: str,
    range: tuple[float | None, float | None],
    source: str,
    link: str,
    reading: str,
    unit: str = "",
    low_first: bool = False,
    level: Level = "attention",
    needs: tuple[str, ...] = (),
    suits: Callable[[Run], bool] = lambda _: True,
    wants: str = "",
) -> Callable[[_Function], _Function]:
    """Register the decorated function as the measure ``name``; see ``Measure`` for the rest.

    Raises:
        InvalidMeasure: the name is taken.
    """

    def register(function: _Function) -> _Function:
        if name in _MEASURES:
            raise InvalidMeasure(f"the measure {name!r} exists already; give yours another name")
        _MEASURES[name] = Measure(
            name=name,
            title=title,
            formula=formula,
            range=range,
            unit=unit,
            low_first=low_first,
            source=source,
            link=link,
            reading=reading,
            level=level,
            needs=needs,
            suits=suits,
            wants=wants,
            function=function,
        )
        return function

    return register


def exact(name: str) -> Callable[[_Exact], _Exact]:
    """Register what takes the measure ``name`` of an attention that was reduced.

    The function takes the ``Attention`` and its ``ReducedRows`` and returns ``(head,)``. A measure
    without one is NaN there.
    """

    def register(function: _Exact) -> _Exact:
        _EXACT[name] = function
        return function

    return register


def known_measures() -> Mapping[str, Measure]:
    """Return every registered measure by name, in the order of registration."""
    return dict(_MEASURES)


def find_measure(name: str) -> Measure:
    """Return the measure of that name.

    Raises:
        InvalidMeasure: there is none; the message lists those there are.
    """
    if name not in _MEASURES:
        known = ", ".join(_MEASURES)
        raise InvalidMeasure(f"no measure is called {name!r}; known are: {known}")
    return _MEASURES[name]


def head_scores(run: Run, name: str, **options: Any) -> Measured:
    """Take one measure of every head of a run.

    Args:
        run: what to measure.
        name: a registered measure.
        options: what the measure needs besides the run, e.g. ``alignment=``.

    Raises:
        InvalidMeasure: the name is not known, an option is missing or not wanted, or the
            measure's function does not return one number per head.
    """
    found = find_measure(name)
    if set(options) != set(found.needs):
        needed = ", ".join(found.needs) or "no options"
        given = ", ".join(options) or "none"
        raise InvalidMeasure(f"the measure {name!r} takes {needed}; it was given {given}")
    if found.level == "run":
        raw = list(found.function(run, **options))
    else:
        raw = [
            found.function(attention, **options)
            if attention.reduced is None
            else _exact_scores(name, attention, attention.reduced)
            for attention in run.attentions
        ]
    rows = [
        rows_of(attention) if attention.reduced is None else ReducedRows.of(attention.reduced)
        for attention in run.attentions
    ]
    return Measured(
        name=name,
        values=_checked(name, raw, run),
        masked=tuple(each.masked for each in rows),
        nonfinite=tuple(each.nonfinite for each in rows),
    )


def all_head_scores(run: Run, **options: Any) -> dict[str, Measured]:
    """Take every measure that suits the run and needs no other options, by name."""
    return {
        name: head_scores(run, name, **{need: options[need] for need in found.needs})
        for name, found in _MEASURES.items()
        if set(found.needs) <= set(options) and found.suits(run)
    }


def _exact_scores(name: str, attention: Attention, reduced: Reduced) -> Scores:
    function = _EXACT.get(name)
    if function is None:
        return nothing(attention)
    return function(attention, ReducedRows.of(reduced))


def _checked(name: str, raw: list[Any], run: Run) -> tuple[Scores, ...]:
    """Return the scores as read-only float64, or say which attention has the wrong number."""
    if len(raw) != len(run.attentions):
        raise InvalidMeasure(
            f"the measure {name!r} returned {len(raw)} arrays for {len(run.attentions)} attentions"
        )
    values = []
    for attention, scores in zip(run.attentions, raw, strict=True):
        array = np.array(scores, dtype=np.float64)
        if array.shape != (attention.heads,):
            raise InvalidMeasure(
                f"the measure {name!r} must return shape ({attention.heads},) for attention "
                f"{attention.layer}, one number per head; it returned {array.shape}"
            )
        array.flags.writeable = False
        values.append(array)
    return tuple(values)
