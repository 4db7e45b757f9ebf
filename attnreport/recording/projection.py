"""Find the map that an attention's output goes through next, and weigh what each key sends there.

An attention adds up α(q, k) · f(x_k), where f is the value of a key taken through the layer's
output projection (Kobayashi et al. 2020, §3, https://arxiv.org/abs/2004.10102). The projection is
known by its input: the next linear map whose rows are the heads' outputs side by side, number for
number. Whatever changes them on the way hides it, and nothing is guessed then. Knows tensors, no
modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.run import ValueNorms

if TYPE_CHECKING:
    from attnreport.recording.watch import Found

# Of every linear map: where its input and its matrix stand, and whether that is (out, in).
_MAPS: dict[Any, tuple[int, int, bool]] = {
    F.linear: (0, 1, True),
    **dict.fromkeys((torch.addmm, torch.Tensor.addmm), (1, 2, False)),
    **dict.fromkeys(
        (
            *(torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__),
            *(torch.mm, torch.Tensor.mm),
        ),
        (0, 1, False),
    ),
}
# Several attentions may be computed before the first of them is projected.
_PATIENCE = 4


@dataclass(frozen=True, eq=False)
class _Waiting:
    """Hold an attention whose projection has not been seen yet.

    Attributes:
        found: what was kept of it.
        rows: ``(query, head · width)``: the heads' outputs side by side.
        values: ``(key head, key, width)``.
        weights: ``(head, query, key)`` as they were used.
    """

    found: Found
    rows: torch.Tensor
    values: torch.Tensor
    weights: torch.Tensor


class Projections:
    """Wait for the projections of attentions, and fill ``Found.value_norms``.

    Args:
        example: which example of a batch is kept.
    """

    def __init__(self, example: int) -> None:
        self._example = example
        self._waiting: list[_Waiting] = []

    def wait(
        self, found: Found, heads: torch.Tensor, values: torch.Tensor, weights: torch.Tensor
    ) -> None:
        """Remember what an attention returned, ``(head, query, width)``, until it is projected."""
        rows = heads.detach().transpose(0, 1).flatten(1)
        self._waiting.append(_Waiting(found, rows, values.detach(), weights.detach()))
        del self._waiting[:-_PATIENCE]

    def look(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look whether a call is the projection of something that waits."""
        place = _MAPS.get(function)
        if place is None or not self._waiting:
            return
        given = (*args, *kwargs.values())
        if len(given) <= max(place[:2]):
            return
        entering, matrix = given[place[0]], given[place[1]]
        if not isinstance(matrix, torch.Tensor) or matrix.dim() != 2:
            return
        matrix = matrix.T if place[2] else matrix
        for waiting in self._waiting:
            if isinstance(entering, torch.Tensor) and self._is_input(entering, waiting.rows):
                self._waiting.remove(waiting)
                weigh(waiting.found, waiting.weights, waiting.values, matrix)
                return

    def _is_input(self, entering: torch.Tensor, rows: torch.Tensor) -> bool:
        if entering.shape[-1] != rows.shape[-1]:
            return False
        return any(
            part.shape == rows.shape and torch.equal(part, rows)
            for part in self._parts(entering, rows)
        )

    def _parts(self, entering: torch.Tensor, rows: torch.Tensor) -> Iterator[torch.Tensor]:
        """Yield what may be the example: batch first, positions first, or both in one."""
        example, length = self._example, len(rows)
        if entering.dim() == 2:
            yield entering[example * length : (example + 1) * length]
        if entering.dim() == 3 and example < entering.shape[0]:
            yield entering[example]
        if entering.dim() == 3 and example < entering.shape[1]:
            yield entering[:, example]


def weigh(found: Found, weights: torch.Tensor, values: torch.Tensor, matrix: torch.Tensor) -> None:
    """Fill ``found.value_norms``.

    Args:
        found: whose they are.
        weights: ``(head, query, key)``.
        values: ``(key head, key, width)``; fewer heads are shared by groups of neighbours.
        matrix: ``(head · width, out)``.
    """
    with quietly(values):
        weights, values, matrix = (each.double() for each in (weights, values, matrix))
        heads, (groups, _, width) = weights.shape[0], values.shape
        values = values.repeat_interleave(heads // groups, dim=0)
        # (head, key, out)
        sent = values @ matrix.reshape(heads, width, -1)
        # (key, head, head): how alike what two heads send of one key is
        alike = torch.einsum("hko,gko->khg", sent, sent)
        mixed = torch.einsum("hqk,khg,gqk->qk", weights, alike, weights)
        kept = sent if found.heads is None else sent[found.heads]
        found.value_norms = ValueNorms(_host(kept.norm(dim=-1)), _host(mixed.clamp(min=0).sqrt()))


def _host(tensor: torch.Tensor) -> NDArray[np.float32]:
    return np.asarray(tensor.float().cpu().numpy())
