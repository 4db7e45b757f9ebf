"""Read attention that is written by hand: a softmax, and later its product with the values.

Found by identity, not by names or shapes: the result of a softmax is followed until it multiplies
an activation. What it was at that moment are the weights. Knows nothing of modules or models.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.einsum import Product, as_product, of_vectors, spelled
from attnreport.recording.exponentials import Unnormalised
from attnreport.recording.following import Called, Followed, begin, follow, state_of
from attnreport.recording.gradients import as_it_is, turned_over
from attnreport.recording.positions import lie_along_positions
from attnreport.recording.product import Matrices, record
from attnreport.recording.registry import recorder
from attnreport.recording.scores import unfollowed
from attnreport.recording.watch import Watch


def _softmax(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow what a softmax returned."""
    begin(watch, output, "softmax")


for _function in (
    *(F.softmax, torch.softmax, torch.Tensor.softmax, torch.special.softmax, torch._softmax),
    *(F.softmin, F.gumbel_softmax),
):
    recorder(_function)(_softmax)


@recorder(torch.sparse.softmax)
def sparse_softmax(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Name what a softmax of scores that are kept for some pairs only goes into."""
    begin(watch, output, "sparse softmax").origin.between = True


@recorder(torch.sigmoid, torch.Tensor.sigmoid)
def sigmoid(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Follow sigmoids: weights whose rows nothing normalises (Ramapuram et al. 2024)."""
    if output.dim() > 2:
        begin(watch, output, "sigmoid", normalised=False)


@recorder(
    *(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm, torch.Tensor.bmm),
    *(torch.mm, torch.Tensor.mm, torch.mv, torch.Tensor.mv),
)
def matmul(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Record ``weights @ values``, or ``valuesᵀ @ weightsᵀ``; a vector is one row or column."""
    left = _operand(args, kwargs, 0, "input")
    right = _operand(args, kwargs, 1, "other", "mat2", "tensor2", "vec")
    _first_operand_wins(watch, output, left, right)
    if left.dim() > 1 < right.dim():
        _multiplied(watch, output, left, right)
    elif left.dim() + right.dim() > 2:
        _contracted(watch, of_vectors(left.dim(), right.dim()), (left, right), output)


@recorder(F.linear)
def linear(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Record a product with values that lie in the other direction; others mix heads."""
    argument = _operand(args, kwargs, 0, "input")
    weight = _operand(args, kwargs, 1, "weight")
    tag = watch.streams.tag(weight)
    plain = len(args) + len(kwargs) == 2 == weight.dim() and tag is not None and not tag.learned
    if plain and lie_along_positions(watch.streams, weight, as_it_is, -1):
        _multiplied(watch, output, argument, weight, turned=True)
    elif state_of(watch, argument) is not None:
        follow(watch, Called(F.linear, args, kwargs, output))


def _multiplied(
    watch: Watch,
    output: torch.Tensor,
    left: torch.Tensor,
    right: torch.Tensor,
    *,
    turned: bool = False,
) -> None:
    """Record a product of two matrices, the second of them ``turned`` over."""
    over = turned_over if turned else as_it_is
    state = state_of(watch, left)
    if isinstance(state, Followed):
        record(watch, state, Matrices(left, over(right), output, right, state.clean, align=over))
        return
    if isinstance(state, Unnormalised):
        state.mixed(watch, Matrices(left, over(right), output, right, rows=left, align=over))
        return
    state = state_of(watch, right)
    back = as_it_is if turned else turned_over
    clean = state.clean if isinstance(state, Followed) else None
    others = Matrices(
        weights=back(right),
        values=left.mT,
        output=output.mT,
        source=left,
        clean=None if clean is None else back(clean),
        rows=right,
        arrange=back,
        align=turned_over,
    )
    if isinstance(state, Followed):
        record(watch, state, others)
    elif watch.may_keep:
        first = Matrices(left, over(right), output, right, rows=left, align=over)
        if not unfollowed(watch, first):
            unfollowed(watch, others)


@recorder(torch.baddbmm, torch.Tensor.baddbmm, torch.addmm, torch.Tensor.addmm)
def baddbmm(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Record ``beta · added + alpha · weights @ values``."""
    added = _operand(args, kwargs, 0, "input")
    left = _operand(args, kwargs, 1, "batch1", "mat1")
    right = _operand(args, kwargs, 2, "batch2", "mat2")
    _first_operand_wins(watch, output, left, right)
    followed = state_of(watch, left)
    if isinstance(followed, Followed):
        with quietly(output):
            rest = (output - kwargs.get("beta", 1) * added) / kwargs.get("alpha", 1)
        record(watch, followed, Matrices(left, right, rest, right, followed.clean))


def _operand(
    args: tuple[Any, ...], kwargs: dict[str, Any], place: int, *names: str
) -> torch.Tensor:
    """Return an argument by its place or by one of these names; torch has several for one thing."""
    if len(args) > place:
        return args[place]  # type: ignore[no-any-return]
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
    _contracted(watch, equation, operands, output)


@recorder(torch.inner, torch.Tensor.inner)
def inner(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Record the same of the last dimensions."""
    _spelled(watch, torch.inner, output, args, kwargs)


@recorder(torch.tensordot)
def tensordot(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Record the same of dimensions that are named."""
    _spelled(watch, torch.tensordot, output, args, kwargs)


def _spelled(
    watch: Watch, function: Any, output: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    left = _operand(args, kwargs, 0, "input", "a")
    right = _operand(args, kwargs, 1, "other", "b")
    equation = spelled(function, (left, right, *args[2:]), kwargs)
    if equation is not None:
        _first_operand_wins(watch, output, left, right)
        _contracted(watch, equation, (left, right), output)


def _contracted(
    watch: Watch, equation: str, operands: Sequence[torch.Tensor], output: torch.Tensor
) -> None:
    """Record a contraction, of which either operand may be the weights."""
    for place in (0, 1):
        state = state_of(watch, operands[place])
        followed = state if isinstance(state, Followed) else None
        if followed is None and (state is not None or not watch.may_keep):
            continue
        product = _product(watch, equation, operands, place, output)
        if isinstance(product, str):
            if followed is None:
                continue
            followed.origin.lost = f"einsum {equation!r}, which {product}"
            return
        weights, values = operands[place], operands[1 - place]
        clean = None if followed is None else followed.clean
        matrices = Matrices(
            *product.arrange(weights, values, output),
            values,
            None if clean is None else product.weights(clean),
            weights,
            product.weights,
            product.values,
        )
        if followed is not None:
            record(watch, followed, matrices)
            return
        if unfollowed(watch, matrices):
            return


def _product(
    watch: Watch,
    equation: str,
    operands: Sequence[torch.Tensor],
    place: int,
    output: torch.Tensor,
) -> Product | str:
    """Return how weights multiply values, or why they do not; a single query may be implied."""
    product = as_product(equation, operands, place, output)
    if isinstance(product, str) or product.queries:
        return product
    # Of one row and no other nothing but its columns tells that they are positions, not experts.
    if lie_along_positions(watch.streams, operands[place], product.weights, -1):
        return product
    return "has no dimension of queries"


def _first_operand_wins(
    watch: Watch, output: torch.Tensor, left: torch.Tensor, right: torch.Tensor
) -> None:
    """Give queries @ keysᵀ, and weights @ values, the positions of the first operand."""
    tag = watch.streams.tag(left)
    if tag is None or tag.stream is None or tag.executed is not None:
        return
    if watch.streams.of(output) is not tag.stream:
        watch.streams.assign(output, tag.stream)
