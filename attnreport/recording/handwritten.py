"""Read attention that is written by hand: a softmax, and later its product with the values.

Found by identity, not by names or shapes: the result of a softmax is followed until it multiplies
an activation. What it was at that moment are the weights. Knows nothing of modules or models.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.einsum import as_product
from attnreport.recording.exponentials import Unnormalised
from attnreport.recording.following import Called, Followed, begin, follow, state_of
from attnreport.recording.product import Matrices, record
from attnreport.recording.registry import recorder
from attnreport.recording.watch import Watch


def _softmax(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow what a softmax returned."""
    begin(watch, output, "softmax")


for _function in (F.softmax, torch.softmax, torch.Tensor.softmax, torch.special.softmax):
    recorder(_function)(_softmax)


@recorder(torch.sigmoid, torch.Tensor.sigmoid)
def sigmoid(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow sigmoids: weights whose rows nothing normalises (Ramapuram et al. 2024)."""
    if output.dim() > 2:
        begin(watch, output, "sigmoid", normalised=False)


@recorder(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm)
def matmul(
    watch: Watch, output: torch.Tensor, left: torch.Tensor, *args: Any, **kwargs: Any
) -> None:
    """Record ``weights @ values``, or ``valuesᵀ @ weightsᵀ``."""
    right = args[0] if args else _named(kwargs, "other", "mat2", "tensor2")
    _first_operand_wins(watch, output, left, right)
    if left.dim() < 2 or right.dim() < 2:
        return
    state = state_of(watch, left)
    if isinstance(state, Followed):
        record(watch, state, Matrices(left, right, output, right, state.clean))
        return
    if isinstance(state, Unnormalised):
        state.mixed(watch, Matrices(left, right, output, right, rows=left))
        return
    state = state_of(watch, right)
    if isinstance(state, Followed):
        clean = None if state.clean is None else state.clean.mT
        record(
            watch,
            state,
            Matrices(
                right.mT, left.mT, output.mT, left, clean, right, lambda g: g.mT, lambda n: n.mT
            ),
        )


@recorder(torch.baddbmm, torch.Tensor.baddbmm)
def baddbmm(
    watch: Watch, output: torch.Tensor, added: torch.Tensor, *args: Any, **kwargs: Any
) -> None:
    """Record ``beta · added + alpha · weights @ values``."""
    left = args[0] if args else _named(kwargs, "batch1")
    right = args[1] if len(args) > 1 else _named(kwargs, "batch2")
    _first_operand_wins(watch, output, left, right)
    followed = state_of(watch, left)
    if isinstance(followed, Followed):
        with quietly(output):
            rest = (output - kwargs.get("beta", 1) * added) / kwargs.get("alpha", 1)
        record(watch, followed, Matrices(left, right, rest, right, followed.clean))


def _named(kwargs: dict[str, Any], *names: str) -> torch.Tensor:
    """Return the argument with one of these names; torch has several for one thing."""
    tensor: torch.Tensor = next(kwargs[name] for name in names if name in kwargs)
    return tensor


@recorder(torch.einsum)
def einsum(watch: Watch, output: torch.Tensor, equation: Any, *operands: Any) -> None:
    """Record a contraction of weights and values over the keys."""
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    if len(operands) != 2 or not isinstance(equation, str):
        follow(watch, Called(torch.einsum, (equation, *operands), {}, output))
        return
    _first_operand_wins(watch, output, *operands)
    for place in (0, 1):
        followed = state_of(watch, operands[place])
        if not isinstance(followed, Followed):
            continue
        product = as_product(equation, operands, place, output)
        if isinstance(product, str):
            followed.origin.lost = f"einsum {equation!r}, which {product}"
            return
        weights, values = operands[place], operands[1 - place]
        clean = None if followed.clean is None else product.weights(followed.clean)
        arranged = product.arrange(weights, values, output)
        record(
            watch,
            followed,
            Matrices(*arranged, values, clean, weights, product.weights, product.values),
        )
        return


def _first_operand_wins(
    watch: Watch, output: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> None:
    """Give queries @ keysᵀ, and weights @ values, the positions of the first operand."""
    tag = watch.streams.tag(left)
    if tag is None or tag.stream is None or tag.executed is not None:
        return
    if watch.streams.of(output) is not tag.stream:
        watch.streams.assign(output, tag.stream)
