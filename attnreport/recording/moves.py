"""What each torch function does to the positions of its arguments: one rule for each kind.

A function that moves positions is called once more, with their numbers in the place of the tensors.
Knows torch functions; what is kept of them is a ``Step``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.following import CUTTING, SHAPING, methods
from attnreport.recording.steps import (
    LONGEST,
    NOWHERE,
    Crossing,
    Move,
    Parent,
    Step,
    agreed,
    beginning_of,
    is_constant,
    length_of,
    part_of_tensor,
)
from attnreport.recording.streams import Rank, Streams


def remember(
    streams: Streams, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> None:
    """Keep how the results of a torch function came from its arguments."""
    rule = _RULES.get(function)
    dimension = _FEATURES.get(function)
    if dimension is not None and isinstance(output, torch.Tensor):
        tag = streams.tag(output)
        if tag is not None:
            tag.features = dimension
    if rule is not None:
        rule(_Call(streams, function, args, kwargs, output))


# No position has so high a number.
_AFTER_ALL = 2.0**52


@dataclass(slots=True, eq=False)
class _Call:
    streams: Streams
    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    def keep(  # noqa: PLR0913 - what is special of a step has a name
        self,
        tensor: Any,
        parents: Sequence[Parent | None],
        move: Move,
        *,
        bare: bool = False,
        pools: bool = False,
        crossing: Crossing | None = None,
    ) -> None:
        """Keep the step to one result, if all it came from is known."""
        # Most tensors come here: no generator is made.
        tag = self.streams.tag(tensor) if isinstance(tensor, torch.Tensor) else None
        if tag is None:
            return
        longest, way = 0, None
        for parent in parents:
            if parent is None or parent.tag is tag:
                return
            longest = max(longest, length_of(parent.tag))
            if way is None and not is_constant(parent.tag):
                way = beginning_of(parent.tag)
        if longest < LONGEST:
            known: tuple[Any, ...] = tuple(parents)
            shape = tuple(tensor.shape)
            tag.step = Step(known, shape, move, longest + 1, way, bare, pools, crossing)

    def parent(self, tensor: torch.Tensor) -> Parent | None:
        tag = self.streams.tag(tensor)
        if tag is None:
            return None
        return Parent(tag, tuple(tensor.shape), not tensor.is_floating_point())


def _still(call: _Call) -> None:
    """Every position stays where it is, whatever is done to the numbers there."""
    first = _main_argument(call)
    if first is None or any(value is call.output for value in call.args):
        return
    before, after = tuple(first.shape), tuple(call.output.shape)

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        if before == after:
            return numbers[0]
        # A projection: new numbers at the old positions, if all of them were at one position.
        return agreed(numbers[0], -1).expand(after)

    call.keep(call.output, [call.parent(first)], move)


def _main_argument(call: _Call) -> torch.Tensor | None:
    """Return the argument that has the result's positions, by the shortest way from an input.

    A bias or a mask has none of its own; of what a residual connection adds up, either has them.
    """
    if not isinstance(call.output, torch.Tensor):
        return None
    fitting = [
        value
        for value in call.args[:2]
        if isinstance(value, torch.Tensor) and value.shape[:-1] == call.output.shape[:-1]
    ]
    if len(fitting) < 2:
        return fitting[0] if fitting else None
    tags = [call.streams.tag(value) for value in fitting]
    flowing = [
        (not beginning_of(tag).entered, length_of(tag), place)
        for place, tag in enumerate(tags)
        if tag is not None and tag.stream is not None and tag.stream.rank > Rank.AUXILIARY
    ]
    return fitting[min(flowing)[-1] if flowing else 0]


def _moved(call: _Call) -> None:
    """Positions change places, as the same function does it with their numbers."""
    if not call.args:
        return
    first, *rest = call.args
    several = isinstance(first, (tuple, list))
    sources = list(first) if several else [first]
    for source in sources:
        if not isinstance(source, torch.Tensor) or source is call.output:
            return
    if _hold(rest, _is_float) or _hold(call.kwargs.values(), _is_float):
        return
    outputs = (call.output,) if isinstance(call.output, torch.Tensor) else call.output
    # Numbers may lie in memory in another way than the tensor does.
    function = torch.Tensor.reshape if call.function is torch.Tensor.view else call.function
    kwargs = call.kwargs
    for place, output in enumerate(outputs):

        def move(numbers: Sequence[torch.Tensor], place: int = place) -> torch.Tensor:
            given: Any = list(numbers) if several else numbers[0]
            result = function(given, *rest, **kwargs)
            moved: torch.Tensor = result if isinstance(result, torch.Tensor) else result[place]
            return moved.to(torch.int64)

        call.keep(output, [call.parent(source) for source in sources], move, bare=True)


def _padded(call: _Call) -> None:
    first = call.args[0] if call.args else None
    if not isinstance(first, torch.Tensor):
        return
    pad = list(call.args[1] if len(call.args) > 1 else call.kwargs["pad"])
    call.keep(
        call.output,
        [call.parent(first)],
        lambda numbers: F.pad(numbers[0], pad, value=NOWHERE),
        bare=True,
    )


def _pooled(call: _Call) -> None:
    """Several positions become one; it is numbered as the first of them."""
    first, *rest = call.args if call.args else (None,)
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    given = (*rest, *call.kwargs.values())
    if not isinstance(first, torch.Tensor) or _hold(given, _is_tensor):
        return
    function, kwargs = call.function, call.kwargs

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        # Whole numbers up to 2⁵³ are themselves in float64, which every pooling takes.
        real = torch.where(numbers[0] < 0, _AFTER_ALL, numbers[0].double())
        result = function(-real, *rest, **kwargs)
        lowest: torch.Tensor = -(result if isinstance(result, torch.Tensor) else result[0])
        return torch.where(lowest >= _AFTER_ALL, NOWHERE, lowest).to(torch.int64)

    call.keep(output, [call.parent(first)], move, pools=True)


def _strided(call: _Call) -> None:
    """Pieces that overlap, read from memory: the numbers have to lie there as the tensor does."""
    first, *rest = call.args if call.args else (None,)
    if not isinstance(first, torch.Tensor) or len(rest) > 2 or "storage_offset" in call.kwargs:
        return
    shape, strides, kwargs = tuple(first.shape), first.stride(), call.kwargs

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        lying = torch.empty_strided(shape, strides, dtype=torch.int64).copy_(numbers[0])
        return torch.as_strided(lying, *rest, **kwargs)

    call.keep(call.output, [call.parent(first)], move, bare=True)


def _constant(call: _Call) -> None:
    shape = tuple(call.output.shape) if isinstance(call.output, torch.Tensor) else ()
    call.keep(call.output, [], lambda _: torch.full((), NOWHERE).expand(shape))


def _looked_up(call: _Call) -> None:
    """Ids become vectors, each where it was."""
    after = tuple(call.output.shape)
    call.keep(
        call.output,
        [call.parent(call.args[0])],
        lambda numbers: numbers[0].unsqueeze(-1).expand(after),
    )


def _chosen(call: _Call) -> None:
    """Of two tensors one is taken at each place; a number such as -infinity is no position."""
    if len(call.args) != 3 or not isinstance(call.output, torch.Tensor):
        return
    method = call.function is torch.Tensor.where
    first, condition, other = call.args if method else (call.args[1], call.args[0], call.args[2])
    after = tuple(call.output.shape)
    given = [value for value in (first, other) if isinstance(value, torch.Tensor)]

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        rest = list(numbers)
        taken, left = (
            rest.pop(0) if isinstance(value, torch.Tensor) else torch.tensor(NOWHERE)
            for value in (first, other)
        )
        return torch.where(condition.cpu(), taken, left).expand(after)

    call.keep(call.output, [call.parent(value) for value in given], move)


def _written(call: _Call) -> None:
    """Part of a tensor becomes another."""
    target, index, value = call.args
    if not isinstance(value, torch.Tensor) or not value.dim():
        return
    parent = call.parent(target)
    if parent is None:
        return
    source = call.parent(value)
    above, below = part_of_tensor(source.tag) if source else None, part_of_tensor(parent.tag)
    if above is not None and below is not None and above is not below:
        above.over.append(below.origin)
    # What was made of it before came from what it was then.
    call.streams.renew(target)

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        written = numbers[1].clone()
        written[index] = numbers[0]
        return written

    call.keep(target, [source, parent], move)


def _mixed(call: _Call) -> None:
    """Rows of the first matrix stay rows of the product."""
    left = next((x for x in call.args if isinstance(x, torch.Tensor)), None)
    after = tuple(call.output.shape)
    if left is None or left.dim() < 2 or len(after) < 2:
        return

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        return agreed(numbers[0], -1).expand(after)

    rest = [x for x in call.args if isinstance(x, torch.Tensor) and x is not left]
    sides = (-2, -1) if len(rest) == 1 else None
    crossing = _crossing(call, left, rest[0] if rest else left, sides)
    call.keep(call.output, [call.parent(left)], move, crossing=crossing)


def _crossing(
    call: _Call, left: torch.Tensor, right: torch.Tensor, sides: tuple[int, int] | None
) -> Crossing | None:
    """Return whose positions a product has; None where it is a projection, by parameters."""
    first, second = call.streams.tag(left), call.streams.tag(right)
    if second is not None and second.stream is not None and second.stream.rank is Rank.LEARNED:
        return None
    # Weights times values: of these two only one has positions in the result.
    if sides is None or first is None or second is None or first.weights or second.weights:
        return Crossing(None, None)
    return Crossing(first.stream, second.stream, *sides)


def _contracted(call: _Call) -> None:
    """The same of an einsum: what the first operand sums over must agree."""
    equation, *operands = call.args
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = list(operands[0])
    if len(operands) != 2 or not isinstance(equation, str) or "->" not in equation:
        return
    after, spelled = tuple(call.output.shape), equation.replace(" ", "")
    inputs, _, result = spelled.partition("->")
    left, result = _spell(inputs.split(",")[0], operands[0].dim()), _spell(result, len(after))

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

    right = _spell(inputs.split(",")[-1], operands[1].dim())
    rows, columns = (
        [place for place, letter in enumerate(result) if letter in one and letter not in other]
        for one, other in ((left, right), (right, left))
    )
    # Of several dimensions none is the one of the positions.
    each = (rows[0], columns[0]) if len(rows) == len(columns) == 1 else None
    crossing = _crossing(call, operands[0], operands[1], each)
    call.keep(call.output, [call.parent(operands[0])], move, crossing=crossing)


def _spell(text: str, dimensions: int) -> str:
    """Return subscripts with letters for the ellipsis, the same ones from the right."""
    missing = dimensions - len(text.replace("...", ""))
    return text.replace("...", "ABCDEFGHIJ"[10 - missing :] if missing else "")


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _hold(values: Iterable[Any], wanted: Callable[[Any], bool]) -> bool:
    """Tell whether one of the values is what is wanted, or a list or tuple that holds one."""
    for value in values:
        if _hold(value, wanted) if isinstance(value, (tuple, list)) else wanted(value):
            return True
    return False


# Which dimension of their result holds features; an unbatched convolution has one fewer before it.
_FEATURES: dict[Any, int] = {F.linear: -1, F.conv1d: -2, F.conv2d: -3, F.conv3d: -4}
_STILL: set[Any] = {F.linear, F.layer_norm, F.rms_norm, F.softmax, F.dropout, F.gelu, F.silu}
_STILL |= {F.relu, F.normalize, torch.relu, torch.tanh, torch.rsqrt}
_STILL |= methods("add", "sub", "mul", "div", "true_divide", "truediv", "softmax", "masked_fill")
_STILL |= methods("to", "type", "type_as", "float", "half", "bfloat16", "double", "detach", "pow")
_STILL |= methods("nan_to_num", "tril", "triu", "clamp", "cpu", "cuda")
_PADDING: set[Any] = {F.pad, torch._C._nn.pad}
_CONSTANTS: set[Any] = {
    getattr(owner, f"{prefix}{name}{suffix}")
    for owner, prefix, suffix in ((torch, "", ""), (torch, "", "_like"), (torch.Tensor, "new_", ""))
    for name in ("zeros", "ones", "full", "empty")
}
_MIXING: set[Any] = {torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.bmm}
_MIXING |= {torch.Tensor.bmm, F.scaled_dot_product_attention}
_CHOOSING: set[Any] = methods("where")
_MOVING: set[Any] = (
    (SHAPING | CUTTING | methods("gather", "take_along_dim", "index_select", "tile", "unfold"))
    - _STILL
    - _PADDING
    - _CHOOSING
    - methods("requires_grad")
)
_POOLING: set[Any] = methods("amax", "max") | {
    getattr(owner, f"{prefix}max_pool{count}d")
    for owner in (F, torch, torch._C._nn)
    for prefix in ("", "_")
    for count in (1, 2, 3)
    if hasattr(owner, f"{prefix}max_pool{count}d")
}
_RULES: dict[Any, Callable[[_Call], None]] = {
    **dict.fromkeys(_POOLING, _pooled),
    **dict.fromkeys(_MOVING, _moved),
    **dict.fromkeys(_STILL, _still),
    **dict.fromkeys(_PADDING, _padded),
    **dict.fromkeys(_CONSTANTS, _constant),
    **dict.fromkeys(_MIXING, _mixed),
    **dict.fromkeys(_CHOOSING, _chosen),
    **dict.fromkeys(methods("as_strided"), _strided),
    F.embedding: _looked_up,
    torch.einsum: _contracted,
    torch.Tensor.__setitem__: _written,
}
