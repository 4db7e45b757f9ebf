"""Turn the bytes of tokens into labels that a person can read. Knows nothing of tokenizers.

A label shows what the token holds: without the space before a word, ``␣`` only where a token is
nothing but spaces, ``⏎`` for a line end. What has no picture of its own is named by its code point
(``U+200D``), a combining mark stands on a dotted circle, and a character that is split over tokens
is named in each with the part it is: ``é(1/2)``, ``é(2/2)``. A label never holds U+FFFD.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

_PICTURES = {"\n": "⏎", "\r": "␍", "\t": "⇥", "\v": "␋", "\f": "␌"}
_NAMED_CATEGORIES = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
_MOST_SPACES = 4

_Bound = tuple[int, int]  # start and stop of a token in the bytes of its run


@dataclass(frozen=True)
class _Unit:
    """One character of the stream, or one byte that belongs to none, and where it lies."""

    text: str
    start: int
    stop: int
    whole: bool


def labels_of(pieces: Sequence[bytes | str]) -> tuple[str, ...]:
    """Return one readable label per token, none of them empty.

    Args:
        pieces: what each token holds, in order: UTF-8 bytes, which may break off inside a
            character that the next token goes on with; or a str, a label that is ready.
    """
    labels = [piece if isinstance(piece, str) else "" for piece in pieces]
    for first, last in _byte_runs(pieces):
        run = [piece for piece in pieces[first:last] if isinstance(piece, bytes)]
        labels[first:last] = _label_run(run)
    return tuple(label or "(empty)" for label in labels)


def visible(text: str) -> str:
    """Return ``text`` as a label: no space around it, and a name for what has no picture."""
    if text and all(character.isspace() for character in text):
        return _spaces(text)
    # Zs only: a line end beside a word is part of what the model sees, a space is how words join.
    body = text.strip(" \u00a0\u3000")
    return "".join(_show(body, index) for index in range(len(body)))


def _byte_runs(pieces: Sequence[bytes | str]) -> Iterator[tuple[int, int]]:
    """Yield ``(first, last)`` of each stretch of bytes; a ready label ends a character."""
    first = None
    for index, piece in enumerate([*pieces, ""]):
        if isinstance(piece, bytes):
            first = index if first is None else first
        elif first is not None:
            yield first, index
            first = None


def _label_run(run: list[bytes]) -> list[str]:
    """Return the labels of tokens whose bytes follow each other without a break."""
    ends = list(accumulate(len(piece) for piece in run))
    bounds = list(zip([0, *ends], ends, strict=False))
    units = list(_units(b"".join(run)))
    stops = [unit.stop for unit in units]
    labels = []
    for start, stop in bounds:
        # The first unit that ends after the token's start is the first that lies in it.
        near = units[bisect_right(stops, start) : bisect_left(stops, stop) + 1]
        inside = [unit for unit in near if unit.start < stop]
        labels.append(_label_token((start, stop), inside, bounds))
    return labels


def _units(stream: bytes) -> Iterator[_Unit]:
    """Cut the stream into characters; a byte that starts none is a unit by itself."""
    start = 0
    while start < len(stream):
        for length in (1, 2, 3, 4):
            try:
                text = stream[start : start + length].decode()
            except UnicodeDecodeError:
                continue
            yield _Unit(text, start, start + length, whole=True)
            start += length
            break
        else:
            yield _Unit(f"0x{stream[start]:02X}", start, start + 1, whole=False)
            start += 1


def _label_token(bound: _Bound, units: list[_Unit], bounds: list[_Bound]) -> str:
    """Return the label of the token at ``bound``: runs of whole characters, parts, odd bytes."""
    start, stop = bound
    if start == stop:
        return ""
    words: list[str] = []
    inside = ""
    for unit in units:
        if unit.whole and start <= unit.start and unit.stop <= stop:
            inside += unit.text
            continue
        words += [inside, unit.text if not unit.whole else _part(unit, bound, bounds)]
        inside = ""
    words.append(inside)
    if len(words) == 1:
        return visible(inside)
    # Beside a part of a character, the space before it says as little as it does beside a word.
    return " ".join(visible(word) for word in words if word.strip())


def _part(unit: _Unit, bound: _Bound, bounds: list[_Bound]) -> str:
    """Name a character and which of its parts a token holds, e.g. ``é(1/2)``."""
    # Only neighbours can hold a part of it; a token without bytes in between holds none.
    first = bisect_right(bounds, unit.start, key=lambda b: b[1])
    last = bisect_left(bounds, unit.stop, key=lambda b: b[0])
    holders = [b for b in bounds[first:last] if b[0] < b[1]]
    return f"{visible(unit.text)}({holders.index(bound) + 1}/{len(holders)})"


def _spaces(text: str) -> str:
    signs = [_PICTURES.get(character, "␣") for character in text]
    if len(signs) > _MOST_SPACES and len(set(signs)) == 1:
        return f"{signs[0]}×{len(signs)}"
    return "".join(signs)


def _show(text: str, index: int) -> str:
    character = text[index]
    if character in _PICTURES:
        return _PICTURES[character]
    if _needs_name(text, index):
        name = f"U+{ord(character):04X}"
        return name if len(text) == 1 else f"⟨{name}⟩"
    if index == 0 and unicodedata.category(character).startswith("M"):
        return "◌" + character
    return character


def _needs_name(text: str, index: int) -> bool:
    """Tell whether a character would be invisible, or turn the text around it."""
    character = text[index]
    code = ord(character)
    if 0xFE00 <= code <= 0xFE0F:  # a variation selector shows in the character before it
        return index == 0
    if code in (0x200C, 0x200D):  # joiners show in what they join, on both sides
        return index == 0 or index == len(text) - 1
    if 0xE0020 <= code <= 0xE007F:  # the letters of a flag follow a flag
        return index == 0
    return code == 0xFFFD or unicodedata.category(character) in _NAMED_CATEGORIES
