"""Where each position of a rearranged tensor was before: windows put back on their sequence.

A model with windows cuts its sequence, shifts it, pads it, and attends inside each piece. Every
tensor keeps how it came from the one before, as far as that only moved positions. Where it is
asked for, the numbers of the positions take the same way again. What is not a mere move ends the
way: then there is no answer, rather than a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.following import SHAPING, methods
from attnreport.recording.streams import Streams, Tag

# What leaves every position where it is, whatever it does to the numbers there.
_STILL: set[Any] = {
    F.linear,
    F.layer_norm,
    F.rms_norm,
    F.softmax,
    F.dropout,
    F.gelu,
    F.silu,
    F.relu,
    F.normalize,
    torch.Tensor.__matmul__,
}
_STILL |= methods("add", "sub", "mul", "div", "true_divide", "truediv", "softmax", "matmul", "bmm")
_STILL |= methods("to", "type", "type_as", "float", "half", "bfloat16", "double", "detach", "pow")
_PADDING: set[Any] = {F.pad, torch._C._nn.pad}
# What is left of the shaping functions changes numbers, or puts several tensors together.
_MOVING: set[Any] = SHAPING - methods(
    *("repeat", "repeat_interleave", "cat", "concat", "stack", "where", "masked_fill"),
    *("nan_to_num", "tril", "triu", "clamp", "to", "type", "type_as", "float", "half"),
    *("bfloat16", "double", "detach", "requires_grad", "cpu", "cuda"),
)
_LONGEST = 64
_NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Step:
    """Hold how one tensor came from another.

    Attributes:
        parent: what is known of the other; None at the end of the way.
        before: its shape.
        after: the shape of the one.
        function: what was called.
        args: its positional arguments; the other is the first.
        kwargs: its keyword arguments.
        place: which of several results it is.
        length: how many steps the way has.
    """

    parent: Tag
    before: tuple[int, ...]
    after: tuple[int, ...]
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    place: int
    length: int


def remember(
    streams: Streams, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> None:
    """Keep how the results of a torch function came from the tensor they are of the shape of."""
    still = function in _STILL
    if not (still or function in _MOVING or function in _PADDING):
        return
    first = _main_argument(args, output) if still else next(iter(args), None)
    if not isinstance(first, torch.Tensor) or first is output:
        return
    parent = streams.tag(first)
    if parent is None:
        return
    length = 1 if parent.step is None else parent.step.length + 1
    if length > _LONGEST:
        return
    rest = () if still else args[1:]
    if any(isinstance(value, torch.Tensor) for value in _flat((*rest, *kwargs.values()))):
        return
    for place, tensor in enumerate((output,) if isinstance(output, torch.Tensor) else output):
        tag = streams.tag(tensor) if isinstance(tensor, torch.Tensor) else None
        if tag is not None and tag is not parent:
            tag.step = Step(
                parent,
                tuple(first.shape),
                tuple(tensor.shape),
                function,
                rest,
                {} if still else kwargs,
                place,
                length,
            )


def _main_argument(args: tuple[Any, ...], output: Any) -> torch.Tensor | None:
    """Return the argument that has the result's positions: a bias may come before it."""
    if not isinstance(output, torch.Tensor):
        return None
    for value in args[:2]:
        if isinstance(value, torch.Tensor) and value.shape[:-1] == output.shape[:-1]:
            return value
    return None


def places(streams: Streams, tensor: torch.Tensor, batch: int) -> tuple[torch.Tensor, int] | None:
    """Return where the rows of a tensor were in the sequence it was cut from.

    Args:
        streams: knows how it came to be.
        tensor: ``(piece, head, position, width)``.
        batch: how many examples the sequence has.

    Returns:
        ``(piece, position)`` int64, example times length plus position, -1 for padding; and the
        length of the sequence. None where the way does not tell.
    """
    way: list[Step] = []
    tag = streams.tag(tensor)
    while tag is not None and tag.step is not None:
        way.append(tag.step)
        tag = tag.step.parent
    # From as far back as it goes: only before it was padded or shifted is it the sequence itself.
    for start in range(len(way), 0, -1):
        for numbers in _numbered(way[start - 1].before, batch, tensor.shape[-2]):
            found = _replay(numbers, way[:start])
            if found is not None and found.shape == tensor.shape:
                rows = found[:, :1, :, :1]
                if bool((found == rows).all()):
                    return rows[:, 0, :, 0], (int(numbers.max()) + 1) // batch
    return None


