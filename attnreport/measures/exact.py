"""Measures of an attention whose positions were joined while it was captured.

Blocks of positions cannot be measured as if they were positions. What the capture read off all
weights is enough for the measures here, which are the same numbers as of the whole; others have no
meaning there. The formulas are those of ``spread``, ``distance``, ``position`` and ``share``.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from attnreport.attention import Attention
from attnreport.measures.reduced_rows import ReducedRows
from attnreport.measures.registry import exact
from attnreport.measures.rows import Array, nothing, ratio
from attnreport.measures.share import Sort, positions_of


def _is_self(attention: Attention, rows: ReducedRows) -> bool:
    return attention.kind == "self" and rows.reduced.queries == rows.reduced.keys


@exact("entropy")
def _entropy(_: Attention, rows: ReducedRows) -> Array:
    visible, lit = rows.reduced.visible, rows.usable & (rows.sums > 0)
    choice = visible > 1
    found = rows.reduced.figure("entropy") / np.log(np.where(choice, visible, 2))
    mean = rows.mean(np.clip(found, 0.0, 1.0), choice & lit)
    return np.where(np.isnan(mean) & lit.any(axis=1), 0.0, mean)


@exact("vertical")
def _vertical(attention: Attention, rows: ReducedRows) -> Array:
    if not rows.reduced.normalised or rows.broken.any():
        return nothing(attention)
    columns = rows.reduced.columns.astype(np.float64)
    return ratio(columns.max(axis=1, initial=0.0), columns.sum(axis=1))


@exact("distance")
def _distance(attention: Attention, rows: ReducedRows) -> Array:
    if not _is_self(attention, rows):
        return nothing(attention)
    total = np.where(rows.usable, rows.share("distance"), 0.0).sum(axis=1)
    sums = rows.sums if rows.reduced.normalised else (rows.sums > 0).astype(np.float64)
    return ratio(total, sums.sum(axis=1))


@exact("first_token")
def _first(attention: Attention, rows: ReducedRows) -> Array:
    among = np.arange(len(rows.reduced.queries)) >= int(_is_self(attention, rows))
    return rows.mean(rows.share("first"), among)


def _neighbour(attention: Attention, rows: ReducedRows, *, figure: str, offset: int) -> Array:
    if not _is_self(attention, rows):
        return nothing(attention)
    key = np.arange(len(rows.reduced.queries)) + offset
    return rows.mean(rows.share(figure), (key >= 0) & (key < len(rows.reduced.keys)))


def _share(attention: Attention, rows: ReducedRows, *, sort: Sort) -> Array:
    keys = positions_of(rows.reduced.keys, sort)
    if not keys.any() or not rows.reduced.normalised or rows.broken.any():
        return nothing(attention)
    columns = rows.reduced.columns.astype(np.float64)
    return ratio(columns[:, keys].sum(axis=1), rows.usable.sum(axis=1))


@exact("sink_share")
def _sink(attention: Attention, rows: ReducedRows) -> Array:
    if rows.reduced.sink is None:
        return nothing(attention)
    return rows.mean(rows.reduced.sink.astype(np.float64))


for _name, _offset in (("previous", -1), ("same", 0), ("next", 1)):
    exact(f"{_name}_token")(partial(_neighbour, figure=_name, offset=_offset))
exact("text_share")(partial(_share, sort="text"))
exact("image_share")(partial(_share, sort="image"))
exact("special_share")(partial(_share, sort="special"))
