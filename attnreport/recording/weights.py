"""The formula: weights from queries and keys, and how far they are from what a layer returned.

Plain tensors in, plain tensors out; nothing here knows where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.recording.room import room

# What is computed together on a CPU: so many bytes for each thread stay in its cache.
_CACHE = 1 << 20
# Products with 16 columns are the fastest of the narrow ones; three are for sums (reading.py).
COMBINATIONS = 13


def softmax_weights(  # noqa: PLR0913 - the formula has this many terms
    query: torch.Tensor,
    key: torch.Tensor,
    *,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
    causal: bool = False,
    empty: float = 0.0,
) -> torch.Tensor:
    """Return softmax(query keyᵀ · scale + mask), as scaled dot-product attention computes it.

    The softmax is in float32, or float64 for float64 input, as the kernels do it for half
    precision too. Vaswani et al. 2017, section 3.2.1.

    Args:
        query: ``(head, query, width)``.
        key: ``(key head, key, width)``; fewer key heads than heads are shared by groups of
            neighbouring heads (Ainslie et al. 2023).
        scale: 1/√width where None.
        mask: broadcasts to ``(head, query, key)``; boolean, True where attention is allowed, or
            float, added.
        causal: whether query i sees keys 0 … i only, counted from the upper left corner.
        empty: what a row is filled with that may look at nothing; the kernels leave it 0.

    Returns:
        ``(head, query, key)``.
    """
    # Mixing values of no width costs nothing.
    nothing = query.new_empty(len(key), key.shape[1], 0)
    weights, _ = _by_heads(query, key, nothing, scale=scale, mask=mask, causal=causal, empty=empty)
    return weights


def attend(  # noqa: PLR0913 - the formula has this many terms
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None = None,
    mask: torch.Tensor | None = None,
    causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what ``softmax_weights`` and ``mix`` do, each head's while it is at hand."""
    return _by_heads(query, key, value, scale=scale, mask=mask, causal=causal, empty=0.0)


