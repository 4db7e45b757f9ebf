"""Know one generation: which rows each example has in it, and which of them was returned.

A search or several samples make of each example of the batch several rows. All of them are read,
since which one is returned is known at the end only. Knows shapes and what was returned; nothing of
where that is heard from, and no attention.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from attnreport.recording.layout import Copied, Layout, layout_of
from attnreport.recording.streams import Stream


class Generation:
    """Be one call of ``generate``.

    Args:
        wanted: which row of what is returned is to be followed.
        batch: how many examples there are; None where no input says it.
        beams: how many sequences are searched for each.
        returned: how many sequences are returned for each.
        prompt: how many positions there are before the first that is generated, where known.

    Attributes:
        example: which example of the batch that sequence is of.
        copies: how many rows each example has once its ids are copied.
        length: how many positions the returned sequence has; None until it is known.
    """

    def __init__(
        self, wanted: int, batch: int | None, beams: int, returned: int, prompt: int | None = None
    ) -> None:
        self.example, self._sample = divmod(wanted, returned)
        self._wanted = wanted
        self._copied = None if batch is None else Copied(batch, max(beams, returned))
        self._searched = beams > 1
        self.copies = max(beams, returned)
        self.prompt = prompt
        self._spread = False
        self._calls: Counter[str] = Counter()
        self._rows: list[int] | None = None
        self.length: int | None = None

    def read(self, ids: torch.Tensor) -> None:
        """Hear that ids were looked up: once they have a row for each copy, all of them have."""
        copied = self._copied
        if copied is not None and ids.dim() == 2 and len(ids) == copied.batch * copied.copies:
            self._spread = True

    def called(self, name: str) -> None:
        """Hear that a module attends once more."""
        self._calls[name] += 1

    def step(self, name: str) -> int:
        """Return how many times a module attended before now."""
        return self._calls[name] - 1

    def layout(self, shape: Sequence[int], stream: Stream | None) -> Layout | str:
        """Return how to pick the rows of the wanted example; arguments as in ``layout_of``."""
        if self.copies == 1 or not self._spread or self._copied is None:
            return layout_of(shape, stream, self.example)
        return self._copied.layout(shape, stream, self.example)

    def end(self, sequences: torch.Tensor, rows: torch.Tensor | None) -> None:
        """Hear what was returned.

        Args:
            sequences: ``(sequence, position)`` ids.
            rows: ``(sequence, step)``: in which row of the batch each generated id was found, -1
                after the end; None where there was no search.
        """
        if self._wanted >= len(sequences):
            return
        self.length = sequences.shape[1]
        if rows is not None:
            first = self.example * self.copies
            self._rows = [row - first for row in rows[self._wanted].tolist() if row >= 0]
            # One that ended earlier than the longest is filled up.
            self.length -= rows.shape[1] - len(self._rows)

    def followed(self, steps: int) -> list[int] | None:
        """Return in which copy each step of the returned sequence is; None where it is unknown.

        Args:
            steps: how many there were; there may be fewer of the returned sequence.
        """
        if self.length is None or (self._searched and self._rows is None):
            return None
        return [self._sample] * steps if self._rows is None else self._rows[:steps]

    @property
    def words(self) -> str:
        """Return what its copies are, for the ledger."""
        return f"{self.copies} {'beams' if self._searched else 'samples'}"
