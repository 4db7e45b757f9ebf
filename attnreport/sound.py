"""Tell a file of sound by its first bytes, so that it is refused for what it is.

Reads no sound: which second a position of a model of sound stands for is not followed yet.
"""

from __future__ import annotations

_SIGNATURES = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF"}


def sound_words(start: bytes) -> str | None:
    """Return what a file is, in words, where its first 12 bytes are those of a file of sound."""
    kind = next((name for mark, name in _SIGNATURES.items() if start.startswith(mark)), None)
    if start[:4] in {b"RIFF", b"RF64"} and start[8:12] == b"WAVE":
        kind = "WAV"
    if start[4:8] == b"ftyp" and start[8:11] == b"M4A":
        kind = "M4A"
    if kind is None:
        return None
    return (
        f"sound ({kind}), which no model is shown: call it from Python, inside attnreport.capture"
    )
