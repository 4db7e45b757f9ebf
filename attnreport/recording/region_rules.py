"""What each torch function does to the regions of its arguments.

Three kinds: functions that leave every position where it is, functions that move numbers and move
the fields the same way, and functions that merge numbers, in region_merges.py. A function that is
not here ends the way. Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.following import SHAPING, Called, methods
from attnreport.recording.region_merges import MERGES, merged
from attnreport.recording.regions import NOWHERE, UNKNOWN, Field, Regions

Rule = Callable[[Regions, Called], Any]


def follow(regions: Regions, call: Called) -> None:
    """Give what a torch function returned, or wrote to, its field."""
    rule = _RULES.get(call.function) or MERGES.get(call.function)
    made = None if rule is None else rule(regions, call)
    outputs = (call.output,) if isinstance(call.output, torch.Tensor) else tuple(call.output)
    fields = made if isinstance(made, (tuple, list)) else (made,) * len(outputs)
    for tensor, field in zip(outputs, fields, strict=False):
        if not isinstance(tensor, torch.Tensor):
            continue
        # A function that nothing is known of may still have returned what it got.
        if rule is None and any(tensor is value for value in call.args):
            continue
        fits = field is not None and field.numbers.shape == tensor.shape
        regions.put(tensor, field if fits else None)


def _tensors(call: Called) -> list[torch.Tensor]:
    given = (*call.args, *call.kwargs.values())
    return [value for value in given if isinstance(value, torch.Tensor)]


def _in_place(regions: Regions, call: Called) -> Field | None:
    """Leave every position where it is: the first operand of the result's positions says which."""
    shape = call.output.shape if isinstance(call.output, torch.Tensor) else call.output[0].shape
    fields = [regions.of(tensor) for tensor in _tensors(call)[:3]]
    if not any(fields) or call.function in _SUMS:
        # Learned tokens may be added to learned places.
        fields = [regions.learned(tensor) for tensor in _tensors(call)[:3]]
    known = [field for field in fields if field is not None]
    for field in sorted(known, key=lambda field: (-field.rank, field.numbers.shape != shape)):
        at_home = _at_same_places(regions, field, shape)
        if at_home is not None:
            return at_home
    return None


def _first_in_place(regions: Regions, call: Called) -> Any:
    """Leave every position of the first argument where it is."""
    tensors = _tensors(call)
    field = regions.of(tensors[0]) if tensors else None
    if field is None:
        return None
    output = call.output if isinstance(call.output, torch.Tensor) else call.output[0]
    rest = () if isinstance(call.output, torch.Tensor) else (None,) * (len(call.output) - 1)
    return (_at_same_places(regions, field, output.shape), *rest)


def _at_same_places(regions: Regions, field: Field, shape: torch.Size) -> Field | None:
    """Return the field for a result of this shape with new numbers at the old positions."""
    old = field.numbers.shape
    if old == shape:
        return field
    if len(old) > len(shape) or not old:
        return None
    lead = (*[1] * (len(shape) - len(old)), *old[:-1])
    # A batch may be broadcast; one position may not stand for many.
    if len(shape) > 1 and lead[1:] != tuple(shape[1:-1]):
        return None
    if len(shape) > 1 and lead[0] not in (1, shape[0]):
        return None
    return Field(merged(regions.book, field.numbers, [-1]).expand(shape), field.rank)


def _move(regions: Regions, call: Called) -> Any:
    """Move the regions as the function moved the numbers: by calling it."""
    source = call.args[0] if call.args else next(iter(call.kwargs.values()))
    field = regions.learned(source) if isinstance(source, torch.Tensor) else None
    if field is None:
        return None
    args = [_on_cpu(value) for value in call.args[1:]]
    kwargs = {name: _on_cpu(value) for name, value in call.kwargs.items()}
    kwargs.pop("memory_format", None)
    moved = (call.ran or call.function)(field.numbers, *args, **kwargs)
    if isinstance(moved, torch.Tensor):
        return Field(thin(moved), field.rank)
    return [Field(thin(each), field.rank) for each in moved]


