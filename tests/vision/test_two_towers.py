"""Models that read a text beside the picture: each sequence keeps its own positions."""

from __future__ import annotations

import pytest
import torch
import transformers
from families import draw
from PIL import Image
from planted import check_page
from test_families import SIZES, check_places, shone
from tiny_vision import SMALL, SQUARE, cropped, exact, picture_tokenizer, words_tokenizer

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
        for part in (draw(model()).eval(), processor(), words_tokenizer("a", "cat", "sat")):
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


@pytest.mark.parametrize("name", TOWERS)
def test_what_shines_in_a_box_changes_its_position_beside_a_text(
    towers, tmp_path, either_page_of, name
):
    path, found = tmp_path / "in.png", []
    model = towers(name)

    def run(image):
        image.save(path)
        return build_run(Request(model, str(path), prompt="a cat sat"))

    for size in SIZES.values():
        dark, bright, reached = shone(name, run, size, 0.01)
        assert check_places(dark, bright, reached.spot, 0.01) >= 2
        found.append(reached)
    check_page(either_page_of, found)


def test_a_picture_alone_asks_for_the_text(towers, picture):
    with pytest.raises(InvalidInput, match="CLIPModel takes a text beside the picture"):
        open_source(Request(towers("clip"), picture))


def test_a_model_of_texts_refuses_a_second_one(tmp_path):
    config = transformers.GPT2Config(n_layer=1, n_head=1, n_embd=8, vocab_size=8)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")
    words_tokenizer("a").save_pretrained(tmp_path / "gpt")
    with pytest.raises(InvalidOption, match="--text: GPT2LMHeadModel takes no picture"):
        open_source(Request(str(tmp_path / "gpt"), "a", prompt="a"))


@pytest.fixture
def llava(tmp_path):
    """A tiny LLaVA: a CLIP tower of 36 patches in front of a Llama of two layers."""
    text = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "vocab_size": 8,
            "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip
    config = transformers.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **SQUARE},
        text_config=text,
        image_token_id=4,
        image_seq_length=36,
    )
    torch.manual_seed(0)
    tokenizer = picture_tokenizer("a", "cat", "sat")
    processor = transformers.LlavaProcessor(
        cropped(), tokenizer, patch_size=8, vision_feature_select_strategy="default",
        num_additional_image_tokens=1)  # fmt: skip
    for part in (transformers.LlavaForConditionalGeneration(config).eval(), processor):
        part.save_pretrained(tmp_path / "llava")
    return str(tmp_path / "llava")


def test_words_of_a_prompt_see_the_patches(llava, picture):
    run = build_run(Request(llava, picture, prompt="a <image> cat sat"))
    prompt = next(axis for axis in run.axes if axis.name == "prompt")
    assert prompt.labels[:2] == ("a", "row 0 column 0")
    assert prompt.labels[36:] == ("row 5 column 5", "cat", "sat", "<end>")
    tower = next(axis for axis in run.axes if axis.name == "picture")
    assert [p.box for p in prompt.positions[1:37]] == [p.box for p in tower.positions[1:]]
    assert prompt.positions[37].span == (10, 13)
    written = [each for each in run.attentions if each.queries == prompt]
    assert len(written) == 2
    assert all(each.keys == prompt and each.checked for each in written)


def test_the_patches_of_the_prompt_hold_what_the_tower_made_of_them(llava, tmp_path):
    """Independent of boxes: a change in one patch's box reaches that position of the prompt first.

    The model's own embedding of the prompt is compared with and without the change, at the very
    start of the language model; the tower mixes patches, so the changed one only changes most.
    """
    changed = Image.new("RGB", (64, 64), "teal")
    axis = None
    inputs = []
    for spot in (False, True):
        if spot:
            box = axis.positions[1 + 14].box
            changed.paste("white", tuple(round(side) for side in box))
        changed.save(tmp_path / "in.png")
        source = open_source(Request(llava, str(tmp_path / "in.png"), prompt="a <image> cat"))
        run = build_run(Request(llava, str(tmp_path / "in.png"), prompt="a <image> cat"))
        axis = next(axis for axis in run.axes if axis.name == "prompt")
        found = []
        hook = source.model.model.language_model.register_forward_pre_hook(
            lambda _, __, kwargs, found=found: found.append(kwargs["inputs_embeds"]),
            with_kwargs=True,
        )
        with torch.no_grad():
            source.model(**source.call.kwargs)
        hook.remove()
        inputs.append(found[0][0])
    moved = (inputs[1] - inputs[0]).norm(dim=1)
    assert int(moved.argmax()) == 1 + 14
    assert moved[0] == 0


def test_a_prompt_without_a_place_for_the_picture_gets_one(llava, picture):
    run = build_run(Request(llava, picture, prompt="cat sat"))
    assert any("<image> was put in front of the prompt" in note for note in run.provenance.notes)
    with pytest.raises(InvalidInput, match="holds <image> 2 times"):
        open_source(Request(llava, picture, prompt="<image> <image> cat"))
