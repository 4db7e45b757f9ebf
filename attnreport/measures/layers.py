"""Maps of single layers: one variant of a joined map for each layer, for every pair of sequences.

Says as well where a page would not carry them. Knows nothing of what is in the matrices.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.measures.joinedmap import JoinedMap
from attnreport.measures.registry import Description
from attnreport.run import Run

# ``(query, key)`` of one layer, or None where the layer has none.
MatrixOf = Callable[[Attention], NDArray[np.floating] | None]

# So many values, all layers together, a page carries beside the weights themselves.
_MOST_VALUES = 1 << 21


def layer_maps(  # noqa: PLR0913 - each is another line of what the page says
    run: Run,
    name: str,
    about: Description,
    matrix_of: MatrixOf,
    *,
    has: Callable[[Attention], bool],
    assumed: tuple[tuple[str, str], ...],
    notes: tuple[str, ...],
) -> tuple[JoinedMap, ...]:
    """Return a map for every pair of sequences, of the layers that have a matrix.

    None at all where they would take as much room as the weights: ``left_out_for_room`` says so.
    """
    if take_too_much_room(run, has):
        return ()
    groups: dict[tuple[Axis, Axis], dict[str, NDArray[np.floating]]] = {}
    for each in run.attentions:
        matrix = matrix_of(each)
        if matrix is not None:
            groups.setdefault((each.queries, each.keys), {})[str(each.layer)] = matrix
    return tuple(
        JoinedMap(
            name=name,
            about=about,
            queries=queries,
            keys=keys,
            choice="layer",
            variants=tuple(group),
            values=np.stack(list(group.values())).astype(np.float32),
            assumed=assumed,
            notes=notes,
        )
        for (queries, keys), group in groups.items()
    )


def take_too_much_room(run: Run, has: Callable[[Attention], bool]) -> bool:
    """Tell whether maps of the layers that have one would take as much room as weights do."""
    sizes = (len(each.queries) * len(each.keys) for each in run.attentions if has(each))
    return sum(sizes) > _MOST_VALUES


def left_out_for_room(about: Description) -> tuple[str, ...]:
    """Return the sentence that says so."""
    return (
        f"{about.title} of every layer was left out of this page, since it would take as much room "
        "as the weights; the heads are ranked by it all the same, and the run holds it.",
    )


def without(run: Run, has: Callable[[Attention], bool]) -> str:
    """Return the numbers of the layers that have none, e.g. ``"1, 4"``; empty where all do."""
    return ", ".join(str(each.layer) for each in run.attentions if not has(each))
