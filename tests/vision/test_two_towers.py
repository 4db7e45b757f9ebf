"""Models that read a text beside the picture: each sequence keeps its own positions."""

from __future__ import annotations

import pytest
import torch
import transformers
from PIL import Image
from tiny_vision import SMALL, SQUARE, cropped, exact, words_tokenizer

from attnreport.build import build_run
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.sources import Request, open_source

TEXT = {**SMALL, "vocab_size": 8, "max_position_embeddings": 12, "eos_token_id": 0,
        "bos_token_id": 1, "pad_token_id": 0}  # fmt: skip
TOWERS = {
    "clip": (lambda: transformers.CLIPModel(transformers.CLIPConfig(
        text_config=TEXT, vision_config=SQUARE, projection_dim=8)), cropped, 37),
    "siglip": (lambda: transformers.SiglipModel(transformers.SiglipConfig(
        text_config=TEXT, vision_config=SQUARE)), exact, 36),
}  # fmt: skip


@pytest.fixture
def towers(tmp_path):
    def save(name):
        model, processor, _ = TOWERS[name]
        torch.manual_seed(0)
        for part in (model().eval(), processor(), words_tokenizer("a", "cat", "sat")):
            part.save_pretrained(tmp_path / name)
        return str(tmp_path / name)

    return save


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (64, 40), "teal").save(tmp_path / "in.png")
    return str(tmp_path / "in.png")


@pytest.mark.parametrize("name", TOWERS)
def test_text_and_picture_are_two_sequences(towers, picture, name):
    run = build_run(Request(towers(name), picture, prompt="a cat sat"))
    axes = {axis.name: axis for axis in run.axes}
    assert axes["text"].labels == ("a", "cat", "sat", "<end>")
    assert axes["text"].text == "a cat sat"
    assert len(axes["picture"]) == TOWERS[name][2]
    assert sum(position.box is not None for position in axes["picture"]) == 36
    for attention in run.attentions:
        if attention.kind == "self":
            assert attention.queries.name in {"text", "picture"}
            assert (attention.queries.picture is not None) == (attention.queries.name == "picture")
    assert run.provenance.input_text == "in.png\na cat sat"


def test_a_picture_alone_asks_for_the_text(towers, picture):
    with pytest.raises(InvalidInput, match="CLIPModel takes a text beside the picture"):
        open_source(Request(towers("clip"), picture))


def test_a_model_of_texts_refuses_a_second_one(tmp_path):
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=8)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    words_tokenizer("a").save_pretrained(tmp_path / "gpt")
    with pytest.raises(InvalidOption, match="--text: GPT2LMHeadModel takes no picture"):
        open_source(Request(str(tmp_path / "gpt"), "a", prompt="a"))
