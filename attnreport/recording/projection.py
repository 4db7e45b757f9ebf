"""Follow what the heads return to the matrix that projects it, by the identity of tensors.

Every number that an attention returned is marked with its head and channel, and the marks go
through every view, transpose and reshape that the model makes of it. Where the marked tensor is
multiplied with parameters of the model, the marks tell which row of the matrix belongs to which
head. Where anything else happens to it on the way, that is said and nothing is guessed. Knows no
modules and no models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from attnreport.recording.apart import quietly
from attnreport.recording.block import Blocks, Projected
from attnreport.recording.following import Called
from attnreport.recording.lineage import Lineage, Tokens, matrix_of
from attnreport.recording.marking import (
    UNKNOWN,
    Marked,
    Marks,
    laid,
    several,
    shares_memory,
    tensors_of,
)
from attnreport.recording.registry import name_of
from attnreport.recording.sending import Norm, Sent, value_norms

if TYPE_CHECKING:
    from attnreport.recording.found import Found, Mixed


@dataclass(eq=False)
class _Heads:
    """Be what the heads of one attention returned; marked by query, head and channel."""

    found: Found
    mixed: Mixed
    sources: Tokens


class Projections:
    """Follow all attentions of one capture.

    Args:
        learned: tells whether a tensor is a parameter, or was made of parameters alone.
        grown: told of an attention whose arrays have grown, and by how many bytes.
    """

    def __init__(
        self, learned: Callable[[torch.Tensor], bool], grown: Callable[[Found, int], None]
    ) -> None:
        self._learned = learned
        self._grown = grown
        # Held as well, so that no other one gets its number.
        self._weighed: dict[int, Found] = {}
        self._marks = Marks()
        self._lineage = Lineage(learned)
        self._blocks = Blocks(self._lineage, learned, grown)
        self._attended: torch.Tensor | None = None
        self._begun: _Heads | None = None

    def begin(self, found: Found, mixed: Mixed) -> None:
        """Follow what an attention returned."""
        heads, returned = mixed.heads.detach(), mixed.returned
        if not mixed.exact:
            found.unweighed = "weights were dropped out or mixed before they met the values"
            return
        if not shares_memory(heads, returned):
            found.unweighed = "its heads are no part of what the call returned"
            return
        count, queries, width = heads.shape
        with quietly(heads):
            numbers = torch.arange(heads.numel(), dtype=torch.int32, device=returned.device)
            numbers = numbers.view(queries, count, width).transpose(0, 1)
            subject = _Heads(found, mixed, self._lineage.sources(mixed.source))
            self._marks.hold(returned, laid(returned, heads, numbers), subject)
        self._begun = subject
        self._mixes(returned)

    def weigh(self, found: Found, sent: Sent) -> None:
        """Fill ``found.value_norms``; the rest as ``sending.value_norms`` has it."""
        if id(found) in self._weighed:
            found.value_norms = None
            found.unweighed = "more than one projection reads its heads"
        elif found.reduction is None:
            self._weighed[id(found)] = found
            with quietly(sent.values):
                norms = value_norms(sent, found.heads)
            norms = replace(norms, mixed=found.cut(norms.mixed))
            found.value_norms = norms
            self._grown(found, norms.heads.nbytes + norms.mixed.nbytes)

    def add_up(
        self,
        found: Found,
        sent: Sent,
        value: torch.Tensor,
        rows: torch.Tensor,
        output: torch.Tensor,
    ) -> None:
        """Follow what was projected inside a call to the sum with its residual.

        Args:
            found: the attention.
            sent: its weights, values and projection.
            value: what its values were made of.
            rows: ``(query, width)`` of ``output``, a view.
            output: what the model goes on with.
        """
        part = Projected(found, sent, self._lineage.sources(value), _two(rows))
        with quietly(rows):
            numbers = torch.arange(rows.numel(), dtype=torch.int32, device=rows.device)
            self._blocks.begin(part, output, laid(output, rows, numbers.view(rows.shape)))
        self._mixes(output)

    def add_at_once(self, found: Found, sent: Sent, rows: torch.Tensor, norm: Norm | None) -> None:
        """Fill the norms of a whole block that is one call, its residual ``(query, width)``."""
        self._blocks.weigh(Projected(found, sent, frozenset(), _two(rows)), rows, norm)

    def follow(self, call: Called) -> None:
        """Give the result of one torch function what its arguments had, where it still has it."""
        self._lineage.follow(call)
        if self._attended is not None and any(x is self._attended for x in several(call.output)):
            self._mixes(self._attended)
        self._attended = None
        self._blocks.follow(call)
        for heads in self._marks.subjects(call):
            # What has just been written in place is among the arguments already.
            if heads is not self._begun:
                self._flow(call, heads)
        self._begun = None

    def _mixes(self, attended: torch.Tensor) -> None:
        """Cut the lineage: what is made of this is not made of what came before, row by row."""
        self._lineage.begin(attended)
        self._attended = attended

    def _flow(self, call: Called, heads: _Heads) -> None:
        found, marks = heads.found, self._marks
        product = matrix_of(call, self._learned)
        marked = None if product is None else marks.get(product[0], heads)
        if any(marks.written_over(tensor, heads) for tensor in tensors_of(call)):
            found.unweighed = "its output was written over before the projection"
        elif product is not None and marked is not None:
            self._project(call, heads, marked, product[1])
        elif not marks.moved(call, heads):
            found.unweighed = f"{name_of(call.function)} came before a projection"
            marks.drop(call.output, heads)

    def _project(self, call: Called, heads: _Heads, marked: Marked, matrix: torch.Tensor) -> None:
        """Order the rows of the matrix as the heads have them, and take the norms."""
        found, mixed = heads.found, heads.mixed
        count, _, width = mixed.heads.shape
        numbers = marked.numbers.flatten(0, -2)
        there = (numbers != UNKNOWN).any(dim=1)
        numbers = numbers[there]
        rows = numbers.amax(dim=1, keepdim=True) // (count * width)
        first = rows * (count * width)
        channels = torch.where(numbers == UNKNOWN, UNKNOWN, numbers - first)
        places = (channels[:1] != UNKNOWN).any(dim=0).nonzero().flatten()
        order = channels[:1].flatten()[places].argsort()
        whole = torch.arange(count * width, dtype=channels.dtype, device=channels.device)
        alike = len(rows) and not bool((channels != channels[:1]).any())
        if not alike or not torch.equal(channels[0][places][order], whole):
            found.unweighed = "a matrix takes its heads in parts"
            return
        sent = Sent(mixed.weights, mixed.values, matrix[places[order].to(matrix.device)])
        self.weigh(found, sent)
        self._add_up(call.output, heads, sent, there, rows.flatten())

    def _add_up(
        self,
        output: torch.Tensor,
        heads: _Heads,
        sent: Sent,
        there: torch.Tensor,
        rows: torch.Tensor,
    ) -> None:
        """Follow the projection's result: ``there`` tells its rows, ``rows`` their queries."""
        width = output.shape[-1]
        part = Projected(heads.found, sent, heads.sources, (heads.mixed.heads.shape[1], width))
        with quietly(output):
            numbers = torch.full(
                (len(there), width), UNKNOWN, dtype=torch.int32, device=rows.device
            )
            channels = torch.arange(width, dtype=torch.int32, device=rows.device)
            numbers[there] = rows.unsqueeze(1) * width + channels
            self._blocks.begin(part, output, numbers.view(output.shape))


def _two(rows: torch.Tensor) -> tuple[int, int]:
    queries, width = rows.shape
    return queries, width
