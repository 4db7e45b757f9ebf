"""Joined maps as the page carries them: packed like heads, and told apart from heads in words.

A map follows the run's own layers in the page's list of what can be drawn. Its values may exceed 1
or be negative, so they are coded as shares of the map's largest value, around a middle code where
there are two signs. Knows nothing of HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from attnreport.attention import Weights
from attnreport.axis import Axis
from attnreport.charts import picture
from attnreport.charts.labels import drawable
from attnreport.charts.theme import THEMES, signed_palette
from attnreport.measures import Description, JoinedMap
from attnreport.page.document import Group, groups, hexadecimal
from attnreport.page.pack import PackedLayer, packed_codes, packed_exact
from attnreport.run import Run

# Exact maps beside exact heads: as many bytes again as a short text takes in a small model.
_EXACT_BYTES = 1 << 18
_LEVELS = picture.FINEST

MEAN = Description(
    title="Mean of the heads",
    formula="(1 / H) · Σ A_h over the H heads of one layer",
    range=(0.0, 1.0),
    source="the heads are those of Vaswani et al. 2017, Attention Is All You Need, §3.2.2",
    link="https://arxiv.org/abs/1706.03762",
    reading="High means that the heads of that layer together look much at that key.",
)


@dataclass(frozen=True)
class MapWords:
    """Hold what the page says of one map.

    Attributes:
        index: its place in the page's list of what can be drawn, after the run's layers.
        title: what the picker calls it.
        pair: which sequences it relates, e.g. ``"target → source"``.
        about: formula, source and reading.
        extent: smallest and largest value that it can take, in words.
        assumed: name and value of every setting.
        notes: sentences that a reader must know.
    """

    index: int
    title: str
    pair: str
    about: Description
    extent: str
    assumed: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Maps:
    """Hold all maps of a page: words for the templates, and what its script reads.

    ``layers`` are the packed values of ``entries``, in their order; the means at the end have none,
    since the page makes them of the heads.
    """

    words: tuple[MapWords, ...]
    entries: tuple[dict[str, Any], ...]
    layers: tuple[PackedLayer, ...]

    @property
    def document(self) -> dict[str, Any]:
        """Return the part of the page's document that is about maps; colours only where needed."""
        signed = any(entry["signed"] for entry in self.entries)
        return {
            "maps": self.entries,
            "signedPalettes": {theme: hexadecimal(signed_palette(theme)) for theme in THEMES}
            if signed
            else None,
        }


def maps_of(run: Run, joined: Sequence[JoinedMap], *, exact: bool) -> Maps:
    """Return the maps of a page.

    Args:
        run: what is drawn, whose axes the maps have.
        joined: the maps that have values of their own.
        exact: whether heads travel as exact float32, as maps then do too where they are small.
    """
    exact = exact and sum(found.values.nbytes for found in joined) <= _EXACT_BYTES
    first = len(run.attentions)
    words = [_words(found, first + place, exact=exact) for place, found in enumerate(joined)]
    axes = run.axes
    entries = [_entry(axes, found, exact=exact) for found in joined]
    for group in groups(run):
        if any(run.attentions[layer].heads > 1 for layer in group.layers):
            words.append(_words_of_mean(group, first + len(words)))
            entries.append(_entry_of_mean(run, axes, group))
    layers = tuple(_packed(found, exact=exact) for found in joined)
    return Maps(tuple(words), tuple(entries), layers)


def _words(found: JoinedMap, index: int, *, exact: bool) -> MapWords:
    precision = (
        ()
        if exact
        else (
            f"In this file its values are told in {_LEVELS} steps of √; behind every number stands "
            "how far it can be off.",
        )
    )
    return MapWords(
        index=index,
        title=found.about.title,
        pair=_pair(found),
        about=found.about,
        extent=_extent(found),
        assumed=(*found.assumed, (found.choice, " or ".join(found.variants))),
        notes=(*found.notes, *precision),
    )


def _words_of_mean(group: Group, index: int) -> MapWords:
    return MapWords(
        index=index,
        title=MEAN.title,
        pair=group.short,
        about=MEAN,
        extent="0 to 1",
        assumed=(),
        notes=("This page adds up the heads that it holds.",),
    )


def _pair(found: JoinedMap) -> str:
    return " → ".join(drawable((found.queries.name, found.keys.name)))


def _extent(found: JoinedMap) -> str:
    least, most = found.about.range
    return f"{least:g} to {most:g}" if most is not None else "no fixed largest value"


def _entry(axes: tuple[Axis, ...], found: JoinedMap, *, exact: bool) -> dict[str, Any]:
    return {
        "name": found.name,
        "title": found.about.title,
        "pair": _pair(found),
        "kind": "self" if found.queries == found.keys else "cross",
        "queries": axes.index(found.queries),
        "keys": axes.index(found.keys),
        "heads": len(found.variants),
        "choice": found.choice,
        "variants": found.variants,
        "exact": exact,
        "levels": _LEVELS,
        "top": _top(found),
        "signed": found.signed,
        "means": None,
    }


def _entry_of_mean(run: Run, axes: tuple[Axis, ...], group: Group) -> dict[str, Any]:
    first = run.attentions[group.layers[0]]
    return {
        "name": "mean",
        "title": MEAN.title,
        "pair": group.short,
        "kind": first.kind,
        "queries": axes.index(first.queries),
        "keys": axes.index(first.keys),
        "heads": len(group.layers),
        "choice": "layer",
        "variants": [str(run.attentions[place].layer) for place in group.layers],
        "exact": False,
        "levels": _LEVELS,
        "top": 1.0,
        "signed": False,
        "means": group.layers,
    }


def _top(found: JoinedMap) -> float:
    """Return the value of full colour: 1 for shares, or else the largest that there is."""
    return 1.0 if found.about.range == (0.0, 1.0) else found.largest or 1.0


def _packed(found: JoinedMap, *, exact: bool) -> PackedLayer:
    codes = coded(found.values, _top(found), signed=found.signed)
    return PackedLayer(packed_codes(codes), packed_exact(found.values) if exact else None, None)


def coded(values: Weights, top: float, *, signed: bool) -> picture.Codes:
    """Return the code of every value.

    Without signs that is ``picture.encode`` of its share of ``top``. With signs the middle code is
    0, and a value v lies ``round(middle · √(|v| / top))`` codes above or below it.
    """
    shares = np.where(np.isfinite(values), values / np.float32(top), values)
    if not signed:
        return picture.encode(shares)
    middle = (_LEVELS - 1) // 2
    finite = np.isfinite(shares)
    known = np.where(finite, np.clip(shares, -1, 1), 0)
    steps = np.rint(np.sign(known) * np.sqrt(np.abs(known)) * middle)
    codes: picture.Codes = (middle + steps).astype(np.uint8)
    codes[~finite] = _LEVELS
    return codes
