"""Follow exponentials times values to where they are divided by their sum, all at once or in parts.

A softmax computed online takes the keys some at a time: what was added up so far is scaled down
whenever a larger score is found, and divided in the end, or at every step. Knows products and
sums; what exponentials and their sums are is ``exponentials``' business.

Sources: Milakov & Gimelshein 2018, Online normalizer calculation for softmax
https://arxiv.org/abs/1805.02867; Dao et al. 2022, FlashAttention, §3.1
https://arxiv.org/abs/2205.14135
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from attnreport.recording.apart import quietly
from attnreport.recording.following import (
    SCALING,
    Called,
    Followed,
    Origin,
    methods,
    start,
    state_of,
)
from attnreport.recording.found import Found
from attnreport.recording.product import Matrices, record
from attnreport.recording.registry import name_of
from attnreport.recording.watch import Watch

ADDING = methods("add")
# Not the reversed ones, whose first argument is what is divided by.
DIVIDING = {
    function
    for function in methods("div", "divide", "true_divide", "truediv")
    if not name_of(function).startswith("__r")
}
# How far from 1 a row may sum, by rounding of half precisions too, to have been divided by its sum.
_ROUNDING = 5e-2


@dataclass(frozen=True, eq=False)
class Accumulated:
    """Hold exponentials @ values of one or several parts of the keys, added up.

    Attributes:
        parts: the products, in the order in which they were added.
        origin: the exponentials of the first of them.
        kept: what was recorded of them where they were divided already, for all but the last part.
    """

    parts: tuple[Matrices, ...]
    origin: Origin
    kept: Found | None = None

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Scale them, add another part, or record them once they are divided by their sum."""
        other = _other(call, tensor)
        if not isinstance(other, torch.Tensor) or not isinstance(call.output, torch.Tensor):
            return
        if call.function in ADDING:
            self._add(watch, call, tensor, other)
        elif call.function in DIVIDING and call.args[0] is tensor:
            self._divide(watch, call, other)
        elif call.function in SCALING and "mul" in name_of(call.function) and _of_rows(other):
            with quietly(other):
                start(watch, call.output, replace(self, parts=self._times(other)))

    def _times(self, factor: torch.Tensor) -> tuple[Matrices, ...]:
        return tuple(
            replace(part, weights=part.weights.detach() * factor.detach()) for part in self.parts
        )

    def _add(self, watch: Watch, call: Called, tensor: torch.Tensor, other: torch.Tensor) -> None:
        state = state_of(watch, other)
        if isinstance(state, Accumulated):
            for each in (self, state):
                if each.kept is not None:
                    # It was divided before all keys were in it: what was recorded is a part.
                    watch.take_back(each.kept)
            state.origin.used = True  # by what it was added to
            start(watch, call.output, Accumulated((*self.parts, *state.parts), self.origin))
        elif _added_nothing(call.output, tensor, other):
            start(watch, call.output, self)

    def _divide(self, watch: Watch, call: Called, divisor: torch.Tensor) -> None:
        with quietly(divisor):
            parts = tuple(
                replace(part, weights=part.weights.detach() / divisor.detach())
                for part in self.parts
            )
            weights, values = _side_by_side(parts)
            sums = weights.sum(dim=-1)
            # NaN where no key was seen.
            whole = bool((torch.isnan(sums) | (sums == 0) | ((sums - 1).abs() < _ROUNDING)).all())
        if not whole:
            start(watch, call.output, replace(self, parts=parts))
            return
        first = self.parts[0]
        self.origin.used = True
        origin = Origin("exp and sum", self.origin.name, tuple(weights.shape))
        watch.origins.append(origin)
        reasons = (f"its keys came in {len(parts)} parts",) if len(parts) > 1 else ()
        count = len(watch.found)
        record(
            watch,
            Followed(origin, reasons=reasons),
            Matrices(weights, values, call.output, first.source, rows=first.rows),
        )
        kept = watch.found[-1] if len(watch.found) > count else None
        found = kept if isinstance(kept, Found) else None
        if found is not None and len(parts) > 1:
            # Where the keys of the first part lie is not where all of them do.
            found.key_axis = None
        start(watch, call.output, replace(self, parts=parts, kept=found))


def _added_nothing(output: torch.Tensor, tensor: torch.Tensor, other: torch.Tensor) -> bool:
    """Tell whether zeros were added, as to begin with; one of both may have been written over."""
    with quietly(output):
        if output is tensor:
            return not bool(other.any())
        return torch.equal(output, tensor)


def _of_rows(factor: torch.Tensor) -> bool:
    """Tell whether it scales whole rows."""
    return not factor.dim() or factor.shape[-1] == 1


def _other(call: Called, tensor: torch.Tensor) -> object:
    others = [each for each in call.args[:2] if each is not tensor]
    return others[0] if len(others) == 1 else None


def _side_by_side(parts: Sequence[Matrices]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return weights and values of all keys, in their order where they are views of one tensor."""
    values = [part.values for part in parts]
    storages = {each.untyped_storage().data_ptr() for each in values}
    order = list(range(len(parts)))
    if len(storages) == 1 and len(parts) > 1:
        order.sort(key=lambda place: values[place].storage_offset())
    weights = torch.cat([parts[place].weights for place in order], dim=-1)
    return weights, torch.cat([values[place].detach() for place in order], dim=-2)
