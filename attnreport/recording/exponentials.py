"""Follow a softmax that is written out: exp, its sum, and the quotient.

Also log_softmax or logsumexp before the exp. What comes out is followed like any softmax; where the
quotient is taken after the product with the values, ``accumulating`` goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.accumulating import DIVIDING, Accumulated
from attnreport.recording.following import (
    SCALING,
    SHAPING,
    Called,
    Origin,
    State,
    begin,
    start,
    state_of,
)
from attnreport.recording.product import Matrices
from attnreport.recording.registry import recorder
from attnreport.recording.sides import is_between
from attnreport.recording.watch import Watch

_SUMS = {torch.sum, torch.Tensor.sum}
_SUBTRACTIONS = {torch.sub, torch.Tensor.sub, torch.Tensor.sub_, torch.Tensor.__sub__}
_ADDITIONS = {torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.clamp, torch.Tensor.clamp}


@dataclass(frozen=True, eq=False)
class Unnormalised:
    """Be exponentials that nothing has divided yet."""

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Follow them to their sum and the quotient."""
        if (sums := accumulated(watch, call)) is not None:
            # It scales what was added up so far, or stands beside it.
            sums[1].flow(watch, call, sums[0])
        elif call.function in _SUMS and _keeps_rank(call, tensor):
            start(watch, call.output, Total())
        elif call.function in _ADDITIONS and isinstance(_second(watch, call), Total):
            # A sink stands beside the sum that all is divided by.
            start(watch, call.output, Total())
        elif call.function in DIVIDING and isinstance(_second(watch, call), Total):
            begin(watch, call.output, "exp and sum")
        elif call.function in SCALING | SHAPING and isinstance(call.output, torch.Tensor):
            start(watch, call.output, self)

    def mixed(self, watch: Watch, matrices: Matrices) -> None:
        """Remember their product with values, until that is divided."""
        origin = Origin("exp", watch.names.current(), tuple(matrices.weights.shape))
        rows = matrices.weights if matrices.rows is None else matrices.rows
        if is_between(watch.streams, rows):
            origin.lost = "a product with values that was not divided by the sums of its rows"
            watch.origins.append(origin)
        start(watch, matrices.output, Accumulated((matrices,), origin))


@dataclass(frozen=True, eq=False)
class Total:
    """Be the sum of exponentials."""

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Stay it through a change of shape, or a little that is added to divide by no zero."""
        if (sums := accumulated(watch, call)) is not None:
            sums[1].flow(watch, call, sums[0])
        elif call.function in _ADDITIONS or call.function in SHAPING:
            if isinstance(call.output, torch.Tensor):
                start(watch, call.output, self)
        elif call.function in DIVIDING and call.args[1] is tensor:
            state = state_of(watch, call.args[0])
            if state is not None and not isinstance(state, Total):
                state.flow(watch, call, call.args[0])


@dataclass(frozen=True, eq=False)
class Logarithms:
    """Be the logarithms of weights: of a log_softmax, or scores less their logsumexp."""

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Stay them through a change of shape."""
        if call.function in SHAPING and isinstance(call.output, torch.Tensor):
            start(watch, call.output, self)


@dataclass(frozen=True, eq=False)
class LogTotal:
    """Be the logsumexp of scores."""

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Make scores less it logarithms of weights."""
        if call.function in _SUBTRACTIONS and call.args[1] is tensor:
            start(watch, call.output, Logarithms())
        elif call.function in SHAPING and isinstance(call.output, torch.Tensor):
            start(watch, call.output, self)


@recorder(torch.exp, torch.Tensor.exp, torch.Tensor.exp_, torch.special.exp2, torch.exp2)
def exp(watch: Watch, output: torch.Tensor, argument: torch.Tensor, **kwargs: Any) -> None:
    """Follow exponentials, or have weights at once where the argument is their logarithm."""
    if isinstance(state_of(watch, argument), Logarithms):
        begin(watch, output, "exp of log_softmax")
    elif output.dim() > 1:
        start(watch, output, Unnormalised())


@recorder(F.log_softmax, torch.log_softmax, torch.Tensor.log_softmax)
def log_softmax(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow the logarithms of weights."""
    start(watch, output, Logarithms())


@recorder(torch.logsumexp, torch.Tensor.logsumexp)
def logsumexp(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow what scores will be less by."""
    start(watch, output, LogTotal())


def _second(watch: Watch, call: Called) -> State | None:
    return state_of(watch, call.args[1]) if len(call.args) > 1 else None


def accumulated(watch: Watch, call: Called) -> tuple[torch.Tensor, Accumulated] | None:
    """Return the first argument that is exponentials times values, and what is known of it."""
    for value in call.args[:2]:
        state = state_of(watch, value)
        if isinstance(state, Accumulated):
            return value, state
    return None


def _keeps_rank(call: Called, tensor: torch.Tensor) -> bool:
    """Tell whether a sum is over one dimension."""
    output = call.output
    return isinstance(output, torch.Tensor) and output.dim() >= tensor.dim() - 1
