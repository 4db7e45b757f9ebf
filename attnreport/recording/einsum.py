"""Read an einsum of weights and values as a batched matrix product.

Knows the notation and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

_SPARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Product:
    """Say how to bring the operands of an einsum to the order of a matrix product.

    Weights become ``(…, query, key)``, values ``(…, key, width)``, output ``(…, query, width)``.

    Attributes:
        subscripts: of the weights, the values and the output.
        shared: letters that all three have: batch and heads, in the output's order.
        queries: letters of weights and output; none where a single query has no dimension.
        keys: the letter that is summed over.
        widths: letters of values and output.
    """

    subscripts: tuple[str, str, str]
    shared: str
    queries: str
    keys: str
    widths: str

    def arrange(
        self, weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the three in that order; only views and reshapes."""
        return (
            self.weights(weights),
            self.values(values),
            _permute(output, self.subscripts[2], self.shared, self.queries, self.widths),
        )

    def values(self, values: torch.Tensor) -> torch.Tensor:
        """Return the values as ``(…, key, width)``."""
        return _permute(values, self.subscripts[1], self.shared, self.keys, self.widths)

    def weights(self, weights: torch.Tensor) -> torch.Tensor:
        """Return the weights as ``(…, query, key)``."""
        return _permute(weights, self.subscripts[0], self.shared, self.queries, self.keys)


def explicit(equation: str) -> str:
    """Return an equation with its output: unsaid, it is every letter that stands there once."""
    equation = equation.replace(" ", "")
    if "->" in equation:
        return equation
    letters = equation.replace(".", "").replace(",", "")
    once = sorted(letter for letter in letters if letters.count(letter) == 1)
    return f"{equation}->{'...' if '.' in equation else ''}{''.join(once)}"


def of_vectors(left: int, right: int) -> str:
    """Return the equation of a ``matmul`` of operands of these ranks, one of them a vector."""
    batch = _SPARE[: max(left, right, 2) - 2]
    first = f"{batch}ij" if left > 1 else "j"
    second = f"{batch}jk" if right > 1 else "j"
    return explicit(f"{first},{second}")


def spelled(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """Return the equation of an ``inner`` or a ``tensordot``; None where it is unclear."""
    left, right = (args[place].dim() for place in (0, 1))
    if left + right > len(_SPARE):
        return None
    first, letters = _SPARE[:left], list(_SPARE[left : left + right])
    dims = args[2] if len(args) > 2 else kwargs.get("dims", 2)
    if function is not torch.tensordot:
        pairs = [(left - 1, right - 1)]
    elif isinstance(dims, int):
        pairs = [(left - dims + each, each) for each in range(dims)]
    elif all(isinstance(each, (tuple, list)) for each in dims):
        pairs = [(one % left, other % right) for one, other in zip(*dims, strict=True)]
    else:
        return None
    for one, other in pairs:
        letters[other] = first[one]
    return explicit(f"{first},{''.join(letters)}")


def as_product(
    equation: str, operands: Sequence[torch.Tensor], place: int, output: torch.Tensor
) -> Product | str:
    """Return how an einsum multiplies weights with values, or in words why it does not.

    Args:
        equation: e.g. ``"bhqk,bkhd->bqhd"``.
        operands: both.
        place: which of the two are the weights.
        output: the result.
    """
    inputs, _, result = explicit(equation).partition("->")
    left, right = (
        spell(text, operand.dim())
        for text, operand in zip(inputs.split(","), operands, strict=True)
    )
    result = spell(result, output.dim())
    weights, values = (left, right) if place == 0 else (right, left)
    if any(len(set(text)) != len(text) for text in (weights, values, result)):
        return "takes a diagonal"
    keys = [letter for letter in weights if letter in values and letter not in result]
    if len(keys) != 1:
        return f"sums over {len(keys)} dimensions that both have, expected one"
    if any(letter not in result for letter in (weights + values) if letter != keys[0]):
        return "sums over a dimension that only one has"
    queries = "".join(x for x in result if x in weights and x not in values)
    shared = "".join(x for x in result if x in weights and x in values)
    widths = "".join(x for x in result if x in values and x not in weights)
    if len(queries) > 1:
        # More than one is a grid, or heads that share their values: all but the last lead.
        shared, queries = shared + queries[:-1], queries[-1]
    return Product((weights, values, result), shared, queries, keys[0], widths)


def spell(text: str, dimensions: int) -> str:
    """Return subscripts with the letters an ellipsis stands for, the same ones from the right."""
    missing = dimensions - len(text.replace("...", ""))
    return text.replace("...", _SPARE[len(_SPARE) - missing :] if missing else "")


def _permute(
    tensor: torch.Tensor, subscripts: str, shared: str, rows: str, columns: str
) -> torch.Tensor:
    """Return ``(shared…, rows, columns)``, letters the tensor lacks as ones."""
    letters = shared + rows + columns
    present = [letter for letter in letters if letter in subscripts]
    tensor = tensor.permute([subscripts.index(letter) for letter in present])
    for place, letter in enumerate(letters):
        if letter not in subscripts:
            tensor = tensor.unsqueeze(place)
    lead = tensor.shape[: len(shared)]
    height = tensor.shape[len(shared) : len(shared) + len(rows)].numel()
    return tensor.reshape(*lead, height, -1)
