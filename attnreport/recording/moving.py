"""One call of a torch function, as the rules that say what it did to positions see it.

What the rules are is the business of moves.py and multiplying.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from attnreport.recording.steps import (
    LONGEST,
    Crossing,
    Move,
    Parent,
    Step,
)
from attnreport.recording.streams import Streams


@dataclass(slots=True, eq=False)
class Moving:
    """Hold one call of a torch function, and keep how its results came from its arguments."""

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
        # Most tensors come here: no generator is made, and no helper of steps.py called.
        tag = self.streams.tag(tensor) if isinstance(tensor, torch.Tensor) else None
        if tag is None:
            return
        longest, way = 0, None
        for parent in parents:
            if parent is None or parent.tag is tag:
                return
            before = parent.tag.step
            if before is not None and before.length > longest:
                longest = before.length
            if way is None or way.learned:
                # A constant has no beginning.
                way = (parent.tag if before is None else before.beginning) or way
        if longest < LONGEST:
            known: tuple[Any, ...] = tuple(parents)
            tag.step = Step(known, tensor.shape, move, longest + 1, way, bare, pools, crossing)

    def in_place(self) -> bool:
        """Tell whether it returned what it was given, and wrote to it."""
        # A generator would be made for every tensor of a model.
        for value in self.args:  # noqa: SIM110
            if value is self.output:
                return True
        return False

    def parent(self, tensor: torch.Tensor) -> Parent | None:
        """Return what is known of an argument as something that a result came from."""
        tag = self.streams.tag(tensor)
        if tag is None:
            return None
        return Parent(tag, tensor.shape, not tensor.is_floating_point())
