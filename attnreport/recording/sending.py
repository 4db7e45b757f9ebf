"""What keys send: the lengths of projected values, per head and of all heads together.

Plain tensors in, plain arrays out; nothing here knows where they come from, or how the projection
was found. In float64, since what two heads send may cancel.

Source: Kobayashi et al. 2020, Attention is Not Only a Weight, §3 https://arxiv.org/abs/2004.10102
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.run import ValueNorms

# So many numbers of vectors are held at once: 16 MB.
_AT_ONCE = 1 << 21


def value_norms(
    weights: torch.Tensor,
    values: torch.Tensor,
    matrix: torch.Tensor,
    kept: Sequence[int] | None = None,
) -> ValueNorms:
    """Return ‖f_h(x_k)‖ and ‖Σ_h α_h(q, k) f_h(x_k)‖, with f_h(x_k) = V_h[k] W_h.

    The second comes from the Gram matrix of the heads at each key, αᵀ G_k α with
    G_k[h, h'] = ⟨f_h(x_k), f_h'(x_k)⟩, so that no vector is made for each query; and keys are taken
    some at a time, so that memory does not grow with their number.

    Args:
        weights: α, ``(head, query, key)``.
        values: V, ``(key head, key, d_v)``; fewer heads are shared by groups of neighbours.
        matrix: W, ``(head · d_v, width)``, the rows in the order of the heads.
        kept: the heads whose own norms are wanted; None for all.
    """
    device = torch.device("cpu") if values.device.type == "mps" else values.device
    heads, queries, keys = weights.shape
    matrix = matrix.to(device, torch.float64).reshape(heads, values.shape[-1], -1)
    values = values.to(device, torch.float64).repeat_interleave(heads // values.shape[0], dim=0)
    norms, mixed = np.empty((heads, keys), np.float32), np.empty((queries, keys), np.float32)
    step = max(1, _AT_ONCE // max(1, heads * matrix.shape[-1], heads * queries))
    for start in range(0, keys, step):
        part = slice(start, start + step)
        sent = torch.bmm(values[:, part], matrix).transpose(0, 1)  # (key, head, width)
        alike = sent @ sent.mT
        alpha = weights[:, :, part].to(device, torch.float64).permute(2, 1, 0)
        norms[:, part] = _roots(alike.diagonal(dim1=1, dim2=2)).T
        mixed[:, part] = _roots(((alpha @ alike) * alpha).sum(dim=-1)).T
    return ValueNorms(norms if kept is None else norms[list(kept)], mixed)


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
    rows = []
    for step, start in zip(known, starts, strict=True):
        # A static cache is longer than what is in it.
        width = min(step.heads.shape[1], total - start)
        norms[:, start : start + width] = step.heads[:, :width]
        rows.append(np.pad(step.mixed[:, :width], ((0, 0), (start, total - start - width))))
    return ValueNorms(norms, np.concatenate(rows))


def _roots(squares: torch.Tensor) -> NDArray[np.float32]:
    """Return square roots; a square that rounding made negative is 0, and NaN stays."""
    found: NDArray[np.float32] = squares.clamp(min=0).sqrt().to("cpu", torch.float32).numpy()
    return found
