"""One attention of a run: its weights, what they are of, and how far they can be trusted.

Plain arrays. Nothing here imports torch, and nothing knows where the weights come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.errors import InvalidInput, InvalidRun
from attnreport.numbers import in_words
from attnreport.points import Points
from attnreport.reduced import Reduced
from attnreport.valuenorms import ValueNorms

Kind = Literal["self", "cross", "channels", "deformable"]
Weights = NDArray[np.float32]

# How far from the layer's own output the recomputed one may be before the page warns, and how far
# from 1 a row may sum: both follow from the precision in which the model computed.
RESIDUAL_TOLERANCE: Mapping[str, float] = MappingProxyType(
    {"float64": 1e-5, "float32": 1e-5, "float16": 5e-3, "bfloat16": 4e-2}
)
_SUM_TOLERANCE: Mapping[str, float] = MappingProxyType(
    {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2, "bfloat16": 1e-1}
)


def tolerance_of(dtype: str) -> float:
    """Return the residual above which a layer that computes in this precision is warned about."""
    return RESIDUAL_TOLERANCE.get(dtype, 4e-2)


@dataclass(frozen=True, eq=False)
class Attention:
    """Hold the weights of one attention computation, per head.

    Attributes:
        weights: ``(head, query, key)`` float32 in [0, 1], read-only: A = softmax(QKᵀ/√d_k) as the
            model used it. A row sums to 1; to 0 where everything was masked; to less than 1 where
            the model has a sink. NaN and infinity are kept as they came.
        name: module path of the layer, e.g. ``"encoder.layer.3.attention.self"``.
        layer: number in the order of execution, counted from 0 over the whole run: what a
            selection left out is counted too.
        kind: ``"self"`` if queries and keys come from the same sequence, ``"channels"`` if they are
            no positions but the channels of each head, ``"deformable"`` if each query looks at
            points between the keys, the cells of feature maps, else ``"cross"``.
        queries: what the rows stand for.
        keys: what the columns stand for.
        dtype: precision the layer computed in, e.g. ``"float32"``, ``"bfloat16"``.
        residual: max |weights @ value - output| / max |output| against what the layer really
            returned; None where there was nothing to check against. Where ``reduced``, the longest
            row of that difference takes the place of its largest number if it is within the
            tolerance: how long is estimated from 13 random combinations of columns.
        sink: ``(head, query)`` float32 share that went to a learned sink, or None.
        normalised: False where the layer does not make its rows sum to 1 (sigmoid attention).
        reduced: where there were too many weights to keep, what is exact of all of them: each of
            ``weights`` then stands for a block of neighbouring positions, as the axes do.
        gradient: ``(head, query, key)`` float32, read-only: ∂y/∂A of the number y that
            ``Run.target`` names; None where y was not differentiated, or no gradient arrived.
        value_norms: how long what each key sends is; None where that was not asked for, or where
            the ledger says why it is not known.
        head_numbers: the number that each of ``weights`` has among the heads of its layer; 0, 1, …
            unless a selection left some out.
        points: of deformable attention where it really looks; each of ``weights`` is what its
            points, sampled bilinearly, take from that cell.
    """

    weights: Weights
    name: str
    layer: int
    kind: Kind
    queries: Axis
    keys: Axis
    dtype: str = "float32"
    residual: float | None = None
    sink: Weights | None = None
    normalised: bool = True
    reduced: Reduced | None = None
    gradient: Weights | None = None
    value_norms: ValueNorms | None = None
    head_numbers: tuple[int, ...] = ()
    points: Points | None = None

    def __post_init__(self) -> None:
        if not self.head_numbers:
            object.__setattr__(self, "head_numbers", tuple(range(len(self.weights))))
        self._check()
        for array in (self.weights, self.sink, self.gradient):
            if array is not None:
                array.flags.writeable = False

    def _check(self) -> None:
        where = f"attention {self.layer} ({self.name or 'unnamed'})"
        if self.weights.dtype != np.float32 or self.weights.ndim != 3:
            raise InvalidRun(
                f"{where}: expected float32 weights (head, query, key), "
                f"got {self.weights.dtype} {self.weights.shape}"
            )
        heads, queries, keys = self.weights.shape
        if not heads:
            raise InvalidRun(f"{where}: no heads")
        numbers = set(self.head_numbers)
        if (
            self.layer < 0
            or min(numbers) < 0
            or not len(numbers) == len(self.head_numbers) == heads
        ):
            raise InvalidRun(
                f"{where}: expected a number from 0 for each of {heads} heads, got "
                f"{list(self.head_numbers)}"
            )
        for axis, length, side in ((self.queries, queries, "query"), (self.keys, keys, "key")):
            if len(axis) != length:
                raise InvalidRun(
                    f"{where}: {length} {side} positions, but axis {axis.name!r} has {len(axis)}"
                )
        if self.sink is not None and self.sink.shape != (heads, queries):
            raise InvalidRun(
                f"{where}: expected a sink of shape {(heads, queries)}, got {self.sink.shape}"
            )
        if self.points is not None and self.reduced is None:
            self.points.check(where, self.weights.shape)
        self._check_gradient(where)
        self._check_norms(where)
        self._check_range(where)

    def _check_gradient(self, where: str) -> None:
        found = self.gradient
        if found is None:
            return
        if found.dtype != np.float32 or found.shape != self.weights.shape:
            raise InvalidRun(
                f"{where}: expected a float32 gradient of the weights' shape "
                f"{self.weights.shape}, got {found.dtype} {found.shape}"
            )
        if self.reduced is not None:
            raise InvalidRun(f"{where}: expected no gradient of reduced weights, got one")

    def _check_norms(self, where: str) -> None:
        norms = self.value_norms
        heads, queries, keys = self.weights.shape
        expected = ((heads, keys), (queries, keys))
        if norms is not None and (norms.heads.shape, norms.mixed.shape) != expected:
            raise InvalidRun(
                f"{where}: expected value norms of shapes {expected[0]} and {expected[1]}, "
                f"got {norms.heads.shape} and {norms.mixed.shape}"
            )
        if norms is not None and norms.block is not None and norms.block.shape != expected[1]:
            raise InvalidRun(
                f"{where}: expected norms of the block of shape {expected[1]}, "
                f"got {norms.block.shape}"
            )

    def _check_range(self, where: str) -> None:
        finite = np.isfinite(self.weights)
        outside = finite & ((self.weights < 0) | (self.weights > 1 + 1e-5))
        if outside.any():
            head, query, key = np.argwhere(outside)[0]
            raise InvalidRun(
                f"{where}: expected weights in [0, 1], got {self.weights[head, query, key]} "
                f"at head {head}, query {query}, key {key}"
            )
        if not self.normalised:
            return
        with np.errstate(invalid="ignore"):  # ∞ − ∞ is NaN, which is looked for below
            sums = self.weights.sum(axis=2, dtype=np.float64)
        if self.sink is not None:
            sums = sums + self.sink
        tolerance = _SUM_TOLERANCE.get(self.dtype, 1e-1)
        # A masked row sums to 0, and a row with NaN in it to NaN: both are true, neither is wrong.
        wrong = np.isfinite(sums) & (np.abs(sums - 1) > tolerance) & (sums != 0)
        if wrong.any():
            head, query = np.argwhere(wrong)[0]
            raise InvalidRun(
                f"{where}: expected rows that sum to 1 or 0, got {sums[head, query]:.6g} "
                f"at head {head}, query {query}"
            )

    @property
    def heads(self) -> int:
        """Return the number of heads."""
        return int(self.weights.shape[0])

    def head_place(self, number: int) -> int:
        """Return where in ``weights`` the head of this number is.

        Raises:
            InvalidInput: it is not held.
        """
        if number not in self.head_numbers:
            raise InvalidInput(
                f"no head {number}: layer {self.layer} has heads {in_words(self.head_numbers)}"
            )
        return self.head_numbers.index(number)

    @property
    def nonfinite(self) -> int:
        """Return how many weights are NaN or infinite."""
        return int(self.weights.size - np.isfinite(self.weights).sum())

    @property
    def tolerance(self) -> float:
        """Return the residual above which this layer must be warned about."""
        return tolerance_of(self.dtype)

    @property
    def checked(self) -> bool:
        """Tell whether the weights reproduced the layer's own output within the tolerance."""
        return self.residual is not None and self.residual <= self.tolerance
