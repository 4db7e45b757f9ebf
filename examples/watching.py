"""See the attention weights of a whole batch while a training script measures heads.

One sample at a time is what ``attnreport.capture`` is for; a score over thousands wants batches.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by
from torch.overrides import TorchFunctionMode


class Watch(TorchFunctionMode):
    """Recompute ``softmax(QKᵀ/√d_k + mask)`` beside every call of SDPA.

    Attributes:
        weights: ``(batch, head, query, key)`` of each call, in the order of execution.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the function as it is; where it is SDPA, keep the weights too."""
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            self.weights.append(_weights(*args[:2], **kwargs))
        return func(*args, **kwargs)


def _weights(
    query: Tensor, key: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
) -> Tensor:
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf)
    return scores.softmax(dim=-1)