def _by_heads(  # noqa: PLR0913 - the formula has this many terms
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    scale: float | None,
    mask: torch.Tensor | None,
    causal: bool,
    empty: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute as many heads at once as stay in the processor's cache."""
    query, key, scale = precisely(query, key, scale)
    shape = (*query.shape[:2], key.shape[1])
    weights, mixed = room(shape, query), query.new_empty(*shape[:2], value.shape[2])
    mask = None if mask is None else mask.expand(shape)
    later = later_keys(shape[1], shape[2], query.device) if causal else None
    for groups in _at_once(weights, len(key)):
        heads = slice(*(place * shape[0] // len(key) for place in (groups.start, groups.stop)))
        scores = multiply(query[heads], key[groups], scale, weights[heads])
        hide(scores, None if mask is None else mask[heads], later)
        normalise(scores, may_be_blind=mask is not None, empty=empty)
        mix(scores, value[groups], mixed[heads])
    return weights, mixed


def _at_once(weights: torch.Tensor, groups: int) -> Iterator[slice]:
    """Yield the key heads whose weights are computed at once: on a CPU, what its cache holds."""
    step = groups
    if weights.device.type == "cpu":
        each = max(weights.nbytes // max(groups, 1), 1)
        step = max(_CACHE // each, 1) * torch.get_num_threads()
    for start in range(0, groups, step):
        yield slice(start, min(start + step, groups))


def later_keys(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """Return ``(query, key)``, true where the key comes after the query."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).triu_(1)


def hide(
    scores: torch.Tensor,
    mask: torch.Tensor | None,
    later: torch.Tensor | None,
    lowest: float = -math.inf,
) -> None:
    """Take the scores of what may not be looked at away.

    Args:
        scores: ``(head, query, key)``; written over.
        mask: the same of a mask, boolean or added; None for none.
        later: of the last keys which may not be looked at, ``(query, key)``.
        lowest: what their scores become.
    """
    if mask is not None and mask.dtype == torch.bool:
        scores.masked_fill_(~mask, lowest)
    elif mask is not None:
        scores += mask.to(scores.dtype)
    if later is not None:
        first = scores.shape[2] - later.shape[1]
        scores[..., first:].masked_fill_(later, lowest)


def normalise(scores: torch.Tensor, *, may_be_blind: bool, empty: float = 0.0) -> torch.Tensor:
    """Return the softmax over the last dimension; the scores are written over.

    Args:
        scores: ``(head, query, key)``, -infinity where nothing may be looked at.
        may_be_blind: whether there may be rows that may look at nothing.
        empty: what such a row is filled with.
    """
    blind = None
    if may_be_blind and scores.numel():
        blind = scores.amax(dim=-1, keepdim=True) == -math.inf
    # Scores are large: every step that can writes over them.
    weights = torch.softmax(scores, dim=-1, out=scores)
    if blind is not None and blind.any():
        weights.masked_fill_(blind, empty)
    return weights


def scores_of(query: torch.Tensor, key: torch.Tensor, scale: float | None) -> torch.Tensor:
    """Return query keyᵀ · scale as ``(head, query, key)``, at least in float32."""
    query, key, scale = precisely(query, key, scale)
    return multiply(query, key, scale, room((*query.shape[:2], key.shape[1]), query))


def multiply(
    query: torch.Tensor, key: torch.Tensor, scale: float, scores: torch.Tensor
) -> torch.Tensor:
    """Write query keyᵀ · scale to ``scores``, ``(head, query, key)``."""
    heads, length, width = query.shape
    groups, keys, _ = key.shape
    # (key head, heads per group times query, width) @ (key head, width, key)
    grouped = query.reshape(groups, heads // groups * length, width)
    scores.view(*grouped.shape[:2], keys).baddbmm_(grouped, key.mT, beta=0, alpha=scale)
    return scores


def precisely(
    query: torch.Tensor, key: torch.Tensor, scale: float | None
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return query and key at least in float32, and the scale, which is 1/√width for None."""
    precise = torch.promote_types(query.dtype, torch.float32)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    return query.to(precise), key.to(precise), scale


def mix(
    weights: torch.Tensor, value: torch.Tensor, out: torch.Tensor | None = None
) -> torch.Tensor:
    """Return weights @ value.

    Args:
        weights: ``(head, query, key)``.
        value: ``(key head, key, width)``; fewer heads are shared by groups as in the keys.
        out: where to write it, in memory without gaps; new memory without.

    Returns:
        ``(head, query, width)`` in the precision of the weights.
    """
    heads, length, keys = weights.shape
    groups, _, width = value.shape
    out = weights.new_empty(heads, length, width) if out is None else out
    grouped = groups, heads // groups * length
    torch.bmm(
        weights.reshape(*grouped, keys), value.to(weights.dtype), out=out.view(*grouped, width)
    )
    return out


def distance(computed: torch.Tensor, output: torch.Tensor) -> float | None:
    """Return max |computed - output| / max |output|, or None where a value is not finite.

    An output of zeros only is met by zeros only: the distance is then 0 or infinite.
    """
    if not output.numel():
        return 0.0
    output = output.to(computed.dtype)
    return _share(_furthest(computed - output), output)


def combinations(width: int) -> torch.Tensor:
    """Return factors for a few random combinations of ``width`` numbers, ``(width, 13)``.

    They are the same every time. Two vectors are told apart by any one of them with probability 1
    (Freivalds 1977); the mean of the squares is that of their distance, on average.
    """
    return torch.randn(width, COMBINATIONS, generator=torch.Generator().manual_seed(width))


def combined_distance(
    computed: torch.Tensor, combined: torch.Tensor, output: torch.Tensor
) -> float | None:
    """Return max ‖row of computed - row of output‖ / max |output| by combinations of columns.

    The norm of a row is at least its largest value, so that this is more than ``distance`` but for
    chance: with 13 combinations it is less than a quarter of it once in a million.

    Args:
        computed: ``(…, combination)`` of what was computed.
        combined: the same of the output.
        output: ``(…, width)``.
    """
    if not output.numel():
        return 0.0
    apart = computed - combined.to(computed.dtype)
    return _share(math.sqrt(apart.square_().mean(dim=-1).amax()), output)


def _share(error: float, output: torch.Tensor) -> float | None:
    size = _furthest(output)
    if not math.isfinite(error) or not math.isfinite(size):
        return None
    if size == 0:
        return 0.0 if error == 0 else math.inf
    return abs(error) / size


def _furthest(numbers: torch.Tensor) -> float:
    """Return the largest absolute value; NaN where there is one."""
    return max(-float(numbers.amin()), float(numbers.amax()))


def to_host(weights: torch.Tensor, *, ours: bool = False) -> NDArray[np.float32]:
    """Return a float32 array of its own in host memory; a copy unless the tensor is ``ours``."""
    host: NDArray[np.float32] = weights.detach().to("cpu", torch.float32).numpy()
    return np.ascontiguousarray(host) if ours else np.array(host, order="C")


def before_dropout(rate: float) -> str:
    """Return the ledger's words for weights that were dropped out afterwards."""
    return f"weights before dropout {rate:g}; what the layer returned cannot check them"
