"""What keys send: the lengths of projected values, per head, of all heads, and of a whole block.

Plain tensors in, plain arrays out; nothing here knows where they come from, or how the projection
was found. In float64, since what two heads send may cancel.

Sources: Kobayashi et al. 2020, Attention is Not Only a Weight, §3
https://arxiv.org/abs/2004.10102; Kobayashi et al. 2021, Incorporating Residual and Normalization
Layers into Analysis of Masked Language Models, §3 https://arxiv.org/abs/2109.07152
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.valuenorms import ValueNorms

# So many numbers of vectors are held at once: 16 MB.
_AT_ONCE = 1 << 21


@dataclass(frozen=True, eq=False)
class Sent:
    """Hold what one attention sends.

    Attributes:
        weights: α, ``(head, query, key)``.
        values: V, ``(key head, key, d_v)``; fewer heads are shared by groups of neighbours.
        matrix: W, ``(head · d_v, width)``, the rows in the order of the heads.
    """

    weights: torch.Tensor
    values: torch.Tensor
    matrix: torch.Tensor


@dataclass(frozen=True, eq=False)
class Norm:
    """Hold a norm over the width of a sum.

    Attributes:
        weight: γ, ``(width,)``; None for ones. The bias belongs to no key.
        eps: what is added to the variance.
        centred: whether the mean is taken off: LayerNorm, not RMSNorm.
        rows: ``(query, width)`` that it norms.
    """

    weight: torch.Tensor | None
    eps: float
    centred: bool
    rows: torch.Tensor | None = None

    def linear(self, vectors: torch.Tensor) -> torch.Tensor:
        """Return (v - mean of v) · γ of vectors ``(…, width)``, in float64."""
        vectors = vectors.to(torch.float64)
        if self.centred:
            vectors = vectors - vectors.mean(dim=-1, keepdim=True)
        weight = self.weight
        return vectors if weight is None else vectors * weight.to(vectors.device, torch.float64)

    def spread(self, device: torch.device) -> torch.Tensor:
        """Return what each row is divided by, ``(query,)`` float64."""
        if self.rows is None:
            raise ValueError("expected the rows that are normed, got none")
        rows = self.rows.to(device, torch.float64)
        if self.centred:
            rows = rows - rows.mean(dim=-1, keepdim=True)
        return (rows.square().mean(dim=-1) + self.eps).sqrt()


def value_norms(sent: Sent, kept: Sequence[int] | None = None) -> ValueNorms:
    """Return ‖f_h(x_k)‖ and ‖Σ_h α_h(q, k) f_h(x_k)‖, with f_h(x_k) = V_h[k] W_h.

    Args:
        sent: weights, values and projection.
        kept: the heads whose own norms are wanted; None for all.
    """
    heads, queries, keys = sent.weights.shape
    norms, mixed = np.empty((heads, keys), np.float32), np.empty((queries, keys), np.float32)
    for part, vectors, alpha in _by_keys(sent):
        alike = vectors @ vectors.mT
        norms[:, part] = _on_host(_roots(alike.diagonal(dim1=1, dim2=2))).T
        mixed[:, part] = _on_host(_mixed(alpha, alike)).T
    return ValueNorms(norms if kept is None else norms[list(kept)], mixed)


def block_norms(sent: Sent, residual: torch.Tensor, norm: Norm | None) -> NDArray[np.float32]:
    """Return ‖g_q(Σ_h α_h(q, k) f_h(x_k) + [q = k] x_q)‖, ``(query, key)``.

    g_q is the linear part of the norm, (v - mean of v) · γ / spread of the whole sum at q, or v
    where there is no norm; the last query is the last key.

    Args:
        sent: weights, values and projection.
        residual: x, ``(query, width)``.
        norm: of the sum; None for none.
    """
    if norm is not None:
        residual = norm.linear(residual)
        sent = replace(sent, matrix=norm.linear(sent.matrix))
    _, queries, keys = sent.weights.shape
    found = np.empty((queries, keys), np.float32)
    # Key k is query k - ahead: what was in a cache comes before all queries.
    ahead = keys - queries
    spread: torch.Tensor | float = 1.0
    for part, vectors, alpha in _by_keys(sent):
        if norm is not None:
            spread = norm.spread(vectors.device)
        lengths = _mixed(alpha, vectors @ vectors.mT)  # (key, query)
        own = torch.arange(max(part.start, ahead), part.stop, device=vectors.device)
        rows, columns = own - ahead, own - part.start
        # (key, 1, head) @ (key, head, width)
        added = (alpha[columns, rows].unsqueeze(1) @ vectors[columns]).squeeze(1)
        added = added + residual.to(added)[rows]
        lengths[columns, rows] = torch.linalg.vector_norm(added, dim=-1)
        found[:, part] = _on_host(lengths / spread).T
    return found


def put_together(
    steps: Sequence[ValueNorms | None], starts: Sequence[int], total: int
) -> ValueNorms | None:
    """Return the norms of the steps of one generation as of one attention.

    Args:
        steps: of each step, in order; without those of one of them there are none of the whole.
        starts: the first key that each of them saw.
        total: how many keys there are in the end.
    """
    known = [step for step in steps if step is not None]
    if len(known) < len(steps):
        return None
    norms = np.zeros((len(known[0].heads), total), np.float32)
    rows, blocks = [], []
    for step, start in zip(known, starts, strict=True):
        # A static cache is longer than what is in it.
        width = min(step.heads.shape[1], total - start)
        norms[:, start : start + width] = step.heads[:, :width]
        beside = ((0, 0), (start, total - start - width))
        rows.append(np.pad(step.mixed[:, :width], beside))
        if step.block is not None and width == step.heads.shape[1]:
            blocks.append(np.pad(step.block, beside))
    whole = len(blocks) == len(known) and len({step.normed for step in known}) == 1
    return ValueNorms(
        norms,
        np.concatenate(rows),
        np.concatenate(blocks) if whole else None,
        normed=whole and known[0].normed,
    )


def _by_keys(sent: Sent) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """Yield some keys at a time, so that memory does not grow with their number.

    Yields:
        The keys, what they send ``(key, head, width)``, and their weights ``(key, query, head)``.
    """
    values = sent.values
    device = torch.device("cpu") if values.device.type == "mps" else values.device
    heads, queries, keys = sent.weights.shape
    matrix = sent.matrix.to(device, torch.float64).reshape(heads, values.shape[-1], -1)
    values = values.to(device, torch.float64).repeat_interleave(heads // values.shape[0], dim=0)
    step = max(1, _AT_ONCE // max(1, heads * matrix.shape[-1], heads * queries))
    for start in range(0, keys, step):
        part = slice(start, min(start + step, keys))
        vectors = torch.bmm(values[:, part], matrix).transpose(0, 1)
        alpha = sent.weights[:, :, part].to(device, torch.float64).permute(2, 1, 0)
        yield part, vectors, alpha


def _mixed(alpha: torch.Tensor, alike: torch.Tensor) -> torch.Tensor:
    """Return ‖Σ_h α_h(q, k) f_h(x_k)‖, ``(key, query)``.

    From the Gram matrix of the heads at each key, αᵀ G_k α with G_k[h, h'] = ⟨f_h(x_k), f_h'(x_k)⟩,
    so that no vector is made for each query.
    """
    return _roots(((alpha @ alike) * alpha).sum(dim=-1))


def _roots(squares: torch.Tensor) -> torch.Tensor:
    """Return square roots; a square that rounding made negative is 0, and NaN stays."""
    return squares.clamp(min=0).sqrt()


def _on_host(lengths: torch.Tensor) -> NDArray[np.float32]:
    found: NDArray[np.float32] = lengths.to("cpu", torch.float32).numpy()
    return found