def _reshape(regions: Regions, call: Called) -> Field | None:
    """Reshape the regions without spreading out what makes no difference."""
    field = regions.learned(call.args[0])
    if field is None or field.numbers.numel() != call.output.numel():
        return None
    numbers, shape = field.numbers, call.output.shape
    if numbers.dim() > 1 and numbers.stride(-1) == 0 and numbers.shape[-1] == shape[-1]:
        return Field(numbers[..., 0].reshape(shape[:-1]).unsqueeze(-1).expand(shape), field.rank)
    return Field(thin(numbers.reshape(shape)), field.rank)


def _repeat(regions: Regions, call: Called) -> Field | None:
    """Repeat a sequence; its positions are the same ones each time."""
    moved: Field | None = _move(regions, call)
    return moved


def _join(regions: Regions, call: Called) -> Field | None:
    """Put several tensors together; what one of them lacks is unknown there."""
    tensors: Any = call.args[0] if call.args else call.kwargs["tensors"]
    fields = [regions.learned(tensor) for tensor in tensors]
    known = [field for field in fields if field is not None]
    if not known:
        return None
    if None in fields and _along_last(call, tensors[0]):
        # Places beside contents, in the same positions: what is known of one holds for all.
        best = max(known, key=lambda field: field.rank)
        return _at_same_places(regions, best, call.output.shape)
    parts = [
        _blank(tensor, UNKNOWN) if field is None else field.numbers
        for tensor, field in zip(tensors, fields, strict=True)
    ]
    kwargs = {name: value for name, value in call.kwargs.items() if name != "tensors"}
    joined = call.function(parts, *call.args[1:], **kwargs)
    return Field(thin(joined), max(field.rank for field in known))


def _along_last(call: Called, tensor: torch.Tensor) -> bool:
    if call.function in _STACKING or tensor.dim() < 3:
        return False
    return call.argument(1, "dim", 0) in (-1, tensor.dim() - 1)


def _pad(regions: Regions, call: Called) -> Field | None:
    """Padding is nowhere; what repeats the edge is not padding."""
    field = regions.of(call.args[0])
    mode = call.argument(2, "mode", "constant")
    if field is None or mode != "constant":
        return None
    return Field(
        thin(F.pad(field.numbers, list(call.argument(1, "pad", ())), value=NOWHERE)), field.rank
    )


def _choose(regions: Regions, call: Called) -> Field | None:
    """Take each number from one of two tensors: ``where``, ``masked_scatter``."""
    if len(call.args) < 3:
        return None
    if call.function in _WHERE:
        mask, first, second = call.args[:3]
    else:
        second, mask, first = call.args[:3]
    fields = [regions.learned(x) if isinstance(x, torch.Tensor) else None for x in (first, second)]
    if not any(fields):
        return None
    rank = max(field.rank for field in fields if field is not None)
    if call.function in _WHERE:
        one, other = (
            torch.tensor(UNKNOWN, dtype=torch.int32) if field is None else field.numbers
            for field in fields
        )
        return Field(thin(torch.where(_on_cpu(mask), one, other)), rank)
    one = _blank(first, UNKNOWN) if fields[0] is None else fields[0].numbers
    other = _blank(second, UNKNOWN) if fields[1] is None else fields[1].numbers
    scattered = other.masked_scatter(_on_cpu(mask), one.contiguous())
    return Field(thin(scattered), rank)


def _write(regions: Regions, call: Called) -> Field | None:
    """Write into a tensor: ``tensor[index] = value``."""
    target, index, value = call.args[:3]
    old = regions.of(target)
    new = regions.learned(value) if isinstance(value, torch.Tensor) else None
    if new is None:
        # Numbers, or what nothing is known of, at positions that stay what they are.
        return old
    numbers = (_blank(target, UNKNOWN) if old is None else old.numbers).clone()
    numbers[_on_cpu(index)] = new.numbers
    return Field(thin(numbers), new.rank if old is None else max(old.rank, new.rank))


