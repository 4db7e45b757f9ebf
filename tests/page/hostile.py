"""A run that has hostile strings in every place where a string can stand, and what a page shows."""

from __future__ import annotations

import unicodedata

from hostile_strings import families
from runs import softmax

from attnreport import Attention, Axis, LedgerEntry, Position, Provenance, Run

FAMILIES = families()
STRINGS = tuple(string for family in FAMILIES.values() for string in family)


def run_with(strings):
    """A run with ``strings`` in every place: all of them where there are many places, the first
    where there is one."""
    first = strings[0]
    count = len(strings)
    text = "".join(strings)
    ends = [len("".join(strings[: index + 1])) for index in range(count)]
    positions = tuple(
        Position(string, span=(end - len(string), end))
        for string, end in zip(strings, ends, strict=True)
    )
    words = Axis(first, positions, text)
    others = [Axis(string, (Position(string), Position("b"))) for string in strings]
    weights = softmax((2, count, count), 0)
    gradient = weights if count > 1 else None  # maps of relevance take as long as all the rest
    attentions = [Attention(weights, first, 0, "self", words, words, gradient=gradient)]
    for index, (name, axis) in enumerate(zip(strings, others, strict=True), start=1):
        weights = softmax((1, 2, count), index)
        attentions.append(Attention(weights, name, index, "cross", axis, words, residual=1.0))
    ledger = [LedgerEntry(string, string, reason=string) for string in strings]
    ledger.append(LedgerEntry(first, first, 0, reason=first))
    provenance = Provenance(
        model=first,
        model_digest=first,
        input_text=first,
        input_digest=first,
        versions={f"{string}{index}": string for index, string in enumerate(strings)},
        dtype=first,
        device=first,
        command=first,
        created=first,
        notes=tuple(strings),
    )
    return Run(tuple(attentions), tuple(ledger), provenance, target=first)


def benign(strings):
    """Words that are as many, and as different from each other."""
    return tuple(f"word{index}" for index in range(len(strings)))


def as_parsed(text):
    """What an HTML parser makes of a text that the page shows: one kind of line end."""
    return as_shown(text).replace("\r\n", "\n").replace("\r", "\n")


def as_shown(text):
    """What the page makes of a text: signs for what no page can hold, names where nothing shows."""
    if text and all(map(_leaves_no_mark, text)):
        return " ".join("␣" if one.isspace() else f"U+{ord(one):04X}" for one in text)
    return with_signs(text)


def with_signs(text):
    """The same, where it is a part of what stands there."""
    return "".join(map(_sign, text))


def _sign(character):
    code = ord(character)
    if code < 0x20 and character not in "\t\n\r":
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    noncharacter = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF
    surrogate = 0xD800 <= code <= 0xDFFF
    return "\ufffd" if 0x80 <= code < 0xA0 or noncharacter or surrogate else character


def _leaves_no_mark(character):
    """The general categories, and what Unicode calls ignorable though it is a mark or a letter."""
    marks = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    selects = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    ignorable = character in marks or selects or "\u180b" <= character <= "\u180f"
    invisible = unicodedata.category(character)[0] in "ZC" or ignorable
    return invisible and _sign(character) == character