def _numbered(shape: Sequence[int], batch: int, piece: int) -> Iterator[torch.Tensor]:
    """Yield the numbers of the positions of a sequence of this shape, for each way to read it."""
    if len(shape) not in (3, 4) or shape[0] != batch:
        return
    # (batch, position, width), (batch, row, column, width), (batch, channel, row, column)
    readings = ((1,),) if len(shape) == 3 else ((1, 2), (2, 3))
    for dimensions in readings:
        kept = [size if d == 0 or d in dimensions else 1 for d, size in enumerate(shape)]
        total = torch.Size(kept).numel()
        if total // batch > piece:
            yield torch.arange(total).reshape(kept).expand(*shape)


def _replay(numbers: torch.Tensor, way: Sequence[Step]) -> torch.Tensor | None:
    for step in reversed(way):
        moved = _move(numbers, step)
        if moved is None or tuple(moved.shape) != step.after:
            return None
        numbers = moved
    return numbers


def _move(numbers: torch.Tensor, step: Step) -> torch.Tensor | None:
    if step.function in _STILL:
        if step.after[:-1] != step.before[:-1]:
            return None
        if step.after == step.before:
            return numbers
        # A projection: new numbers at the old positions, if all of them were at one position.
        same = numbers[..., :1]
        return same.expand(step.after) if bool((numbers == same).all()) else None
    if step.function in _PADDING:
        pad = step.args[0] if step.args else step.kwargs["pad"]
        return F.pad(numbers, list(pad), value=_NOWHERE)
    result = step.function(numbers, *step.args, **step.kwargs)
    moved: torch.Tensor = result if isinstance(result, torch.Tensor) else result[step.place]
    return moved.to(numbers.dtype)


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, (tuple, list)):
            yield from _flat(value)
        else:
            yield value


@dataclass(frozen=True, eq=False)
class Pieces:
    """Hold where the pieces of one example belong.

    Attributes:
        own: which pieces are of the example.
        rows: ``(piece, query)`` position of each query, -1 for padding.
        columns: ``(piece, key)`` the same of each key.
        length: of the sequence.
    """

    own: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    length: int

    def whole(self, weights: torch.Tensor) -> torch.Tensor:
        """Return ``(head, position, position)`` from ``(piece, head, query, key)``."""
        whole = weights.new_zeros(weights.shape[1], self.length, self.length)
        for piece, rows, columns in zip(weights, self.rows, self.columns, strict=True):
            asking, answering = rows >= 0, columns >= 0
            part = piece[:, asking][:, :, answering]
            whole[:, rows[asking].unsqueeze(-1), columns[answering]] = part
        return whole


def pieces_of(
    streams: Streams, query: torch.Tensor, key: torch.Tensor, batch: int, example: int
) -> Pieces | None:
    """Return where the pieces of an example belong, or None where that cannot be told.

    Args:
        streams: knows how both came to be.
        query: ``(piece, head, query, …)``.
        key: ``(piece, head, key, …)``.
        batch: how many examples there are.
        example: which one is wanted.
    """
    if query.dim() != 4 or key.dim() != 4 or query.shape[0] != key.shape[0]:
        return None
    asking, answering = places(streams, query, batch), places(streams, key, batch)
    if asking is None or answering is None or asking[1] != answering[1]:
        return None
    (rows, length), (columns, _) = asking, answering
    of_piece = torch.where(rows >= 0, rows // length, _NOWHERE).amax(dim=1)
    own = (of_piece == example).nonzero().flatten()
    asked, answered = (_within(each[own], length, example) for each in (rows, columns))
    if asked is None or answered is None:
        return None
    return Pieces(own, asked, answered, length)


def _within(numbers: torch.Tensor, length: int, example: int) -> torch.Tensor | None:
    """Return positions inside the example, each in one piece only, or None where it is not so."""
    real = numbers[numbers >= 0].sort().values
    if bool((real // length != example).any()) or bool((real[1:] == real[:-1]).any()):
        return None
    return torch.where(numbers >= 0, numbers % length, _NOWHERE)