def _look_up(regions: Regions, call: Called) -> Field | None:
    """An embedded token is where its id is."""
    field = regions.of(call.args[0])
    return (
        None
        if field is None
        else Field(field.numbers.unsqueeze(-1).expand(call.output.shape), field.rank)
    )


def _blank(tensor: torch.Tensor, number: int) -> torch.Tensor:
    return torch.full((1,), number, dtype=torch.int32).expand(tensor.shape)


def _on_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().cpu()
    if isinstance(value, (tuple, list)):
        return type(value)(_on_cpu(item) for item in value)
    return value


def thin(numbers: torch.Tensor) -> torch.Tensor:
    """Return the same numbers, a last dimension that makes no difference with a stride of 0."""
    if numbers.dim() < 2 or numbers.shape[-1] < 2 or numbers.stride(-1) == 0:
        return numbers
    same = numbers[..., :1]
    return same.contiguous().expand(numbers.shape) if bool((numbers == same).all()) else numbers


_SUMS: set[Any] = methods("add", "sub")
_WHERE: set[Any] = methods("where")
_POINTWISE: set[Any] = _SUMS | methods(
    *("mul", "div", "multiply", "divide", "true_divide", "truediv", "pow", "neg", "abs", "exp"),
    *("log", "sqrt", "rsqrt", "sigmoid", "tanh", "relu", "silu", "gelu", "erf", "clamp", "sin"),
    *("cos", "softmax", "log_softmax", "masked_fill", "nan_to_num", "float", "half", "bfloat16"),
    *("double", "to", "type", "type_as", "contiguous", "clone", "detach", "requires_grad"),
    *("cpu", "cuda", "dropout", "addcmul", "lerp", "maximum", "minimum", "square", "softplus"),
    *("layer_norm", "rms_norm", "group_norm", "batch_norm", "instance_norm", "clamp_min"),
)
_FUNCTIONAL = (
    *("gelu", "silu", "relu", "relu6", "hardswish", "hardsigmoid", "hardtanh", "elu", "mish"),
    *("leaky_relu", "prelu", "softplus", "sigmoid", "tanh", "softmax", "log_softmax", "softsign"),
    *("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "layer_norm", "rms_norm"),
    *("group_norm", "batch_norm", "instance_norm", "normalize", "celu", "selu", "logsigmoid"),
)
_POINTWISE |= {getattr(F, name) for name in _FUNCTIONAL}
_FIRST: set[Any] = {
    F.linear,
    F.bilinear,
    F.scaled_dot_product_attention,
    F.multi_head_attention_forward,
    torch._native_multi_head_attention,
    torch._transformer_encoder_layer_fwd,
    torch.ops.higher_order.flex_attention,
} | methods("matmul", "bmm")
_SHAPES: set[Any] = methods(
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as"),
    *("ravel",),
)
_STACKING: set[Any] = methods("stack")
_JOINING: set[Any] = _STACKING | methods("cat", "concat", "concatenate")
_OTHER_MOVES: set[Any] = methods(
    *("gather", "take_along_dim", "masked_select", "unfold", "tile", "pixel_unshuffle"),
    *("pixel_shuffle", "t", "rot90", "broadcast_to", "adjoint", "hsplit", "vsplit"),
)
_RULES: dict[Any, Rule] = (
    dict.fromkeys(SHAPING | _OTHER_MOVES, _move)
    | dict.fromkeys(_POINTWISE, _in_place)
    | dict.fromkeys(_FIRST, _first_in_place)
    | dict.fromkeys(_SHAPES, _reshape)
    | dict.fromkeys(_JOINING, _join)
    | dict.fromkeys({F.pad, torch._C._nn.pad}, _pad)
    | dict.fromkeys(methods("where", "masked_scatter"), _choose)
    | {torch.Tensor.__setitem__: _write, F.embedding: _look_up, torch.embedding: _look_up}
)
