"""Files of sound: decoded rightly, or refused in one line, whatever they are called."""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
import pytest
import soundfile
from tiny_sound import RATE, murmur

from attnreport.cli import main
from attnreport.errors import InvalidInput, MissingExtra
from attnreport.picture_file import read_picture
from attnreport.sources import Request, open_source
from attnreport.sources.sound_file import MAX_SECONDS, is_sound, read_sound
from attnreport.sources.text import read_text

FORMATS = {"WAV": "PCM_16", "FLAC": "PCM_16", "OGG": "VORBIS", "MP3": "MPEG_LAYER_III",
           "AIFF": "PCM_16"}  # fmt: skip


def encoded(samples, kind="WAV", rate=RATE, **options):
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=kind, **options)
    return buffer.getvalue()


def tone(hertz, seconds=1.0, rate=RATE):
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_decoded(tmp_path, kind):
    path = tmp_path / "called.png"
    path.write_bytes(encoded(tone(440), kind, subtype=FORMATS[kind]))
    assert is_sound(path)
    heard = read_sound(path, RATE)
    assert heard.samples.dtype == np.float32
    assert heard.rate == RATE and heard.notes == ()
    lossy = kind in {"OGG", "MP3"}
    assert len(heard.samples) == RATE
    worst = np.abs(heard.samples - tone(440))[800:-800].max()
    assert worst < (0.05 if lossy else 1e-4)


@pytest.mark.parametrize("rate", [8000, 44_100, 48_000, 11_025])
def test_a_tone_keeps_its_pitch_and_its_place(tmp_path, rate):
    """Half a second of silence, then 440 Hz: as they were written, at the rate that is wanted."""
    samples = np.concatenate([np.zeros(rate // 2), tone(440, 1.0, rate)])
    (tmp_path / "in").write_bytes(encoded(samples, rate=rate))
    heard = read_sound(tmp_path / "in", RATE)
    assert heard.seconds == pytest.approx(1.5, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(heard.samples[RATE // 2 :]))
    assert np.argmax(spectrum) / (len(heard.samples[RATE // 2 :]) / RATE) == pytest.approx(
        440, abs=1
    )
    assert np.abs(heard.samples[: RATE // 2 - 40]).max() < 0.01
    assert np.abs(heard.samples[RATE // 2 : RATE // 2 + 40]).max() > 0.2
    assert heard.notes == (f"the sound was resampled from {rate:,} to 16,000 Hz",)


def test_channels_are_averaged(tmp_path):
    (tmp_path / "in").write_bytes(encoded(np.stack([tone(440), -tone(440) / 2], axis=1)))
    heard = read_sound(tmp_path / "in", RATE)
    assert np.abs(heard.samples - tone(440) / 4).max() < 1e-4
    assert heard.notes == ("the sound's 2 channels were averaged to one",)


def with_size(size):
    """A WAV that says its samples take so many bytes."""
    content = bytearray(encoded(tone(440)))
    content[40:44] = struct.pack("<I", size)
    return bytes(content)


def test_a_stream_that_did_not_know_its_length_is_read_to_the_end(tmp_path):
    (tmp_path / "in").write_bytes(with_size(0xFFFFFFFF))
    assert len(read_sound(tmp_path / "in", RATE).samples) == RATE


def halved(kind):
    content = encoded(murmur(2.0), kind, subtype=FORMATS[kind])
    return content[: len(content) // 2]


def low_rate():
    content = bytearray(encoded(tone(440)))
    content[24:28] = struct.pack("<I", 5)
    return bytes(content)


REFUSED = {
    "empty": (lambda: b"", "is empty, expected a sound"),
    "words": (lambda: b"just words, and more of them", "is no sound, expected WAV"),
    "picture": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(40), "is no sound, expected WAV"),
    **{f"half {kind}": (lambda kind=kind: halved(kind), "damaged") for kind in FORMATS},
    "header only": (lambda: encoded(tone(440))[:30], "damaged"),
    "start only": (lambda: b"ID3\4\0\0\0\0\0\0" + bytes(500), "damaged file of sound (MP3)"),
    "no samples": (lambda: encoded(np.zeros(0)), "it has no samples"),
    "not a number": (
        lambda: encoded(np.full(99, np.nan), subtype="FLOAT"), "samples that are NaN or infinite"),
    "slow": (low_rate, "has 5 samples a second, expected 1,000 to 384,000"),
    "long": (
        lambda: encoded(np.zeros(MAX_SECONDS * 1000 + 1), "FLAC", 1000), "make it shorter"),
    "m4a": (lambda: b"\0\0\0\x20ftypM4A \0" + bytes(50), "format that is not read (M4A); save it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_whole_sound_is_refused_in_one_line(tmp_path, capfd, case):
    make, words = REFUSED[case]
    path = tmp_path / "in.wav"
    path.write_bytes(make())
    with pytest.raises(InvalidInput) as raised:
        read_sound(path, RATE)
    assert words in str(raised.value)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")  # a decoder of MP3 says what it thinks by itself


def test_what_holds_too_many_samples_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    (tmp_path / "in").write_bytes(encoded(np.zeros((1000, 8), "i2"), "FLAC"))
    monkeypatch.setattr("attnreport.sources.sound_file._MOST_SAMPLES", 7999)
    with pytest.raises(InvalidInput, match=r"0\.1 s of 8 × 16,000 Hz, over 600 s or 7,999 samples"):
        read_sound(tmp_path / "in", RATE)


def test_a_folder_is_no_sound(tmp_path):
    assert not is_sound(tmp_path)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_sound(tmp_path, RATE)


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    (tmp_path / "in").write_bytes(encoded(tone(440)))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingExtra, match=r"needs the extra 'sound': pip install"):
        read_sound(tmp_path / "in", RATE)


STARTS = {
    "WAV": encoded(tone(440)),
    "MP3": b"ID3\x04\0\0\0\0\0\0\0\0",
    "FLAC": b"fLaC\0\0\0\x22\x10\0\x10\0",
    "Ogg": b"OggS\0\x02\0\0\0\0\0\0",
    "M4A": b"\0\0\0\x20ftypM4A \0",
}


@pytest.mark.parametrize("kind", STARTS)
def test_a_model_that_reads_or_looks_is_given_no_sound(tmp_path, kind, capsys):
    path = tmp_path / "in"
    path.write_bytes(STARTS[kind] + bytes(64))
    words = rf"^INPUT {path} is sound \({kind}\), and this model listens to none; expected"
    for read in (read_picture, lambda given: read_text(str(given))):
        with pytest.raises(InvalidInput, match=words):
            read(path)
    for request in ("demo:vision", "demo:text"):
        with pytest.raises(InvalidInput, match=words):
            open_source(Request(request, str(path)))
    assert main(["build", "demo:text", str(path), "-o", str(tmp_path / "r.html")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
