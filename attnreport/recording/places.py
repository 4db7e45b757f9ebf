"""Where each position of a rearranged tensor was before: pieces put back on their sequence.

A model with windows or blocks cuts its sequence, shifts it, pads it, and attends inside each piece.
The numbers of the positions go again the way that the tensors went (steps.py). What is not a mere
move ends the way: then there is no answer, rather than a guess.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from attnreport.recording.steps import NOWHERE, Parent, Step, Unclear, agreed, moved, way_back
from attnreport.recording.streams import Streams, Tag

# The number of what comes from somewhere else than the sequence.
ELSEWHERE = -2


@dataclass(frozen=True, eq=False)
class Root:
    """Be a sequence whose positions are numbered.

    Attributes:
        tag: of the tensor that holds it.
        numbers: of the tensor's shape: example times length plus position.
        length: how many positions an example has.
    """

    tag: Tag
    numbers: torch.Tensor
    length: int


def roots(streams: Streams, tensor: torch.Tensor, batch: int) -> Iterator[Root]:
    """Yield what a tensor may have been cut from, the furthest back first.

    Only before it was padded or shifted is it the sequence itself.
    """
    tag = streams.tag(tensor)
    way = [] if tag is None else list(way_back(tag))
    for parent in reversed(way):
        for numbers in _numbered(parent, batch):
            yield Root(parent.tag, numbers, (int(numbers.max()) + 1) // batch)


# Which dimensions are positions: (batch, position, width); (batch, row, column, width) or (batch,
# channel, row, column); (batch, frame, channel, row, column) or (batch, channel, frame, …).
_READINGS = {3: ((1,),), 4: ((1, 2), (2, 3)), 5: ((1, 3, 4), (2, 3, 4))}


def _numbered(parent: Parent, batch: int) -> Iterator[torch.Tensor]:
    """Yield the numbers of the positions of a sequence, for each way to read its shape."""
    shape = parent.shape
    if not shape or shape[0] != batch or 0 in shape:
        return
    if parent.whole:
        # (batch, position) of ids
        readings: tuple[tuple[int, ...], ...] = ((1,),) if len(shape) == 2 else ()
    else:
        readings = _READINGS.get(len(shape), ())
        step = parent.tag.step
        if len(shape) == 4 and step is not None and step.bare:
            # It may as well be (batch, position, head, width): what it was before tells, or that
            # its pieces were counted as examples.
            readings = ((1, 2),) if step.parents[0].shape[1:] == shape[2:] else ()
    for dimensions in readings:
        kept = [size if d == 0 or d in dimensions else 1 for d, size in enumerate(shape)]
        yield torch.arange(torch.Size(kept).numel()).reshape(kept).expand(*shape)


def numbers_of(
    streams: Streams, tensor: torch.Tensor, root: Root, *, pooled: bool = False
) -> torch.Tensor | None:
    """Return the number of each element's position, of the tensor's shape; None where unknown.

    ``NOWHERE`` for padding, ``ELSEWHERE`` for what comes from another sequence. Where several may
    have been ``pooled`` to one, it is the number of the first of them.
    """
    target = streams.tag(tensor)
    if target is None:
        return None
    known: dict[int, torch.Tensor | None] = {id(root.tag): root.numbers}
    waiting = [target]
    while waiting:
        tag = waiting[-1]
        step: Step | None = tag.step
        missing = [] if step is None else [x.tag for x in step.parents if id(x.tag) not in known]
        if id(tag) in known or not missing:
            waiting.pop()
            if id(tag) not in known:
                known[id(tag)] = _taken(step, known, pooled=pooled)
        else:
            waiting += missing
    numbers = known[id(target)]
    return numbers if numbers is not None and numbers.shape == tensor.shape else None


def _taken(
    step: Step | None, known: dict[int, torch.Tensor | None], *, pooled: bool
) -> torch.Tensor | None:
    """Return the numbers after a step; None where they are not those of one sequence."""
    if step is None or (step.pools and not pooled):
        return None
    given = [known[id(parent.tag)] for parent in step.parents]
    if given and all(numbers is None for numbers in given):
        return None
    before = [
        torch.full((), ELSEWHERE).expand(parent.shape)
        if numbers is None or tuple(numbers.shape) != parent.shape
        else numbers
        for parent, numbers in zip(step.parents, given, strict=True)
    ]
    return moved(step, before)


def lie_along(numbers: torch.Tensor, dimension: int) -> bool:
    """Tell whether the places along one of the last two dimensions are what is numbered.

    Args:
        numbers: ``(…, row, column)``, of positions or of features.
        dimension: -1 or -2; along the other one there is only one number.
    """
    return _is_one(numbers, -3 - dimension) and not _is_one(numbers, dimension)


def _is_one(numbers: torch.Tensor, dimension: int) -> bool:
    try:
        agreed(numbers, dimension)
    except Unclear:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Pieces:
    """Hold where the pieces of one example belong.

    Attributes:
        own: which pieces are of the example, every leading dimension in one.
        head: which head each of them is of.
        rows: ``(piece, query)`` position of each query, ``NOWHERE`` for padding.
        columns: ``(piece, key)`` the same of each key, ``ELSEWHERE`` of another sequence.
        length: of the sequence.
        asking: how many positions the queries have, where these are not those of the keys, being
            pooled from them: then ``rows`` counts these.
        large: whether all weights of the sequence are more than may be kept.
    """

    own: torch.Tensor
    head: tuple[int, ...]
    rows: torch.Tensor
    columns: torch.Tensor
    length: int
    asking: int | None = None
    large: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return ``(head, query, key)`` of all weights of the sequence."""
        return self.heads, self.asking or self.length, self.length

    @property
    def heads(self) -> int:
        """Return how many heads there are."""
        return max(self.head) + 1

    @property
    def covering(self) -> bool:
        """Tell whether every position asks."""
        asked = int((self.rows[torch.tensor(self.head) == 0] >= 0).sum())
        return asked == (self.asking or self.length)

    @property
    def cut(self) -> bool:
        """Tell whether a head has several pieces."""
        return len(self.own) > self.heads

    def counted(self) -> Pieces:
        """Return them with pooled positions counted by themselves, in the order of their first."""
        rows, asked = _ranked(self.rows)
        columns, answered = _ranked(self.columns)
        same = torch.equal(asked, answered)
        length = len(answered)
        return replace(
            self, rows=rows, columns=columns, length=length, asking=None if same else len(asked)
        )

    def whole(self, weights: torch.Tensor) -> torch.Tensor:
        """Return ``(head, query, position)`` from ``(piece, query, key)``."""
        whole = weights.new_zeros(self.shape)
        for piece, head, rows, columns in zip(
            weights, self.head, self.rows, self.columns, strict=True
        ):
            asking, answering = rows >= 0, columns >= 0
            part = piece[asking][:, answering]
            places = (rows[asking].unsqueeze(-1), columns[answering].unsqueeze(0))
            # One key may stand in a piece twice: its weights add up, as its values do.
            whole[head].index_put_(places, part, accumulate=True)
        return whole


