"""Read attention that is written by hand: a softmax, and later its product with the values.

Found by identity, not by names or shapes: the result of a softmax is followed until it multiplies
an activation. What it was at that moment are the weights. Knows nothing of modules or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.einsum import as_product
from attnreport.recording.following import Called, Followed, Origin, follow, start
from attnreport.recording.layout import Layout, layout_of
from attnreport.recording.registry import recorder
from attnreport.recording.watch import Found, Watch
from attnreport.recording.weights import distance, mix, to_host

# How far from 1 a row may sum by rounding alone.
_TOLERANCE = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}


def _softmax(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow what a softmax returned."""
    start(watch, output, Followed(_origin(watch, output, "softmax")))


for _function in (F.softmax, torch.softmax, torch.Tensor.softmax, torch.special.softmax):
    recorder(_function)(_softmax)


def _origin(watch: Watch, output: torch.Tensor, call: str) -> Origin:
    origin = Origin(call, watch.names.current(), tuple(output.shape))
    watch.origins.append(origin)
    return origin


@recorder(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm)
def matmul(
    watch: Watch, output: torch.Tensor, left: torch.Tensor, right: torch.Tensor, **kwargs: Any
) -> None:
    """Record ``weights @ values``, or ``valuesᵀ @ weightsᵀ``."""
    _first_operand_wins(watch, output, left, right)
    if left.dim() < 2 or right.dim() < 2:
        return
    followed = _followed(watch, left)
    if followed is not None:
        _record(watch, followed, _Product(left, right, output, right, followed.clean))
        return
    followed = _followed(watch, right)
    if followed is not None:
        clean = None if followed.clean is None else followed.clean.mT
        _record(watch, followed, _Product(right.mT, left.mT, output.mT, left, clean, right))


@recorder(torch.baddbmm, torch.Tensor.baddbmm)
def baddbmm(
    watch: Watch,
    output: torch.Tensor,
    added: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    **kwargs: Any,
) -> None:
    """Record ``beta · added + alpha · weights @ values``."""
    _first_operand_wins(watch, output, left, right)
    followed = _followed(watch, left)
    if followed is not None:
        with quietly(output):
            rest = (output - kwargs.get("beta", 1) * added) / kwargs.get("alpha", 1)
        _record(watch, followed, _Product(left, right, rest, right, followed.clean))


@recorder(torch.einsum)
def einsum(watch: Watch, output: torch.Tensor, equation: Any, *operands: Any) -> None:
    """Record a contraction of weights and values over the keys."""
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if len(operands) != 2 or not isinstance(equation, str):
        follow(watch, Called(torch.einsum, (equation, *operands), {}, output))
        return
    _first_operand_wins(watch, output, *operands)
    for place in (0, 1):
        followed = _followed(watch, operands[place])
        if followed is None:
            continue
        product = as_product(equation, operands, place, output)
        if isinstance(product, str):
            followed.origin.lost = f"einsum {equation!r}, which {product}"
            return
        weights, values = operands[place], operands[1 - place]
        clean = None if followed.clean is None else product.weights(followed.clean)
        arranged = product.arrange(weights, values, output)
        _record(watch, followed, _Product(*arranged, values, clean, weights))
        return


def _first_operand_wins(
    watch: Watch, output: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> None:
    """Give queries @ keysᵀ, and weights @ values, the positions of the first operand."""
    tag = watch.streams.tag(left)
    if tag is None or tag.stream is None or tag.executed is not None:
        return
    if watch.streams.of(output) is not tag.stream:
        watch.streams.assign(output, tag.stream)


def _followed(watch: Watch, tensor: torch.Tensor) -> Followed | None:
    tag = watch.streams.tag(tensor)
    if tag is None or tag.weights is None:
        return None
    followed: Followed = tag.weights
    return followed


@dataclass(frozen=True, eq=False)
class _Product:
    """Hold one product of weights and values, arranged as matrices.

    Attributes:
        weights: ``(…, query, key)`` as they multiplied the values.
        values: ``(…, key, width)``.
        output: ``(…, query, width)``.
        source: the values before they were arranged; their stream is the keys'.
        clean: the weights before dropout and mixing, where that differs.
        rows: the weights before they were arranged; their stream is the queries'.
    """

    weights: torch.Tensor
    values: torch.Tensor
    output: torch.Tensor
    source: torch.Tensor
    clean: torch.Tensor | None
    rows: torch.Tensor | None = None


def _record(watch: Watch, followed: Followed, product: _Product) -> None:
    origin = followed.origin
    tag = watch.streams.tag(product.source)
    if tag is not None and tag.executed is not None:
        # A table of relative positions, or the points of a distribution: no positions to see.
        origin.lost = "a product with a parameter"
        return
    name = watch.names.current()
    if name is None:
        watch.outside += 1
        return
    if origin.used:
        return
    origin.used = True
    queries = watch.streams.of(product.weights if product.rows is None else product.rows)
    layout = layout_of(product.output.shape[:-2], queries, watch.example)
    if isinstance(layout, str):
        watch.miss(origin.call, layout)
        return
    with quietly(product.weights):
        shown, residual = _computed(product, layout)
        sums = shown.to(torch.promote_types(shown.dtype, torch.float32)).sum(dim=-1)
    found = Found(
        name=name,
        call=origin.call,
        weights=to_host(shown),
        queries=queries,
        keys=watch.streams.of(product.source),
        dtype=str(product.weights.dtype).removeprefix("torch."),
        residual=residual,
        reasons=[*layout.reasons, *followed.reasons],
    )
    _judge_rows(found, followed, sums)
    watch.keep(found)


def _computed(product: _Product, layout: Layout) -> tuple[torch.Tensor, float | None]:
    """Return the weights of one example, and how well they reproduce the output."""
    lead = product.output.shape[:-2]
    if product.clean is not None:
        return layout.pick(product.clean.expand(*lead, -1, -1)), None
    shown = layout.pick(product.weights.expand(*lead, -1, -1))
    values, output = layout.pick(product.values.expand(*lead, -1, -1)), layout.pick(product.output)
    precise = torch.promote_types(shown.dtype, torch.float32)
    return shown, distance(mix(shown.to(precise), values), output)


def _judge_rows(found: Found, followed: Followed, sums: torch.Tensor) -> None:
    """Say what rows mean that do not sum to 1: a sink was cut off, or nothing normalises them."""
    tolerance = _TOLERANCE.get(found.dtype, 1e-1)
    odd = torch.isfinite(sums) & ((sums - 1).abs() > tolerance) & (sums != 0)
    if not followed.origin.normalised or (odd.any() and not followed.cut):
        found.normalised = False
        found.reasons.append("rows do not sum to 1")
    elif odd.any():
        found.sink = to_host((1 - sums).clamp(0, 1))
        found.reasons.append("columns of the softmax were cut off: their share is the sink's")
