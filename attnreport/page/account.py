"""The page's account of a run: what it is, what is wrong with it, how it came about.

Every sentence about the capture itself is made here: the facts under the heading, the warnings,
the rows of the ledger and of the provenance. Knows nothing of packing or pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnreport.attention import Attention
from attnreport.numbers import ranges_of
from attnreport.picture import UNLAID
from attnreport.run import LedgerEntry, Run


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
class LedgerRow:
    """Hold one line of the ledger in words."""

    captured: bool
    layer: str
    name: str
    call: str
    shape: str
    residual: str
    reason: str


def facts(run: Run) -> tuple[Fact, ...]:
    """Return what the run holds and how well it was checked, for the line under the heading."""
    heads = sum(attention.heads for attention in run.attentions)
    found = [Fact(f"{_count(len(run.attentions), 'attention layer')}, {_count(heads, 'head')}")]
    found += [Fact(f"{axis.name}: {_count(len(axis), 'position')}") for axis in run.axes]
    if run.provenance.dtype:
        found.append(Fact(f"{run.provenance.dtype} on {run.provenance.device or 'cpu'}"))
    if all(attention.checked for attention in run.attentions):
        worst = max(attention.residual or 0.0 for attention in run.attentions)
        found.append(Fact(f"every layer checked against its own output, to {worst:.0e}", good=True))
    if run.ledger and not run.missed:
        found.append(Fact("no attention missed", good=True))
    return tuple(found)


def warnings(run: Run) -> tuple[Notice, ...]:
    """Return what a reader must know before trusting the pictures; nothing where all is well."""
    found = []
    if run.missed:
        found.append(
            Notice(
                f"{len(run.missed)} of {_count(len(run.ledger), 'attention computation')} "
                "could not be captured.",
                "They are marked under “What was captured”, each with its reason.",
            )
        )
    found += _unlaid(run)
    found += _reduced(run)
    found += _without_gradient(run)
    found += _unsound(run)
    return tuple(found)


def _unlaid(run: Run) -> list[Notice]:
    """Say why a picture or a sound that was given is not shown."""
    return [
        Notice(
            f"{note[0].upper()}{note[1:]}.",
            "Where positions lie is never guessed, so that they are only numbered here.",
        )
        for note in run.provenance.notes
        if note.startswith(UNLAID)
    ]


def _reduced(run: Run) -> list[Notice]:
    """Say that positions were joined as they were captured, so that no more of them is there."""
    layers = [each for each in run.attentions if each.reduced is not None]
    if not layers:
        return []
    blocks = {each.reduced.block for each in layers if each.reduced is not None}
    every = "every" if len(blocks) == 1 else "up to"
    return [
        Notice(
            f"There were too many weights to keep: {every} {max(blocks)} neighbouring positions of "
            f"{_count(len(layers), 'layer')} were joined to one.",
            "Weights of joined keys are added up and of joined queries averaged; measures that "
            "need every single weight are left out. More memory (--max-memory) keeps more.",
        )
    ]


def _without_gradient(run: Run) -> list[Notice]:
    """Say which layers the differentiated number did not reach."""
    layers = [str(each.layer) for each in run.attentions if each.gradient is None]
    if not layers or not run.differentiated:
        return []
    return [
        Notice(
            f"No gradient of {run.target or 'what was differentiated'} arrived at "
            f"layer {', '.join(layers)}.",
            "Either the number does not depend on it, or the way from there could not be "
            "followed; relevance and gradient × attention are made without it.",
        )
    ]


def _unsound(run: Run) -> list[Notice]:
    """Say whose weights are not to be trusted, in one sentence for each reason."""
    nonfinite = [each for each in run.attentions if each.nonfinite]
    finite = [each for each in run.attentions if not each.nonfinite]
    unchecked = [each for each in finite if each.residual is None]
    wrong = [each for each in finite if each.residual is not None and not each.checked]
    found = []
    if nonfinite:
        count = sum(each.nonfinite for each in nonfinite)
        found.append(
            Notice(
                f"{_count(count, 'weight')} of {_layers(nonfinite)} "
                f"{'is' if count == 1 else 'are'} NaN or infinite.",
                "They are drawn in a colour of their own, never as zero.",
            )
        )
    if wrong:
        found.append(_missed_output(wrong))
    if unchecked:
        own = "its output" if len(unchecked) == 1 else "their outputs"
        found.append(
            Notice(
                f"The weights of {_layers(unchecked)} could not be checked against {own}.",
                "Nothing was there to multiply them with.",
            )
        )
    return found


def _missed_output(layers: list[Attention]) -> Notice:
    # A residual that is not a number is worse than any that is.
    worst = max(layers, key=lambda each: (math.isnan(each.residual or 0.0), each.residual or 0.0))
    by = f"by {worst.residual or 0.0:.1e} (expected at most {worst.tolerance:.0e})"
    if len(layers) == 1:
        return Notice(
            f"The weights of {_layers(layers)} miss its own output {by}.",
            "Do not rely on this layer's numbers.",
        )
    return Notice(
        f"The weights of {_layers(layers)} miss their own outputs, layer {worst.layer} {by}.",
        "Do not rely on these layers' numbers; “What was captured” says by how much each misses.",
    )


def _layers(layers: list[Attention]) -> str:
    """Return which layers: one by its name, several by their numbers, as ranges where they can."""
    if len(layers) == 1:
        return f"layer {layers[0].layer} ({layers[0].name})"
    ranges = ranges_of(each.layer for each in layers)
    texts = [str(first) if first == last else f"{first}–{last}" for first, last in ranges]
    return f"layers {', '.join(texts)}"


def ledger_summary(run: Run) -> str:
    """Return how many computations were captured and how many not."""
    captured = len(run.ledger) - len(run.missed)
    if not run.ledger:
        return "No ledger came with this run"
    return f"{_count(captured, 'computation')} captured, {len(run.missed)} not"


def ledger_row(run: Run, entry: LedgerEntry) -> LedgerRow:
    """Return one line of the ledger in words."""
    if entry.layer is None:
        return LedgerRow(False, "not captured", entry.name, entry.call, "", "", entry.reason)
    attention = run.attentions[run.place(entry.layer)]
    heads, queries, keys = attention.weights.shape
    residual = "not checked" if attention.residual is None else f"{attention.residual:.1e}"
    shape = f"{_count(heads, 'head')}, {queries} × {keys}"
    return LedgerRow(True, str(entry.layer), entry.name, entry.call, shape, residual, entry.reason)


def provenance(run: Run) -> tuple[tuple[str, str], ...]:
    """Return name and text of everything that is known of where the run comes from."""
    source = run.provenance
    rows = [
        ("model", source.model),
        ("model digest", source.model_digest),
        ("input", source.input_text),
        ("input digest", source.input_digest),
        ("precision", source.dtype),
        ("device", source.device),
        ("seed", "" if source.seed is None else str(source.seed)),
        ("differentiated", run.target),
        ("command", source.command),
        ("date", source.created),
        ("versions", ", ".join(f"{name} {text}" for name, text in sorted(source.versions.items()))),
    ]
    return tuple((name, text) for name, text in rows if text)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
