"""Follow weights from the softmax that made them to the product with the values.

Between the two a model may mask, scale, drop out, reshape, cut or mix them. What is reported are
the weights as they multiply the values, without dropout; where heads were mixed afterwards, the
softmax's own. Knows what each torch function does to weights; takes no decision about a Run.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.registry import name_of
from attnreport.recording.weights import before_dropout

if TYPE_CHECKING:
    from attnreport.recording.watch import Watch


# Half a precision may round a weight of 1 up.
_ROUNDING = 1e-5


@dataclass(eq=False)
class Origin:
    """Be the one call that made weights, whatever became of them.

    Attributes:
        call: what made them, e.g. ``"softmax"``.
        name: path of the module it ran in; None outside the model.
        shape: of its result.
        used: whether they have multiplied values.
        lost: the last function that took them and is not followed.
        normalised: whether it makes rows sum to 1 at all.
    """

    call: str
    name: str | None
    shape: tuple[int, ...]
    used: bool = False
    lost: str = ""
    normalised: bool = True


@dataclass(frozen=True, eq=False)
class Followed:
    """Hold what is known of a tensor that holds weights.

    Attributes:
        origin: what made them.
        clean: the same weights without dropout or mixing, where the tensor itself has it.
        cut: whether columns were cut off on the way: a sink, or a padded block.
        reasons: what was done to them, for the ledger.
    """

    origin: Origin
    clean: torch.Tensor | None = None
    cut: bool = False
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Called:
    """Hold one call of a torch function and what it returned."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    def argument(self, place: int, name: str, default: Any) -> Any:
        """Return an argument, however it was given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


def follow(watch: Watch, call: Called) -> None:
    """Give the result of one torch function what its arguments had, where it still is weights."""
    tensor, followed = first_followed(watch, call)
    if followed is None or tensor is None:
        return
    if call.function in _SCALING and not _within_one(call.output):
        _mix(watch, call, tensor, followed)
    elif call.function in _SHAPING or call.function in _SCALING:
        _shape(watch, call, followed)
    elif call.function in _DROPOUT:
        _drop(watch, call, tensor, followed)
    elif call.function in _MIXING:
        _mix(watch, call, tensor, followed)
    else:
        followed.origin.lost = name_of(call.function)


def first_followed(watch: Watch, call: Called) -> tuple[torch.Tensor | None, Followed | None]:
    """Return the first argument that holds weights, and what is known of it."""
    for value in (*call.args, *call.kwargs.values()):
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, torch.Tensor):
                tag = watch.streams.tag(item)
                if tag is not None and tag.weights is not None:
                    return item, tag.weights
    return None, None


def start(watch: Watch, output: torch.Tensor, followed: Followed) -> None:
    """Follow this tensor from now on."""
    tag = watch.streams.tag(output)
    if tag is None:
        tag = watch.streams.assign(output, None)
    tag.weights = followed


def _give(watch: Watch, output: Any, followed: Followed, reason: str = "") -> None:
    if isinstance(output, torch.Tensor):
        reasons = (*followed.reasons, reason) if reason else followed.reasons
        start(watch, output, replace(followed, reasons=reasons))


def _shape(watch: Watch, call: Called, followed: Followed) -> None:
    """Do to the clean weights what was done to the weights."""
    outputs = (call.output,) if isinstance(call.output, torch.Tensor) else tuple(call.output)
    cleans: tuple[torch.Tensor | None, ...] = (None,) * len(outputs)
    if followed.clean is not None:
        kwargs = {name: _clean(watch, value) for name, value in call.kwargs.items()}
        with torch.no_grad():
            result = call.function(*_clean(watch, call.args), **kwargs)
        cleans = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    cut = followed.cut or call.function in _CUTTING
    for tensor, clean in zip(outputs, cleans, strict=True):
        start(watch, tensor, replace(followed, clean=clean, cut=cut))


def _clean(watch: Watch, values: Any) -> Any:
    """Put the clean weights in the place of the weights, as copies: a function may write."""
    if isinstance(values, (tuple, list)):
        return type(values)(_clean(watch, value) for value in values)
    if isinstance(values, torch.Tensor):
        tag = watch.streams.tag(values)
        if tag is not None and tag.weights is not None and tag.weights.clean is not None:
            return tag.weights.clean.clone()
    return values


def _mix(watch: Watch, call: Called, tensor: torch.Tensor, followed: Followed) -> None:
    if call.output is tensor and followed.clean is None:
        followed.origin.lost = f"{name_of(call.function)}, which wrote over it"
        watch.streams.assign(tensor, watch.streams.of(tensor))
        return
    clean = tensor if followed.clean is None else followed.clean
    how = f"{name_of(call.function)} changed them after the softmax: its own weights are shown"
    _give(watch, call.output, replace(followed, clean=clean), how)


def _within_one(weights: Any) -> bool:
    if not isinstance(weights, torch.Tensor) or not weights.numel():
        return True
    low, high = weights.detach().aminmax()
    return not (low < 0 or high > 1 + _ROUNDING)


def _drop(watch: Watch, call: Called, tensor: torch.Tensor, followed: Followed) -> None:
    rate = call.argument(1, "p", 0.5)
    if not rate or not call.argument(2, "training", True):
        _give(watch, call.output, followed)
    else:
        clean = tensor if followed.clean is None else followed.clean
        _give(watch, call.output, replace(followed, clean=clean), before_dropout(rate))


def before_dropout_in_place(watch: Watch, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Copy weights that dropout is about to write over."""
    call = Called(F.dropout, args, kwargs, None)
    if not (call.argument(2, "training", True) and call.argument(3, "inplace", False)):
        return
    tensor, followed = first_followed(watch, call)
    if tensor is not None and followed is not None and followed.clean is None:
        start(watch, tensor, replace(followed, clean=tensor.detach().clone()))


def _methods(*names: str) -> set[Any]:
    """Return these functions as torch and Tensor have them, in place too."""
    found = set()
    for name in names:
        for owner in (torch, torch.Tensor):
            for variant in (name, f"{name}_", f"__{name}__", f"__i{name}__", f"__r{name}__"):
                function = getattr(owner, variant, None)
                # Ordinary classes have e.g. __repr__ too: only what torch itself brings.
                if function is not None and function is not getattr(object, variant, None):
                    found.add(function)
    return found


_CUTTING: set[Any] = {torch.Tensor.__getitem__} | _methods(
    "narrow", "select", "split", "chunk", "unbind", "tensor_split", "index_select"
)
_SHAPING: set[Any] = (
    _CUTTING
    | {getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H", "data")}
    | {F.pad, torch._C._nn.pad}
    | _methods("view", "reshape", "permute", "transpose", "swapaxes", "swapdims", "movedim")
    | _methods("contiguous", "clone", "expand", "expand_as", "unsqueeze", "squeeze", "flatten")
    | _methods("unflatten", "view_as", "reshape_as", "repeat", "repeat_interleave", "cat")
    | _methods("concat", "stack", "roll", "flip", "as_strided", "detach", "requires_grad")
    | _methods("to", "type", "float", "half", "bfloat16", "double", "type_as", "cpu", "cuda")
    | _methods("masked_fill", "where")
    | _methods("nan_to_num", "tril", "triu", "clamp")
)
_SCALING: set[Any] = _methods("mul", "multiply", "div", "divide", "true_divide", "truediv")
_DROPOUT: set[Any] = {F.dropout, F.dropout1d, F.dropout2d, torch.dropout, F.alpha_dropout}
_MIXING: set[Any] = {
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.layer_norm,
    F.batch_norm,
    F.group_norm,
} | _methods("add", "sub", "lerp", "addcmul")
