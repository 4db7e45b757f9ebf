"""Read a head back out of a report's file, which may be anybody's.

A report holds its numbers in JSON scripts: ``document`` says what there is, ``layer-N`` holds the
bytes. Every size is checked before anything is inflated. Knows nothing of how a page looks.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention, Weights
from attnreport.axis import Axis
from attnreport.charts.picture import code_error
from attnreport.errors import InvalidInput, InvalidRun
from attnreport.numbers import in_words
from attnreport.page.base85 import bytes_of
from attnreport.page.imagedata import codes_of
from attnreport.page.reading_axes import WrittenAxis, WrittenPicture, WrittenPlaces, axis_of
from attnreport.page.refining import EXACT_TO, refined

# More than any report has; less than what a small file could otherwise be made to fill.
_MOST_FILE_BYTES = 1 << 30
_MOST_INFLATED = 1 << 28


_Part = TypeVar("_Part")


@dataclass(frozen=True)
class ReadHead:
    """Hold one head as a report tells it.

    Attributes:
        attention: the one head, its axes and its name.
        head: its number among the heads of its layer.
        levels: how many codes stand for weights, or None where the weights are exact.
        sure: ``(query, key)``, where a coded weight is right to ``EXACT_TO`` all the same.
        joined: how many neighbouring positions of the model's own make one here.
    """

    attention: Attention
    head: int
    levels: int | None = None
    sure: NDArray[np.bool_] | None = None
    joined: int = 1

    @property
    def weights(self) -> Weights:
        """Return the weights, shape (query, key)."""
        weights: Weights = self.attention.weights[0]
        return weights

    @property
    def precision(self) -> str:
        """Return in words how far from the model's own the weights can be."""
        words = "exact float32 weights"
        if self.levels is not None:
            words = f"√w right to ± {code_error(self.levels):.4f} ({self.levels} levels)"
        if self.sure is not None:
            words += f", the largest weights of each row to ± {EXACT_TO:.6f}"
        if self.joined > 1:
            words += f", every {self.joined} neighbouring positions of a kind joined"
        return words


class _Layer(msgspec.Struct):
    name: str
    queries: int
    keys: int
    heads: Annotated[int, msgspec.Meta(ge=1)]
    number: int | None = None
    numbers: list[int] | None = None


class _Shown(msgspec.Struct):
    layer: int
    head: int


class _Document(msgspec.Struct):
    axes: list[WrittenAxis]
    layers: list[_Layer]
    shown: _Shown
    exact: bool
    levels: Annotated[int, msgspec.Meta(ge=2, le=255)]
    joined: Annotated[int, msgspec.Meta(ge=1)] = 1
    pictures: list[WrittenPicture] = []
    places: list[WrittenPlaces | None] = []


class _PackedLayer(msgspec.Struct):
    heads: list[str]
    exact: str | None = None
    largest: list[str] | None = None


def read_head(path: Path, layer: int | None = None, head: int | None = None) -> ReadHead:
    """Return one head of the report in ``path``; by default what it opens with, or 0 of ``layer``.

    Raises:
        InvalidInput: the file is no report or a damaged one, or has no such layer or head.
    """
    try:
        scripts, still = _scripts(path)
        document = _decoded(scripts, "document", _Document)
        at = document.shown.layer if layer is None else _place_of(document, layer)
        first = document.shown.head if layer is None else 0
        place = (at, _head_place(document, at, head, first))
        packed = _decoded(scripts, f"layer-{at}", _PackedLayer)
        return _unpacked(document, packed, _axes(document, at, still), place)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    except (ValueError, IndexError, zlib.error, InvalidRun) as error:
        raise InvalidInput(f"{path} is a damaged report: {error}") from error


def _place_of(document: _Document, layer: int) -> int:
    """Return where the layer of this number is."""
    numbers = [
        at if each.number is None else each.number for at, each in enumerate(document.layers)
    ]
    if layer not in numbers:
        raise InvalidInput(f"no layer {layer}: the report has layers {in_words(numbers)}")
    return numbers.index(layer)


def _head_place(document: _Document, at: int, head: int | None, first: int) -> int:
    """Return where in its layer the head of this number is; without one, the first shown."""
    heads, *_ = _shape(document, at)
    if head is None:
        return first if 0 <= first < heads else 0
    numbers = _head_numbers(document.layers[at])
    if head not in numbers:
        layer = document.layers[at].number
        layer = at if layer is None else layer
        raise InvalidInput(f"no head {head}: layer {layer} has heads {in_words(numbers)}")
    return numbers.index(head)


def _head_numbers(layer: _Layer) -> list[int]:
    numbers = layer.numbers
    if numbers is not None and len(numbers) != layer.heads:
        raise ValueError(f"{len(numbers)} numbers for {layer.heads} heads")
    return list(range(layer.heads)) if numbers is None else numbers


