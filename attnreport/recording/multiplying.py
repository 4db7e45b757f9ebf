"""What products do to positions: rows of the first operand stay rows.

Which sequences two operands belong to, where neither is a parameter, is kept as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from attnreport.recording.einsum import explicit, of_vectors, spell, spelled
from attnreport.recording.following import tensors_in
from attnreport.recording.moving import Moving
from attnreport.recording.siblings import told_apart
from attnreport.recording.steps import Crossing, agreed


def mixed(call: Moving) -> None:
    """Rows of the first matrix stay rows of the product."""
    operands = tensors_in(call.args, call.kwargs)
    # Kernels return more than the product.
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    after = tuple(output.shape)
    if not operands or not after:
        return
    left, *rest = operands
    if len(rest) == 1 and 1 in {left.dim(), rest[0].dim()}:
        _contracted(call, of_vectors(left.dim(), rest[0].dim()), (left, rest[0]))
        return

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        return agreed(numbers[0], -1).expand(after)

    sides = (-2, -1) if len(rest) == 1 else None
    crossing = _crossing(call, left, rest[0] if rest else left, sides)
    call.keep(output, [call.parent(left)], move, crossing=crossing)
    tag, second = (call.streams.tag(each) for each in (output, rest[0] if rest else left))
    if tag is not None and second is not None and second.learned:
        tag.projected = True


def _crossing(
    call: Moving, left: torch.Tensor, right: torch.Tensor, sides: tuple[int, int] | None
) -> Crossing | None:
    """Return whose positions a product has; None where it is a projection, by parameters."""
    first, second = call.streams.tag(left), call.streams.tag(right)
    if second is not None and second.learned:
        return None
    # Weights times values: of these two only one has positions in the result.
    if sides is None or first is None or second is None or first.weights or second.weights:
        return Crossing(None, None)
    return Crossing(*told_apart((first.stream, second.stream), first, second), *sides)


def contracted(call: Moving) -> None:
    """The same of an einsum: what the first operand sums over must agree."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    if len(operands) == 2 and isinstance(equation, str):
        _contracted(call, explicit(equation), operands)


def turned(call: Moving) -> None:
    """The same of an ``inner`` or a ``tensordot``."""
    if len(call.args) < 2:
        return
    equation = spelled(call.function, call.args, call.kwargs)
    if equation is not None:
        _contracted(call, equation, call.args[:2])


def _contracted(call: Moving, equation: str, operands: Sequence[torch.Tensor]) -> None:
    after = tuple(call.output.shape)
    inputs, _, result = equation.partition("->")
    left, result = spell(inputs.split(",")[0], operands[0].dim()), spell(result, len(after))

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        kept = numbers[0]
        for place in (place for place, letter in enumerate(left) if letter not in result):
            kept = agreed(kept, place)
        present = [left.index(letter) for letter in result if letter in left]
        gone = [place for place, letter in enumerate(left) if letter not in result]
        kept = kept.permute(*present, *gone).flatten(len(present))[..., 0]
        for place, letter in enumerate(result):
            if letter not in left:
                kept = kept.unsqueeze(place)
        return kept.expand(after)

    right = spell(inputs.split(",")[-1], operands[1].dim())
    rows, columns = (
        [place for place, letter in enumerate(result) if letter in one and letter not in other]
        for one, other in ((left, right), (right, left))
    )
    # Of several dimensions none is the one of the positions.
    each = (rows[0], columns[0]) if len(rows) == len(columns) == 1 else None
    crossing = _crossing(call, operands[0], operands[1], each)
    call.keep(call.output, [call.parent(operands[0])], move, crossing=crossing)
