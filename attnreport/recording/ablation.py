"""Take one head at a time out of a model, and see what a number of its output becomes.

A head is taken out where its output leaves the attention: it is written over with zeros, or with
its mean over the queries, in the tensor that the model goes on with. The model, its parameters and
its hooks are not touched. What the number is, is for the caller to say.

Source: Michel, Levy & Neubig 2019, Are Sixteen Heads Really Better than One?, §2.2
https://arxiv.org/abs/1905.10650
"""

from __future__ import annotations

import contextlib
import glob
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.pixels import Pixels
from attnreport.recording.fastpath import unseen_by_fast_paths
from attnreport.recording.found import Found, Mixed
from attnreport.recording.kernels import KERNELS
from attnreport.recording.marking import shares_memory
from attnreport.recording.places import Pieces
from attnreport.recording.selection import Selection
from attnreport.recording.watch import Watch
from attnreport.run import Run

Axes = Sequence[tuple[torch.Tensor, Axis | Pixels]]
How = Literal["zero", "mean"]
Progress = Callable[[int, int, float], None]

_APART = "its heads are no part of what the call returned"


@dataclass(frozen=True)
class Place:
    """Say which head: the module, which of its calls, the head's number, and of how many kept."""

    name: str
    call: int
    head: int
    heads: int


@dataclass(frozen=True)
class Ablated:
    """Hold the number as it was, and what it became without each head.

    Attributes:
        before: the number of the run with every head.
        after: per attention of the run ``(head,)`` float64; NaN where a head could not be taken
            out.
        untouched: paths of the attentions whose heads could not be taken out, each with the reason.
    """

    before: float
    after: tuple[NDArray[np.float64], ...]
    untouched: Mapping[str, str]


class _Without(Watch):
    """Watch a model, and write over one head's output on the way."""

    def __init__(self, trial: Trial, place: Place | None) -> None:
        # What was selected by number is counted in every run alike.
        only = trial.layers
        if only is None and place is not None:
            only = [glob.escape(place.name)]
        selection = Selection(only, trial.heads)
        super().__init__(trial.model, trial.axes, trial.example, selection=selection)
        self.place, self.how = place, trial.how
        self.calls: Counter[str] = Counter()
        self.done = False
        self.why = "it did not run again"

    def attended(self, found: Found, mixed: Mixed) -> None:
        """Write over the head, where the heads share their memory with what was returned."""
        number = self._head_here(found)
        if number is None:
            return
        if not shares_memory(mixed.heads, mixed.returned):
            self.why = _APART
            return
        head = mixed.heads[number]
        head.copy_(head.mean(dim=0) if self.how == "mean" else torch.zeros_like(head))
        self.done = True

    def attended_in_windows(self, found: Found, windows: torch.Tensor, pieces: Pieces) -> None:
        """Write over the head in every window of the example; padding is no query of the mean."""
        number = self._head_here(found)
        if number is None:
            return
        if not isinstance(self.returned, torch.Tensor) or not shares_memory(windows, self.returned):
            self.why = _APART
            return
        own = torch.tensor(pieces.head) == number
        places = torch.unravel_index(pieces.own[own], windows.shape[:-2])
        # (window, query, width)
        head = windows[places]
        mean = head[pieces.rows[own] >= 0].mean(dim=0)
        windows[places] = mean if self.how == "mean" else torch.zeros_like(mean)
        self.done = True

    def projected(
        self, found: Found, output: torch.Tensor, part: Callable[[int], torch.Tensor]
    ) -> None:
        """Take away what the head added to a sum over heads that was formed already."""
        number = self._head_here(found)
        if number is None:
            return
        added = part(number)
        left = added.mean(dim=0) if self.how == "mean" else 0
        output.sub_((added - left).to(output.dtype))
        self.done = True

    def _head_here(self, found: Found) -> int | None:
        """Return the number of the head in the layer, or None where it is another attention.

        Nor is it the same one where another number of heads was kept than the run has.
        """
        call = self.calls[found.name]
        self.calls[found.name] += 1
        place = self.place
        if place is None or (found.name, call) != (place.name, place.call):
            return None
        if found.shape[0] != place.heads:
            self.why = f"it has {found.shape[0]} heads now, and had {place.heads}"
            return None
        return place.head if found.heads is None else found.heads[place.head]


@dataclass(frozen=True)
class Trial:
    """Hold what is run once with every head and once without each.

    Attributes:
        model: in evaluation mode.
        axes: as for ``capture``.
        call: calls the model, the same way every time, and returns its output.
        number: what is read from the output, e.g. a loss.
        how: ``"zero"``, or ``"mean"`` for the head's own mean over the queries.
        example: which example of a batch, as the run's capture was given it.
        heads: which heads were kept, as the run's capture was given them; None for all.
        layers: the same of layers.
    """

    model: torch.nn.Module
    axes: Axes
    call: Callable[[], object]
    number: Callable[[Any], float]
    how: How
    example: int = 0
    heads: Sequence[int] | None = None
    layers: Sequence[int | str] | None = None

    def without(self, place: Place | None) -> tuple[float, str]:
        """Return the number without a head, or as it is.

        Returns:
            The number, and an empty word; NaN and the reason if the head was not taken out.
        """
        watch = _Without(self, place)
        with torch.no_grad(), _fused_paths_closed(), unseen_by_fast_paths(Watch):
            with KERNELS.by(watch), watch:
                output = self.call()
            if watch.done or place is None:
                return float(self.number(output)), ""
            return np.nan, watch.why


def ablate(run: Run, trial: Trial, progress: Progress = lambda *_: None) -> Ablated:
    """Call a model once as it is and once without each head of ``run``.

    Both ways ``torch.nn``'s fused encoder paths are closed, so that they differ in nothing else.

    Args:
        run: what a capture of the same call found; its heads are what is taken out.
        trial: what is called, and how.
        progress: told how many calls are done, of how many, and the seconds that the first took.
    """
    total = 1 + sum(attention.heads for attention in run.attentions)
    start = time.perf_counter()
    before, _ = trial.without(None)
    seconds, done = time.perf_counter() - start, 1
    progress(done, total, seconds)
    after = [np.full(attention.heads, np.nan) for attention in run.attentions]
    untouched: dict[str, str] = {}
    for at, place in _places(run):
        after[at][place.head], why = trial.without(place)
        if why:
            untouched.setdefault(place.name, why)
        done += 1
        progress(done, total, seconds)
    return Ablated(before, tuple(after), untouched)


def _places(run: Run) -> Iterator[tuple[int, Place]]:
    """Yield of every head at which place of the run its attention is, and which head it is."""
    calls: Counter[str] = Counter()
    for at, attention in enumerate(run.attentions):
        for head in range(attention.heads):
            call = calls[attention.name]
            yield at, Place(attention.name, call, head, attention.heads)
        calls[attention.name] += 1


@contextlib.contextmanager
def _fused_paths_closed() -> Iterator[None]:
    open_before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(open_before)
