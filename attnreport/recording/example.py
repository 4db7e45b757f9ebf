"""One example of ``torch.nn``'s attention, computed once more from its inputs and parameters.

Knows the formulas; not through which of torch's calls it was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.gradients import through_values
from attnreport.recording.sending import Sent
from attnreport.recording.weights import mix, softmax_weights


@dataclass
class Example:
    """Be one example of one multi-head attention, whatever it was called through.

    Attributes:
        inputs: queries, keys, values before their projection, each ``(position, width)``.
        matrices: their projections.
        biases: and what is added; None for none.
        out: matrix and bias of the output projection.
        heads: number of heads.
        mask: float, added to the scores; None for none.
        causal: whether query i sees keys 0 … i only.
        empty: what a row becomes that may look at nothing, which torch's paths do not agree on.
        extra: further keys and values after the projection, ``(head, 1, width)`` each.
        static: keys and values given instead of projected ones, ``(head, key, width)``.
    """

    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    matrices: Sequence[torch.Tensor]
    biases: Sequence[torch.Tensor | None]
    out: tuple[torch.Tensor, torch.Tensor | None]
    heads: int
    mask: torch.Tensor | None = None
    causal: bool = False
    empty: float = 0.0
    extra: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    static: Sequence[torch.Tensor | None] = (None, None)

    def attend(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weights ``(head, query, key)`` and output ``(query, width)``."""
        weights, value = self._weights_and_values()
        # (head, query, width) to (query, head · width)
        joined = mix(weights, value).transpose(0, 1).flatten(1)
        matrix, bias = self.out
        bias = None if bias is None else bias.to(joined.dtype)
        return weights, F.linear(joined, matrix.to(joined.dtype), bias)

    def sent(self) -> Sent:
        """Return weights and values of the sequence's own keys, and the heads' projection."""
        weights, value = self._weights_and_values()
        keys = weights.shape[-1] - len(self.extra)
        return Sent(weights[..., :keys].detach(), value[:, :keys].detach(), self.out[0].T.detach())

    def part(self, head: int) -> torch.Tensor:
        """Return what one head adds to the output, ``(query, width)``."""
        weights, value = self._weights_and_values()
        mixed = mix(weights[head : head + 1], value[head : head + 1])[0]
        first = head * mixed.shape[-1]
        return mixed @ self.out[0][:, first : first + mixed.shape[-1]].to(mixed.dtype).T

    def gradient(self, gradient: torch.Tensor) -> torch.Tensor:
        """Return the gradient at the weights from the one at the output ``(query, width)``."""
        _, value = self._weights_and_values()
        joined = gradient @ self.out[0].to(gradient.dtype)
        at_weights = through_values(heads_of(joined, self.heads), value)
        return at_weights[..., : at_weights.shape[-1] - len(self.extra)]

    def _weights_and_values(self) -> tuple[torch.Tensor, torch.Tensor]:
        projected = zip(self.inputs, self.matrices, self.biases, strict=True)
        query, key, value = (heads_of(F.linear(*parts), self.heads) for parts in projected)
        key = key if self.static[0] is None else self.static[0]
        value = value if self.static[1] is None else self.static[1]
        for more_key, more_value in self.extra:
            key, value = torch.cat([key, more_key], 1), torch.cat([value, more_value], 1)
        mask = self.mask
        if mask is not None:
            mask = F.pad(mask, (0, len(self.extra)))
        weights = softmax_weights(query, key, mask=mask, causal=self.causal, empty=self.empty)
        return weights, value


def heads_of(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Return ``(position, width)`` as ``(head, position, width / heads)``."""
    length, width = tensor.shape
    return tensor.reshape(length, heads, width // heads).transpose(0, 1)


def added(mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
    """Return a mask as numbers to add; in ``torch.nn`` True means not allowed."""
    if mask is None or mask.dtype != torch.bool:
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
