"""Value-weighted attention: how long the vector is that a key sends to a query, ‖α · f(x)‖.

A key that is looked at and has next to nothing to say counts little here. Reads the norms that a
run holds; knows no model.
"""

from __future__ import annotations

import numpy as np

from attnreport.axis import Axis
from attnreport.measures.joinedmap import JoinedMap, left_out_for_room, take_too_much_room
from attnreport.measures.registry import Description, measure
from attnreport.measures.rows import Array, nothing, rows_of
from attnreport.run import Attention, Run, Weights

_KOBAYASHI = "Kobayashi et al. 2020, Attention is Not Only a Weight, §3"
_LINK = "https://arxiv.org/abs/2004.10102"

VALUE_WEIGHTED = Description(
    title="Value-weighted attention",
    formula="‖Σ_h w_h(q, k) · f_h(x_k)‖ over the H heads of one layer; f_h(x): the value of x, "
    "taken through the layer's output projection",
    range=(0.0, None),
    source=_KOBAYASHI,
    link=_LINK,
    reading="High means that what the layer adds to that query comes much from that key.",
)


@measure(
    "value_weighted",
    title="Value-weighted attention",
    formula="mean over q of Σ_k w(q, k) · ‖f(x_k)‖; f(x): the value of x, taken through the "
    "layer's output projection",
    range=(0.0, None),
    source=_KOBAYASHI,
    link=_LINK,
    reading="High means that this head adds much to what is there.",
    suits=lambda run: any(each.value_norms is not None for each in run.attentions),
    wants="weighed values: give --values when the model runs",
)
def value_weighted(attention: Attention) -> Array:
    """Return ``(head,)``, 0 or more, in the model's own units; NaN where no values were weighed."""
    if attention.value_norms is None:
        return nothing(attention)
    weights = attention.weights.astype(np.float64)
    return rows_of(attention).mean((weights * attention.value_norms.heads[:, None]).sum(axis=2))


def value_maps(run: Run) -> tuple[JoinedMap, ...]:
    """Return value-weighted attention, a variant for each layer, for every pair of sequences."""
    if _too_many(run):
        return ()
    groups: dict[tuple[Axis, Axis], list[tuple[int, Weights]]] = {}
    for each in run.attentions:
        if each.value_norms is not None:
            group = groups.setdefault((each.queries, each.keys), [])
            group.append((each.layer, each.value_norms.mixed))
    return tuple(
        JoinedMap(
            name="value_weighted",
            about=VALUE_WEIGHTED,
            queries=queries,
            keys=keys,
            choice="layer",
            variants=tuple(str(layer) for layer, _ in group),
            values=np.stack([mixed for _, mixed in group]).astype(np.float32),
            assumed=(("bias of the value", "part of f"), ("bias of the output", "left out")),
            notes=_unweighed(run),
        )
        for (queries, keys), group in groups.items()
    )


def values_left_out(run: Run) -> tuple[str, ...]:
    """Return in whole sentences which map of the values a page would not carry."""
    return (left_out_for_room(VALUE_WEIGHTED.title),) if _too_many(run) else ()


def _too_many(run: Run) -> bool:
    norms = (each.value_norms for each in run.attentions)
    return take_too_much_room(each.mixed for each in norms if each is not None)


def _unweighed(run: Run) -> tuple[str, ...]:
    layers = [str(each.layer) for each in run.attentions if each.value_norms is None]
    if not layers:
        return ()
    where = f"Layer {', '.join(layers)}"
    return (f"{where} is left out: the ledger says why its values were not weighed.",)
