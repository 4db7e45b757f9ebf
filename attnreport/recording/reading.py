"""Read off some rows of a long attention what must stay exact, and join what may be joined.

What is read at once stays in the processor's cache. Of many numbers a few are wanted: each is a
sum, a maximum or a product over whole rows, and only the largest weights are sorted. Knows arrays;
not where the weights come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.joining import SHORTEST
from attnreport.reduced import FIGURES

if TYPE_CHECKING:
    from attnreport.recording.reducing import Reduction

Floats = NDArray[np.float32]

# A row's largest weights are looked for in groups of so many keys.
_GROUP = 16
# Weight and key in one whole number: the key is in its lower half.
_BITS = 32
_KEY = 2**_BITS - 1
_UNSIGNED = 2**31 - 1
_PLACE = {name: place for place, name in enumerate(FIGURES)}


class Rows:
    """Read the same rows of some heads after the other.

    Args:
        into: what holds what is read.
        rows: which queries; whole pairs of them, but for the last.
        keys: so many keys from the first on are read, at least as many as are ranked; every later
            weight is 0.
        most: ``(query,)`` how many keys each row may look at; None for all of them.
    """

    def __init__(
        self, into: Reduction, rows: slice, keys: int, most: torch.Tensor | None = None
    ) -> None:
        self._into = into
        self._rows = rows
        self._figures = torch.from_numpy(into.figures[:, :, rows])
        self._most = torch.tensor(keys) if most is None else most
        self._seen = torch.zeros(rows.stop - rows.start, keys, dtype=torch.bool)
        self._all_seen = False
        asked = torch.arange(rows.start, rows.stop, dtype=torch.float32)
        answering = torch.arange(keys, dtype=torch.float32)
        # |q − k| is |k − middle| ± (q − middle) for every key on one side of all these rows.
        middle = (rows.start + rows.stop - 1) / 2
        before, after = answering < rows.start, answering >= rows.stop
        self._side = before.float() - after.float()
        self._far = (answering - middle).abs_().mul_(before | after)
        self._beside = asked - middle
        self._near = slice(min(rows.start, keys), min(rows.stop, keys))
        self._apart = (asked.unsqueeze(-1) - answering[self._near]).abs_()

    def read(
        self,
        heads: slice,
        weights: torch.Tensor,
        logs: torch.Tensor,
        *,
        relative: bool = False,
    ) -> None:
        """Read some heads.

        Args:
            heads: which they are.
            weights: ``(head, query, key)``, contiguous float32.
            logs: their logarithms, finite where a weight is 0; written over.
            relative: whether the logarithms are of what each is of the row's largest.
        """
        self._join(heads, weights)
        self._rank(heads, weights)
        self._see(weights)
        sums = weights.sum(dim=-1)
        self._put("sum", heads, sums)
        # −Σ p·log p with p = w / s is log s − Σ w·log w / s.
        entropy = sums.log() - logs.mul_(weights).sum(dim=-1) / sums
        if relative:
            entropy -= torch.from_numpy(self._into.largest[heads, self._rows, 0]).log()
        self._put("entropy", heads, entropy.masked_fill_(sums == 0, 0))
        self._put("distance", heads, self._distance(weights))
        self._put("first", heads, weights[..., 0])
        self._put_diagonal("previous", heads, weights, -1)
        self._put_diagonal("same", heads, weights, 0)
        self._put_diagonal("next", heads, weights, 1)

    def _put(self, name: str, heads: slice, figure: torch.Tensor) -> None:
        self._figures[_PLACE[name], heads] = figure

    def _put_diagonal(self, name: str, heads: slice, weights: torch.Tensor, offset: int) -> None:
        """Put the weight of each row on the key ``offset`` after it, where there is one."""
        start = self._rows.start + offset
        diagonal = weights.diagonal(offset=start, dim1=1, dim2=2)
        first = max(0, -start)
        self._figures[_PLACE[name], heads, first : first + diagonal.shape[1]] = diagonal

    def _see(self, weights: torch.Tensor) -> None:
        """Count the keys that get a weight from any head, until no more can come."""
        if self._all_seen:
            return
        for each in weights:
            self._seen |= each > 0
        counts = self._seen.sum(dim=-1)
        self._into.visible[self._rows] = counts.numpy()
        self._all_seen = bool((counts == self._most).all())

    def _distance(self, weights: torch.Tensor) -> torch.Tensor:
        """Return Σ w·|q − k|, ``(head, query)``."""
        flat, shape = weights.view(-1, weights.shape[2]), weights.shape[:2]
        far, side = torch.mv(flat, self._far).view(shape), torch.mv(flat, self._side).view(shape)
        near = (weights[..., self._near] * self._apart).sum(dim=-1)
        return near.add_(far).addcmul_(side, self._beside)

    def _join(self, heads: slice, weights: torch.Tensor) -> None:
        """Add up every two queries, and every two keys of these."""
        into, keys = self._into, weights.shape[2]
        _, queries, all_keys = into.shape
        joined, rows = weights, self._rows
        if queries > SHORTEST:
            rows = slice(rows.start // 2, -(-rows.stop // 2))
            joined = weights.new_empty(len(weights), rows.stop - rows.start, keys)
            _halve(weights, 1, joined)
        for head, each in enumerate(joined, heads.start):
            into.columns[head, :keys] += torch.mv(each.T, torch.ones(len(each))).numpy()
        sums = torch.from_numpy(into.sums[heads, rows])
        if all_keys > SHORTEST:
            _halve(joined, 2, sums)
        else:
            sums[..., :keys], sums[..., keys:] = joined, 0

    def _rank(self, heads: slice, weights: torch.Tensor) -> None:
        """Find the largest weights of every row, falling, and their keys.

        They lie in those groups of keys that have the largest maxima: of each row only these are
        sorted, which is a tenth of it.
        """
        keys, count = weights.shape[2], self._into.largest.shape[2]
        groups = keys // _GROUP
        if groups <= 2 * count:
            candidates = torch.arange(keys).expand(weights.shape)
        else:
            # A group are keys that lie `groups` apart: maxima are taken over whole rows at once.
            shape = (*weights.shape[:2], _GROUP, groups)
            grouped = weights[..., : groups * _GROUP].reshape(shape)
            maxima = _packed(grouped.amax(dim=-2), torch.arange(groups))
            maxima.partition(groups - count, axis=-1)
            best = torch.from_numpy(maxima[..., -count:] & _KEY).unsqueeze(-2)
            candidates = (best + groups * torch.arange(_GROUP).unsqueeze(-1)).flatten(-2)
            if keys % _GROUP:
                rest = torch.arange(groups * _GROUP, keys).expand(*weights.shape[:2], -1)
                candidates = torch.cat([candidates, rest], dim=-1)
        packed = _packed(weights.gather(-1, candidates), candidates)
        packed.sort(axis=-1)
        largest = packed[..., : -count - 1 : -1]
        into = self._into
        into.largest[heads, self._rows] = (largest >> _BITS).astype(np.int32).view(np.float32)
        into.largest_keys[heads, self._rows] = largest & _KEY


def _packed(weights: torch.Tensor, keys: torch.Tensor) -> NDArray[np.int64]:
    """Return whole numbers that are ordered as the weights are, and hold their keys.

    The bits of a float that is not negative are ordered as it is, and whole numbers are sorted
    several times as fast as pairs. NaN comes after infinity.
    """
    packed = weights.contiguous().view(torch.int32).numpy().astype(np.int64)
    packed &= _UNSIGNED
    packed <<= _BITS
    packed |= keys.numpy()
    return packed


def _halve(values: torch.Tensor, dimension: int, into: torch.Tensor) -> None:
    """Write the sums of every two neighbours along a dimension; the last may stand alone.

    ``into`` may be longer, and becomes 0 there.
    """
    values, into = values.movedim(dimension, 0), into.movedim(dimension, 0)
    pairs = len(values) // 2
    blocks = len(values) - pairs
    torch.add(values[: 2 * pairs : 2], values[1::2], out=into[:pairs])
    into[pairs:blocks] = values[2 * pairs :]
    into[blocks:] = 0
