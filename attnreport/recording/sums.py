"""Read attention that is written as a broadcast product and a sum.

Knows the shapes of such a product; what it was made of comes from following.py.
"""

from __future__ import annotations

import torch

from attnreport.recording.following import SUMS, Called, Product
from attnreport.recording.positions import lie_along_positions
from attnreport.recording.product import Matrices, record
from attnreport.recording.watch import Watch


def _sum(watch: Watch, call: Called, product: Product) -> None:
    """Record ``(weights[…, None] * values).sum(keys)``."""
    dimension = call.argument(1, "dim", None)
    if isinstance(dimension, (tuple, list)) and len(dimension) == 1:
        dimension = dimension[0]
    rank = product.values.dim()
    if not isinstance(dimension, int):
        return
    keys = dimension % rank
    if keys == rank - 1:
        return
    output = call.output if call.output.dim() == rank else call.output.unsqueeze(keys)
    queries = _query_dimension(product, keys)
    if queries is None and rank == 3 and not _is_over_positions(watch, product, keys):
        origin = product.followed.origin
        origin.lost = "a weighted sum, of which nothing tells that it is over positions"
        return
    summed = _last(output, keys, queries)
    clean = product.followed.clean
    matrices = Matrices(
        weights=_rows(product.weights, keys, queries),
        values=_values(product.values, keys, queries),
        output=summed if queries is None else summed.squeeze(-2),
        source=product.values,
        clean=None if clean is None else _rows(clean, keys, queries),
        rows=product.weights,
        arrange=lambda gradient: _rows(gradient, keys, queries),
        align=lambda numbers: _values(numbers, keys, queries),
    )
    record(watch, product.followed, matrices)


def _last(tensor: torch.Tensor, keys: int, queries: int | None) -> torch.Tensor:
    """Return ``(…, keys, width)``, or ``(…, queries, keys, width)`` where there are queries."""
    if queries is None:
        return tensor.movedim(keys, -2)
    return tensor.movedim((queries, keys), (-3, -2))


def _values(values: torch.Tensor, keys: int, queries: int | None) -> torch.Tensor:
    arranged = _last(values, keys, queries)
    return arranged if queries is None else arranged.squeeze(-3)


def _rows(weights: torch.Tensor, keys: int, queries: int | None) -> torch.Tensor:
    """Return weights with a dimension of one at the end as ``(…, query, key)``."""
    arranged = _last(weights, keys, queries)
    return arranged.mT if queries is None else arranged.squeeze(-1)


def _query_dimension(product: Product, keys: int) -> int | None:
    """Return the last dimension that the weights have and the values share, or None."""
    weights, values = product.weights.shape, product.values.shape
    shared = [
        place
        for place in range(len(values) - 1)
        if place != keys and values[place] == 1 < weights[place]
    ]
    return shared[-1] if shared else None


def _is_over_positions(watch: Watch, product: Product, keys: int) -> bool:
    """Tell whether the sum is over a sequence: it may be over experts, at each of its positions."""
    stream = watch.streams.of(product.values)
    if stream is not None and stream.batch == product.values.shape[0]:
        return True
    return lie_along_positions(
        watch.streams, product.weights, lambda numbers: _rows(numbers, keys, None), -1
    )


SUMS[torch.sum] = SUMS[torch.Tensor.sum] = _sum
