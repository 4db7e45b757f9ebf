"""Bytes as text for a JSON script: four of them in five characters.

Base64 takes a fifteenth more. The digits are those of RFC 1924, but for three that HTML would have
to escape and one that quotes in JavaScript. ``templates/js/bytes.js`` reads the same text. Knows
nothing of what the bytes are.
"""

from __future__ import annotations

import base64

CHARACTERS_PER_BYTE = 5 / 4
_REPLACED, _INSTEAD = b"&<>`", b",./:"


def text_of(content: bytes) -> str:
    """Return bytes as text; the last one to three become two to four characters."""
    return base64.b85encode(content).translate(bytes.maketrans(_REPLACED, _INSTEAD)).decode()


def bytes_of(text: str) -> bytes:
    """Return the bytes that ``text_of`` made a text of.

    Raises:
        ValueError: another character, or five that stand for more than four bytes can hold.
    """
    if any(character in text for character in _REPLACED.decode()):
        raise ValueError("weights that are not base85")
    try:
        return base64.b85decode(text.encode().translate(bytes.maketrans(_INSTEAD, _REPLACED)))
    except ValueError as error:
        raise ValueError(f"weights that are not base85: {error}") from error
