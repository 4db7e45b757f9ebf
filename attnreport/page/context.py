"""What the templates may say: a Run in words, ready to be put in place.

Templates hold no logic beyond loops and choices; every sentence that depends on the run is made
here, where a test can read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from attnreport.axis import Axis
from attnreport.charts import still_heatmap
from attnreport.charts.picture import code_error
from attnreport.measures import (
    Measure,
    NotableHead,
    known_measures,
)
from attnreport.page.document import document, groups, pair
from attnreport.page.form import UNREDUCED, Form, MeasuredRun
from attnreport.page.overlays import StillOverlay, still_overlays
from attnreport.page.pack import Packed, PackedLayer
from attnreport.page.prepared import prepared
from attnreport.page.refining import EXACT_TO, LARGEST
from attnreport.page.vega import svg
from attnreport.run import Attention, LedgerEntry, Run

STRONGEST = 3
Place = tuple[int, int]
_TITLE_LENGTH = 80


@dataclass(frozen=True)
class Fact:
    """Hold one short statement under the heading; ``good`` ones are drawn as passed checks."""

    text: str
    good: bool = False


@dataclass(frozen=True)
class Notice:
    """Hold what is wrong and why it matters."""

    what: str
    why: str


@dataclass(frozen=True)
class Shown:
    """Hold the layer and head that the page opens with, and how they are called."""

    layer: int
    head: int
    heads: int
    pair: str
    keys: str


@dataclass(frozen=True)
class Still:
    """Hold the pictures that need no script, as SVG; ``block`` positions a side make a cell."""

    heatmap: str
    block: int
    colourbar: str
    overlays: tuple[StillOverlay, ...]


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
class LinkRow:
    """Hold one query and the keys it looks at most, with their weights."""

    query: str
    special: bool
    keys: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LedgerRow:
    """Hold one line of the ledger in words."""

    captured: bool
    layer: str
    name: str
    call: str
    shape: str
    residual: str
    reason: str


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
    shown: Shown
    measures: tuple[Measure, ...]
    notable: tuple[NotableHead, ...]
    still: Still
    links: tuple[LinkRow, ...]
    open_ledger: bool
    ledger_summary: str
    ledger: tuple[LedgerRow, ...]
    provenance: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    document: dict[str, Any]
    packed: tuple[PackedLayer, ...]


def context(measured: MeasuredRun, form: Form, place: Place, version: str) -> PageContext:
    """Return what the templates need.

    Args:
        measured: the run, whose words the page tells.
        form: what of it the page carries and draws.
        place: the layer and head that the page opens with.
        version: of attnreport.
    """
    run, scores = measured.run, measured.scores
    drawn, packed = form.run, form.packed
    layer, head = place
    shown = drawn.attentions[layer]
    chart, block = still_heatmap(shown, head)
    model = run.provenance.model or "an unnamed model"
    return PageContext(
        version=version,
        title=_title(model, run.provenance.input_text),
        model=model,
        input_text=run.provenance.input_text,
        written=_written(run),
        facts=_facts(run),
        warnings=_warnings(run),
        normalised=all(attention.normalised for attention in run.attentions),
        sinks=any(attention.sink is not None for attention in run.attentions),
        nonfinite=sum(attention.nonfinite for attention in run.attentions),
        precision=_precision(packed),
        groups=_option_groups(run),
        shown=Shown(layer, head, shown.heads, pair(shown)[0], shown.keys.name),
        measures=tuple(known_measures()[name] for name in scores),
        notable=measured.notable,
        still=Still(svg(chart), block, prepared().colourbar, still_overlays(shown, head)),
        links=strongest_links(shown, head),
        open_ledger=bool(run.missed),
        ledger_summary=_ledger_summary(run),
        ledger=tuple(_ledger_row(run, entry) for entry in run.ledger),
        provenance=_provenance(run),
        notes=(*run.provenance.notes, *form.reductions, *([] if form.reductions else [UNREDUCED])),
        document=document(drawn, packed, scores, place, form.block),
        packed=packed.layers,
    )


def strongest_links(attention: Attention, head: int) -> tuple[LinkRow, ...]:
    """Return for every query the ``STRONGEST`` keys it looks at most, strongest first."""
    weights = attention.weights[head]
    # NaN sorts first and infinity after every weight: what is not a number must not hide.
    order = np.argsort(-weights, axis=1, kind="stable")[:, :STRONGEST]
    return tuple(
        LinkRow(
            query=position.label,
            special=position.role == "special",
            keys=tuple(
                (attention.keys.positions[key].label, weight_text(float(weights[row, key])))
                for key in order[row]
            ),
        )
        for row, position in enumerate(attention.queries)
    )


def weight_text(weight: float) -> str:
    """Return a weight with four decimals; ``< 0.0001`` for less, ``NaN`` as it is."""
    if not np.isfinite(weight):
        return "NaN" if np.isnan(weight) else "infinite"
    if 0 < weight < 0.0001:
        return "< 0.0001"
    return f"{weight:.4f}"


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


def _facts(run: Run) -> tuple[Fact, ...]:
    heads = sum(attention.heads for attention in run.attentions)
    facts = [Fact(f"{_count(len(run.attentions), 'attention layer')}, {_count(heads, 'head')}")]
    facts += [Fact(f"{axis.name}: {_count(len(axis), 'position')}") for axis in run.axes]
    if run.provenance.dtype:
        facts.append(Fact(f"{run.provenance.dtype} on {run.provenance.device or 'cpu'}"))
    if all(attention.checked for attention in run.attentions):
        worst = max(attention.residual or 0.0 for attention in run.attentions)
        facts.append(Fact(f"every layer checked against its own output, to {worst:.0e}", good=True))
    if run.ledger and not run.missed:
        facts.append(Fact("no attention missed", good=True))
    return tuple(facts)


def _warnings(run: Run) -> tuple[Notice, ...]:
    found = []
    if run.missed:
        found.append(
            Notice(
                f"{len(run.missed)} of {_count(len(run.ledger), 'attention computation')} "
                "could not be captured.",
                "They are marked under “What was captured”, each with its reason.",
            )
        )
    for attention in run.attentions:
        found += _warnings_of(attention)
    return tuple(found)


def _warnings_of(attention: Attention) -> list[Notice]:
    found = []
    where = f"layer {attention.layer} ({attention.name})"
    if attention.nonfinite:
        found.append(
            Notice(
                f"{_count(attention.nonfinite, 'weight')} of {where} "
                f"{'is' if attention.nonfinite == 1 else 'are'} NaN or infinite.",
                "They are drawn in a colour of their own, never as zero.",
            )
        )
    elif attention.residual is None:
        found.append(
            Notice(
                f"The weights of {where} could not be checked against its output.",
                "Nothing was there to multiply them with.",
            )
        )
    elif not attention.checked:
        found.append(
            Notice(
                f"The weights of {where} miss its own output by {attention.residual:.1e} "
                f"(expected at most {attention.tolerance:.0e}).",
                "Do not rely on this layer's numbers.",
            )
        )
    return found


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
                LayerOption(layer, f"{layer} · {run.attentions[layer].name or 'unnamed'}")
                for layer in group.layers
            ),
        )
        for group in groups(run)
    )


def _ledger_summary(run: Run) -> str:
    captured = len(run.ledger) - len(run.missed)
    if not run.ledger:
        return "No ledger came with this run"
    return f"{_count(captured, 'computation')} captured, {len(run.missed)} not"


def _ledger_row(run: Run, entry: LedgerEntry) -> LedgerRow:
    if entry.layer is None:
        return LedgerRow(False, "not captured", entry.name, entry.call, "", "", entry.reason)
    attention = run.attentions[entry.layer]
    heads, queries, keys = attention.weights.shape
    residual = "not checked" if attention.residual is None else f"{attention.residual:.1e}"
    shape = f"{_count(heads, 'head')}, {queries} × {keys}"
    return LedgerRow(True, str(entry.layer), entry.name, entry.call, shape, residual, entry.reason)


def _provenance(run: Run) -> tuple[tuple[str, str], ...]:
    source = run.provenance
    rows = [
        ("model", source.model),
        ("model digest", source.model_digest),
        ("input", source.input_text),
        ("input digest", source.input_digest),
        ("precision", source.dtype),
        ("device", source.device),
        ("seed", "" if source.seed is None else str(source.seed)),
        ("command", source.command),
        ("date", source.created),
        ("versions", ", ".join(f"{name} {text}" for name, text in sorted(source.versions.items()))),
    ]
    return tuple((name, text) for name, text in rows if text)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
