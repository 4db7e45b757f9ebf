"""Read off some rows of a long attention what must stay exact, and join what may be joined.

What is read at once stays in the processor's cache. Of many numbers a few are wanted: each is a
sum, a maximum or a product over whole rows, and only the largest weights are sorted. Knows arrays;
not where the weights come from.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.joining import SHORTEST
from attnreport.recording.room import Pool
from attnreport.reduced import FIGURES

if TYPE_CHECKING:
    from attnreport.recording.reducing import Reduction

Floats = NDArray[np.float32]

# A row's largest weights are looked for in groups of so many keys.
_GROUP = 16
# Weight and key in one whole number of two halves: the weight is in the upper one.
_UPPER = 1 if sys.byteorder == "little" else 0
_LOWER = 1 - _UPPER


class Rows:
    """Know of some rows where their keys lie; the same for every head.

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
        self.rows, self.keys = rows, keys
        self.joined = slice(*map(into.block_of, (rows.start, rows.stop + 1)))
        self._visible = into.visible[rows]
        self._most = keys if most is None else most.numpy()
        self._seen: NDArray[np.bool_] | None = np.zeros((len(self._visible), keys), np.bool_)
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

    def distance(self, weights: torch.Tensor) -> torch.Tensor:
        """Return Σ w·|q − k|, ``(head, query)``, of weights ``(head, query, key)``."""
        flat, shape = weights.flatten(0, 1), weights.shape[:2]
        far, side = torch.mv(flat, self._far).view(shape), torch.mv(flat, self._side).view(shape)
        near = (weights[..., self._near] * self._apart).sum(dim=-1)
        return near.add_(far).addcmul_(side, self._beside)

    def see(self, weights: torch.Tensor) -> None:
        """Count the keys that get a weight from any head, until no more can come."""
        if self._seen is None:
            return
        for each in weights.numpy():
            # NumPy compares ten times as fast as torch.
            self._seen |= each > 0
        self._visible[:] = self._seen.sum(axis=-1, dtype=np.int32)
        if (self._visible == self._most).all():
            self._seen = None


