"""The formula: weights from queries and keys, and how far they are from what a layer returned.

Plain tensors in, plain tensors out; nothing here knows where they come from.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray


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
    scores = scores_of(query, key, scale)
    if causal:
        allowed = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores.masked_fill_(~allowed, -math.inf)
    if mask is not None and mask.dtype == torch.bool:
        scores.masked_fill_(~mask, -math.inf)
    elif mask is not None:
        scores += mask.to(scores.dtype)
    return normalise(scores, may_be_blind=mask is not None, empty=empty)


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
    precise = torch.promote_types(query.dtype, torch.float32)
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1])
    # A copy of the queries is small; the scores are not, and are written once.
    query, key = query.to(precise) * scale, key.to(precise)
    heads, length, width = query.shape
    groups = key.shape[0]
    # (key head, heads per group times query, width) @ (key head, width, key)
    grouped = query.reshape(groups, heads // groups * length, width)
    scores = _room((*grouped.shape[:2], key.shape[1]), grouped)
    torch.bmm(grouped, key.mT, out=scores)
    return scores.view(heads, length, key.shape[1])


def _room(shape: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Return a new tensor with anything in it, in the dtype and on the device of ``like``.

    NumPy asks the system for large pages and torch does not: at 512 positions filling new memory
    for the first time costs a quarter of all that a capture does.
    """
    if like.device.type == "cpu" and like.dtype == torch.float32:
        return torch.from_numpy(np.empty(shape, np.float32))
    return like.new_empty(shape)


def mix(weights: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return weights @ value.

    Args:
        weights: ``(head, query, key)``.
        value: ``(key head, key, width)``; fewer heads are shared by groups as in the keys.

    Returns:
        ``(head, query, width)`` in the precision of the weights.
    """
    heads, length, keys = weights.shape
    groups = value.shape[0]
    grouped = weights.reshape(groups, heads // groups * length, keys)
    mixed = torch.bmm(grouped, value.to(weights.dtype))
    return mixed.reshape(heads, length, value.shape[-1])


def distance(computed: torch.Tensor, output: torch.Tensor) -> float | None:
    """Return max |computed - output| / max |output|, or None where a value is not finite.

    An output of zeros only is met by zeros only: the distance is then 0 or infinite.
    """
    if not output.numel():
        return 0.0
    output = output.to(computed.dtype)
    error = float((computed - output).abs().max())
    size = float(output.abs().max())
    if not math.isfinite(error) or not math.isfinite(size):
        return None
    if size == 0:
        return 0.0 if error == 0 else math.inf
    return error / size


def to_host(weights: torch.Tensor, *, ours: bool = False) -> NDArray[np.float32]:
    """Return a float32 array of its own in host memory; a copy unless the tensor is ``ours``."""
    host: NDArray[np.float32] = weights.detach().to("cpu", torch.float32).numpy()
    return np.ascontiguousarray(host) if ours else np.array(host, order="C")


def before_dropout(rate: float) -> str:
    """Return the ledger's words for weights that were dropped out afterwards."""
    return f"weights before dropout {rate:g}; what the layer returned cannot check them"
