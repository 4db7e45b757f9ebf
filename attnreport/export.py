"""One head as a figure or a table: SVG, PNG and PDF, CSV and npz.

Takes it from a saved run or out of a report, and says how exact the numbers are. Knows nothing of
command lines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from attnreport.charts import heatmap
from attnreport.errors import InvalidOption
from attnreport.files import check_writable, replace_file
from attnreport.page.reading import ReadHead, read_head
from attnreport.page.vega import pdf, png, svg
from attnreport.report import Report
from attnreport.run import Run

_NAMESPACES = {"": "http://www.w3.org/2000/svg", "xlink": "http://www.w3.org/1999/xlink"}

# A spreadsheet takes a cell that begins so for a formula, and would run it.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(
    source: str | Path,
    output: str | Path,
    *,
    layer: int | None = None,
    head: int | None = None,
    force: bool = False,
) -> ReadHead:
    """Write one head of a report or a saved run to ``output``, in the form that its name asks for.

    Args:
        source: a report's HTML file, or a run's ``.safetensors`` file.
        output: a file whose name ends in .svg, .png, .pdf, .csv or .npz.
        layer: index of the attention; by default the one that the report opens with.
        head: index of the head; by default the one that the report opens with, or 0.
        force: replace the file if it exists.

    Returns:
        What was written, and how exact its numbers are.

    Raises:
        InvalidInput: the source is neither, or has no such layer or head.
        InvalidOption: the name asks for a form that there is not.
        OutputError: the file exists and ``force`` is false, or it cannot be written.
    """
    target = Path(output)
    form = form_of(target)
    check_writable(target, force=force)
    found = _head(Path(source), layer, head)
    replace_file(target, form(found))
    return found


def form_of(output: Path) -> Callable[[ReadHead], bytes]:
    """Return what makes the bytes of a file of that name."""
    try:
        return _FORMS[output.suffix.lower()]
    except KeyError:
        raise InvalidOption(
            f"{output} should end in one of {', '.join(_FORMS)}, which say what to write"
        ) from None


def _head(source: Path, layer: int | None, head: int | None) -> ReadHead:
    if source.suffix != ".safetensors":
        return read_head(source, layer, head)
    # A Report checks both against the run, and chooses where nothing was asked for.
    chosen = Report(Run.load(source), layer=layer, head=head or 0)
    attention = chosen.run.attentions[chosen.layer]
    one = slice(chosen.head, chosen.head + 1)
    sink = None if attention.sink is None else attention.sink[one]
    return ReadHead(replace(attention, weights=attention.weights[one], sink=sink), chosen.head)


def _svg(head: ReadHead) -> bytes:
    """Return the figure; what a reader must know of its numbers goes in as its description."""
    for prefix, namespace in _NAMESPACES.items():
        ElementTree.register_namespace(prefix, namespace)
    # vl-convert made it just now, so it is none of the hostile XML that this parser cannot take.
    figure = ElementTree.fromstring(svg(heatmap(head.attention, 0)))  # noqa: S314
    description = ElementTree.Element("{http://www.w3.org/2000/svg}desc")
    description.text = _words(head)
    figure.insert(0, description)
    content: bytes = ElementTree.tostring(figure, encoding="utf-8", xml_declaration=True)
    return content


def _png(head: ReadHead) -> bytes:
    return png(heatmap(head.attention, 0), _words(head))


def _pdf(head: ReadHead) -> bytes:
    return pdf(heatmap(head.attention, 0))


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


def _words(head: ReadHead) -> str:
    attention = head.attention
    where = f"layer {attention.layer} ({attention.name}), head {head.head}"
    return f"Attention weights of {where}: {head.precision}"


_FORMS: dict[str, Callable[[ReadHead], bytes]] = {
    ".svg": _svg,
    ".png": _png,
    ".pdf": _pdf,
    ".csv": _csv,
    ".npz": _npz,
}
