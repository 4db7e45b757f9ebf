"""Models that listen: what sounds at a time changes the position of that time, and is shown there.

The reference is the model itself. A tone is put at a known time and the sound goes through the
real feature extractor once more: the positions that change most must be those whose boxes hold
that time, and where patches have bins of their own, that frequency.
"""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from planted import Lit, check_page
from test_families import NOISE, boxed, changes
from tiny_sound import RATE, murmur, save, with_burst

from attnreport import Run
from attnreport.build import build_run
from attnreport.cli import main
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.export import export
from attnreport.report import Report
from attnreport.sources import Request

HERTZ = 1500
# How long the sound is, and when the tone sounds, in seconds.
TIMES = [(1.3, 0.42), (1.3, 1.08), (1.8, 0.9)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that saves a model once and returns its folder."""
    folders = {}

    def folder_of(name):
        if name not in folders:
            folders[name] = save(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return folder_of


@pytest.fixture
def run_of(saved, tmp_path):
    """A function that runs a model on samples, which it writes to a file first."""

    def run(name, samples, rate=RATE, **options):
        path = tmp_path / "in.wav"
        soundfile.write(path, samples, rate, subtype="FLOAT")
        if name == "whisper":
            options = {"target": "to be", **options}
        return build_run(Request(str(saved(name)), str(path), **options))

    return run


def heard_at(run_of, name, seconds, time):
    """Which position of the first layer a tone changes most, and where on the picture it sounds."""
    dark = run_of(name, murmur(seconds)).attentions[0]
    bright = run_of(name, with_burst(murmur(seconds), time, HERTZ)).attentions[0]
    scores = changes(dark, bright)
    assert all(score.max() > NOISE for score in scores)
    places = boxed(dark.keys)
    most = [max(places, key=lambda place, score=score: score[place]) for score in scores]
    picture = dark.keys.picture
    # Kaldi's mel scale: 1127 ln(1 + f / 700), bins evenly between 20 and 8,000 Hz.
    low, high, tone = (1127 * np.log(1 + hertz / 700) for hertz in (20, RATE / 2, HERTZ))
    spot = time / seconds * picture.width, (1 - (tone - low) / (high - low)) * picture.height
    return dark.keys, most, spot


# By what share of its size a box may miss the tone: windows and convolutions overlap.
SLACK = {"whisper": 1.0, "ast": 0.7, "wav2vec2": 0.6}


@pytest.mark.parametrize("name", SLACK)
def test_what_sounds_at_a_time_changes_the_position_of_that_time(run_of, either_page_of, name):
    found = []
    for seconds, time in TIMES:
        axis, most, spot = heard_at(run_of, name, seconds, time)
        for place in most:
            x0, y0, x1, y1 = axis.positions[place].box
            across, down = SLACK[name] * (x1 - x0), SLACK[name] * (y1 - y0)
            assert x0 - across <= spot[0] <= x1 + across, (axis.labels[place], time)
            assert y0 - down <= spot[1] <= y1 + down, (axis.labels[place], HERTZ)
        x0, y0, x1, y1 = axis.positions[most[1]].box
        # Frames reach over all frequencies: there the middle is meant.
        height = spot[1] if name == "ast" else (y0 + y1) / 2
        found.append(Lit(name, axis, most[1], (spot[0], height), SLACK[name]))
    check_page(either_page_of, found)


def test_positions_are_called_by_their_time(run_of):
    """Whisper's are 20 ms apart, its first around the beginning; behind the end is padding."""
    run = run_of("whisper", murmur(1.5))
    axis = run.attentions[0].keys
    assert axis.name == "sound"
    assert axis.labels[1:76:25] == ("0.02 s", "0.52 s", "1.02 s")
    assert axis.labels[76:] == ("(padding)",) * 24
    assert axis.seen == ("sound", "frame", "frames")
    assert any("is 1.50 s long and was padded to 2.00 s" in note for note in run.provenance.notes)


def test_patches_of_a_spectrogram_are_called_by_time_and_bin(run_of):
    axis = run_of("ast", murmur(1.5)).attentions[0].keys
    assert axis.labels[:2] == ("[CLS]", "[distillation]")
    assert axis.labels[2].endswith(", bin 8")
    assert axis.seen == ("sound", "patch", "patches")
    first, last = (axis.positions[boxed(axis)[place]].box for place in (0, -1))
    assert first[0] < last[0]
    assert last[3] <= first[1]  # higher bins lie higher


def test_text_looks_at_times(run_of):
    """The target is read as Whisper's tokenizer writes it, behind one start token, not two."""
    run = run_of("whisper", murmur(1.5), target="to be")
    cross = [attention for attention in run.attentions if attention.kind == "cross"]
    assert len(cross) == 2
    for attention in cross:
        assert attention.keys == run.attentions[0].keys
        assert attention.queries.labels == (
            "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>",
            "t", "o", "␣", "b", "e")  # fmt: skip
        assert attention.queries.positions[4].span == (0, 1)


def test_without_a_target_the_model_writes_one(run_of):
    run = run_of("whisper", murmur(1.5), target=None)
    axis = next(each.queries for each in run.attentions if each.kind == "cross")
    assert axis.labels[0] == "<|startoftranscript|>"
    assert axis.labels[1] in {"<|en|>", "<|de|>"}  # it tells the language itself
    assert axis.labels.count("<|startoftranscript|>") == 1
    assert any("was generated by the model itself" in note for note in run.provenance.notes)


def test_a_class_of_a_sound_can_be_asked_for(run_of):
    run = run_of("ast", murmur(1.5), target_class="predicted")
    assert all(attention.gradient is not None for attention in run.attentions)


def test_half_precision_is_followed_as_well(run_of):
    axis = run_of("ast", murmur(1.5), dtype="bfloat16").attentions[0].keys
    assert len(boxed(axis)) == len(axis) - 2 - axis.labels.count("(padding)")


def test_a_sound_that_is_too_long_is_refused_or_cut(run_of):
    words = (
        "the sound is 2.50 s long, WhisperForConditionalGeneration hears 2.00 s; --truncate cuts"
    )
    with pytest.raises(InvalidInput, match=words):
        run_of("whisper", murmur(2.5))
    run = run_of("whisper", murmur(2.5), truncate=True)
    assert any(
        note.startswith("the sound was cut from 2.50 to 2.0") for note in run.provenance.notes
    )
    assert "(padding)" not in run.attentions[0].keys.labels


def test_a_sound_is_resampled_and_said_so(run_of):
    run = run_of("wav2vec2", np.repeat(murmur(1.0), 3)[:, None].repeat(2, 1), rate=3 * RATE)
    assert run.provenance.notes[:2] == (
        "the sound's 2 channels were averaged to one",
        "the sound was resampled from 48,000 to 16,000 Hz",
    )


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"prompt": "words"}, InvalidOption, "--text: .* takes no text beside the sound"),
        ({"target": "words"}, InvalidOption, "--target: .* is no encoder–decoder"),
        ({"pair": "words"}, InvalidOption, "--pair: .* listens to one sound"),
    ],
)
def test_options_that_mean_nothing_to_it_are_refused(run_of, options, error, words):
    with pytest.raises(error, match=words):
        run_of("ast", murmur(1.5), **options)


