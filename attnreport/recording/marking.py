"""Know which number of a tensor is which, wherever the model moves it: marks, by identity.

A subject (what an attention's heads returned, say) is laid into a tensor as whole numbers of the
same shape, and every view, transpose and reshape that the model makes of the tensor is made of
its marks too. Knows no subject and no arithmetic: what changes numbers ends the marks.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.following import CUTTING, Called, methods, tensors_in

T = TypeVar("T")

UNKNOWN = -1
JOINING = methods("cat", "concat", "stack")
# These put numbers elsewhere, each of them once or more often.
REARRANGING: set[Any] = (
    {getattr(torch.Tensor, name).__get__ for name in ("T", "mT", "H")}
    | methods("view", "reshape", "permute", "transpose", "swapaxes", "swapdims", "movedim")
    | methods("contiguous", "clone", "expand", "expand_as", "unsqueeze", "squeeze", "flatten")
    | methods("unflatten", "view_as", "reshape_as", "roll", "flip", "detach", "requires_grad")
)
MOVING: set[Any] = CUTTING | JOINING | REARRANGING
# These leave every number where it is, and at most round it.
_ROUNDING: set[Any] = {getattr(torch.Tensor, "data").__get__} | methods(  # noqa: B009 - a descriptor
    "to", "type", "float", "half", "bfloat16", "double", "type_as", "cpu", "cuda"
)
_DROPOUT: set[Any] = {F.dropout, torch.dropout}


@dataclass(frozen=True, eq=False)
class Marked:
    """Hold which numbers of a tensor are which of a subject's.

    Attributes:
        subject: whose they are.
        numbers: int32 of the tensor's shape; -1 where it is something else.
        version: how often the tensor had been written to; None where torch does not count.
    """

    subject: Any
    numbers: torch.Tensor
    version: int | None


class Living(Generic[T]):
    """Know something of each tensor, by its identity, for as long as it lives and no longer."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[torch.Tensor], T]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def get(self, tensor: torch.Tensor) -> T | None:
        """Return what is known of a tensor, or None."""
        known = self._known.get(id(tensor))
        return known[1] if known is not None and known[0]() is tensor else None

    def put(self, tensor: torch.Tensor, value: T) -> None:
        """Know this of a tensor from now on."""
        key, known = id(tensor), self._known

        def forget(reference: weakref.ref[torch.Tensor]) -> None:
            if key in known and known[key][0] is reference:
                del known[key]

        known[key] = (weakref.ref(tensor, forget), value)


class Marks:
    """Hold the marks of all tensors that live, for one kind of subject."""

    def __init__(self) -> None:
        self._known: Living[dict[int, Marked]] = Living()

    def of(self, tensor: torch.Tensor) -> dict[int, Marked]:
        """Return what is known of a tensor, by the identity of the subjects."""
        return self._known.get(tensor) or {}

    def get(self, tensor: Any, subject: Any) -> Marked | None:
        """Return the marks of one subject in a tensor, or None."""
        return self.of(tensor).get(id(subject)) if isinstance(tensor, torch.Tensor) else None

    def subjects(self, call: Called) -> list[Any]:
        """Return whose numbers are among the arguments of a call."""
        if not self._known:
            return []
        found: dict[int, Marked] = {}
        for tensor in tensors_of(call):
            found |= self.of(tensor)
        return [each.subject for each in found.values()]

    def hold(self, tensor: torch.Tensor, numbers: torch.Tensor, subject: Any) -> None:
        """Know this of a tensor, beside what is known of it for other subjects."""
        marked = Marked(subject, numbers, version_of(tensor))
        self._known.put(tensor, self.of(tensor) | {id(subject): marked})

    def drop(self, tensor: Any, subject: Any) -> None:
        """Know nothing of one subject in a tensor any more."""
        if isinstance(tensor, torch.Tensor):
            self.of(tensor).pop(id(subject), None)

    def written_over(self, tensor: torch.Tensor, subject: Any) -> bool:
        """Tell whether somebody wrote to a tensor since it was marked."""
        marked = self.of(tensor).get(id(subject))
        return marked is not None and marked.version != version_of(tensor)

    def moved(self, call: Called, subject: Any) -> bool:
        """Mark the result of what only moves numbers; tell whether this was such a call."""
        if call.function in MOVING:
            self._move(call, subject)
        elif keeps(call):
            source = next(t for t in tensors_of(call) if self.get(t, subject) is not None)
            if isinstance(call.output, torch.Tensor):
                self.hold(call.output, self.of(source)[id(subject)].numbers, subject)
        else:
            return False
        return True

    def _move(self, call: Called, subject: Any) -> None:
        """Do to the marks what was done to the tensor."""
        joins = call.function in JOINING

        def marks(value: Any) -> Any:
            if isinstance(value, (tuple, list)):
                return type(value)(marks(item) for item in value)
            if not isinstance(value, torch.Tensor):
                return value
            known = self.get(value, subject)
            if known is not None:
                return known.numbers
            return torch.full_like(value, UNKNOWN, dtype=torch.int32) if joins else value

        with quietly(tensors_of(call)[0]):
            arguments = {name: marks(value) for name, value in call.kwargs.items()}
            moved = (call.ran or call.function)(*marks(call.args), **arguments)
        for output, result in zip(several(call.output), several(moved), strict=True):
            self.hold(output, result, subject)


def keeps(call: Called) -> bool:
    """Tell whether a call leaves every number where it is, and at most rounds it."""
    if call.function in _DROPOUT:
        return not call.argument(1, "p", 0.5) or not call.argument(2, "training", True)
    return call.function in _ROUNDING


def tensors_of(call: Called) -> list[torch.Tensor]:
    """Return the tensors among the arguments of a call."""
    return tensors_in(call.args, call.kwargs)


def shares_memory(part: torch.Tensor, whole: torch.Tensor) -> bool:
    """Tell whether writing to one tensor writes to the other."""
    storages = {each.untyped_storage().data_ptr() for each in (part, whole)}
    return len(storages) == 1


def version_of(tensor: torch.Tensor) -> int | None:
    """Return how often a tensor was written to; None where torch does not count."""
    return None if tensor.is_inference() else tensor._version


def laid(tensor: torch.Tensor, part: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return marks of a tensor's shape that are ``numbers`` in a view of it and -1 elsewhere."""
    room = tensor.untyped_storage().nbytes() // tensor.element_size()
    marks = torch.full((room,), UNKNOWN, dtype=torch.int32, device=tensor.device)
    _like(marks, part).copy_(numbers)
    return _like(marks, tensor)


def _like(marks: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Return the marks that lie where the tensor's numbers lie in their memory."""
    return marks.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())


def several(value: Any) -> tuple[Any, ...] | list[Any]:
    """Return the results of a call, of which most have one."""
    return value if isinstance(value, (tuple, list)) else (value,)
