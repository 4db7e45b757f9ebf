"""One head as a figure or a table: SVG, PNG and PDF, CSV and npz.

A figure is the heatmap, or the picture with what one query looks at over it, and the colour bar of
either. Takes the head from a saved run or out of a report, and says how exact the numbers are.
Knows nothing of command lines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np

from attnreport.charts import Chart, heatmap_figure, look_of, overlay_figure, part_names
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.files import check_writable, replace_file
from attnreport.page.reading import ReadHead, read_head
from attnreport.page.vega import pdf, png, svg
from attnreport.report import Report
from attnreport.run import Run

_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}

# A spreadsheet takes a cell that begins so for a formula, and would run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

View = Literal["heatmap", "overlay"]


@dataclass(frozen=True)
class Exported:
    """Hold what was written: the head, and what the overlay shows of it in words, or nothing."""

    head: ReadHead
    shown: str


def export(  # noqa: PLR0913 - all but the two files have defaults
    source: str | Path,
    output: str | Path,
    *,
    layer: int | None = None,
    head: int | None = None,
    view: View = "heatmap",
    query: int | None = None,
    part: str | None = None,
    force: bool = False,
) -> Exported:
    """Write one head of a report or a saved run to ``output``, in the form that its name asks for.

    Args:
        source: a report's HTML file, or a run's ``.safetensors`` file.
        output: a file whose name ends in .svg, .png, .pdf, .csv or .npz.
        layer: number of the attention; by default the one that the report opens with.
        head: number of the head; by default the one that the report opens with, or the first of a
            layer that was asked for.
        view: what a figure shows: every weight as a cell, or what one query looks at, laid over
            the picture.
        query: for the overlay, the place of the query, from 0; by default the last token of a
            text, or the first position if it is special, as a class token is, or else the mean
            over all.
        part: for the overlay, which part of the picture, where it was shown to the model in
            several: ``"frame 3"``, ``"tiles"``, ``"whole picture"``, or ``"all"``.
        force: replace the file if it exists.

    Returns:
        What was written, and how exact its numbers are.

    Raises:
        InvalidInput: the source is neither, has no such layer, head, query or part, or no picture.
        InvalidOption: the name asks for a form that there is not, or a query or a part is given
            that the heatmap has no use for.
        OutputError: the file exists and ``force`` is false, or it cannot be written.
    """
    target = Path(output)
    form = target.suffix.lower()
    _check_form(target, view, {"query": query, "part": part})
    check_writable(target, force=force)
    found = _head(Path(source), layer, head)
    shown = ""
    if form in _TABLES:
        content = _TABLES[form](found)
    else:
        chart, shown = _overlay(found, query, part) if view == "overlay" else _heatmap(found)
        content = _FIGURES[form](chart, _words(found, shown))
    replace_file(target, content)
    return Exported(found, shown)


def _check_form(output: Path, view: View, chosen: dict[str, object]) -> None:
    forms = (*_FIGURES, *_TABLES)
    if output.suffix.lower() not in forms:
        raise InvalidOption(
            f"{output} should end in one of {', '.join(forms)}, which say what to write"
        )
    if view == "overlay" and output.suffix.lower() in _TABLES:
        raise InvalidOption(f"an overlay is a figure: {output} should end in {', '.join(_FIGURES)}")
    given = next((name for name, value in chosen.items() if value is not None), None)
    if view != "overlay" and given:
        raise InvalidOption(
            f"a {given} is for the overlay; a heatmap shows all: add --view overlay"
        )


def _head(source: Path, layer: int | None, head: int | None) -> ReadHead:
    if source.suffix != ".safetensors":
        return read_head(source, layer, head)
    # A Report checks both against the run, and chooses where nothing was asked for.
    chosen = Report(Run.load(source), layer=layer, head=head)
    attention = chosen.run.attentions[chosen.run.place(chosen.layer)]
    place = attention.head_place(chosen.head)
    one = slice(place, place + 1)
    sink = None if attention.sink is None else attention.sink[one]
    return ReadHead(
        replace(
            attention,
            weights=attention.weights[one],
            sink=sink,
            gradient=None,
            value_norms=None,
            points=None,
            head_numbers=(chosen.head,),
        ),
        chosen.head,
    )


def _heatmap(head: ReadHead) -> tuple[Chart, str]:
    return heatmap_figure(head.attention, 0), ""


def _overlay(head: ReadHead, query: int | None, part: str | None) -> tuple[Chart, str]:
    """Return the figure of what a query looks at in the picture, and the same in words."""
    attention = head.attention
    where, count = f"layer {attention.layer} ({attention.name})", len(attention.queries)
    if query is not None and query >= count:
        raise InvalidInput(f"no query {query}: {where} has queries 0 to {count - 1}")
    names = part_names(attention.keys)
    if part is not None and part not in names:
        known = f"has {', '.join(names)}" if names else "has no parts"
        raise InvalidInput(f"no part {part!r}: the picture of {where} {known}")
    look = look_of(attention, 0, query, part)
    if look is None:
        raise InvalidInput(
            f"{where} has no overlay: its keys, {attention.keys.name!r}, have no places in a "
            "picture that was kept; choose a layer that looks at one, or leave out --view overlay"
        )
    return overlay_figure(look), look.words


def _svg(chart: Chart, words: str) -> bytes:
    """Return the figure; what a reader must know of its numbers goes in as its description."""
    for prefix, namespace in _NAMESPACES.items():
        ElementTree.register_namespace(prefix, namespace)
    # vl-convert made it just now, so it is none of the hostile XML that this parser cannot take.
    figure = ElementTree.fromstring(svg(chart))  # noqa: S314
    description = ElementTree.Element("{http://www.w3.org/2000/svg}desc")
    description.text = words
    figure.insert(0, description)
    content: bytes = ElementTree.tostring(figure, encoding="utf-8", xml_declaration=True)
    return content


def _pdf(chart: Chart, _: str) -> bytes:
    return pdf(chart)


def _csv(head: ReadHead) -> bytes:
    """Return the weights as RFC 4180 has it: a header of keys, then a line for each query.

    Numbers have as many digits as tell their float32 apart from every other.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    attention = head.attention
    writer.writerow(["", *_harmless(attention.keys.labels)])
    labels = _harmless(attention.queries.labels)
    for label, row in zip(labels, head.weights, strict=True):
        writer.writerow([label, *map(str, row)])
    return text.getvalue().encode()


def _harmless(labels: Sequence[str]) -> list[str]:
    """Return labels as no spreadsheet will take them for formulas: those get a ' before them."""
    return [f"'{label}" if label.startswith(_FORMULA) else label for label in labels]


def _npz(head: ReadHead) -> bytes:
    content = io.BytesIO()
    attention = head.attention
    np.savez_compressed(
        content,
        weights=head.weights,
        sure=np.full(head.weights.shape, head.levels is None) if head.sure is None else head.sure,
        queries=np.array(attention.queries.labels, str),
        keys=np.array(attention.keys.labels, str),
        name=np.array(attention.name, str),
        layer=np.array(attention.layer),
        head=np.array(head.head),
        precision=np.array(head.precision, str),
    )
    return content.getvalue()


def _words(head: ReadHead, shown: str) -> str:
    attention = head.attention
    where = f"layer {attention.layer} ({attention.name}), head {head.head}"
    return f"Attention weights of {where}: {head.precision}" + (f"; {shown}" if shown else "")


_FIGURES: dict[str, Callable[[Chart, str], bytes]] = {".svg": _svg, ".png": png, ".pdf": _pdf}
_TABLES: dict[str, Callable[[ReadHead], bytes]] = {".csv": _csv, ".npz": _npz}