def _ranked(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the place of each number among all that there are, and these in their order."""
    known = torch.unique(numbers[numbers >= 0])
    return torch.where(numbers >= 0, torch.searchsorted(known, numbers), numbers), known


def arranged(rows: torch.Tensor, columns: torch.Tensor, root: Root, example: int) -> Pieces | None:
    """Return the pieces of an example, or None where they are no pieces of one sequence.

    Args:
        rows: ``(piece, query)`` numbers, every leading dimension in one.
        columns: ``(piece, key)`` numbers.
        root: what the numbers mean.
        example: which one is wanted.
    """
    if bool((rows == ELSEWHERE).any()):
        return _with_their_own(rows, columns, root, example)
    of_piece = torch.where(rows >= 0, rows // root.length, NOWHERE).amax(dim=1)
    own = (of_piece == example).nonzero().flatten()
    rows, columns = rows[own], columns[own]
    if not len(own) or any(_strange(x, root.length, example) for x in (rows, columns)):
        return None
    rows = torch.where(rows >= 0, rows % root.length, rows)
    columns = torch.where(columns >= 0, columns % root.length, columns)
    heads = _heads(rows.tolist())
    if heads is None or not _each_once(rows, heads):
        return None
    return Pieces(own, heads, rows, columns, root.length)


def _with_their_own(
    rows: torch.Tensor, columns: torch.Tensor, root: Root, example: int
) -> Pieces | None:
    """Return pieces that have positions of their own, such as a class token for each frame.

    They follow one another, and each looks at itself; arguments as of ``arranged``.
    """
    if not torch.equal(rows, columns) or bool((rows == NOWHERE).any()):
        return None
    own = (rows.amax(dim=1) // root.length == example).nonzero().flatten()
    rows = rows[own]
    heads = _heads(rows.tolist()) if len(own) else None
    if heads is None or _strange(rows, root.length, example) or not _each_once(rows, heads):
        return None
    if len(own) == max(heads) + 1:
        # All alike: they may as well be the heads of one piece, and those pieces of one head.
        return None
    first = torch.where(rows < 0, rows.amax(), rows).amin(dim=1)
    order = torch.unique(first, return_inverse=True)[1]
    length = rows.shape[1]
    places = order.unsqueeze(1) * length + torch.arange(length)
    return Pieces(own, heads, places, places, length * len(own) // (max(heads) + 1))


def _strange(numbers: torch.Tensor, length: int, example: int) -> bool:
    real = numbers[numbers >= 0]
    return not len(real) or bool((real // length != example).any())


def _heads(rows: Sequence[Sequence[int]]) -> tuple[int, ...] | None:
    """Return which head each piece is of: those of one place are the heads, in their order."""
    seen: dict[tuple[int, ...], int] = {}
    heads = []
    for piece in rows:
        heads.append(seen.get(tuple(piece), 0))
        seen[tuple(piece)] = heads[-1] + 1
    return tuple(heads) if len(set(seen.values())) == 1 else None


def _each_once(rows: torch.Tensor, heads: Sequence[int]) -> bool:
    asking = rows[torch.tensor(heads) == 0].flatten()
    real = asking[asking >= 0].sort().values
    return not bool((real[1:] == real[:-1]).any())