def test_words_and_a_picture_are_no_sound(saved, tmp_path):
    with pytest.raises(
        InvalidInput, match=r"there is no such file, and ASTFor\w+ listens to a sound"
    ):
        build_run(Request(str(saved("ast")), "to be or not"))
    (tmp_path / "in.wav").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
    with pytest.raises(InvalidInput, match="is no sound, expected WAV, FLAC, Ogg, MP3 or AIFF"):
        build_run(Request(str(saved("ast")), str(tmp_path / "in.wav")))


def test_the_page_speaks_of_sound_and_counts_seconds(run_of, page_of):
    page = page_of(run_of("whisper", murmur(1.5)), fragment="#view=overlay&layer=3&query=4")
    assert page.locator("#overlay-tab").inner_text() == "Sound"
    words = page.locator("#overlay-words").inner_text()
    assert "falls on the sound" in words and "Largest frame" in words
    assert "picture" not in words and "patch" not in words
    marks = set(page.locator("#overlay-live svg text").all_text_contents())
    assert {"1 s", "bin 0", "bin 10", "bin 20"} <= marks
    seconds = sorted(float(mark[:-2]) for mark in marks if mark.endswith(" s"))
    # How many there are depends on the room; from one to the next it is equally far.
    assert len(seconds) > 2 and seconds[-1] <= 1.5
    assert np.allclose(np.diff(seconds), seconds[1] - seconds[0])
    assert page.locator("#overlay-live").get_attribute("aria-label").startswith("Sound. Arrow")


def test_by_keyboard_time_is_walked_through(run_of, page_of):
    page = page_of(run_of("whisper", murmur(1.5)), fragment="#view=overlay&layer=0&query=10")
    page.locator("#overlay-live").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.hash.includes('query=11')")
    assert "“0.22 s”" in page.locator("#overlay-words").inner_text()


def test_run_and_report_keep_what_was_heard(run_of, tmp_path):
    run = run_of("whisper", murmur(1.5))
    run.save(tmp_path / "run.safetensors")
    axis = Run.load(tmp_path / "run.safetensors").attentions[0].keys
    assert axis.picture == run.attentions[0].keys.picture and axis.picture.scales is not None
    Report(run, layer=3).save(tmp_path / "report.html")
    for kind in ("svg", "png"):
        out = tmp_path / f"out.{kind}"
        made = export(tmp_path / "report.html", out, layer=3, head=0, view="overlay")
        assert "falls on the sound" in made.shown and "the largest frame" in made.shown
        assert made.head.attention.keys.picture == axis.picture
    assert ">0.5 s<" in (tmp_path / "out.svg").read_text(encoding="utf-8")


def test_from_the_command_line(saved, tmp_path, capsys):
    soundfile.write(tmp_path / "in.flac", murmur(1.5), RATE)
    command = ["build", str(saved("whisper")), str(tmp_path / "in.flac"), "--target", "to be"]
    assert main([*command, "-o", str(tmp_path / "r.html")]) == 0
    out, err = capsys.readouterr()
    assert "6 attentions × 2 heads, none missed" in out and not err
