"""What the templates may say: a Run in words, ready to be put in place.

Templates hold no logic beyond loops and choices; every sentence that depends on the run is made
here, where a test can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.charts.picture import code_error
from attnreport.measures import Measure, NotableHead, is_reduced, known_measures, left_out
from attnreport.page.account import (
    Fact,
    LedgerRow,
    Notice,
    facts,
    ledger_row,
    ledger_summary,
    provenance,
    warnings,
)
from attnreport.page.document import document, groups, pair
from attnreport.page.form import UNREDUCED, Form, MeasuredRun
from attnreport.page.joining import joined_map
from attnreport.page.links import LinkPart, parts_of, strongest_links
from attnreport.page.maps import MapWords, maps_of
from attnreport.page.opening import Opening, Place
from attnreport.page.overlays import StillOverlay, seen_words, still_overlays
from attnreport.page.pack import Packed, PackedLayer
from attnreport.page.prepared import prepared
from attnreport.page.refining import EXACT_TO, LARGEST
from attnreport.page.still import StillHeatmap, still_heatmap
from attnreport.run import Run

_TITLE_LENGTH = 80


@dataclass(frozen=True)
class Shown:
    """Hold the layer and head that the page opens with, why, and how they are called.

    ``place`` says where in the run they are; ``layer``, ``head`` and ``heads`` are numbers, and
    ``worth`` is why the head is worth a look, if it is.
    """

    place: Place
    layer: int
    head: int
    heads: tuple[int, ...]
    why: str
    worth: str
    pair: str
    queries: str
    keys: str


@dataclass(frozen=True)
class Still:
    """Hold the pictures that need no script."""

    heatmap: StillHeatmap
    colourbar: str
    overlays: tuple[StillOverlay, ...]


@dataclass(frozen=True)
class Seen:
    """Hold what the model looks at, and what positions of it are, in words."""

    whole: str
    part: str
    parts: str


@dataclass(frozen=True)
class LayerOption:
    """Hold one choice of the layer picker."""

    index: int
    label: str


@dataclass(frozen=True)
class OptionGroup:
    """Hold the choices that relate the same two sequences."""

    title: str
    layers: tuple[LayerOption, ...]


@dataclass(frozen=True)
class PageContext:
    """Hold everything the templates put in place; a template uses every field."""

    version: str
    title: str
    model: str
    input_text: str
    written: tuple[tuple[str, str], ...]
    facts: tuple[Fact, ...]
    warnings: tuple[Notice, ...]
    normalised: bool
    sinks: bool
    nonfinite: int
    precision: str
    groups: tuple[OptionGroup, ...]
    maps: tuple[MapWords, ...]
    shown: Shown
    seen: Seen
    measures: tuple[Measure, ...]
    notable: tuple[NotableHead, ...]
    still: Still
    links: tuple[LinkPart, ...]
    open_ledger: bool
    ledger_summary: str
    ledger: tuple[LedgerRow, ...]
    provenance: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    document: dict[str, Any]
    packed: tuple[PackedLayer, ...]


def context(measured: MeasuredRun, form: Form, place: Opening, version: str) -> PageContext:
    """Return what the templates need.

    Args:
        measured: the run, whose words the page tells.
        form: what of it the page carries and draws.
        place: of the layer and head that the page opens with, and why there.
        version: of attnreport.
    """
    run, scores = measured.run, measured.scores
    drawn, packed = form.run, form.packed
    layer, head = place.place
    shown = drawn.attentions[layer]
    maps = maps_of(
        drawn,
        [joined_map(found, form.block) for found in measured.maps],
        exact=packed.exact,
    )
    names = (shown.queries.name, shown.keys.name)
    model = run.provenance.model or "an unnamed model"
    return PageContext(
        version=version,
        title=_title(model, run.provenance.input_text),
        model=model,
        input_text=run.provenance.input_text,
        written=_written(run),
        facts=facts(run),
        warnings=warnings(run),
        normalised=all(attention.normalised for attention in run.attentions),
        sinks=any(attention.sink is not None for attention in run.attentions),
        nonfinite=sum(attention.nonfinite for attention in run.attentions),
        precision=_precision(packed),
        groups=_option_groups(run),
        maps=maps.words,
        shown=Shown(
            place.place,
            shown.layer,
            shown.head_numbers[head],
            shown.head_numbers,
            place.why,
            _worth(measured, shown, head),
            pair(shown)[0],
            *names,
        ),
        seen=Seen(*seen_words(run)),
        measures=tuple(known_measures()[name] for name in scores),
        notable=measured.notable,
        still=Still(still_heatmap(shown, head), prepared().colourbar, still_overlays(shown, head)),
        links=parts_of(strongest_links(shown, head)),
        open_ledger=bool(run.missed),
        ledger_summary=ledger_summary(run),
        ledger=tuple(ledger_row(run, entry) for entry in run.ledger),
        provenance=provenance(run),
        notes=(
            *run.provenance.notes,
            *left_out(run),
            *form.reductions,
            *([] if form.reductions or is_reduced(run) else [UNREDUCED]),
        ),
        document={
            **document(drawn, packed, scores, place.place, form.block),
            **maps.document,
        },
        packed=(*packed.layers, *maps.layers),
    )


def _worth(measured: MeasuredRun, shown: Attention, head: int) -> str:
    """Return why the head shown first is worth a look, or nothing."""
    here = (shown.layer, shown.head_numbers[head])
    return next((each.reason for each in measured.notable if (each.layer, each.head) == here), "")


def _title(model: str, text: str) -> str:
    title = f"Attention of {model}" + (f": {text}" if text else "")
    title = " ".join(title.split())
    return title if len(title) <= _TITLE_LENGTH else title[: _TITLE_LENGTH - 1] + "…"


def _written(run: Run) -> tuple[tuple[str, str], ...]:
    """Return the name of every axis that the model continued itself, and what it wrote."""
    texts = ((axis.name, _generated_text(axis)) for axis in run.axes)
    return tuple((name, text) for name, text in texts if text)


def _generated_text(axis: Axis) -> str:
    written = [position for position in axis if position.role == "generated"]
    spans = [position.span for position in written if position.span is not None]
    if axis.text is not None and len(spans) == len(written) and spans:
        return axis.text[spans[0][0] : spans[-1][1]]
    return "".join(position.label for position in written)


def _precision(packed: Packed) -> str:
    if packed.exact:
        return "The numbers in this file are the exact float32 weights."
    refined = (
        f" The {LARGEST} largest weights of every row are told apart from that, right to "
        f"{EXACT_TO:.6f}, and stand without it."
        if packed.refined
        else ""
    )
    return (
        f"To keep this file small each weight w is stored as a code of {packed.levels} steps that "
        f"is even in √w: √w is right to ± {code_error(packed.levels):.4f}, and behind every number "
        f"stands what that means for w.{refined}"
    )


def _option_groups(run: Run) -> tuple[OptionGroup, ...]:
    return tuple(
        OptionGroup(
            group.title,
            tuple(
                LayerOption(place, _layer_words(run.attentions[place])) for place in group.layers
            ),
        )
        for group in groups(run)
    )


def _layer_words(attention: Attention) -> str:
    return f"layer {attention.layer} · {attention.name or 'unnamed'}"
