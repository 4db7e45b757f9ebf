"""What is kept while capturing: layers, heads, queries. What nobody asked for costs nothing.

Knows paths and numbers; no tensors.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase

from attnreport.errors import InvalidInput


class Selection:
    """Decide what is kept.

    Args:
        layers: numbers, counted from 0 over the attention modules in the order in which they
            first run, and patterns of module paths such as ``"decoder.*"``; None for all.
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
        self.heads = None if heads is None else tuple(heads)
        self.queries = None if queries is None else frozenset(queries)
        self._places: dict[str, int] = {}

    def wants(self, name: str) -> bool:
        """Tell whether the attention of this module is to be kept."""
        place = self._places.setdefault(name, len(self._places))
        if self.layers is None:
            return True
        return any(
            place == each if isinstance(each, int) else fnmatchcase(name, each)
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
