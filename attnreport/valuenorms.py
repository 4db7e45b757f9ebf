"""How long the vectors are that an attention adds up. Plain arrays; knows nothing of models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ValueNorms:
    """Hold how long the vectors are that an attention adds up, f(x) being a projected value.

    Sources: Kobayashi et al. 2020, Attention is Not Only a Weight, §3
    https://arxiv.org/abs/2004.10102; of ``block`` Kobayashi et al. 2021, Incorporating Residual and
    Normalization Layers into Analysis of Masked Language Models, §3
    https://arxiv.org/abs/2109.07152

    Attributes:
        heads: ``(head, key)`` float32, read-only, 0 or more: ‖f_h(x_k)‖.
        mixed: ``(query, key)`` float32, read-only, 0 or more: ‖Σ_h α_h(q, k) · f_h(x_k)‖ over all
            heads of the layer.
        block: ``(query, key)`` float32, read-only, 0 or more: ‖g(Σ_h α_h(q, k) · f_h(x_k) +
            [q = k] · x_q)‖, x the residual; None where the ledger says why it is not known.
        normed: whether g is the linear part of the norm of the sum at q, (v - mean of v) · γ /
            spread; else g(v) = v, and a norm before the attention is part of f.
    """

    heads: Floats
    mixed: Floats
    block: Floats | None = None
    normed: bool = False

    def __post_init__(self) -> None:
        for array in (self.heads, self.mixed, self.block):
            if array is not None:
                array.flags.writeable = False
