"""Value-weighted attention: how long the vector is that a key sends to a query, ‖α · f(x)‖.

A key that is looked at and has next to nothing to say counts little here. Reads the norms that a
run holds; knows no model.
"""

from __future__ import annotations

import numpy as np

from attnreport.measures.joinedmap import JoinedMap
from attnreport.measures.layers import (
    layer_maps,
    left_out_for_room,
    take_too_much_room,
    without,
)
from attnreport.measures.registry import Description, measure
from attnreport.measures.rows import Array, nothing, rows_of
from attnreport.run import Attention, Run

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
    suits=lambda run: any(map(_has, run.attentions)),
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
    if take_too_much_room(run, _has):
        return ()
    return layer_maps(
        run,
        "value_weighted",
        VALUE_WEIGHTED,
        lambda each: None if each.value_norms is None else each.value_norms.mixed,
        assumed=(("bias of the value", "part of f"), ("bias of the output", "left out")),
        notes=_unweighed(run),
    )


def values_left_out(run: Run) -> tuple[str, ...]:
    """Return in whole sentences which map of the values a page would not carry."""
    return left_out_for_room(VALUE_WEIGHTED) if take_too_much_room(run, _has) else ()


def _has(attention: Attention) -> bool:
    return attention.value_norms is not None


def _unweighed(run: Run) -> tuple[str, ...]:
    layers = without(run, _has)
    if not layers:
        return ()
    return (f"Layer {layers} is left out: the ledger says why its values were not weighed.",)
