"""Labels that every drawer of SVG can take. Knows nothing of what is drawn beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable

# All that XML 1.0 (section 2.2) has no place for. vl-convert ends the whole process over one of
# them, and a byte-level token can hold any.
_UNDRAWABLE = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PICTURES = 0x2400  # where Unicode has a picture of each of the first 32 control characters


def drawable(labels: Iterable[str]) -> list[str]:
    """Return the labels with a visible sign in place of each character that XML cannot hold."""
    return [_UNDRAWABLE.sub(_sign, label) for label in labels]


def _sign(character: re.Match[str]) -> str:
    code = ord(character.group())
    return chr(_PICTURES + code) if code < ord(" ") else "\ufffd"
