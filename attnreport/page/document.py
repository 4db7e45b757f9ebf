"""What the page's script needs to know of a Run, as plain JSON: axes, layers, colours, charts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from attnreport.charts import colourbar_view, heatmap_view
from attnreport.charts.theme import THEMES, ink, palette
from attnreport.page.pack import Packed
from attnreport.page.vega import compiled
from attnreport.run import Attention, Run


@dataclass(frozen=True)
class Group:
    """Hold the layers that relate the same two sequences: "target looks at source"."""

    title: str
    layers: tuple[int, ...]


def groups(run: Run) -> tuple[Group, ...]:
    """Return the run's layers by the pair of sequences they relate, in order of first use."""
    members: dict[str, list[int]] = {}
    for attention in run.attentions:
        members.setdefault(_pair(attention), []).append(attention.layer)
    return tuple(Group(title, tuple(layers)) for title, layers in members.items())


def document(run: Run, packed: Packed, layer: int, head: int) -> dict[str, Any]:
    """Return the JSON document of the page that shows ``layer`` and ``head`` first."""
    axes = run.axes
    return {
        "axes": [
            {"name": axis.name, "labels": axis.labels, "roles": "".join(_roles(axis.positions))}
            for axis in axes
        ],
        "layers": [
            {
                "name": attention.name,
                "kind": attention.kind,
                "queries": axes.index(attention.queries),
                "keys": axes.index(attention.keys),
                "heads": attention.heads,
                "nonfinite": attention.nonfinite,
            }
            for attention in run.attentions
        ],
        "groups": [{"title": group.title, "layers": group.layers} for group in groups(run)],
        "exact": packed.exact,
        "levels": packed.levels,
        "palettes": {theme: _hexadecimal(palette(theme)) for theme in THEMES},
        "inks": {theme: ink(theme) for theme in THEMES},
        "shown": {"layer": layer, "head": head},
        "charts": {
            "heatmap": compiled(heatmap_view()),
            "colourbar": compiled(colourbar_view()),
        },
    }


def _pair(attention: Attention) -> str:
    looked_at = "itself" if attention.kind == "self" else attention.keys.name
    return f"{attention.queries.name} looks at {looked_at}"


def _hexadecimal(colours: tuple[str, ...]) -> str:
    return "".join(colour.removeprefix("#") for colour in colours)


def _roles(positions: Any) -> Iterator[str]:
    for position in positions:
        yield position.role[0]
