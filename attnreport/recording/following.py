"""Follow weights from the softmax that made them to the product with the values.

Between the two a model may mask, scale, drop out, reshape, cut or mix them. What is reported are
the weights as they multiply the values, without dropout; where heads were mixed afterwards, the
softmax's own. Knows what each torch function does to weights; takes no decision about a Run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.registry import name_of
from attnreport.recording.sides import is_between
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
        between: whether they were made of a product of two sequences.
        laid: whether what was found of it so far was laid on its sequence, in pieces.
        unwanted: whether it was not selected.
    """

    call: str
    name: str | None
    shape: tuple[int, ...]
    used: bool = False
    lost: str = ""
    normalised: bool = True
    between: bool = False
    laid: bool = False
    unwanted: bool = False


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

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Follow them through what leaves them weights."""
        function = call.function
        if function in SCALING:
            _scale(watch, call, tensor, self)
        elif function in SHAPING:
            _shape(watch, call, self)
        elif function in _DROPOUT:
            _drop(watch, call, tensor, self)
        elif function in _MIXING and self.origin.normalised:
            _mix(watch, call, tensor, self)
        elif function in _WRITING:
            # Written to themselves they stay what they are; written into a buffer, it holds them.
            if call.output is not tensor:
                start(watch, call.output, replace(self, clean=None))
        elif self.origin.normalised:
            self.origin.lost = name_of(function)


# One is made for every call where weights go: frozen they would take three times as long.
@dataclass(slots=True, eq=False)
class Called:
    """Hold one call of a torch function and what it returned.

    Attributes:
        function: what it is, e.g. ``torch.softmax``.
        args: positional arguments.
        kwargs: keyword arguments.
        output: what it returned.
        ran: what was really called where that is an operator; None where it is ``function``.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    ran: Any = None

    def argument(self, place: int, name: str, default: Any) -> Any:
        """Return an argument, however it was given."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


def tensors_in(args: Sequence[Any], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """Return the tensors among arguments, and in lists of them."""
    found = []
    for value in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, (tuple, list)):
            found += [item for item in value if isinstance(item, torch.Tensor)]
    return found


class State(Protocol):
    """Be what is known of a tensor on the way to a product with values."""

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Say what a torch function made of ``tensor``, whose state this is."""


def follow(watch: Watch, call: Called) -> None:
    """Give the result of one torch function what its arguments had, where that still means it."""
    tensor, state = first_state(watch, call)
    if state is not None and tensor is not None:
        state.flow(watch, call, tensor)


def state_of(watch: Watch, tensor: Any) -> State | None:
    """Return what is known of a tensor."""
    tag = watch.streams.tag(tensor) if isinstance(tensor, torch.Tensor) else None
    state: State | None = None if tag is None else tag.weights
    return state


def first_state(watch: Watch, call: Called) -> tuple[torch.Tensor | None, State | None]:
    """Return the first argument that something is known of, and what.

    A gate that weights are scaled by gives way to them.
    """
    gate: tuple[torch.Tensor | None, State | None] = (None, None)
    for item in tensors_in(call.args, call.kwargs):
        tag = watch.streams.tag(item)
        if tag is None or tag.weights is None:
            continue
        if not isinstance(tag.weights, Followed) or tag.weights.origin.normalised:
            return item, tag.weights
        gate = gate if gate[0] is not None else (item, tag.weights)
    return gate


def start(watch: Watch, output: torch.Tensor, state: State) -> None:
    """Follow this tensor from now on."""
    tag = watch.streams.tag(output)
    if tag is None:
        tag = watch.streams.assign(output, None)
    tag.hold(output, state)


def begin(watch: Watch, output: torch.Tensor, call: str, *, normalised: bool = True) -> Followed:
    """Follow new weights from now on."""
    between = normalised and is_between(watch.streams, output)
    name, shape = watch.names.current(), tuple(output.shape)
    origin = Origin(call, name, shape, normalised=normalised, between=between)
    watch.origins.append(origin)
    followed = Followed(origin)
    start(watch, output, followed)
    return followed


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
        with quietly(followed.clean):
            result = (call.ran or call.function)(*_clean(watch, call.args), **kwargs)
        cleans = (result,) if isinstance(result, torch.Tensor) else tuple(result)
    cut = followed.cut or call.function in CUTTING
    for tensor, clean in zip(outputs, cleans, strict=True):
        start(watch, tensor, replace(followed, clean=clean, cut=cut))


def _clean(watch: Watch, values: Any) -> Any:
    """Put the clean weights in the place of the weights, as copies: a function may write."""
    if isinstance(values, (tuple, list)):
        return type(values)(_clean(watch, value) for value in values)
    if isinstance(values, torch.Tensor):
        tag = watch.streams.tag(values)
        if tag is not None and isinstance(tag.weights, Followed) and tag.weights.clean is not None:
            return tag.weights.clean.clone()
    return values