def _shape(document: _Document, layer: int) -> tuple[int, int, int]:
    """Return (head, query, key) of a layer, checked."""
    if not 0 <= layer < len(document.layers):
        raise ValueError(f"layer {layer} of {len(document.layers)}")
    found = document.layers[layer]
    for axis in (found.queries, found.keys):
        if not 0 <= axis < len(document.axes):
            raise ValueError(f"layer {layer} names axis {axis} of {len(document.axes)}")
    queries, keys = (len(document.axes[axis].labels) for axis in (found.queries, found.keys))
    return found.heads, queries, keys


def _axes(document: _Document, layer: int, still: str) -> tuple[Axis, Axis]:
    """Return the queries and the keys of a layer, the same object where they are one axis."""
    found = document.layers[layer]
    places = document.places or [None] * len(document.axes)
    made = {
        axis: axis_of(document.axes[axis], places[axis], document.pictures, still)
        for axis in {found.queries, found.keys}
    }
    return made[found.queries], made[found.keys]


def _unpacked(
    document: _Document, packed: _PackedLayer, axes: tuple[Axis, Axis], place: tuple[int, int]
) -> ReadHead:
    layer, head = place
    heads, queries, keys = _shape(document, layer)
    if len(packed.heads) != heads:
        raise ValueError(f"layer {layer} should have {heads} heads, got {len(packed.heads)}")
    sure = None
    levels: int | None = document.levels
    if document.exact and packed.exact is not None:
        raw = _inflated(packed.exact, heads * queries * keys * 4)
        weights = np.frombuffer(raw, "<f4").reshape(heads, queries, keys)[head].astype(np.float32)
        levels = None
    else:
        codes = codes_of(_inflated(packed.heads[head], queries * (keys + 1)), queries, keys)
        if (codes > document.levels).any():
            raise ValueError(f"a code above its {document.levels} levels")
        if packed.largest is not None:
            weights, sure = refined(codes, document.levels, bytes_of(packed.largest[head]))
        else:
            weights = ((codes / (document.levels - 1)) ** 2).astype(np.float32)
            weights[codes == document.levels] = np.nan
    found = document.layers[layer]
    rows, columns = axes
    # Coded rows add up to nearly 1, which a Run does not take for 1.
    attention = Attention(
        weights[None],
        found.name,
        layer if found.number is None else found.number,
        "self" if rows is columns else "cross",
        rows,
        columns,
        normalised=False,
        head_numbers=(_head_numbers(found)[head],),
    )
    return ReadHead(attention, attention.head_numbers[0], levels, sure, document.joined)


def _inflated(text: str, size: int) -> bytes:
    """Return ``size`` bytes; a stream that would give more or fewer is refused."""
    if size > _MOST_INFLATED:
        raise ValueError(f"{size} bytes of weights in one piece, at most {_MOST_INFLATED} are read")
    stream = zlib.decompressobj()
    content = stream.decompress(bytes_of(text), size + 1)
    if len(content) != size:
        raise ValueError(f"expected {size} bytes of weights, got {min(len(content), size + 1)}")
    return content


def _scripts(path: Path) -> tuple[dict[str, str], str]:
    """Return the JSON scripts by their id, and the URL of the first picture in the page."""
    try:
        if path.stat().st_size > _MOST_FILE_BYTES:
            raise InvalidInput(f"larger than {_MOST_FILE_BYTES} bytes, no report is")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("not a report of attnreport: it is not UTF-8 text") from error
    parser = _JsonScripts()
    parser.feed(text)
    return parser.found, parser.picture


def _decoded(scripts: dict[str, str], name: str, kind: type[_Part]) -> _Part:
    if name not in scripts:
        raise InvalidInput(
            f"not a whole report of attnreport: it has no JSON script {name!r}; "
            "build it again, or give another file"
        )
    return msgspec.json.decode(scripts[name], type=kind)


class _JsonScripts(HTMLParser):
    """Collect the JSON scripts of a page by their id; one that never ends is left out.

    The still overlay's picture stands in the page once, as the first of its images.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self.picture = ""
        self._id: str | None = None
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin to collect at a JSON script with an id, and keep the first picture's URL."""
        given = dict(attrs)
        if tag == "image" and not self.picture:
            self.picture = given.get("xlink:href") or given.get("href") or ""
        if tag == "script" and given.get("type") == "application/json":
            self._id, self._text = given.get("id"), []

    def handle_data(self, data: str) -> None:
        """Collect."""
        if self._id is not None:
            self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        """Keep the first script of every id, as browsers do."""
        if tag == "script" and self._id is not None:
            self.found.setdefault(self._id, "".join(self._text))
            self._id = None
