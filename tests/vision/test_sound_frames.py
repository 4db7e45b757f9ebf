"""When each feature of a sound was, held against how real feature extractors say they cut it.

Whisper, CLAP and Parakeet put frame i around sample i · hop; Kaldi's frames begin there, so that
their middle is half a window later; SeamlessM4T puts two of Kaldi's into one.
"""

from __future__ import annotations

import numpy as np
import pytest
import transformers as hf

from attnreport.sources.sound_frames import frames_of
from attnreport.sources.vision_boxes import UnknownGeometry

# Extractor, and where its frames' middles lie: the first in seconds, and how many there are in one.
KNOWN = {
    "whisper": (hf.WhisperFeatureExtractor, 0.0, 100),
    "clap": (lambda: hf.ClapFeatureExtractor(truncation="rand_trunc", padding="pad"), 0.0, 100),
    "ast": (lambda: hf.ASTFeatureExtractor(num_mel_bins=64), 0.0125, 100),
    "speech_to_text": (hf.Speech2TextFeatureExtractor, 0.0125, 100),
    "seamless": (hf.SeamlessM4TFeatureExtractor, 0.0175, 50),
    "wav2vec2": (hf.Wav2Vec2FeatureExtractor, 0.0, 16_000),
}  # fmt: skip


def extracting(extractor):
    def extract(samples):
        made = extractor(samples, sampling_rate=extractor.sampling_rate, return_tensors="np")
        return np.asarray(made.get("input_features", made.get("input_values")), dtype=np.float32)

    return extract


@pytest.mark.parametrize("seconds", [0.4, 2.3])
@pytest.mark.parametrize("name", KNOWN)
def test_frames_lie_where_the_extractor_cuts_them(name, seconds):
    make, first, per_second = KNOWN[name]
    extractor = make()
    rate = extractor.sampling_rate
    frames = frames_of(extracting(extractor), round(seconds * rate), rate)
    edges = frames.edges()
    middles = (edges[1:] + edges[:-1]) / 2
    assert frames.per_second == per_second
    assert len(middles) == frames.shape[frames.time]
    expected = first + np.arange(len(middles)) / per_second
    assert np.abs(middles - expected).max() <= 0.25 / per_second


def test_what_hears_differently_each_time_has_no_frames():
    """CLAP cuts ten seconds out of a longer sound wherever chance has it."""
    extractor = hf.ClapFeatureExtractor(truncation="rand_trunc", padding="pad")
    with pytest.raises(UnknownGeometry):
        frames_of(extracting(extractor), 30 * 48_000, 48_000)


def test_what_repeats_a_short_sound_has_no_frames():
    extractor = hf.ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad")
    with pytest.raises(UnknownGeometry, match="elsewhere in a sound of this length"):
        frames_of(extracting(extractor), 48_000, 48_000)


@pytest.mark.parametrize(
    ("extract", "words"),
    [
        (lambda samples: np.zeros((1, 50, 8), np.float32), "leaves nothing"),
        (lambda samples: samples[None, ::-1].copy(), "do not move evenly"),
        (lambda samples: np.full((1, len(samples)), np.nan), "cannot be compared"),
        (lambda samples: np.ones((1, 2, 3, 4)) * samples.max(), "not one sound"),
    ],
)
def test_what_does_not_move_with_time_is_named(extract, words):
    with pytest.raises(UnknownGeometry, match=words):
        frames_of(extract, 16_000, 16_000)
