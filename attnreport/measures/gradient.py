"""Gradient × attention: the weights that the chosen number would rise with, head by head.

Reads the gradients that a run holds; what they are of is the run's ``target``. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.measures.joinedmap import JoinedMap
from attnreport.measures.layers import (
    layer_maps,
    left_out_for_room,
    take_too_much_room,
    without,
)
from attnreport.measures.registry import Description, measure
from attnreport.measures.relevance import RELEVANCE, positive_products, relevance
from attnreport.measures.rows import Array, nothing, rows_of
from attnreport.run import Run

_CHEFER = "Chefer, Gur & Wolf 2021, Generic Attention-model Explainability, eq. 5"
_LINK = "https://arxiv.org/abs/2103.15679"

GRADIENT_ATTENTION = Description(
    title="Gradient × attention",
    formula="mean over the heads of one layer of (∂y/∂A ⊙ A)⁺; y: the number that was "
    "differentiated, ⁺: what is negative counts 0",
    range=(0.0, None),
    source=_CHEFER,
    link=_LINK,
    reading="High means that y would rise if the layer's heads looked more at what they look at.",
)


@measure(
    "gradient_attention",
    title="Gradient × attention",
    formula="mean over q of Σ_k (∂y/∂w(q, k) · w(q, k))⁺; y: the number that was differentiated",
    range=(0.0, None),
    source=_CHEFER + ", for one head",
    link=_LINK,
    reading="High means that y rests much on where this head looks.",
    suits=lambda run: any(map(_has, run.attentions)),
    wants="gradients: give --target-class or --target-token when the model runs",
)
def gradient_attention(attention: Attention) -> Array:
    """Return ``(head,)``, 0 or more, in units of y; NaN where no gradient arrived.

    A row whose product holds NaN or infinity counts 0, as it does in relevance.
    """
    if attention.gradient is None:
        return nothing(attention)
    sums = positive_products(attention, attention.gradient).sum(axis=2)
    return rows_of(attention).mean(sums)


def gradient_maps(run: Run) -> tuple[JoinedMap, ...]:
    """Return gradient × attention, a variant for each layer, for every pair of sequences."""
    return layer_maps(
        run,
        "gradient_attention",
        GRADIENT_ATTENTION,
        lambda each: positive_products(each, each.gradient).mean(axis=0) if _has(each) else None,
        has=_has,
        assumed=(("y", _target(run)),),
        notes=(_of(run), *_unreached(run)),
    )


def relevance_maps(run: Run, tops: Sequence[Axis]) -> tuple[JoinedMap, ...]:
    """Return relevance for the rows of every sequence in ``tops``, a map per input sequence.

    An attention without a gradient is passed over: where y does not depend on it that is exact,
    and the map says which ones they are. What each position counts for itself from the start is
    taken off, as the paper's normalisation does: beside that 1 nothing else would be seen.
    """
    if not any(map(_has, run.attentions)):
        return ()
    gradients = [
        np.zeros_like(each.weights) if each.gradient is None else each.gradient
        for each in run.attentions
    ]
    return tuple(
        JoinedMap(
            name="relevance",
            about=RELEVANCE,
            queries=top,
            keys=part.keys,
            choice="head fusion",
            variants=("mean",),
            values=(part.weights - (0 if place else np.eye(len(top)))).astype(np.float32)[None],
            assumed=(("y", _target(run)),),
            notes=(
                _of(run),
                "Read the row of the position that y was taken from.",
                "A row does not add up to 1, and the 1 that each position counts for itself from "
                "the start is taken off.",
                *_unreached(run),
            ),
        )
        for top in tops
        for place, part in enumerate(relevance(run, gradients, top))  # its own sequence first
    )


def gradients_left_out(run: Run) -> tuple[str, ...]:
    """Return in whole sentences which map of the gradients a page would not carry."""
    return left_out_for_room(GRADIENT_ATTENTION) if take_too_much_room(run, _has) else ()


def _has(attention: Attention) -> bool:
    return attention.gradient is not None


def _target(run: Run) -> str:
    return run.target or "a number that was differentiated, and not named"


def _of(run: Run) -> str:
    return f"y is {_target(run)}."


def _unreached(run: Run) -> tuple[str, ...]:
    layers = without(run, _has)
    if not layers:
        return ()
    return (
        f"No gradient of y arrived at layer {layers}, which is left out: y does not "
        "depend on it, or the way from there could not be followed.",
    )
