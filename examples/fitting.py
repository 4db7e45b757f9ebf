"""Fit a model to an endless stream of examples. Knows neither the model nor the examples."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

_PEAK = 3e-3
_WARM_UP = 200


def fit(
    model: nn.Module,
    steps: int,
    next_loss: Callable[[float], Tensor],
    *,
    optimisers: Sequence[torch.optim.Optimizer] = (),
) -> None:
    """Take ``steps`` steps, at a rate that warms up and then falls as a cosine.

    ``next_loss`` is given how much of the training is over, in [0, 1), and returns the loss on
    examples that it has not returned before. Without ``optimisers`` it is one AdamW.
    """
    optimisers = optimisers or (adamw(model.parameters()),)
    groups = [group for optimiser in optimisers for group in optimiser.param_groups]
    peaks = [group["lr"] for group in groups]
    for step in range(steps):
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * _share(step, steps)
        loss = next_loss(step / steps)
        for optimiser in optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it unannotated
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        if (step + 1) % 250 == 0 or step + 1 == steps:
            print(f"step {step + 1}: loss {loss.item():.4f}", flush=True)


def adamw(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """Return AdamW (Loshchilov & Hutter 2019) as all demos use it."""
    return torch.optim.AdamW(parameters, lr=_PEAK, betas=(0.9, 0.98), weight_decay=0.01)


def _share(step: int, steps: int) -> float:
    """Return the share of the peak rate, in (0, 1]."""
    return min(1.0, (step + 1) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / steps))


def seeded(seed: int) -> random.Random:
    """Return a generator of its own, which nothing else in the process disturbs."""
    return random.Random(seed)  # noqa: S311 - examples are drawn, not secrets


def parameters(model: nn.Module) -> int:
    """Return how many numbers the model has learnt."""
    return sum(parameter.numel() for parameter in model.parameters())
