"""How a head's weight divides between text, picture, special positions and the model's sink.

Every key belongs to one of three sorts: it has a box (picture), else its role is special, else it
is text. So the three shares and the sink's share of a head sum to 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from attnreport.attention import Attention
from attnreport.axis import Axis, Position
from attnreport.measures.registry import measure
from attnreport.measures.rows import Array, Mask, nothing, rows_of

Sort = Literal["text", "image", "special"]


def sort_of(position: Position) -> Sort:
    """Return which of the three sorts a position belongs to."""
    if position.box is not None:
        return "image"
    return "special" if position.role == "special" else "text"


def positions_of(axis: Axis, sort: Sort) -> Mask:
    """Return ``(position,)``, True where the position is of that sort."""
    return np.array([sort_of(position) == sort for position in axis], dtype=bool)


@measure(
    "special_share",
    title="Share on special positions",
    formula="mean over q of Σ w(q, k) over the keys that tokenizer or model added",
    range=(0.0, 1.0),
    source="Clark et al. 2019, What Does BERT Look At?, §3.2",
    link="https://aclanthology.org/W19-4828/",
    reading="High means that the head looks at separators and class tokens, often to do nothing.",
)
def special_share(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN where no key is special."""
    return _share(attention, "special")


@measure(
    "text_share",
    title="Share on text",
    formula="mean over q of Σ w(q, k) over the keys that are neither special nor in the picture",
    range=(0.0, 1.0),
    source="attnreport; compare Clark et al. 2019, What Does BERT Look At?, §3.2",
    link="https://aclanthology.org/W19-4828/",
    reading="High means that the head looks at words rather than at separators or the picture.",
)
def text_share(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN where no key is text."""
    return _share(attention, "text")


@measure(
    "image_share",
    title="Share on the picture",
    formula="mean over q of Σ w(q, k) over the keys that have a box",
    range=(0.0, 1.0),
    source="attnreport; compare Clark et al. 2019, What Does BERT Look At?, §3.2",
    link="https://aclanthology.org/W19-4828/",
    reading="High means that the head looks at the picture rather than at text.",
)
def image_share(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN where no key has a box."""
    return _share(attention, "image")


@measure(
    "sink_share",
    title="Share of the model's sink",
    formula="mean over q of the weight that went to the learned sink",
    range=(0.0, 1.0),
    source="Xiao et al. 2024, Efficient Streaming Language Models with Attention Sinks, §3.3",
    link="https://arxiv.org/abs/2309.17453",
    reading="High means that the head mostly abstains: its weight goes to no key at all.",
)
def sink_share(attention: Attention) -> Array:
    """Return ``(head,)`` in [0, 1]; NaN where the layer has no sink of its own."""
    if attention.sink is None:
        return nothing(attention)
    return rows_of(attention).mean(attention.sink.astype(np.float64))


def _share(attention: Attention, sort: Sort) -> Array:
    keys = positions_of(attention.keys, sort)
    if not keys.any():
        return nothing(attention)
    rows = rows_of(attention)
    return rows.mean(np.einsum("hqk,k->hq", rows.weights, keys.astype(np.float64)))
