"""Join neighbouring positions of a run, where all of them would make too large a page.

A joined position is an honest one: its weights are what its members' weights come to, its label
names the first and the last of them, its box is their rectangle. Knows nothing of bytes or pages.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.joining import Groups, joined_axis, members, summed
from attnreport.measures import JoinedMap
from attnreport.page.grouping import groups_of
from attnreport.run import Run


def joined_run(run: Run, block: int) -> Run:
    """Return the run with up to ``block`` neighbouring positions of a kind as one.

    Weights of joined keys add up, weights of joined queries are averaged, so that a row still adds
    up to what it did; where rows do not add up to 1, keys are averaged as well.
    """
    if block == 1:
        return run
    groups = {axis: groups_of(axis, block) for axis in run.axes}
    axes = {axis: joined_axis(axis, groups[axis]) for axis in run.axes}
    return replace(
        run, attentions=tuple(_joined(attention, groups, axes) for attention in run.attentions)
    )


def joined_map(found: JoinedMap, block: int) -> JoinedMap:
    """Return a map with positions joined as ``joined_run`` joins them.

    Values of joined keys add up and values of joined queries are averaged: a share of two keys is
    the sum of their shares, and so is what two keys contribute.
    """
    if block == 1:
        return found
    rows, columns = groups_of(found.queries, block), groups_of(found.keys, block)
    queries, keys = joined_axis(found.queries, rows), joined_axis(found.keys, columns)
    values = found.values
    if len(keys) != len(found.keys):
        values = summed(values, columns, axis=2)
    if len(queries) != len(found.queries):
        values = summed(values, rows, axis=1) / members(rows)[:, None]
    return replace(found, queries=queries, keys=keys, values=values.astype(np.float32))


def _joined(attention: Attention, groups: dict[Axis, Groups], axes: dict[Axis, Axis]) -> Attention:
    weights, sink, normalised = attention.weights, attention.sink, attention.normalised
    queries, keys = axes[attention.queries], axes[attention.keys]
    if len(keys) != weights.shape[2]:
        columns = groups[attention.keys]
        weights = summed(weights, columns, axis=2)
        if not normalised:
            weights = weights / members(columns)
    if len(queries) != weights.shape[1]:
        rows = groups[attention.queries]
        count = members(rows)
        # A row of zeros saw nothing: averaged with one that did, it makes a row of less than 1.
        seen = (attention.weights != 0).any(axis=2)
        normalised = normalised and bool((seen.all(axis=1) | ~seen.any(axis=1)).all())
        weights = summed(weights, rows, axis=1) / count[:, None]
        sink = None if sink is None else (summed(sink, rows, axis=1) / count).astype(np.float32)
    weights = np.where(np.isfinite(weights), np.minimum(weights, 1), weights).astype(np.float32)
    return replace(
        attention,
        weights=weights,
        queries=queries,
        keys=keys,
        sink=sink,
        normalised=normalised,
        value_norms=None,
        points=None,
        gradient=None,  # what is made of it was made before, of single positions
    )
