"""Read a file of sound: decoded, one channel, at the rate a model wants.

The file may be anybody's: its size and length are bounded before it is decoded, and one that ends
before it says it does is refused. Decoding is libsndfile's job, resampling is SciPy's. Knows no
model.
"""

from __future__ import annotations

import io
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attnreport.errors import InvalidInput, MissingExtra, one_line
from attnreport.files import read_bounded
from attnreport.sound import SIGNATURE_BYTES, sound_kind

FORMATS = "WAV, FLAC, Ogg, MP3 or AIFF"
MAX_BYTES = 64 * 2**20
MAX_SECONDS = 600
_RATES = range(1000, 384_001)
# Of all channels together: ten minutes of 48 kHz in stereo.
_MOST_SAMPLES = 60_000_000
# How libsndfile's log tells that a file is shorter than its header says.
_SHORT = re.compile(r"(?:data|SSND) : (\d+) \(should be (\d+)\)")
# What a stream writes there that does not know its length yet.
_UNKNOWN_LENGTH = 0x7FFF_0000
_STDERR = 2


@dataclass(frozen=True, eq=False)
class Heard:
    """Hold a sound that was read from a file.

    Attributes:
        samples: ``(sample,)`` float32, one channel.
        rate: samples a second.
        notes: what was done to it on the way, in words for the page.
    """

    samples: NDArray[np.float32]
    rate: int
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return len(self.samples) / self.rate


def is_sound(path: Path) -> bool:
    """Tell whether a file begins as a file of sound does; what it is called does not matter."""
    if not path.is_file():  # a pipe would not give the same bytes again
        return False
    try:
        with path.open("rb") as file:
            return bool(sound_kind(file.read(SIGNATURE_BYTES)))
    except OSError:
        return False


def read_sound(path: Path, rate: int) -> Heard:
    """Read a file of sound: the mean of its channels, resampled to ``rate``; notes say so.

    Raises:
        MissingExtra: soundfile or SciPy is not installed.
        InvalidInput: it cannot be read, is no sound, is damaged, empty, or too long.
    """
    soundfile, signal = _libraries(path)
    content = _content(path)
    try:
        with _no_chatter(), soundfile.SoundFile(io.BytesIO(content)) as file:
            _check(path, file)
            channels = file.read(dtype="float32", always_2d=True)  # (sample, channel)
            own_rate, stated = int(file.samplerate), int(file.frames)
    except soundfile.LibsndfileError as error:
        raise InvalidInput(f"INPUT {path} is {_guess(content, error.error_string)}") from error
    if len(channels) < stated:
        raise InvalidInput(f"INPUT {path} is damaged: {len(channels)} of {stated} samples are left")
    if not np.isfinite(channels).all():
        raise InvalidInput(f"INPUT {path} holds samples that are NaN or infinite")
    samples = channels.mean(axis=1)
    notes: tuple[str, ...] = ()
    if channels.shape[1] > 1:
        notes = (f"the sound's {channels.shape[1]} channels were averaged to one",)
    if own_rate != rate:
        common = math.gcd(own_rate, rate)
        samples = signal.resample_poly(samples, rate // common, own_rate // common)
        notes += (f"the sound was resampled from {own_rate:,} to {rate:,} Hz",)
    return Heard(samples.astype(np.float32), rate, notes)


@contextmanager
def _no_chatter() -> Iterator[None]:
    """Keep what libsndfile's decoder of MP3 prints by itself off the terminal."""
    try:
        kept = os.dup(_STDERR)
    except OSError:  # a service may start us without one
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, _STDERR)
        yield
    finally:
        os.dup2(kept, _STDERR)
        os.close(kept)
        os.close(nowhere)


def _libraries(path: Path) -> tuple[ModuleType, ModuleType]:
    try:
        import soundfile  # noqa: PLC0415 - an extra: attnreport works without it
        from scipy import signal  # noqa: PLC0415 - likewise
    except (ImportError, OSError) as error:  # OSError: libsndfile itself is missing
        raise MissingExtra(f"INPUT {path}, a file of sound,", "sound") from error
    return soundfile, signal


def _content(path: Path) -> bytes:
    content = read_bounded(path, MAX_BYTES, f"a sound: {FORMATS}")
    if not (kind := sound_kind(content)) or kind == "M4A":
        raise InvalidInput(f"INPUT {path} is {_guess(content)}")
    if kind == "Ogg" and not _ends(content):
        raise InvalidInput(f"INPUT {path} is {_guess(content, 'its end is missing')}")
    return content


def _ends(content: bytes) -> bool:
    """Tell whether the last page of an Ogg file is marked as the last one.

    Source: RFC 3533, section 6: bit 3 of the sixth byte of a page.
    """
    flags = content[content.rfind(b"OggS") :][5:6]
    return bool(flags) and bool(flags[0] & 4)


def _guess(content: bytes, error: str = "") -> str:
    kind = sound_kind(content)
    if kind == "M4A":
        return f"sound in a format that is not read (M4A); save it as {FORMATS}"
    if kind:
        return f"a damaged file of sound ({kind}): {one_line(error)}"
    return f"no sound, expected {FORMATS}"


def _check(path: Path, file: Any) -> None:
    """Refuse what is empty, too long or cut off; only the header was read so far."""
    rate, frames = int(file.samplerate), int(file.frames)
    if frames < 1:
        raise InvalidInput(f"INPUT {path} holds no sound: it has no samples")
    if rate not in _RATES:
        raise InvalidInput(
            f"INPUT {path} has {rate:,} samples a second, expected {_RATES[0]:,} to {_RATES[-1]:,}"
        )
    if frames > MAX_SECONDS * rate or frames * file.channels > _MOST_SAMPLES:
        raise InvalidInput(
            f"INPUT {path} is {frames / rate:,.1f} s of {file.channels} × {rate:,} Hz, over "
            f"{MAX_SECONDS} s or {_MOST_SAMPLES:,} samples; make it shorter"
        )
    for stated, left in _SHORT.findall(file.extra_info):
        if int(left) < int(stated) < _UNKNOWN_LENGTH:
            raise InvalidInput(
                f"INPUT {path} is damaged: of {stated} bytes of sound {left} are left"
            )
