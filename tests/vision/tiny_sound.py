"""Tiny random models that listen, with their extractors, saved as a user would find them."""

from __future__ import annotations

import numpy as np
import torch
import transformers as hf
from families import draw
from tiny_vision import SMALL
from tokenizers.pre_tokenizers import ByteLevel

RATE = 16_000
LAYERS = {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
          "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
END = 256
MARKS = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>",
         "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>",
         "<|notimestamps|>")  # fmt: skip


def whisper_tokenizer():
    """Every byte is a token, and Whisper's marks come after them."""
    vocabulary = {character: place for place, character in enumerate(sorted(ByteLevel.alphabet()))}
    return hf.WhisperTokenizer(
        vocab=vocabulary, merges=[], language="en", task="transcribe",
        additional_special_tokens=list(MARKS[1:]))  # fmt: skip


def whisper():
    """Hears two seconds at once, in 20 bins; writes English."""
    model = hf.WhisperForConditionalGeneration(
        hf.WhisperConfig(
            **LAYERS, vocab_size=END + len(MARKS), num_mel_bins=20, max_source_positions=100,
            max_target_positions=32, pad_token_id=END, bos_token_id=END, eos_token_id=END,
            decoder_start_token_id=END + 1, begin_suppress_tokens=[END], suppress_tokens=[])
    )  # fmt: skip
    model.generation_config = hf.GenerationConfig(
        pad_token_id=END,
        bos_token_id=END,
        eos_token_id=END,
        decoder_start_token_id=END + 1,
        lang_to_id={"<|en|>": END + 2, "<|de|>": END + 3},
        task_to_id={"translate": END + 4, "transcribe": END + 5},
        is_multilingual=True,
        no_timestamps_token_id=END + 9,
    )
    return model


def ast():
    """Cuts the spectrogram of up to 2.4 seconds into overlapping patches."""
    return hf.ASTForAudioClassification(
        hf.ASTConfig(**SMALL, max_length=240, num_mel_bins=32, num_labels=3))  # fmt: skip


def wav2vec2():
    """Hears bare samples, through seven convolutions."""
    return hf.Wav2Vec2Model(
        hf.Wav2Vec2Config(
            **SMALL, conv_dim=[16] * 7, num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2)
    )  # fmt: skip


MODELS = {
    "whisper": (whisper, lambda: hf.WhisperFeatureExtractor(feature_size=20, chunk_length=2)),
    "ast": (ast, lambda: hf.ASTFeatureExtractor(num_mel_bins=32, max_length=240)),
    "wav2vec2": (wav2vec2, hf.Wav2Vec2FeatureExtractor),
}


def save(name, folder):
    """Save a model, its extractor and, where it writes, its tokenizer."""
    model, extractor = MODELS[name]
    torch.manual_seed(0)
    draw(model()).eval().save_pretrained(folder)
    extractor().save_pretrained(folder)
    if name == "whisper":
        whisper_tokenizer().save_pretrained(folder)
    return folder


def murmur(seconds):
    """Noise, never twice alike."""
    samples = np.random.default_rng(0).normal(0, 0.02, round(seconds * RATE))
    return samples.astype(np.float32)


def with_burst(samples, time, hertz, *, length=0.02):
    """The samples with a tone of so many hertz around a time."""
    at = np.arange(len(samples)) / RATE
    tone = (
        0.5
        * np.sin(2 * np.pi * hertz * at)
        * np.cos(np.pi * np.clip((at - time) / length, -0.5, 0.5))
    )
    return (samples + tone).astype(np.float32)
