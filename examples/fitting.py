"""Fit a model to an endless stream of examples. Knows neither the model nor the examples."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import torch
from torch import Tensor, nn

_PEAK = 3e-3
_WARM_UP = 200


def fit(model: nn.Module, steps: int, next_loss: Callable[[float], Tensor]) -> None:
    """Take ``steps`` steps of AdamW, at a rate that warms up and then falls as a cosine.

    ``next_loss`` is given how much of the training is over, in [0, 1), and returns the loss on
    examples that it has not returned before.
    """
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=_PEAK, betas=(0.9, 0.98), weight_decay=0.01
    )
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = _PEAK * _share(step, steps)
        loss = next_loss(step / steps)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)


def _share(step: int, steps: int) -> float:
    """Return the share of the peak rate, in (0, 1]."""
    return min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def seeded(seed: int) -> random.Random:
    """Return a generator of its own, which nothing else in the process disturbs."""
    return random.Random(seed)  # noqa: S311 - examples are drawn, not secrets


def parameters(model: nn.Module) -> int:
    """Return how many numbers the model has learnt."""
    return sum(parameter.numel() for parameter in model.parameters())
