"""The file form of a Run: one ``.safetensors`` file, the arrays and a JSON document beside them.

The document is checked against its types when it is read, and every array against what the
document says of it: a file may come from anybody. Knows nothing of what the numbers mean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from attnreport.attention import Attention, Kind
from attnreport.axis import Axis
from attnreport.errors import InvalidRun
from attnreport.points import Points
from attnreport.reduced import Reduced
from attnreport.run import LedgerEntry, Provenance, Run, Taken
from attnreport.valuenorms import ValueNorms

# 2: attentions may be reduced. 3: they may have gradients, and a run scores that were taken with
# the model. 4: values may be weighed with their residual, a kind is "channels", and a picture may
# be of a sound. 5: layers and heads have numbers of their own, where some were left out, and a kind
# is "deformable". The earlier ones are read as well.
SCHEMA_VERSION = 5
_METADATA_KEY = "attnreport"
_ArrayReader = Callable[[str], Any]
_REDUCED = ("largest", "largest_keys", "columns", "visible", "figures")
_NORMS = ("heads_norms", "mixed_norms")
_BLOCK = "block_norms"
_POINTS = ("point_locations", "point_weights", "point_levels")
# Numpy has no bfloat16, and safetensors would fail in words of its own: asked before it is read.
_STORED = {"largest_keys": "I32", "point_levels": "I32"}


def to_bytes(run: Run) -> bytes:
    """Return a run as the bytes of its file; the same run gives the same bytes."""
    axes = _axes_of(run)
    arrays: dict[str, NDArray[Any]] = {}
    records = []
    for place, attention in enumerate(run.attentions):
        name = _array_name(place, "weights")
        arrays[name] = np.ascontiguousarray(attention.weights)
        for part in ("sink", "gradient"):
            if (array := getattr(attention, part)) is not None:
                arrays[_array_name(place, part)] = np.ascontiguousarray(array)
        if attention.value_norms is not None:
            for part in (*_NORMS, _BLOCK):
                array = getattr(attention.value_norms, part.removesuffix("_norms"))
                if array is not None:
                    arrays[_array_name(place, part)] = np.ascontiguousarray(array)
        if attention.points is not None:
            arrays |= _points_arrays(place, attention.points)
        if attention.reduced is not None:
            arrays |= _reduced_arrays(place, attention.reduced)
        records.append(_Record.of(attention, axes))
    document = _Document(
        SCHEMA_VERSION,
        axes,
        tuple(records),
        run.ledger,
        run.provenance,
        run.target,
        {name: tuple(map(_told, scores)) for name, scores in run.taken.items()},
    )
    metadata = {_METADATA_KEY: msgspec.json.encode(document, order="deterministic").decode()}
    return safetensors.numpy.save(arrays, metadata)


def load(path: str | Path) -> Run:
    """Read a run from its file.

    Raises:
        InvalidRun: the file is not a run, is damaged, or was written by a newer attnreport.
    """
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(_METADATA_KEY)
            if text is None:
                raise InvalidRun("a safetensors file, but not a saved attnreport run")
            document = _decode_document(text)
            names = set(file.keys())
            attentions = tuple(
                record.attention(index, document.axes, names, partial(_read, file))
                for index, record in enumerate(document.attentions)
            )
        taken = {name: tuple(map(_read_told, told)) for name, told in document.taken.items()}
        return Run(attentions, document.ledger, document.provenance, document.target, taken)
    except InvalidRun as error:
        raise InvalidRun(f"{path}: {error}") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise InvalidRun(f"{path} cannot be read as a saved run: {error}") from error


def _told(scores: Taken) -> tuple[float | None, ...]:
    """Return scores as JSON has them, which lacks NaN."""
    return tuple(None if np.isnan(score) else float(score) for score in scores)


def _read_told(told: tuple[float | None, ...]) -> Taken:
    return np.array([np.nan if score is None else score for score in told], dtype=np.float64)


def _axes_of(run: Run) -> tuple[Axis, ...]:
    """Return every different axis, those of reduced attentions before they were joined too."""
    reduced = [each.reduced for each in run.attentions if each.reduced is not None]
    whole = (axis for each in reduced for axis in (each.queries, each.keys))
    return tuple(dict.fromkeys((*run.axes, *whole)))


def _points_arrays(place: int, points: Points) -> dict[str, NDArray[Any]]:
    arrays = (points.locations, points.weights, points.levels)
    return {
        _array_name(place, part): np.ascontiguousarray(array)
        for part, array in zip(_POINTS, arrays, strict=True)
    }


def _reduced_arrays(place: int, reduced: Reduced) -> dict[str, NDArray[Any]]:
    parts = [*_REDUCED, *(["reduced_sink"] if reduced.sink is not None else [])]
    return {
        _array_name(place, part): np.ascontiguousarray(
            getattr(reduced, part.removeprefix("reduced_"))
        )
        for part in parts
    }


@dataclass(frozen=True)
class _ReducedRecord:
    """What the JSON document says of a reduced attention; axes as in ``_Record``."""

    block: int
    queries: int
    keys: int
    has_sink: bool
    normalised: bool

    @classmethod
    def of(cls, reduced: Reduced, axes: tuple[Axis, ...]) -> _ReducedRecord:
        return cls(
            block=reduced.block,
            queries=axes.index(reduced.queries),
            keys=axes.index(reduced.keys),
            has_sink=reduced.sink is not None,
            normalised=reduced.normalised,
        )

    def reduced(self, place: int, axes: tuple[Axis, ...], read: _ArrayReader) -> Reduced:
        arrays = {part: read(_array_name(place, part)) for part in _REDUCED}
        return Reduced(
            block=self.block,
            queries=axes[self.queries],
            keys=axes[self.keys],
            sink=read(_array_name(place, "reduced_sink")) if self.has_sink else None,
            normalised=self.normalised,
            **arrays,
        )


@dataclass(frozen=True)
class _Record:
    """What the JSON document says of one attention; axes are indices into the document's list.

    ``layer`` and ``head_numbers`` are there where they are not simply counted; ``maps`` are the
    sizes of the feature maps that points are on.
    """

    name: str
    kind: Kind
    queries: int
    keys: int
    dtype: str
    residual: float | None
    has_sink: bool
    normalised: bool
    reduced: _ReducedRecord | None = None
    has_gradient: bool = False
    has_value_norms: bool = False
    has_block_norms: bool = False
    block_is_normed: bool = False
    layer: int | None = None
    head_numbers: tuple[int, ...] = ()
    maps: tuple[tuple[int, int], ...] | None = None

    @classmethod
    def of(cls, attention: Attention, axes: tuple[Axis, ...]) -> _Record:
        norms = attention.value_norms
        return cls(
            name=attention.name,
            kind=attention.kind,
            queries=axes.index(attention.queries),
            keys=axes.index(attention.keys),
            dtype=attention.dtype,
            residual=attention.residual,
            has_sink=attention.sink is not None,
            normalised=attention.normalised,
            reduced=None
            if attention.reduced is None
            else _ReducedRecord.of(attention.reduced, axes),
            has_gradient=attention.gradient is not None,
            has_value_norms=norms is not None,
            has_block_norms=norms is not None and norms.block is not None,
            block_is_normed=norms is not None and norms.normed,
            layer=attention.layer,
            head_numbers=attention.head_numbers,
            maps=None if attention.points is None else attention.points.sizes,
        )

    def attention(
        self,
        place: int,
        axes: tuple[Axis, ...],
        names: set[str],
        read: _ArrayReader,
    ) -> Attention:
        for index in self._axes():
            if not 0 <= index < len(axes):
                raise InvalidRun(f"attention {place} names axis {index}, the file has {len(axes)}")
        for part in self._arrays():
            if _array_name(place, part) not in names:
                raise InvalidRun(
                    f"attention {place}: the array {_array_name(place, part)} is missing"
                )
        return Attention(
            weights=read(_array_name(place, "weights")),
            name=self.name,
            layer=place if self.layer is None else self.layer,
            kind=self.kind,
            queries=axes[self.queries],
            keys=axes[self.keys],
            dtype=self.dtype,
            residual=self.residual,
            sink=read(_array_name(place, "sink")) if self.has_sink else None,
            normalised=self.normalised,
            reduced=None if self.reduced is None else self.reduced.reduced(place, axes, read),
            gradient=read(_array_name(place, "gradient")) if self.has_gradient else None,
            value_norms=self._norms(place, read) if self.has_value_norms else None,
            head_numbers=self.head_numbers,
            points=None if self.maps is None else self._points(place, self.maps, read),
        )

    def _norms(self, place: int, read: _ArrayReader) -> ValueNorms:
        heads, mixed = (read(_array_name(place, part)) for part in _NORMS)
        block = read(_array_name(place, _BLOCK)) if self.has_block_norms else None
        return ValueNorms(heads, mixed, block, self.block_is_normed)

    def _points(self, place: int, sizes: tuple[tuple[int, int], ...], read: _ArrayReader) -> Points:
        locations, weights, levels = (read(_array_name(place, part)) for part in _POINTS)
        return Points(locations, weights, levels, sizes)

    def _axes(self) -> tuple[int, ...]:
        own = (self.queries, self.keys)
        return own if self.reduced is None else (*own, self.reduced.queries, self.reduced.keys)

    def _arrays(self) -> tuple[str, ...]:
        optional = {"sink": self.has_sink, "gradient": self.has_gradient}
        named = ("weights", *(part for part, there in optional.items() if there))
        named += _NORMS if self.has_value_norms else ()
        named += (_BLOCK,) if self.has_block_norms else ()
        named += () if self.maps is None else _POINTS
        if self.reduced is None:
            return named
        return (*named, *_REDUCED, *(("reduced_sink",) if self.reduced.has_sink else ()))


@dataclass(frozen=True)
class _Document:
    """The JSON part of the file. ``schema`` comes first: it says how to read the rest."""

    schema: int
    axes: tuple[Axis, ...]
    attentions: tuple[_Record, ...]
    ledger: tuple[LedgerEntry, ...]
    provenance: Provenance
    target: str = ""
    taken: dict[str, tuple[tuple[float | None, ...], ...]] = field(default_factory=dict)


class _Header(msgspec.Struct):
    schema: int


def _decode_document(text: str) -> _Document:
    """Return the document, or raise ``InvalidRun`` with the JSON path of what is wrong."""
    try:
        schema = msgspec.json.decode(text, type=_Header).schema
        if schema > SCHEMA_VERSION:
            raise InvalidRun(
                f"the run has schema {schema}, this attnreport reads up to {SCHEMA_VERSION}; "
                "upgrade attnreport to open it"
            )
        return msgspec.json.decode(text, type=_Document)
    except msgspec.DecodeError as error:
        raise InvalidRun(f"the run's document is damaged: {error}") from error


def _read(file: Any, name: str) -> NDArray[Any]:
    wanted = _STORED.get(name.rpartition(".")[2], "F32")
    if (stored := file.get_slice(name).get_dtype()) != wanted:
        raise InvalidRun(f"expected the array {name} as {wanted}, got {stored}")
    array: NDArray[Any] = file.get_tensor(name)
    return array


def _array_name(place: int, part: str) -> str:
    return f"attention.{place}.{part}"
