"""Tell a file of sound by its first bytes, so that it is taken, or refused, for what it is.

Decodes nothing: ``attnreport.sources.sound_file`` does.
"""

from __future__ import annotations

_SIGNATURES = {b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3": "MP3", b"FORM": "AIFF"}
# An MPEG frame of layer III without a tag before it: eleven set bits, version, layer.
_MPEG = {b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2"}
SIGNATURE_BYTES = 12


def sound_kind(start: bytes) -> str:
    """Return what a file of sound with these first 12 bytes is, or an empty string for none."""
    kind = next((name for mark, name in _SIGNATURES.items() if start.startswith(mark)), "")
    if start[:4] in {b"RIFF", b"RF64"} and start[8:12] == b"WAVE":
        kind = "WAV"
    if start[:2] in _MPEG:
        kind = "MP3"
    if start[4:8] == b"ftyp" and start[8:11] == b"M4A":
        kind = "M4A"
    return kind


def sound_words(start: bytes) -> str | None:
    """Return what a file is, in words, where its first 12 bytes are those of a file of sound."""
    kind = sound_kind(start)
    return f"sound ({kind}), and this model listens to none" if kind else None