class Heads:
    """Read some heads, some rows after the other.

    Args:
        into: what holds what is read.
        heads: which heads.
        pool: memory for what is not kept.
    """

    def __init__(self, into: Reduction, heads: slice, pool: Pool) -> None:
        self._into = into
        self._pool = pool
        self._count = into.largest.shape[2]
        self._figure = dict(zip(FIGURES, torch.from_numpy(into.figures[:, heads]), strict=True))
        self._sums = torch.from_numpy(into.sums[heads])
        self._largest, self._largest_keys = into.largest[heads], into.largest_keys[heads]
        self._columns = into.columns[heads]

    def read(self, rows: Rows, weights: torch.Tensor, logs: torch.Tensor) -> None:
        """Read some rows.

        Args:
            rows: which they are.
            weights: ``(head, query, key)``, contiguous float32.
            logs: their logarithms, or these and a number for each row, such as scores are; finite
                where a weight is 0; written over.
        """
        own = rows.rows
        torch.sum(weights, dim=-1, out=self._figure["sum"][:, own])
        # Σ w·log w, but for the logarithm of the largest weight, which is exact.
        logs.sub_(logs.amax(dim=-1, keepdim=True)).mul_(weights)
        torch.sum(logs, dim=-1, out=self._figure["entropy"][:, own])
        self._figure["distance"][:, own] = rows.distance(weights)
        self._figure["first"][:, own] = weights[..., 0]
        for name, offset in (("previous", -1), ("same", 0), ("next", 1)):
            self._put_diagonal(self._figure[name][:, own], weights, own.start + offset)
        self._join(rows, weights)
        self._rank(own, weights)
        rows.see(weights)

    def finish(self) -> None:
        """Make the entropy of what was summed up: log s − Σ w·log w / s with the sum s."""
        sums, entropy = self._figure["sum"], self._figure["entropy"]
        largest = torch.from_numpy(self._largest[..., 0])
        finished = sums.log() - largest.log() - entropy / sums
        entropy.copy_(finished.masked_fill_(sums == 0, 0))

    @staticmethod
    def _put_diagonal(figure: torch.Tensor, weights: torch.Tensor, start: int) -> None:
        """Put one weight of each row, of the first row that on key ``start``, where it is one."""
        diagonal = weights.diagonal(offset=start, dim1=1, dim2=2)
        first = max(0, -start)
        figure[:, first : first + diagonal.shape[1]] = diagonal

    def _join(self, rows: Rows, weights: torch.Tensor) -> None:
        """Add up every two queries, and every two keys of these."""
        joined, sums = weights, self._sums[:, rows.joined]
        if sums.shape[1] < weights.shape[1]:
            joined = self._pool.room("joined", (len(sums), sums.shape[1], rows.keys))
            _add_neighbours(weights.mT, joined.mT)
        ones = torch.ones(1, 1, sums.shape[1]).expand(len(sums), -1, -1)
        self._columns[:, : rows.keys] += torch.bmm(ones, joined)[:, 0].numpy()
        if self._into.shape[2] > SHORTEST:
            _add_neighbours(joined, sums)
        else:
            sums[..., : rows.keys], sums[..., rows.keys :] = joined, 0

    def _rank(self, rows: slice, weights: torch.Tensor) -> None:
        """Find the largest weights of every row, falling, and their keys.

        They lie in those groups of keys that have the largest maxima: of each row only these are
        sorted, which is a tenth of it.
        """
        keys, count = weights.shape[2], self._count
        groups = keys // _GROUP
        if groups <= 2 * count:
            places = np.broadcast_to(np.arange(keys), weights.shape)
            packed = _packed(weights, places)
        else:
            # A group are keys that lie `groups` apart: maxima are taken over whole rows at once.
            grouped = weights[..., : groups * _GROUP]
            grouped = grouped.view(*weights.shape[:2], _GROUP, groups)
            maxima = _packed(grouped.amax(dim=-2), np.arange(groups))
            maxima.partition(groups - count, axis=-1)
            best = _half(maxima, np.int32, _LOWER)[..., -count:, None]
            places = (best + groups * np.arange(_GROUP)).reshape(*weights.shape[:2], -1)
            if keys % _GROUP:
                rest = np.arange(groups * _GROUP, keys)
                rest = np.broadcast_to(rest, (*weights.shape[:2], len(rest)))
                places = np.concatenate([places, rest], axis=-1)
            packed = _packed(weights.gather(-1, torch.from_numpy(places)), places)
        packed.sort(axis=-1)
        largest = packed[..., : -count - 1 : -1].copy()
        self._largest[:, rows] = _half(largest, np.float32, _UPPER)
        self._largest_keys[:, rows] = _half(largest, np.int32, _LOWER)


def _packed(weights: torch.Tensor, keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return whole numbers that are ordered as the weights are, and hold their keys.

    The bits of a float that is not negative are ordered as it is, and whole numbers are sorted
    several times as fast as pairs. NaN comes after infinity.
    """
    packed = np.empty(weights.shape, np.int64)
    np.abs(weights.numpy(), out=_half(packed, np.float32, _UPPER))
    _half(packed, np.int32, _LOWER)[...] = keys
    return packed


def _half(packed: NDArray[np.int64], dtype: type, place: int) -> NDArray[Any]:
    """Return one half of each whole number, a view."""
    return packed.view(dtype)[..., place::2]


def _add_neighbours(values: torch.Tensor, into: torch.Tensor) -> None:
    """Write the sums of every two neighbours in the last dimension; the last may stand alone.

    ``into`` may be longer, and becomes 0 there.
    """
    length = values.shape[-1]
    pairs, blocks = length // 2, -(-length // 2)
    torch.add(values[..., : 2 * pairs : 2], values[..., 1::2], out=into[..., :pairs])
    if pairs < blocks:
        into[..., pairs] = values[..., -1]
    if blocks < into.shape[-1]:
        into[..., blocks:] = 0
