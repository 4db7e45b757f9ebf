"""The small transformer that both demos are made of, in plain torch.

Pre-norm layers (Xiong et al. 2020), projections as ``nn.Linear``, attention through
``F.scaled_dot_product_attention``, and a cache of keys and values so that a sequence can be run
one position at a time with the same logits. It knows nothing of dates, bytes or training.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by

from attnreport.files import replace_file


@dataclass(eq=False)
class Cache:
    """Keep what decoding one position at a time would otherwise compute again.

    Attributes:
        length: positions that went through the model so far.
        kept: keys and values ``(batch, head, key, d_k)`` of each attention.
    """

    length: int = 0
    kept: dict[nn.Module, tuple[Tensor, Tensor]] = field(default_factory=dict)


class Attention(nn.Module):
    """Hold the four projections of an attention (Vaswani et al. 2017, §3.2.2)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x: Tensor) -> Tensor:
        """Return ``(batch, position, width)`` as ``(batch, head, position, d_k)``."""
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        """Put the heads side by side again and mix them."""
        batch, heads, length, d_k = x.shape
        return self.out(x.transpose(1, 2).reshape(batch, length, heads * d_k))  # type: ignore[no-any-return] # nn.Module.__call__ is untyped


class SelfAttention(Attention):
    """Attend from a sequence to itself.

    With ``causal`` a position sees itself and those before it. With ``rotary`` queries and keys
    are turned by their position, so that a head sees distances (Su et al. 2021, RoFormer).
    """

    def __init__(self, width: int, heads: int, *, causal: bool, rotary: bool) -> None:
        super().__init__(width, heads)
        self.causal = causal
        self.rotary = rotary

    def forward(self, x: Tensor, mask: Tensor | None, cache: Cache | None) -> Tensor:
        """Return ``(batch, position, width)``; cached, ``x`` is all or the next one."""
        query, key, value = (
            self.split(self.query(x)),
            self.split(self.key(x)),
            self.split(self.value(x)),
        )
        if self.rotary:
            past = cache.length if cache else 0
            query, key = rotate(query, past), rotate(key, past)
        if cache is not None:
            if self in cache.kept:
                keys, values = cache.kept[self]
                key, value = torch.cat((keys, key), dim=2), torch.cat((values, value), dim=2)
            cache.kept[self] = (key, value)
        # A single new position may see all that is kept: there is nothing to hide from it.
        causal = self.causal and query.shape[2] > 1
        return self.merge(
            F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
        )


class CrossAttention(Attention):
    """Attend from one sequence to another, the memory."""

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor | None, cache: Cache | None
    ) -> Tensor:
        """Return ``(batch, position, width)``; the memory is projected once per cache."""
        if cache is not None and self in cache.kept:
            key, value = cache.kept[self]
        else:
            key, value = self.split(self.key(memory)), self.split(self.value(memory))
        if cache is not None:
            cache.kept[self] = (key, value)
        query = self.split(self.query(x))
        return self.merge(F.scaled_dot_product_attention(query, key, value, attn_mask=mask))


class Layer(nn.Module):
    """Be one layer: self-attention, cross-attention if there is a memory, feed-forward."""

    def __init__(
        self, width: int, heads: int, *, causal: bool, rotary: bool = False, cross: bool = False
    ) -> None:
        super().__init__()
        self.self_attention_norm = nn.LayerNorm(width)
        self.self_attention = SelfAttention(width, heads, causal=causal, rotary=rotary)
        self.cross_attention_norm = nn.LayerNorm(width) if cross else None
        self.cross_attention = CrossAttention(width, heads) if cross else None
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: Cache | None = None,
    ) -> Tensor:
        """Return ``x`` with what this layer adds to it, ``(batch, position, width)``."""
        x = x + self.self_attention(self.self_attention_norm(x), mask, cache)
        if self.cross_attention is not None and self.cross_attention_norm is not None:
            normed = self.cross_attention_norm(x)
            x = x + self.cross_attention(normed, memory, memory_mask, cache)
        return x + self.feed_forward(self.feed_forward_norm(x))  # type: ignore[no-any-return] # as above


class Embedding(nn.Module):
    """Turn ids into vectors and add where they stand, as sines (Vaswani et al. 2017, §3.5)."""

    def __init__(self, vocabulary: int, width: int, positions: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.token.weight, std=0.02 * math.sqrt(width))
        # Not persistent: it follows from the shape, so the weights file need not carry it.
        self.register_buffer("place", _sines(positions, width), persistent=False)

    def forward(self, ids: Tensor, past: int = 0) -> Tensor:
        """Return ``(batch, position, width)`` for ids that follow ``past`` others."""
        place: Tensor = self.get_buffer("place")
        return self.token(ids) + place[past : past + ids.shape[1]]  # type: ignore[no-any-return] # as above


def rotate(x: Tensor, past: int) -> Tensor:
    """Turn ``(…, position, d_k)`` by angles that grow with the position, counted from ``past``."""
    half = x.shape[-1] // 2
    sine, cosine = _angles(x.shape[-2] + past, half)[:, past:].to(x)
    left, right = x[..., :half], x[..., half:]
    return torch.cat((left * cosine - right * sine, left * sine + right * cosine), dim=-1)


def device_of(model: nn.Module) -> torch.device:
    """Return the device that the model's input must be on."""
    return next(model.parameters()).device


def save_weights(model: nn.Module, path: Path) -> int:
    """Write the weights, rounded to float16, to a ``.safetensors`` file; return its bytes.

    Raises:
        OutputError: the file cannot be written.
    """
    arrays = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    content = safetensors.torch.save(arrays)
    replace_file(path, content)
    return len(content)


def load_weights(model: nn.Module, path: Path) -> None:
    """Read what ``save_weights`` wrote into ``model``, as float32, and set it to evaluation."""
    arrays = safetensors.torch.load_file(path)
    model.load_state_dict({name: value.float() for name, value in arrays.items()})
    model.eval()


def _sines(positions: int, width: int) -> Tensor:
    sine, cosine = _angles(positions, width // 2)
    return torch.cat((sine, cosine), dim=-1)


def _angles(positions: int, count: int) -> Tensor:
    """Return sines and cosines ``(2, position, count)`` of wavelengths from 2π to 10000·2π."""
    rates = 10000.0 ** (-torch.arange(count) / count)
    angles = torch.arange(positions)[:, None] * rates
    return torch.stack((angles.sin(), angles.cos()))
