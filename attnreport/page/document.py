"""What the page's script needs to know of a Run, as plain JSON: axes, layers, colours, charts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attnreport.attention import Attention
from attnreport.axis import Axis, Span
from attnreport.charts import HEAD_COLOURS, THUMBNAIL, first_query
from attnreport.charts.labels import drawable, printable, with_signs
from attnreport.charts.theme import THEMES, ink, palette
from attnreport.measures import Measured, known_measures
from attnreport.page.overlays import overlays, pictures
from attnreport.page.pack import Packed
from attnreport.page.prepared import prepared
from attnreport.run import Run


@dataclass(frozen=True)
class Group:
    """Hold the layers that relate the same two sequences: "target looks at source".

    ``layers`` are their places in the run, which are their numbers where none was left out.
    """

    title: str
    short: str
    layers: tuple[int, ...]


def groups(run: Run) -> tuple[Group, ...]:
    """Return the run's layers by the pair of sequences they relate, in order of first use."""
    members: dict[tuple[str, ...], list[int]] = {}
    for place, attention in enumerate(run.attentions):
        # By the names as they are: two can look alike in a page.
        names = (attention.queries.name, attention.keys.name, attention.kind)
        members.setdefault(names, []).append(place)
    return tuple(
        Group(*pair(run.attentions[places[0]]), tuple(places)) for places in members.values()
    )


def document(
    run: Run, packed: Packed, scores: Mapping[str, Measured], place: tuple[int, int], joined: int
) -> dict[str, Any]:
    """Return the JSON document of the page that shows ``place`` first, of a layer and a head.

    ``joined`` says how many neighbouring positions of the model's own make one of ``run``'s.
    """
    layer, head = place
    axes, alike, shown = run.axes, prepared(), run.attentions[layer]
    return {
        "axes": [_axis(axis) for axis in axes],
        "layers": [
            {
                "name": printable(attention.name),
                "kind": attention.kind,
                "queries": axes.index(attention.queries),
                "keys": axes.index(attention.keys),
                "heads": attention.heads,
                "number": attention.layer,
                "numbers": attention.head_numbers,
                "nonfinite": attention.nonfinite,
            }
            for attention in run.attentions
        ],
        "groups": groups(run),
        **overlays(run, shown.keys.picture),
        "measures": _measures(scores),
        "thumbnails": {"side": THUMBNAIL, "data": packed.thumbnails},
        "exact": packed.exact,
        "levels": packed.levels,
        "refined": packed.refined,
        "joined": joined,
        "palettes": {theme: hexadecimal(palette(theme)) for theme in THEMES},
        "inks": {theme: ink(theme) for theme in THEMES},
        "shown": {"layer": layer, "head": head, "query": _opening(shown)},
        "headColours": HEAD_COLOURS,
        "lite": _drawn(alike.lite, run),
        "charts": _drawn(alike.charts, run),
    }


def _opening(shown: Attention) -> int | None:
    """Return who looks when the page opens: where a picture is looked at, the first that asks."""
    if shown.keys.pictured:
        return first_query(shown.queries)
    return None


def _axis(axis: Axis) -> dict[str, Any]:
    text = axis.text and with_signs(axis.text)
    return {
        "name": printable(axis.name),
        "labels": drawable(axis.labels),
        "roles": "".join(position.role[0] for position in axis),
        "text": text,
        "spans": text and [_code_units(text, position.span) for position in axis],
    }


def pair(attention: Attention) -> tuple[str, str]:
    """Return which sequence looks at which, as a sentence and in short."""
    queries, keys = printable(attention.queries.name), printable(attention.keys.name)
    looked_at = "itself" if attention.kind == "self" else keys
    return f"{queries} looks at {looked_at}", f"{queries} → {keys}"


def _drawn(charts: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return the charts that a page of this run draws: without a picture there is no overlay."""
    return {name: chart for name, chart in charts.items() if name != "overlay" or pictures(run)}


def _measures(scores: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """Return the scores by measure, to five digits; NaN, which JSON lacks, becomes null."""
    return [
        {
            "name": name,
            "range": known_measures()[name].range,
            "values": [[float(f"{score:.5g}") for score in layer] for layer in measured.values],
        }
        for name, measured in scores.items()
    ]


def hexadecimal(colours: tuple[str, ...]) -> str:
    """Return colours as the page reads them: six digits each, one after the other."""
    return "".join(colour.removeprefix("#") for colour in colours)


def _code_units(text: str, span: Span | None) -> Span | None:
    """Return a span counted as JavaScript counts: a character beyond U+FFFF is two units."""
    if span is None:
        return None
    start, end = (len(text[:place].encode("utf-16-le")) // 2 for place in span)
    return start, end
