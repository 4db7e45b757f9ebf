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

from attnreport.recording.room import Pool
from attnreport.reduced import FIGURES

if TYPE_CHECKING:
    from attnreport.recording.reducing import Reduction

Floats = NDArray[np.float32]

# So many sums over a whole row are products of it.
MOMENTS = 3
# A row's largest weights are looked for in groups of so many keys.
_GROUP = 16
_SUM, _ENTROPY, _DISTANCE = map(FIGURES.index, ("sum", "entropy", "distance"))
# The weights on the first key, on the one before, the same and the next.
_BESIDE = slice(FIGURES.index("first"), None)
# Weight and key in one whole number of two halves: the weight is in the upper one.
_UPPER = 1 if sys.byteorder == "little" else 0
_LOWER = 1 - _UPPER


class Rows:
    """Know of some rows where their keys lie; the same for every head.

    Args:
        into: what holds what is read.
        rows: which queries; whole blocks of them, but for the last.
        keys: so many keys from the first on are read, at least as many as are ranked; every later
            weight is 0.
        most: ``(query,)`` how many keys each row may look at; None for all of them.

    Attributes:
        joined: which rows of blocks they make.
        blocks: how many blocks the keys make.
        ones: ``(1, 1, row of blocks)``, all 1.
        moments: what the weights of a row are multiplied by for sums over it, ``(key, 3)``.
    """

    def __init__(
        self, into: Reduction, rows: slice, keys: int, most: torch.Tensor | None = None
    ) -> None:
        self.rows, self.keys = rows, keys
        first, stop = rows.start // into.joins(1), -(-rows.stop // into.joins(1))
        self.joined, self.blocks = slice(first, stop), -(-keys // into.joins(2))
        self.ones = torch.ones(1, 1, stop - first)
        self._visible = into.visible[rows]
        self._most = keys if most is None else most.numpy()
        self._seen: NDArray[np.bool_] | None = np.zeros((len(self._visible), keys), np.bool_)
        asked, answering = np.arange(rows.start, rows.stop), np.arange(keys)
        # |q − k| is |k − middle| ± (q − middle) for every key on one side of all these rows.
        middle = (rows.start + rows.stop - 1) / 2
        side = (answering < rows.start) * 1.0 - (answering >= rows.stop)
        far = np.abs((answering - middle) * side)
        moments = np.stack([np.ones(keys), side, far], axis=-1)
        self.moments = torch.from_numpy(moments.astype(np.float32))
        self._beside = asked - np.float32(middle)
        self._near = slice(min(rows.start, keys), min(rows.stop, keys))
        apart = np.abs(asked[:, None] - answering[self._near])
        self._apart = apart.astype(np.float32)
        places = np.stack([0 * asked, asked - 1, asked, asked + 1])
        self._there = (places >= 0) & (places < keys)
        self._places = np.where(self._there, places + keys * np.arange(len(asked)), 0)

    def distance(self, weights: Floats, moments: NDArray[Any]) -> Floats:
        """Return Σ w·|q − k|, ``(head, query)``, of weights ``(head, query, key)``."""
        near = np.vecdot(weights[..., self._near], self._apart)
        distance: Floats = near + moments[..., 2] + moments[..., 1] * self._beside
        return distance

    def beside(self, weights: Floats) -> Floats:
        """Return ``(4, head, query)``: the weights on the first key and on q − 1, q and q + 1."""
        found = weights.reshape(len(weights), -1)[:, self._places].swapaxes(0, 1)
        return np.where(self._there[:, None], found, 0)

    def see(self, weights: Floats) -> None:
        """Count the keys that get a weight from any head, until no more can come."""
        if self._seen is None:
            return
        for each in weights:
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
        self._figures = into.figures[:, heads]
        self._sums = torch.from_numpy(into.sums[heads])
        self._largest, self._largest_keys = into.largest[heads], into.largest_keys[heads]
        self._columns = into.columns[heads]

    def read(
        self, rows: Rows, weights: torch.Tensor, logs: torch.Tensor, moments: torch.Tensor
    ) -> None:
        """Read some rows.

        Args:
            rows: which they are.
            weights: ``(head, query, key)``, contiguous float32.
            logs: their logarithms, or these and a number for each row, such as scores are; finite
                where a weight is 0; written over.
            moments: the weights times ``rows.moments``, ``(head, query, 3)``.
        """
        self._join(rows, weights)
        first = self._rank(rows.rows, weights)
        # Σ w·log w, but for the logarithm of the largest weight, which is exact.
        logs.sub_(logs.gather(-1, first))
        numbers, sums = weights.numpy(), moments.numpy()
        figures = self._figures[:, :, rows.rows]
        with np.errstate(invalid="ignore"):  # ∞ · 0 stays NaN
            figures[_SUM] = sums[..., 0]
            figures[_ENTROPY] = np.vecdot(numbers, logs.numpy())
            figures[_DISTANCE] = rows.distance(numbers, sums)
            figures[_BESIDE] = rows.beside(numbers)
        rows.see(numbers)

    def finish(self) -> None:
        """Make the entropy of what was summed up: log s − Σ w·log w / s with the sum s."""
        sums, entropy = self._figures[_SUM], self._figures[_ENTROPY]
        with np.errstate(divide="ignore", invalid="ignore"):
            finished = np.log(sums) - np.log(self._largest[..., 0]) - entropy / sums
        entropy[...] = np.where(sums == 0, 0, finished)

    def _join(self, rows: Rows, weights: torch.Tensor) -> None:
        """Add up the queries of each block, and the keys of these."""
        sums = self._sums[:, rows.joined]
        joined = joined_up(weights, 1, sums.shape[1], self._pool)
        ones = rows.ones.expand(len(sums), -1, -1)
        self._columns[:, : rows.keys] += torch.bmm(ones, joined).numpy()[:, 0]
        joined = joined_up(joined, 2, rows.blocks, self._pool)
        sums[..., : rows.blocks], sums[..., rows.blocks :] = joined, 0

    def _rank(self, rows: slice, weights: torch.Tensor) -> torch.Tensor:
        """Find the largest weights of every row, falling, and their keys; return the first key.

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
        return torch.from_numpy(self._largest_keys[:, rows, :1]).long()


def joined_up(values: torch.Tensor, side: int, blocks: int, pool: Pool) -> torch.Tensor:
    """Add up every two neighbours of a side until so many are left; the last may be alone.

    Args:
        values: ``(head, query, key)``.
        side: 1 for queries, 2 for keys.
        blocks: how many are to be left.
        pool: where they are written.
    """
    shape, times = list(values.shape), 0
    while shape[side] > blocks:
        times += 1
        pairs, shape[side] = shape[side] // 2, -(-shape[side] // 2)
        sums = pool.room(f"side {side} halved {times} times", tuple(shape))
        along, into = values.transpose(side, -1), sums.transpose(side, -1)
        torch.add(along[..., : 2 * pairs : 2], along[..., 1::2], out=into[..., :pairs])
        if pairs < shape[side]:
            into[..., pairs] = along[..., -1]
        values = sums
    return values


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