def _scale(watch: Watch, call: Called, tensor: torch.Tensor, followed: Followed) -> None:
    other = next((item for item in call.args[:2] if item is not tensor), None)
    if isinstance(other, torch.Tensor) and is_product(tensor, other, call.output):
        start(watch, call.output, Product(followed, tensor, other))
    elif _within_one(call.output):
        _shape(watch, call, followed)
    elif isinstance(other, torch.Tensor) and other.numel() > 1:
        # Something else than weights now: a gate, or a gradient.
        if followed.origin.normalised:
            followed.origin.lost = name_of(call.function)
    else:
        _mix(watch, call, tensor, followed)


def is_product(weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor) -> bool:
    """Tell whether weights with a dimension of one at the end multiply rows of values."""
    return (
        weights.dim() == values.dim() == output.dim() > 1
        and weights.shape[-1] == 1 < values.shape[-1]
    )


@dataclass(frozen=True, eq=False)
class Product:
    """Hold a product of weights and values before the sum; sums.py records what is summed."""

    followed: Followed
    weights: torch.Tensor
    values: torch.Tensor

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Only a sum makes it attention."""
        record = SUMS.get(call.function)
        if record is not None:
            record(watch, call, self)
        elif call.function is torch.Tensor.contiguous:
            start(watch, call.output, self)
        elif self.followed.origin.normalised:
            self.followed.origin.lost = f"a product, and that into {name_of(call.function)}"


SUMS: dict[Any, Callable[[Watch, Called, Product], None]] = {}


def _mix(watch: Watch, call: Called, tensor: torch.Tensor, followed: Followed) -> None:
    other = _added(watch, call, tensor)
    if other is not None and followed.clean is None and _within_one(call.output):
        other.origin.used = True
        _give(watch, call.output, followed, "the sum of two softmaxes, each scaled")
        return
    for state in (state_of(watch, each) for each in call.args if each is not tensor):
        if isinstance(state, Followed) and state.origin is not followed.origin:
            state.origin.lost = f"{name_of(call.function)}, with other weights"
    if call.output is tensor and followed.clean is None:
        followed.origin.lost = f"{name_of(call.function)}, which wrote over it"
        watch.streams.assign(tensor, watch.streams.of(tensor))
        return
    clean = tensor if followed.clean is None else followed.clean
    how = f"{name_of(call.function)} changed them after the softmax: its own weights are shown"
    _give(watch, call.output, replace(followed, clean=clean), how)


def _added(watch: Watch, call: Called, tensor: torch.Tensor) -> Followed | None:
    """Return the weights that were added to these, where it is weights that were."""
    others = [each for each in call.args if each is not tensor]
    if call.function not in _ADDING or len(others) != 1 or call.kwargs:
        return None
    state = state_of(watch, others[0])
    known = isinstance(state, Followed) and state.clean is None and state.origin.normalised
    return state if known and isinstance(state, Followed) else None


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
    tensor, followed = first_state(watch, call)
    if tensor is not None and isinstance(followed, Followed) and followed.clean is None:
        start(watch, tensor, replace(followed, clean=tensor.detach().clone()))


def methods(*names: str) -> set[Any]:
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


CUTTING: set[Any] = {torch.Tensor.__getitem__} | methods(
    "narrow", "select", "split", "chunk", "unbind", "tensor_split", "index_select"
)
SHAPING: set[Any] = (
    CUTTING
    | {getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H", "data")}
    | {F.pad, torch._C._nn.pad}
    | methods("view", "reshape", "permute", "transpose", "swapaxes", "swapdims", "movedim")
    | methods("contiguous", "clone", "expand", "expand_as", "unsqueeze", "squeeze", "flatten")
    | methods(
        "t", "adjoint", "unflatten", "view_as", "reshape_as", "repeat", "repeat_interleave", "cat"
    )
    | methods("concat", "stack", "roll", "flip", "as_strided", "detach", "requires_grad")
    | methods("to", "type", "float", "half", "bfloat16", "double", "type_as", "cpu", "cuda")
    | methods("masked_fill", "where")
    | methods("nan_to_num", "tril", "triu", "clamp")
)
SCALING: set[Any] = methods("mul", "multiply", "div", "divide", "true_divide", "truediv")
_DROPOUT: set[Any] = {F.dropout, F.dropout1d, F.dropout2d, torch.dropout, F.alpha_dropout}
_ADDING = methods("add")
_WRITING: set[Any] = {torch.Tensor.__setitem__} | methods("scatter")
_MIXING: set[Any] = {
    F.linear,
    F.conv1d,
    F.conv2d,
    F.conv3d,
    F.layer_norm,
    F.batch_norm,
    F.group_norm,
} | methods("add", "sub", "lerp", "addcmul")
