"""A model that reads about a sound: words of its prompt look at seconds.

The reference is the model itself: what its language model is handed, with a tone and without.
"""

from __future__ import annotations

import pytest
import soundfile
import torch
import transformers as hf
from families import draw
from planted import Lit, check_page
from test_families import boxed
from test_prompts import FIRST, TEXT, handed_over, tokenizer_of
from tiny_sound import RATE, murmur, with_burst

from attnreport.build import build_run
from attnreport.cli import main
from attnreport.errors import InvalidInput
from attnreport.sources import Request, open_source
from attnreport.sources.senses import sense_of

ENCODER = {"model_type": "qwen2_audio_encoder", "num_mel_bins": 20, "encoder_layers": 2,
           "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": 16,
           "max_source_positions": 100}  # fmt: skip
# How long the sound is, and when the tone sounds, in seconds.
TIMES = [(1.3, 0.42), (1.3, 1.08), (1.8, 0.9)]


@pytest.fixture(scope="module")
def qwen2_audio(tmp_path_factory):
    """A tiny Qwen2-Audio that hears two seconds, as a user would find it."""
    folder = tmp_path_factory.mktemp("qwen2_audio")
    config = hf.Qwen2AudioConfig(
        audio_config=ENCODER, text_config={**TEXT, "model_type": "qwen2"}, audio_token_index=FIRST
    )
    torch.manual_seed(0)
    draw(hf.Qwen2AudioForConditionalGeneration(config)).eval().save_pretrained(folder)
    hf.Qwen2AudioProcessor(
        hf.WhisperFeatureExtractor(feature_size=20, chunk_length=2),
        tokenizer_of("<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"),
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def asked(qwen2_audio, tmp_path):
    """A function that saves samples and says how the model is asked about them."""

    def request(samples, **options):
        path = tmp_path / "in.wav"
        soundfile.write(path, samples, RATE, subtype="FLOAT")
        return Request(qwen2_audio, str(path), **{"prompt": "a cat sat", **options})

    return request


def test_what_sounds_at_a_time_reaches_its_place_in_the_prompt(asked, either_page_of):
    found = []
    for seconds, time in TIMES:
        request = asked(murmur(seconds))
        prompt = build_run(request).attentions[-1].queries
        dark = handed_over(open_source(request))
        moved = handed_over(open_source(asked(with_burst(murmur(seconds), time, 1500)))) - dark
        place = int(moved.norm(dim=1).argmax())
        x0, y0, x1, y1 = prompt.positions[place].box
        x = time / seconds * prompt.picture.width
        assert x0 - (x1 - x0) <= x <= x1 + (x1 - x0), (prompt.labels[place], time)
        found.append(Lit("qwen2_audio", prompt, place, (x, (y0 + y1) / 2), 1.0))
    check_page(either_page_of, found)


def test_words_of_the_prompt_look_at_seconds(asked):
    """Forty milliseconds a token: two convolutions and a mean make one of four frames."""
    run = build_run(asked(murmur(1.5)))
    prompt, tower = run.attentions[-1].keys, run.attentions[0].keys
    assert prompt.labels[0] == "<|audio_bos|>" and prompt.labels[-4:] == (
        "a",
        "cat",
        "sat",
        "<end>",
    )
    assert prompt.labels[1:27:25] == ("0.01 s", "1.01 s")
    assert len(boxed(prompt)) == 37 and len(boxed(tower)) == 76
    assert prompt.seen == ("sound", "frame", "frames")
    assert prompt.text[slice(*prompt.positions[-3].span)] == "cat"
    assert all(each.checked for each in run.attentions) and not run.missed
    assert run.provenance.input_text == "in.wav\na cat sat"
    notes = run.provenance.notes
    assert "<|audio_bos|><|AUDIO|><|audio_eos|> was put in front of the prompt" in notes


def test_the_predicted_token_can_be_asked_for(asked):
    run = build_run(asked(murmur(1.3), target_token="cat"))  # noqa: S106 - a token
    assert "cat" in run.target and run.attentions[-1].gradient is not None


def test_the_command_makes_a_report(asked, tmp_path):
    request = asked(murmur(1.3))
    words = [
        "build",
        request.model,
        request.text,
        "--text",
        "a cat",
        "-o",
        str(tmp_path / "r.html"),
    ]
    assert main(words) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "of its attention falls on the sound" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prompt": None}, "takes a text beside the sound"),
        ({"prompt": "<|AUDIO|> <|AUDIO|>"}, "holds <|AUDIO|> 2 times, expected once"),
    ],
)
def test_a_prompt_that_does_not_fit_says_what_to_do(asked, options, words):
    with pytest.raises(InvalidInput) as raised:
        open_source(asked(murmur(1.3), **options))
    assert words in str(raised.value)


def test_a_sound_that_is_too_long_is_cut_where_asked(asked):
    with pytest.raises(InvalidInput, match="--truncate cuts it"):
        open_source(asked(murmur(2.6)))
    run = build_run(asked(murmur(2.6), truncate=True))
    assert any("was cut from 2.60 to" in note for note in run.provenance.notes)


def test_a_model_whose_prompt_holds_no_sound_is_refused(asked):
    """SeamlessM4T takes a text or a sound, not one about the other."""
    with pytest.raises(InvalidInput, match=r"listens to the sound .* together with more"):
        sense_of(asked(murmur(1)), hf.SeamlessM4TModel, hears_in_prompt=False)
