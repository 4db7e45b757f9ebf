"""Text that every drawer of SVG and every HTML parser can take, and that leaves a mark.

Knows nothing of what is drawn beside it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

# What XML 1.0 (section 2.2) has no place for, or what the HTML Standard (13.2.3.5) calls an error:
# control characters, lone surrogates, noncharacters. vl-convert ends the whole process over one of
# them, and a byte-level token can hold any.
_PLANES = "".join(f"{chr(plane << 16)}-{chr((plane << 16) + 0xFFFD)}" for plane in range(1, 17))
_UNPRINTABLE = re.compile(f"[^\t\n\r -~\xa0-\ud7ff\ue000-\ufdcf\ufdf0-\ufffd{_PLANES}]")
_PICTURES = 0x2400  # where Unicode has a picture of each of the first 32 control characters
_DELETE, _PICTURE_OF_DELETE = "\x7f", "␡"

# Marks and letters that are drawn as nothing (Default_Ignorable_Code_Point), and Braille's blank.
_IGNORABLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def drawable(labels: Iterable[str]) -> list[str]:
    """Return the labels, each ``printable``."""
    return [printable(label) for label in labels]


def printable(text: str) -> str:
    """Return a text with one visible sign for each character that HTML or XML cannot hold.

    Of a text of nothing but spaces and characters without a picture, each is named.
    """
    if text and all(map(_leaves_no_mark, text)):
        return " ".join("␣" if one.isspace() else f"U+{ord(one):04X}" for one in text)
    return with_signs(text)


def with_signs(text: str) -> str:
    """Return a text as long as it was, with a sign for each character that no page can hold."""
    return _UNPRINTABLE.sub(_sign, text)


def _sign(character: re.Match[str]) -> str:
    code = ord(character.group())
    if character.group() == _DELETE:
        return _PICTURE_OF_DELETE
    return chr(_PICTURES + code) if code < ord(" ") else "\ufffd"


def _leaves_no_mark(character: str) -> bool:
    if _UNPRINTABLE.match(character):
        return False  # it gets a sign
    return unicodedata.category(character)[0] in "ZC" or bool(_IGNORABLE.match(character))
