"""Keep attention inside windows and blocks, laid on the sequence that these were cut from.

Knows pieces and where they belong; how their weights are computed is the recorders' business.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from attnreport.axis import Axis
from attnreport.recording.found import Found
from attnreport.recording.parts import NO_POSITION, Partial, share_of_no_position
from attnreport.recording.places import ELSEWHERE, Pieces, Root, arranged, numbers_of, roots
from attnreport.recording.scattered import reduced
from attnreport.recording.steps import Unclear, agreed
from attnreport.recording.streams import Stream
from attnreport.recording.tiles import tiles_for
from attnreport.recording.watch import Watch
from attnreport.recording.weights import distance, to_host

# A matrix of all positions for each head: beyond this it is no picture any more.
_MOST = 2**28


@dataclass(frozen=True, eq=False)
class Side:
    """Be one side of an attention, as the model has it, and how its numbers are to be read.

    Attributes:
        tensor: what the positions are followed to.
        arrange: makes ``(…, position, anything)`` of what has its shape.
    """

    tensor: torch.Tensor
    arrange: Callable[[torch.Tensor], torch.Tensor]

    def numbers(
        self, watch: Watch, root: Root, lead: Sequence[int], *, pooled: bool = False
    ) -> torch.Tensor | None:
        """Return ``(piece, position)``, or None where they are not followed to this root."""
        numbers = numbers_of(watch.streams, self.tensor, root, pooled=pooled)
        if numbers is None:
            return None
        try:
            each = agreed(self.arrange(numbers).expand(*lead, -1, -1), -1)
        except (Unclear, RuntimeError):
            return None
        return each.reshape(-1, each.shape[-2])


@dataclass(frozen=True)
class Unlaid:
    """Say that pieces are not laid on a sequence.

    Attributes:
        reason: why; empty where nothing is known but their shape.
    """

    reason: str = ""


_ASKED_FROM_ELSEWHERE = Unlaid(
    "its keys are windows of a sequence, but its queries are not cut from it: which of its "
    "positions they stand for is not known"
)


def pieces_for(
    watch: Watch, stream: Stream | None, lead: Sequence[int], rows: Side, columns: Side
) -> Pieces | Unlaid:
    """Return where pieces belong, or that this cannot be told, or is too much to show.

    Windows and blocks are pieces of a sequence that was cut; tiles and frames make one together,
    which is reduced where it is more than may be kept.

    Args:
        watch: whose example is wanted.
        stream: what the queries belong to.
        lead: the leading dimensions: examples, heads, pieces, in any order.
        rows: where the queries come from.
        columns: the keys or the values.
    """
    if stream is None:
        return Unlaid()
    pieces = _found_pieces(watch, stream, lead, rows, columns)
    if isinstance(pieces, Unlaid):
        return pieces
    huge = math.prod(pieces.shape) > _MOST
    every = watch.selection.queries is None and watch.selection.heads is None
    if every and (watch.memory.too_large(pieces.shape) or (huge and not watch.memory.limited)):
        return replace(pieces, large=True)
    if every or not huge:
        return pieces
    return Unlaid(
        f"its windows are pieces of {pieces.length:,} positions, which are too many for one "
        "matrix where heads or queries are selected"
    )


def _found_pieces(
    watch: Watch, stream: Stream, lead: Sequence[int], rows: Side, columns: Side
) -> Pieces | Unlaid:
    # Where the batch is not known, only a sequence that has a first dimension of 1 will do.
    known = list(roots(watch.streams, columns.tensor, stream.batch or 1))
    cut = _cut_from(watch, known, lead, (rows, columns), pooled=False)
    if isinstance(cut, Pieces) and not is_ordinary(cut):
        return cut
    tiles = tiles_for(watch, lead, *((each.tensor, each.arrange) for each in (rows, columns)))
    if tiles is not None or isinstance(cut, Pieces):
        return tiles or cut
    pooled = _cut_from(watch, known, lead, (rows, columns), pooled=True)
    return cut if cut.reason and isinstance(pooled, Unlaid) else pooled


def _cut_from(
    watch: Watch,
    known: Sequence[Root],
    lead: Sequence[int],
    sides: tuple[Side, Side],
    *,
    pooled: bool,
) -> Pieces | Unlaid:
    """Return the pieces of the first sequence that they were cut from, if there is one."""
    unlaid = Unlaid()
    for root in known:
        pieces = _pieces_of(watch, root, lead, sides, pooled=pooled)
        if pieces is None:
            continue
        if isinstance(pieces, Pieces):
            return pieces
        unlaid = pieces
    return unlaid


def _pieces_of(
    watch: Watch, root: Root, lead: Sequence[int], sides: tuple[Side, Side], *, pooled: bool
) -> Pieces | Unlaid | None:
    """Return the pieces of one sequence, where both sides are of it.

    Of two sequences of one length nothing would tell which is which.
    """
    rows, columns = sides
    answering = columns.numbers(watch, root, lead, pooled=pooled)
    asking = None if answering is None else rows.numbers(watch, root, lead, pooled=pooled)
    if answering is None:
        return None
    if asking is None or bool((asking == ELSEWHERE).all()):
        alone = arranged(answering, answering, root, watch.example)
        return _ASKED_FROM_ELSEWHERE if alone is not None and alone.cut else None
    pieces = arranged(asking, answering, root, watch.example)
    # Of a single piece all keys answer every query: nothing has to be put back.
    if pieces is None or (pooled and not pieces.cut):
        return None
    return pieces.counted() if pooled else pieces


def is_ordinary(pieces: Pieces) -> bool:
    """Tell whether every head is one piece, and that the whole sequence in its order."""
    order = torch.arange(pieces.length)
    return all(
        numbers.shape[1:] == order.shape and bool((numbers == order).all())
        for numbers in (pieces.rows, pieces.columns)
    )


def lay(
    found: Found,
    pieces: Pieces,
    weights: torch.Tensor,
    origin: object,
    product: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None,
) -> None:
    """Fill in the weights of all pieces of one example, and how well they mix the values.

    Args:
        found: to be filled in.
        pieces: where the pieces belong.
        weights: ``(…, query, key)`` of all examples, to be shown.
        origin: what made the weights: what else it made belongs to the same rows.
        product: weights, values ``(…, key, width)`` and output ``(…, query, width)`` to be held
            against each other; None where these are not the weights that are shown.
    """
    own = _own(weights, pieces)
    if product is not None:
        used, values, output = (_own(each, pieces) for each in product)
        found.residual = distance(used @ values.to(used.dtype), output)
    if pieces.large:
        found.reduction = reduced(pieces, own)
        found.sink = found.reduction.sink
    else:
        found.weights = to_host(pieces.whole(own), ours=True)
    count = len(pieces.own) // pieces.heads
    found.reasons.append(f"{count} windows of {weights.shape[-1]} positions, laid on the sequence")
    elsewhere = int((pieces.columns == ELSEWHERE).any(dim=1).sum())
    if elsewhere:
        found.reasons.append("keys that are no positions of it have the sink's share")
    if pieces.asking is None:
        found.partial = part_of(pieces, origin)
    else:
        found.reasons.append("each query is pooled from several positions")
        if not pieces.large:
            found.sink = share_of_no_position(found.weights)
    # Of what may be a part of one the share is known when it is whole, and said then.
    if found.sink is not None:
        found.reasons.append(NO_POSITION)


def part_of(pieces: Pieces, origin: object, rows: torch.Tensor | None = None) -> Partial:
    """Return which rows these pieces are; ``rows`` where they are not laid."""
    asked = torch.zeros(pieces.length, dtype=torch.bool)
    asked[pieces.rows[pieces.rows >= 0]] = True
    return Partial(origin, asked.numpy(), None if rows is None else rows.numpy())


def some_rows(pieces: Pieces) -> torch.Tensor | None:
    """Return the positions of the queries if all keys answer them, as in any attention."""
    columns = pieces.columns
    order = torch.arange(pieces.length)
    if len(pieces.own) != pieces.heads or columns.shape[1:] != order.shape:
        return None
    rows = pieces.rows[0]
    return rows if bool((columns == order).all()) and bool((rows >= 0).all()) else None


def _own(tensor: torch.Tensor, pieces: Pieces) -> torch.Tensor:
    """Return ``(piece, …, …)`` of the example, at least in float32."""
    precise = torch.promote_types(tensor.dtype, torch.float32)
    return tensor.reshape(-1, *tensor.shape[-2:])[pieces.own.to(tensor.device)].to(precise)


def lay_axis(
    watch: Watch, found: Found, lead: Sequence[int], sides: tuple[Side, Side], pieces: Pieces
) -> None:
    """Give the positions of the sequence the regions of the picture that they were made of.

    Args:
        watch: whose regions tell.
        found: whose axes they are.
        lead: the leading dimensions.
        sides: the queries and the keys.
        pieces: where they belong.
    """
    first = torch.tensor([head == 0 for head in pieces.head])

    def axis_of(side: Side, places: torch.Tensor, length: int) -> Axis | None:
        def pick(numbers: torch.Tensor) -> torch.Tensor:
            each = side.arrange(numbers).expand(*lead, -1, -1)
            return each.reshape(-1, *each.shape[-2:])[pieces.own][first]

        return watch.region_axes.laid(side.tensor, pick, places[first], length)

    rows, columns = sides
    found.query_axis = axis_of(rows, pieces.rows, pieces.asking or pieces.length)
    found.key_axis = found.query_axis
    if pieces.asking is not None:
        found.key_axis = axis_of(columns, pieces.columns, pieces.length)
