"""Show any character as something a person can read and tell apart. Knows no model."""

from __future__ import annotations

import unicodedata

_SHOWN = {" ": "␣", "\n": "⏎", "\t": "⇥"}


def readable(character: str) -> str:
    """Return a label, never empty, for one character.

    Spaces and line ends get a visible sign, combining marks a circle to stand on, and what prints
    nothing its code point.
    """
    if character in _SHOWN:
        return _SHOWN[character]
    if unicodedata.category(character).startswith("M"):
        return f"◌{character}"
    return character if character.isprintable() else f"U+{ord(character):04X}"
