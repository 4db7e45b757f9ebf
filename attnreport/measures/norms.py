"""Value-weighted attention: how long the vector is that a key sends to a query, ‖α · f(x)‖.

By itself, and with the residual and the norm of its block, which a query gets from itself.

A key that is looked at and has next to nothing to say counts little here. Reads the norms that a
run holds; knows no model.
"""

from __future__ import annotations

import numpy as np

from attnreport.attention import Attention
from attnreport.measures.joinedmap import JoinedMap
from attnreport.measures.layers import (
    layer_maps,
    left_out_for_room,
    take_too_much_room,
    without,
)
from attnreport.measures.registry import Description, measure
from attnreport.measures.rows import Array, nothing, rows_of
from attnreport.run import Run

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

WITH_RESIDUAL = Description(
    title="Value-weighted, with residual and norm",
    formula="‖g(Σ_h w_h(q, k) · f_h(x_k) + [q = k] · x_q)‖ over the H heads of one layer; x_q: the "
    "residual; g(v) = (v - mean of v) · γ / spread of the whole sum at q where the layer norms "
    "that sum, else v",
    range=(0.0, None),
    source="Kobayashi et al. 2021, Incorporating Residual and Normalization Layers into Analysis "
    "of Masked Language Models, §3",
    link="https://arxiv.org/abs/2109.07152",
    reading="A bright diagonal means that positions stay what they were: the layer mixes little.",
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
    return layer_maps(
        run,
        "value_weighted",
        VALUE_WEIGHTED,
        lambda each: None if each.value_norms is None else each.value_norms.mixed,
        has=_has,
        assumed=(("bias of the value", "part of f"), ("bias of the output", "left out")),
        notes=_unweighed(run),
    )


def block_maps(run: Run) -> tuple[JoinedMap, ...]:
    """Return the same with residual and norm, where the sum with the residual was found."""
    return layer_maps(
        run,
        "value_weighted_block",
        WITH_RESIDUAL,
        lambda each: None if each.value_norms is None else each.value_norms.block,
        has=_has_block,
        assumed=(("biases of output and norm", "left out"), ("norm before", "part of f")),
        notes=(*_normed(run), *_unsummed(run)),
    )


def values_left_out(run: Run) -> tuple[str, ...]:
    """Return in whole sentences which maps of the values a page would not carry."""
    kinds = ((VALUE_WEIGHTED, _has), (WITH_RESIDUAL, _has_block))
    return tuple(
        sentence
        for about, has in kinds
        if take_too_much_room(run, has)
        for sentence in left_out_for_room(about)
    )


def _normed(run: Run) -> tuple[str, ...]:
    normed, plain = (
        ", ".join(
            str(each.layer)
            for each in run.attentions
            if each.value_norms is not None and _has_block(each) and each.value_norms.normed is way
        )
        for way in (True, False)
    )
    notes = (
        (
            normed,
            "The norm is taken in of layer {}: it norms the sum, and nothing else reads that.",
        ),
        (plain, "No norm is taken in of layer {}: the sum has none, or is read by more than it."),
    )
    return tuple(words.format(layers) for layers, words in notes if layers)


def _unsummed(run: Run) -> tuple[str, ...]:
    layers = without(run, _has_block)
    return (f"Layer {layers} is left out: the ledger says why.",) if layers else ()


def _has_block(attention: Attention) -> bool:
    return attention.value_norms is not None and attention.value_norms.block is not None


def _has(attention: Attention) -> bool:
    return attention.value_norms is not None


def _unweighed(run: Run) -> tuple[str, ...]:
    layers = without(run, _has)
    if not layers:
        return ()
    return (f"Layer {layers} is left out: the ledger says why its values were not weighed.",)
