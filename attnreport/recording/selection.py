"""What is kept while capturing: layers, heads, queries. What nobody asked for costs nothing.

Knows paths and numbers; no tensors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from attnreport.errors import InvalidInput
from attnreport.recording.naming import Position
from attnreport.run import LedgerEntry


class Selection:
    """Decide what is kept.

    Args:
        layers: numbers, counted from 0 over the attentions as they run, and patterns of module
            paths such as ``"decoder.*"``; None for all.
        heads: numbers of heads; None for all.
        queries: numbers of rows; None for all.

    Raises:
        InvalidInput: one of them is none of these.
    """

    def __init__(
        self,
        layers: Sequence[int | str] | None = None,
        heads: Sequence[int] | None = None,
        queries: Sequence[int] | None = None,
    ) -> None:
        _check("layers", layers, (int, str))
        _check("heads", heads, (int,))
        _check("queries", queries, (int,))
        self.layers = None if layers is None else tuple(layers)
        self.heads = None if heads is None else tuple(dict.fromkeys(heads))
        self.queries = None if queries is None else frozenset(queries)

    def wants(self, name: str, number: int) -> bool:
        """Tell whether the attention of this module and number is to be kept."""
        if self.layers is None:
            return True
        return any(
            number == each if isinstance(each, int) else fnmatchcase(name, each)
            for each in self.layers
        )

    def may_want(self, paths: Collection[str] | None) -> bool:
        """Tell whether anything may be kept of modules with these paths; None for unknown ones."""
        if self.layers is None or paths is None:
            return True
        return any(
            isinstance(each, int) or any(fnmatchcase(path, each) for path in paths)
            for each in self.layers
        )

    def heads_of(self, count: int) -> list[int] | None:
        """Return which of ``count`` heads are to be kept; None for all."""
        if self.heads is None:
            return None
        return [head for head in self.heads if head < count]

    def rows_of(self, rows: Sequence[int]) -> list[int] | None:
        """Return the places among these rows of those that are to be kept; None for all."""
        if self.queries is None:
            return None
        return [place for place, row in enumerate(rows) if row in self.queries]


UNSURE = (
    "it counts as one attention, which it may not be where everything is captured: the numbers "
    "after it may be others there"
)


@dataclass(frozen=True)
class Skipped(LedgerEntry):
    """Say of one attention that it was not selected: it has its number all the same."""

    reason: str = "it was not selected"

    def unsure(self) -> Skipped:
        """Return it where it may be several attentions, or none that can be read."""
        return replace(self, reason=f"it was not selected; {UNSURE}")


def skip(seen: list[Any], entry: Skipped, *, new: bool, sure: bool) -> None:
    """Write down what was not selected, and that it may be counted otherwise in a whole run.

    Args:
        seen: what was seen so far; the last of it is the same entry where it is not ``new``.
        entry: the module and what it computes with.
        new: whether it is an attention of its own.
        sure: whether it certainly is one.
    """
    if new:
        seen.append(entry)
    if not sure and isinstance(seen[-1], Skipped):
        seen[-1] = entry.unsure()


class Turns:
    """Count attentions as they begin.

    The steps of one generation are one attention, and so are the parts in which one call of a
    module computes it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._last: tuple[object, ...] = ()
        self._line: tuple[int, ...] = ()
        self._of_generation: dict[tuple[object, str], int] = {}
        # Whether the last one was computed by several calls, which may be several attentions.
        self.merged = False
        self._new = False

    def number(self, name: str, generation: object, at: Position | None) -> tuple[int, bool]:
        """Return the number of the attention that a module computes now, and whether it is new.

        Args:
            name: path of the module.
            generation: the one that runs, or what the calls of a loop have in common; else None.
            at: where the module is, as ``Names.position`` says, where this may be a part only.
        """
        number, self._new = self._numbered(name, generation, at)
        return number, self._new

    def _numbered(self, name: str, generation: object, at: Position | None) -> tuple[int, bool]:
        known = self._of_generation.get((generation, name)) if generation is not None else None
        if known is not None:
            return known, False
        call = (name,) if at is None else (name, at[0])
        if at is not None and call == self._last and at[1] > self._line:
            self._line, self.merged = at[1], True
            return self._count - 1, False
        self._last, self._line, self.merged = call, () if at is None else at[1], False
        if generation is not None:
            self._of_generation[generation, name] = self._count
        self._count += 1
        return self._count - 1, True

    def doubts(self, generation: object) -> list[str]:
        """Return what is to be said of the numbers after the last one."""
        return [UNSURE] if self.merged and generation is None else []

    def take_back(self, generation: object) -> None:
        """Count the last one no longer: it gave nothing, and has no number in any run."""
        if self._count and self._new and generation is None:
            self._count -= 1
            self._last, self.merged, self._new = (), True, False


def _check(name: str, values: Sequence[object] | None, kinds: tuple[type, ...]) -> None:
    if values is None:
        return
    words = " or ".join("a number from 0" if kind is int else "a pattern" for kind in kinds)
    if isinstance(values, str):
        raise InvalidInput(
            f"capture: expected {name} to be a list, got {values!r}; write [{values!r}]"
        )
    for value in values:
        if not isinstance(value, kinds) or (isinstance(value, int) and value < 0):
            raise InvalidInput(f"capture: expected each of {name} to be {words}, got {value!r}")
