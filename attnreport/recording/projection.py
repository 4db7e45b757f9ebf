"""Follow what the heads return to the matrix that projects it, by the identity of tensors.

Every number that an attention returned is marked with its head and channel, and the marks go
through every view, transpose and reshape that the model makes of it. Where the marked tensor is
multiplied with parameters of the model, the marks tell which row of the matrix belongs to which
head. Where anything else happens to it on the way, that is said and nothing is guessed. Knows no
modules and no models.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.following import CUTTING, Called, methods
from attnreport.recording.registry import name_of
from attnreport.recording.sending import value_norms

if TYPE_CHECKING:
    from attnreport.recording.watch import Found, Mixed

_UNKNOWN = -1
_JOINING = methods("cat", "concat", "stack")
_MOVING: set[Any] = (
    CUTTING
    | _JOINING
    | {getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H")}
    | methods("view", "reshape", "permute", "transpose", "swapaxes", "swapdims", "movedim")
    | methods("contiguous", "clone", "expand", "expand_as", "unsqueeze", "squeeze", "flatten")
    | methods("unflatten", "view_as", "reshape_as", "roll", "flip", "detach", "requires_grad")
)
# These leave every number where it is, and at most round it.
_KEEPING: set[Any] = {getattr(torch.Tensor, "data").__get__} | methods(  # noqa: B009 - a descriptor
    "to", "type", "float", "half", "bfloat16", "double", "type_as", "cpu", "cuda"
)
_DROPOUT: set[Any] = {F.dropout, torch.dropout}
_PRODUCTS = methods("matmul", "mm")


@dataclass(frozen=True, eq=False)
class _Marked:
    """Hold which numbers of a tensor are which of an attention's output.

    Attributes:
        found: the attention.
        mixed: its weights and values.
        marks: int32 of the tensor's shape: head · d_v + channel, or -1 where it is something else.
        version: how often the tensor had been written to; None where torch does not count.
    """

    found: Found
    mixed: Mixed
    marks: torch.Tensor
    version: int | None = None


class Projections:
    """Follow all attentions of one capture.

    Args:
        learned: tells whether a tensor is a parameter, or was made of parameters alone.
        grown: told of an attention whose arrays have grown.
    """

    def __init__(
        self, learned: Callable[[torch.Tensor], bool], grown: Callable[[Found], None]
    ) -> None:
        self._learned = learned
        self._grown = grown
        # Held as well, so that no other one gets its number.
        self._weighed: dict[int, Found] = {}
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], dict[int, _Marked]]] = {}

    def begin(self, found: Found, mixed: Mixed) -> None:
        """Follow what an attention returned."""
        heads, returned = mixed.heads.detach(), mixed.returned
        if not mixed.exact:
            found.unweighed = "weights were dropped out or mixed before they met the values"
            return
        if not mixed.in_place:
            found.unweighed = "its heads are no part of what the call returned"
            return
        with quietly(heads):
            room = returned.untyped_storage().nbytes() // returned.element_size()
            marks = torch.full((room,), _UNKNOWN, dtype=torch.int32, device=returned.device)
            count, queries, width = heads.shape
            numbers = torch.arange(count * width, dtype=torch.int32, device=returned.device)
            _like(marks, heads).copy_(numbers.view(count, 1, width).expand(-1, queries, -1))
            self._hold(returned, _Marked(found, mixed, _like(marks, returned)))

    def weigh(
        self, found: Found, weights: torch.Tensor, values: torch.Tensor, matrix: torch.Tensor
    ) -> None:
        """Fill ``found.value_norms``; the rest as ``sending.value_norms`` has it."""
        if id(found) in self._weighed:
            found.value_norms = None
            found.unweighed = "more than one projection reads its heads"
        elif found.reduction is None:
            self._weighed[id(found)] = found
            with quietly(values):
                found.value_norms = value_norms(weights, values, matrix, found.heads)
            self._grown(found)

    def follow(self, call: Called) -> None:
        """Give the result of one torch function what its arguments had, where it still has it."""
        if not self._known:
            return
        marked: dict[int, _Marked] = {}
        for tensor in _tensors(call):
            marked |= self._of(tensor)
        for each in marked.values():
            self._flow(call, each.found)

    def _flow(self, call: Called, found: Found) -> None:
        matrix = self._matrix(call, found)
        if matrix is not None:
            self._project(found, *matrix)
        elif any(self._changed(tensor, found) for tensor in _tensors(call)):
            found.unweighed = "its output was written over before the projection"
        elif call.function in _MOVING:
            self._move(call, found)
        elif call.function in _KEEPING or _is_no_dropout(call):
            source = next(t for t in _tensors(call) if id(found) in self._of(t))
            if isinstance(call.output, torch.Tensor):
                self._hold(call.output, self._of(source)[id(found)])
        else:
            found.unweighed = f"{name_of(call.function)} came before a projection"
            if isinstance(call.output, torch.Tensor):
                self._of(call.output).pop(id(found), None)

    def _move(self, call: Called, found: Found) -> None:
        """Do to the marks what was done to the tensor."""
        joins = call.function in _JOINING

        def marks(value: Any) -> Any:
            if isinstance(value, (tuple, list)):
                return type(value)(marks(item) for item in value)
            if not isinstance(value, torch.Tensor):
                return value
            known = self._of(value).get(id(found))
            if known is not None:
                return known.marks
            return torch.full_like(value, _UNKNOWN, dtype=torch.int32) if joins else value

        source = next(self._of(t)[id(found)] for t in _tensors(call) if id(found) in self._of(t))
        with quietly(source.marks):
            arguments = {name: marks(value) for name, value in call.kwargs.items()}
            moved = (call.ran or call.function)(*marks(call.args), **arguments)
        outputs = call.output if isinstance(call.output, (tuple, list)) else (call.output,)
        results = moved if isinstance(moved, (tuple, list)) else (moved,)
        for output, result in zip(outputs, results, strict=True):
            self._hold(output, replace(source, marks=result))

    def _matrix(self, call: Called, found: Found) -> tuple[_Marked, torch.Tensor] | None:
        """Return what is projected, and the matrix ``(in, out)``, if this is a projection."""
        place, turned = 0, False
        if call.function is F.linear:
            other, turned = call.argument(1, "weight", None), True
        elif call.function in _PRODUCTS:
            other = call.argument(1, "other", call.kwargs.get("mat2"))
        elif call.function in {torch.addmm, torch.Tensor.addmm}:
            place, other = 1, call.argument(2, "mat2", None)
        else:
            return None
        if len(call.args) <= place or not isinstance(other, torch.Tensor) or other.dim() != 2:
            return None
        tensor = call.args[place]
        marked = self._of(tensor).get(id(found)) if isinstance(tensor, torch.Tensor) else None
        if marked is None or call.kwargs.get("alpha", 1) != 1 or not self._learned(other):
            return None
        if self._changed(tensor, found):
            return None
        return marked, other.detach().T if turned else other.detach()

    def _project(self, found: Found, marked: _Marked, matrix: torch.Tensor) -> None:
        """Order the rows of the matrix as the heads have them, and take the norms."""
        rows = marked.marks.reshape(-1, marked.marks.shape[-1])
        rows = rows[(rows != _UNKNOWN).any(dim=1)]
        count, _, width = marked.mixed.heads.shape
        channels = rows[0] if len(rows) else rows.flatten()
        places = (channels != _UNKNOWN).nonzero().flatten()
        order = channels[places].argsort()
        whole = torch.arange(count * width, dtype=channels.dtype, device=channels.device)
        if not torch.equal(channels[places][order], whole) or bool((rows != channels).any()):
            found.unweighed = "a matrix takes its heads in parts"
            return
        rows_of_matrix = matrix[places[order].to(matrix.device)]
        self.weigh(found, marked.mixed.weights, marked.mixed.values, rows_of_matrix)

    def _changed(self, tensor: torch.Tensor, found: Found) -> bool:
        marked = self._of(tensor).get(id(found))
        return marked is not None and marked.version != _version(tensor)

    def _of(self, tensor: torch.Tensor) -> dict[int, _Marked]:
        """Return what is known of a tensor, by the identity of the attentions."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else {}

    def _hold(self, tensor: torch.Tensor, marked: _Marked) -> None:
        """Know this of a tensor for as long as it lives, and no longer."""
        marked = replace(marked, version=_version(tensor))
        key, known = id(tensor), self._known

        def forget(reference: weakref.ref[torch.Tensor]) -> None:
            if key in known and known[key][0] is reference:
                del known[key]

        others = self._of(tensor)
        known[key] = (weakref.ref(tensor, forget), others | {id(marked.found): marked})


def _like(marks: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return the marks that lie where the tensor's numbers lie in their memory."""
    return marks.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def _version(tensor: torch.Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _is_no_dropout(call: Called) -> bool:
    if call.function not in _DROPOUT:
        return False
    return not call.argument(1, "p", 0.5) or not call.argument(2, "training", True)


def _tensors(call: Called) -> Iterator[torch.Tensor]:
    for value in (*call.args, *call.kwargs.values()):
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, torch.Tensor):
                yield item
