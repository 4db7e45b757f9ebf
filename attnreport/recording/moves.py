"""What each torch function does to the positions of its arguments: one rule for each kind.

A function that moves positions is called once more, with their numbers in the place of the tensors.
Knows torch functions; what is kept of them is a ``Step``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.convolved import windows_of
from attnreport.recording.exported import KERNELS, torch_function_of
from attnreport.recording.following import CUTTING, SHAPING, methods, tensors_in
from attnreport.recording.moving import Moving
from attnreport.recording.multiplying import contracted, mixed, turned
from attnreport.recording.steps import (
    NOWHERE,
    agreed,
    beginning_of,
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
            tag.features, tag.projected = dimension, True
    if rule is not None:
        if not args and "input" in kwargs:
            args, kwargs = (kwargs["input"],), {k: v for k, v in kwargs.items() if k != "input"}
        rule(Moving(streams, function, args, kwargs, output))


# No position has so high a number.
_AFTER_ALL = 2.0**52


def _still(call: Moving) -> None:
    """Every position stays where it is, whatever is done to the numbers there."""
    first = _main_argument(call)
    if first is None or call.in_place():
        return
    before, after = first.shape, call.output.shape

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        if before == after:
            return numbers[0]
        # A projection: new numbers at the old positions, if all of them were at one position.
        # What is spread over another sequence goes to all of its positions.
        return agreed(numbers[0], -1).expand(after)

    call.keep(call.output, [call.parent(first)], move)


def _main_argument(call: Moving) -> torch.Tensor | None:
    """Return the argument that has the result's positions, by the shortest way from an input.

    A bias or a mask has none of its own; of what a residual connection adds up, either has them.
    """
    if not isinstance(call.output, torch.Tensor):
        return None
    lead = call.output.shape[:-1]
    fitting = [
        value
        for value in call.args[:2]
        if isinstance(value, torch.Tensor) and value.shape[:-1] == lead
    ]
    if not fitting:
        return _spread_argument(call)
    if len(fitting) < 2:
        return fitting[0]
    tags = [call.streams.tag(value) for value in fitting]
    flowing = [
        (not beginning_of(tag).entered, length_of(tag), place)
        for place, tag in enumerate(tags)
        if tag is not None and tag.stream is not None and tag.stream.rank > Rank.AUXILIARY
    ]
    return fitting[min(flowing)[-1] if flowing else 0]


def _spread_argument(call: Moving) -> torch.Tensor | None:
    """Return the first sequence of two that meet each other, position by position."""
    for value in call.args[:2]:
        if isinstance(value, torch.Tensor) and value.dim() == call.output.dim():
            tag = call.streams.tag(value)
            if tag is not None and tag.stream is not None and tag.stream.rank > Rank.AUXILIARY:
                return value
    return None


def _moved(call: Moving) -> None:
    """Positions change places, as the same function does it with their numbers."""
    if not call.args:
        return
    first, *rest = call.args
    several = isinstance(first, (tuple, list))
    sources = list(first) if several else [first]
    for source in sources:
        if not isinstance(source, torch.Tensor) or source is call.output:
            return
    if any(tensor.is_floating_point() for tensor in tensors_in(rest, call.kwargs)):
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


def _padded(call: Moving) -> None:
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


def _padded_together(call: Moving) -> None:
    """Sequences of several lengths become examples of one, padded to the longest."""
    first, *rest = call.args if call.args else (None,)
    if not isinstance(first, (tuple, list)):
        return
    batch_first = rest[0] if rest else call.kwargs.get("batch_first", False)

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        given = list(numbers)
        return torch._C._nn.pad_sequence(given, batch_first=batch_first, padding_value=NOWHERE)

    call.keep(call.output, [call.parent(each) for each in first], move, bare=True)


def _pooled(call: Moving) -> None:
    """Several positions become one; it is numbered as the first of them."""
    first, *rest = call.args if call.args else (None,)
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    if not isinstance(first, torch.Tensor) or tensors_in(rest, call.kwargs):
        return
    function, kwargs = call.function, call.kwargs

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        # Whole numbers up to 2⁵³ are themselves in float64, which every pooling takes.
        real = torch.where(numbers[0] < 0, _AFTER_ALL, numbers[0].double())
        result = function(-real, *rest, **kwargs)
        lowest: torch.Tensor = -(result if isinstance(result, torch.Tensor) else result[0])
        return torch.where(lowest >= _AFTER_ALL, NOWHERE, lowest).to(torch.int64)

    call.keep(output, [call.parent(first)], move, pools=True)


def _reduced(call: Moving) -> None:
    """Some dimensions become one number: what is left of the others stays where it is."""
    first = call.args[0] if call.args else None
    place = 2 if call.function in _NORMS else 1
    which = call.args[place] if len(call.args) > place else call.kwargs.get("dim")
    if not isinstance(first, torch.Tensor) or not isinstance(call.output, torch.Tensor):
        return
    dimensions: Sequence[Any] = which if isinstance(which, (tuple, list)) else [which]
    after, rank = tuple(call.output.shape), first.dim()
    if not dimensions or not all(isinstance(each, int) for each in dimensions):
        return

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        kept = numbers[0]
        for each in dimensions:
            kept = agreed(kept, each)
        if len(after) < rank:
            kept = kept.squeeze([each % rank for each in dimensions])
        return kept

    call.keep(call.output, [call.parent(first)], move)


def _recurrent(call: Moving) -> None:
    """A recurrence reads all positions up to one, and says what it has read there."""
    first, output = call.args[0], call.output[0]
    if first.dim() != output.dim():
        return  # packed sequences: their positions are in an order of their own
    after = tuple(output.shape)
    call.keep(output, [call.parent(first)], lambda numbers: agreed(numbers[0], -1).expand(after))
    tag = call.streams.tag(output)
    if tag is not None:
        tag.projected = True


def _strided(call: Moving) -> None:
    """Pieces that overlap, read from memory: the numbers have to lie there as the tensor does."""
    first, *rest = call.args if call.args else (None,)
    if not isinstance(first, torch.Tensor) or len(rest) > 2 or "storage_offset" in call.kwargs:
        return
    shape, strides, kwargs = tuple(first.shape), first.stride(), call.kwargs

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        lying = torch.empty_strided(shape, strides, dtype=torch.int64).copy_(numbers[0])
        return torch.as_strided(lying, *rest, **kwargs)

    call.keep(call.output, [call.parent(first)], move, bare=True)


def _convolved(call: Moving) -> None:
    """Several positions become one, at the middle of them; alone they stay where they are."""
    first, weight, *rest = call.args if len(call.args) > 1 else (None, None)
    if not isinstance(first, torch.Tensor) or not isinstance(weight, torch.Tensor):
        return
    windows, after = windows_of(weight, rest, call.kwargs), tuple(call.output.shape)
    if windows is None or first.dim() != weight.dim():
        return
    call.keep(
        call.output,
        [call.parent(first)],
        lambda numbers: windows.pick(numbers[0], after),
        pools=not windows.alone,
    )


def _cut_out(call: Moving) -> None:
    """Windows become columns, ``(example, channel and place, window)``, padded with zeros."""
    first, *rest = call.args if call.args else (None,)
    if not isinstance(first, torch.Tensor):
        return
    kwargs = call.kwargs

    def move(numbers: Sequence[torch.Tensor]) -> torch.Tensor:
        # Whole numbers up to 2⁵³ are themselves in float64; what is padded with is 0.
        shifted = (numbers[0] - NOWHERE).double()
        return F.unfold(shifted, *rest, **kwargs).to(torch.int64) + NOWHERE

    call.keep(call.output, [call.parent(first)], move, bare=True)


def _constant(call: Moving) -> None:
    shape = tuple(call.output.shape) if isinstance(call.output, torch.Tensor) else ()
    call.keep(call.output, [], lambda _: torch.full((), NOWHERE).expand(shape))


def _looked_up(call: Moving) -> None:
    """Ids become vectors, each where it was."""
    after = tuple(call.output.shape)
    call.keep(
        call.output,
        [call.parent(call.args[0])],
        lambda numbers: numbers[0].unsqueeze(-1).expand(after),
    )


def _chosen(call: Moving) -> None:
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


def _written(call: Moving) -> None:
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


# Which dimension of their result holds features; an unbatched convolution has one fewer before it.
_FEATURES: dict[Any, int] = {F.linear: -1, F.conv1d: -2, F.conv2d: -3, F.conv3d: -4}
_STILL: set[Any] = {F.linear, F.layer_norm, F.rms_norm, F.softmax, F.dropout, F.gelu, F.silu}
_STILL |= {F.normalize, F.group_norm, F.batch_norm, F.instance_norm, torch.Tensor.__deepcopy__}
_STILL |= {F.softplus, F.mish, F.hardswish, F.hardsigmoid, F.leaky_relu, F.elu, F.relu6, F.tanh}
_STILL |= {F.softmin, F.gumbel_softmax, torch._softmax}
_STILL |= {F.relu, F.sigmoid, F.hardtanh, F.logsigmoid, torch._C._nn.gelu, torch._C._nn.silu}
_STILL |= methods("relu", "tanh", "rsqrt", "sqrt", "square", "sigmoid", "exp", "erf", "neg", "abs")
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
_MIXING |= {torch.mm, torch.Tensor.mm, torch.mv, torch.Tensor.mv}
_MIXING |= {torch_function_of(getattr(torch.ops.aten, name)) for name in KERNELS}
_CHOOSING: set[Any] = methods("where")
_NORMS: set[Any] = methods("norm")
_REDUCING: set[Any] = methods("sum", "mean", "logsumexp", "argmax", "argmin", "norm")
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
_RULES: dict[Any, Callable[[Moving], None]] = {
    **dict.fromkeys(_POOLING, _pooled),
    **dict.fromkeys(_MOVING, _moved),
    **dict.fromkeys(_STILL, _still),
    **dict.fromkeys(_PADDING, _padded),
    **dict.fromkeys(_CONSTANTS, _constant),
    **dict.fromkeys(_MIXING, mixed),
    **dict.fromkeys(_CHOOSING, _chosen),
    **dict.fromkeys(_REDUCING, _reduced),
    **dict.fromkeys(methods("as_strided"), _strided),
    **dict.fromkeys((F.conv1d, F.conv2d, F.conv3d), _convolved),
    **dict.fromkeys((F.embedding, F.one_hot, torch._C._nn.one_hot), _looked_up),
    F.unfold: _cut_out,
    torch._C._nn.pad_sequence: _padded_together,
    **dict.fromkeys((torch.gru, torch.lstm, torch.rnn_tanh, torch.rnn_relu), _recurrent),
    torch.einsum: contracted,
    **dict.fromkeys((torch.inner, torch.Tensor.inner, torch.tensordot), turned),
    torch.Tensor.__setitem__: _written,
}
