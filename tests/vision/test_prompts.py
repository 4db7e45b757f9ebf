"""Pictures within prompts: each patch of the prompt holds what shines in its box.

The reference is the model itself: what its language model is handed, with a spot and without.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers as hf
from families import draw
from planted import Lit, check_page
from test_families import SIZES, boxed, changes, holds, lit, textured
from tiny_vision import SMALL, SQUARE, cropped, exact, picture_tokenizer

from attnreport.build import build_run
from attnreport.sources import Request, open_source

TEXT = {"model_type": "llama", **SMALL, "num_key_value_heads": 1, "vocab_size": 32,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}  # fmt: skip
WORDS = ("<bos>", "a", "cat", "sat")  # ids 1 to 4, after <end>
FIRST = 1 + len(WORDS)  # the id of the first token for pictures


def tokenizer_of(*special, **named):
    """A tokenizer of words and tokens for pictures; ``named`` are its attributes of that name."""
    tokenizer = picture_tokenizer(*WORDS, special=special)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, eos_token="<end>", pad_token="<end>",  # noqa: S106
        bos_token="<bos>", extra_special_tokens=named,  # noqa: S106 - tokens
    )  # fmt: skip


def llava():
    """The middle of the picture, through CLIP's tower without its class token."""
    config = hf.LlavaConfig(
        vision_config={"model_type": "clip_vision_model", **SQUARE}, text_config=TEXT,
        image_token_id=FIRST, image_seq_length=36)  # fmt: skip
    processor = hf.LlavaProcessor(
        cropped(), tokenizer_of("<image>", image_token="<image>"), patch_size=8,  # noqa: S106
        vision_feature_select_strategy="default", num_additional_image_tokens=1)  # fmt: skip
    return hf.LlavaForConditionalGeneration(config), processor


def paligemma():
    """SigLIP's patches, all of them, before the text."""
    config = hf.PaliGemmaConfig(
        vision_config={"model_type": "siglip_vision_model", **SQUARE, "vision_use_head": False},
        text_config={**TEXT, "model_type": "gemma", "head_dim": 8},
        image_token_id=FIRST, projection_dim=16, hidden_size=16)  # fmt: skip
    pictures = exact()
    pictures.image_seq_length = 36
    processor = hf.PaliGemmaProcessor(pictures, tokenizer_of("<image>", image_token="<image>"))  # noqa: S106
    return hf.PaliGemmaForConditionalGeneration(config), processor


def qwen2_vl():
    """As many patches as the picture's shape asks for, merged two by two."""
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    config = hf.Qwen2VLConfig(
        text_config={**TEXT, "model_type": "qwen2_vl_text",
                     "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        vision_config={"depth": 2, "embed_dim": 16, "hidden_size": 16, "num_heads": 2,
                       "patch_size": 8, "mlp_ratio": 2},
        vision_start_token_id=FIRST, vision_end_token_id=FIRST + 1,
        image_token_id=FIRST + 2, video_token_id=FIRST + 3)  # fmt: skip
    processor = hf.Qwen2VLProcessor(
        hf.Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=256, max_pixels=4096),
        tokenizer_of(*names), video_processor=hf.Qwen2VLVideoProcessor(patch_size=8))  # fmt: skip
    return hf.Qwen2VLForConditionalGeneration(config), processor


def internvl():
    """Tiles and the whole, each with a class token that the text does not see; pixels shuffled."""
    named = {"context_image_token": "<IMG_CONTEXT>", "start_image_token": "<img>",
             "end_image_token": "</img>", "video_token": "<video>"}  # fmt: skip
    config = hf.InternVLConfig(
        vision_config={"model_type": "internvl_vision", **SMALL, "image_size": [48, 48],
                       "patch_size": [8, 8]},
        text_config=TEXT, image_token_id=FIRST, image_seq_length=9)  # fmt: skip
    pictures = hf.GotOcr2ImageProcessorPil(
        size={"height": 48, "width": 48}, crop_to_patches=True, max_patches=4)  # fmt: skip
    processor = hf.InternVLProcessor(
        pictures, tokenizer_of(*named.values(), **named), image_seq_length=9,
        video_processor=hf.InternVLVideoProcessor())  # fmt: skip
    return hf.InternVLForConditionalGeneration(config), processor


def idefics3():
    """Tiles and the whole as in SmolVLM, four patches of each in one."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    config = hf.Idefics3Config(
        vision_config={"model_type": "idefics3_vision", **SMALL, "image_size": 48,
                       "patch_size": 8},
        text_config=TEXT, image_token_id=FIRST + 1, scale_factor=2, pad_token_id=0)  # fmt: skip
    pictures = hf.Idefics3ImageProcessorPil(
        size={"longest_edge": 96}, max_image_size={"longest_edge": 48})  # fmt: skip
    names = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
    processor = hf.Idefics3Processor(pictures, tokenizer_of(*names, *tiles), image_seq_len=9)
    return hf.Idefics3ForConditionalGeneration(config), processor


def qwen2_5_vl():
    """Qwen's merged patches, in windows within the tower."""
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    config = hf.Qwen2_5_VLConfig(
        text_config={**TEXT, "model_type": "qwen2_5_vl_text",
                     "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]}},
        vision_config={"depth": 2, "hidden_size": 16, "num_heads": 2, "patch_size": 8,
                       "intermediate_size": 32, "out_hidden_size": 16, "window_size": 32,
                       "fullatt_block_indexes": [1]},
        vision_start_token_id=FIRST, vision_end_token_id=FIRST + 1,
        image_token_id=FIRST + 2, video_token_id=FIRST + 3)  # fmt: skip
    processor = hf.Qwen2_5_VLProcessor(
        hf.Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=256, max_pixels=4096),
        tokenizer_of(*names), video_processor=hf.Qwen2VLVideoProcessor(patch_size=8))  # fmt: skip
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


def llava_next():
    """The whole, and tiles put together again with what is padding cut off."""
    config = hf.LlavaNextConfig(
        vision_config={"model_type": "clip_vision_model", **SQUARE}, text_config=TEXT,
        image_token_id=FIRST, image_seq_length=36,
        image_grid_pinpoints=[[48, 96], [96, 48], [96, 96]])  # fmt: skip
    pictures = hf.LlavaNextImageProcessorPil(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48},
        image_grid_pinpoints=[[48, 96], [96, 48], [96, 96]])  # fmt: skip
    processor = hf.LlavaNextProcessor(
        pictures, tokenizer_of("<image>", image_token="<image>"), patch_size=8,  # noqa: S106
        vision_feature_select_strategy="default", num_additional_image_tokens=1)  # fmt: skip
    return hf.LlavaNextForConditionalGeneration(config), processor


def gemma3():
    """SigLIP's patches, averaged four by four."""
    named = {"boi_token": "<start_of_image>", "eoi_token": "<end_of_image>",
             "image_token": "<image>"}  # fmt: skip
    config = hf.Gemma3Config(
        vision_config={"model_type": "siglip_vision_model", **SQUARE, "vision_use_head": False},
        text_config={**TEXT, "model_type": "gemma3_text", "head_dim": 8},
        mm_tokens_per_image=9, image_token_index=FIRST + 2, boi_token_index=FIRST,
        eoi_token_index=FIRST + 1)  # fmt: skip
    pictures = hf.Gemma3ImageProcessorPil(size={"height": 48, "width": 48})
    processor = hf.Gemma3Processor(
        pictures, tokenizer_of(*named.values(), **named), image_seq_length=9
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def smolvlm():
    """Idefics' tiles and the whole, under SmolVLM's own names."""
    tiles = [f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)]
    config = hf.SmolVLMConfig(
        vision_config={"model_type": "smolvlm_vision", **SMALL, "image_size": 48, "patch_size": 8},
        text_config=TEXT, image_token_id=FIRST + 1, scale_factor=2, pad_token_id=0)  # fmt: skip
    pictures = hf.SmolVLMImageProcessorPil(
        size={"longest_edge": 96}, max_image_size={"longest_edge": 48})  # fmt: skip
    names = ("<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>")
    processor = hf.SmolVLMProcessor(
        pictures, tokenizer_of(*names, *tiles), hf.SmolVLMVideoProcessor(),
        image_seq_len=9)  # fmt: skip
    return hf.SmolVLMForConditionalGeneration(config), processor


def qwen3_vl():
    """Qwen's merged patches, put into later layers of the text once more."""
    names = ("<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [2, 1, 1]}
    config = hf.Qwen3VLConfig(
        text_config={**TEXT, "model_type": "qwen3_vl_text", "head_dim": 8, "rope_parameters": rope},
        vision_config={"depth": 2, "hidden_size": 16, "num_heads": 2, "patch_size": 8,
                       "intermediate_size": 32, "out_hidden_size": 16,
                       "num_position_embeddings": 36, "deepstack_visual_indexes": [0]},
        vision_start_token_id=FIRST, vision_end_token_id=FIRST + 1,
        image_token_id=FIRST + 2, video_token_id=FIRST + 3)  # fmt: skip
    processor = hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessorPil(patch_size=8, merge_size=2, min_pixels=256, max_pixels=4096),
        tokenizer_of(*names), video_processor=hf.Qwen3VLVideoProcessor(patch_size=8))  # fmt: skip
    return hf.Qwen3VLForConditionalGeneration(config), processor


def llava_onevision():
    """The whole, and SigLIP's tiles put together again with what is padding cut off."""
    pinpoints = [[48, 96], [96, 48], [96, 96]]
    config = hf.LlavaOnevisionConfig(
        vision_config={"model_type": "siglip_vision_model", **SQUARE, "vision_use_head": False},
        text_config={**TEXT, "model_type": "qwen2"}, image_token_index=FIRST,
        image_grid_pinpoints=pinpoints)  # fmt: skip
    named = {"image_token": "<image>", "video_token": "<video>"}
    size = {"height": 48, "width": 48}
    processor = hf.LlavaOnevisionProcessor(
        hf.LlavaOnevisionImageProcessorPil(size=size, image_grid_pinpoints=pinpoints),
        tokenizer_of(*named.values(), **named), hf.LlavaOnevisionVideoProcessor(size=size),
        num_image_tokens=36, vision_feature_select_strategy="full")  # fmt: skip
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def idefics2():
    """Patches are summed up in four latents, and only these are in the prompt."""
    config = hf.Idefics2Config(
        vision_config={"model_type": "idefics2_vision", **SMALL, "image_size": 48, "patch_size": 8},
        perceiver_config={"hidden_size": 16, "resampler_n_latents": 4, "resampler_depth": 1,
                          "resampler_n_heads": 2, "resampler_head_dim": 8,
                          "num_key_value_heads": 1},
        text_config={**TEXT, "model_type": "mistral"}, image_token_id=FIRST + 1)  # fmt: skip
    names = ("<fake_token_around_image>", "<image>", "<end_of_utterance>")
    processor = hf.Idefics2Processor(
        hf.Idefics2ImageProcessorPil(size={"shortest_edge": 24, "longest_edge": 48}),
        tokenizer_of(*names), image_seq_len=4)  # fmt: skip
    return hf.Idefics2ForConditionalGeneration(config), processor


PROMPTS = {"llava": llava, "paligemma": paligemma, "qwen2_vl": qwen2_vl, "internvl": internvl,
           "idefics3": idefics3, "qwen2_5_vl": qwen2_5_vl, "llava_next": llava_next,
           "gemma3": gemma3, "smolvlm": smolvlm, "qwen3_vl": qwen3_vl,
           "llava_onevision": llava_onevision}  # fmt: skip
MODELS = {**PROMPTS, "idefics2": idefics2}

# What transformers' PaliGemma processor does with NumPy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that saves a model once, as a user would find it, and returns its folder."""
    folders = {}

    def save(name):
        if name not in folders:
            torch.manual_seed(0)
            model, processor = MODELS[name]()
            folders[name] = str(tmp_path_factory.mktemp(name))
            draw(model).eval().save_pretrained(folders[name])
            processor.save_pretrained(folders[name])
        return folders[name]

    return save


@pytest.fixture(scope="module")
def reached(saved, tmp_path_factory):
    """A function that lights spots, and says which places of the prompt they reach, once each."""
    kept, path = {}, tmp_path_factory.mktemp("lit") / "in.png"

    def reached_by(name, size):
        if (name, size) not in kept:
            request = Request(saved(name), str(path), prompt="a cat sat")
            textured(size).save(path)
            prompt = build_run(request).attentions[-1].queries
            places = boxed(prompt)
            dark = handed_over(open_source(request))
            found = []
            for share in (0.1, 0.6):
                box = prompt.positions[places[round(share * len(places))]].box
                image, spot = lit(textured(size), box)
                image.save(path)
                moved = (handed_over(open_source(request)) - dark).norm(dim=1)
                found.append(Lit(name, prompt, int(moved.argmax()), spot))
            kept[name, size] = found
        return kept[name, size]

    return reached_by


def handed_over(source):
    """What the language model gets at each position of the prompt."""
    inner = source.model.model
    reader = getattr(inner, "language_model", None) or inner.text_model
    found = []
    hook = reader.register_forward_pre_hook(
        lambda _, __, kwargs: found.append(kwargs["inputs_embeds"]), with_kwargs=True
    )
    with torch.no_grad():
        source.model(*source.call.args, **source.call.kwargs)
    hook.remove()
    return found[0][0]


@pytest.mark.parametrize("name", PROMPTS)
def test_what_shines_in_a_box_reaches_its_place_in_the_prompt(reached, name):
    for size in SIZES.values():
        for each in reached(name, size):
            assert len(boxed(each.axis)) >= 4
            assert each.axis.name == "prompt"
            assert [word for word in each.axis.labels if word in WORDS[1:]] == ["a", "cat", "sat"]
            assert holds(each.axis.positions[each.place].box, each.spot, 0.02), (size, each.spot)


def test_on_the_page_each_prompt_is_covered_where_its_spot_is(reached, either_page_of):
    check_page(
        either_page_of, [reached(name, size)[-1] for name in PROMPTS for size in SIZES.values()]
    )


@pytest.mark.parametrize("name", PROMPTS)
def test_every_layer_of_the_text_is_checked_and_has_the_prompt(saved, tmp_path, name):
    textured((97, 53)).save(tmp_path / "in.png")
    run = build_run(Request(saved(name), str(tmp_path / "in.png"), prompt="a cat sat"))
    assert all(attention.checked for attention in run.attentions)
    assert not run.missed
    assert sum(attention.queries.name == "prompt" for attention in run.attentions) == 2


def test_latents_between_text_and_picture_are_no_patches(saved, tmp_path, either_page_of):
    """Idefics2: the prompt holds latents, which have no place; what looks at patches, they do."""
    found = []
    for size in SIZES.values():
        request = Request(saved("idefics2"), str(tmp_path / "in.png"), prompt="a cat sat")
        textured(size).save(tmp_path / "in.png")
        dark = build_run(request)
        resampler = next(each for each in dark.attentions if "resampler" in each.name)
        assert resampler.queries.labels == tuple(f"[latents {nth}]" for nth in range(4))
        assert not boxed(dark.attentions[-1].keys)
        assert dark.attentions[-1].keys.labels[1:5] == resampler.queries.labels
        places = boxed(resampler.keys)
        box = resampler.keys.positions[places[round(0.6 * len(places))]].box
        image, spot = lit(textured(size), box)
        image.save(tmp_path / "in.png")
        score = changes(resampler, build_run(request).attentions[resampler.layer])[1]
        place = max(places, key=lambda each, score=score: score[each])
        assert holds(resampler.keys.positions[place].box, spot, 0.02), size
        found.append(Lit("idefics2", resampler.keys, place, spot))
    check_page(either_page_of, found)


# What takes a picture in several: tiles, and the whole once more.
LAYERED = ("internvl", "idefics3", "llava_next", "smolvlm", "llava_onevision")


@pytest.mark.parametrize("name", PROMPTS)
def test_tiles_and_the_whole_are_parts_in_every_layer(saved, tmp_path, name):
    textured((203, 77)).save(tmp_path / "in.png")
    run = build_run(Request(saved(name), str(tmp_path / "in.png"), prompt="a cat sat"))
    for axis in {each.keys for each in run.attentions if boxed(each.keys)}:
        names = [part.name for part in axis.picture.parts]
        assert names == (["tiles", "whole picture"] if name in LAYERED else [])
        for position in axis:
            named = [] if position.part is None else [names[position.part]]
            said = [each for each in names if position.label.startswith(each.removesuffix("s"))]
            assert named == (said if position.box else []), position
    if name in LAYERED:
        assert {position.part for position in run.attentions[-1].keys} == {None, 0, 1}


# Where each model's tower keeps its layers.
TILED = {"internvl": "vision_tower", "idefics3": "vision_model"}


@pytest.mark.parametrize("name", TILED)
def test_in_the_tower_each_tile_looks_at_itself(saved, tmp_path, name):
    """Against what the tower itself returns as its attention, tile by tile."""
    textured((203, 77)).save(tmp_path / "in.png")
    request = Request(saved(name), str(tmp_path / "in.png"), prompt="a cat sat")
    tower = [each for each in build_run(request).attentions if TILED[name] in each.name]
    source = open_source(request)
    source.model.set_attn_implementation("eager")
    returned = []
    for module in source.model.modules():
        if type(module).__name__ in {"InternVLVisionAttention", "Idefics3VisionAttention"}:
            module.register_forward_hook(lambda _, __, output: returned.append(output[1].numpy()))
    with torch.no_grad():
        source.model(*source.call.args, **source.call.kwargs)
    assert len(tower) == len(returned) == 2
    for attention, tiles in zip(tower, returned, strict=True):
        count, heads, length, _ = tiles.shape
        assert count > 2
        expected = np.zeros((heads, count, length, count, length), np.float32)
        for tile, weights in enumerate(tiles):
            expected[:, tile, :, tile] = weights
        np.testing.assert_allclose(
            attention.weights, expected.reshape(heads, *2 * (count * length,)), atol=1e-6
        )
        assert attention.queries == attention.keys
        assert sum("tile 2 " in label for label in attention.queries.labels) == 36


@pytest.mark.parametrize("name", TILED)
def test_what_shines_in_a_tile_changes_that_tile_of_the_tower(
    saved, tmp_path, either_page_of, name
):
    size, found = SIZES["wide"], []
    request = Request(saved(name), str(tmp_path / "in.png"), prompt="a cat sat")
    textured(size).save(tmp_path / "in.png")
    dark = build_run(request).attentions[0]
    axis = dark.keys
    for tile in ("tile 1 row 2 column 3", "tile 2 row 4 column 1"):
        wanted = axis.labels.index(tile)
        image, spot = lit(textured(size), axis.positions[wanted].box)
        image.save(tmp_path / "in.png")
        score = changes(dark, build_run(request).attentions[0])[1]
        # The whole picture comes once more, smaller: of the tiles this one changes most.
        own = [place for place, label in enumerate(axis.labels) if label.startswith("tile")]
        place = max(own, key=lambda each, score=score: score[each])
        assert place == wanted
        assert all(holds(axis.positions[each].box, spot, 0.5)
                   for each in np.argsort(score)[-2:])  # fmt: skip
        found.append(Lit(name, axis, place, spot))
    check_page(either_page_of, found)


@pytest.mark.parametrize("name", TILED)
def test_tiles_that_together_are_too_much_are_joined_and_said(saved, tmp_path, name):
    """Against the same run with all weights: sums of blocks, and the largest of every row."""
    textured((203, 77)).save(tmp_path / "in.png")
    request = Request(saved(name), str(tmp_path / "in.png"), prompt="a cat sat")
    whole = build_run(request).attentions[0]
    run = build_run(replace(request, max_memory=whole.weights.nbytes - 1))
    tower = run.attentions[0]
    block, (heads, length, _) = tower.reduced.block, whole.weights.shape
    said = f"every {block} neighbouring positions are joined"
    assert not run.missed and said in run.ledger[0].reason
    note = "neighbouring positions were joined"
    assert any(note in each for each in run.provenance.notes)
    assert tower.reduced.queries == whole.queries and tower.checked
    count = length // block
    blocks = whole.weights[:, : count * block, : count * block]
    blocks = blocks.reshape(heads, count, block, count, block).sum(axis=4).mean(axis=2)
    np.testing.assert_allclose(tower.weights[:, :count, :count], blocks, atol=1e-6)
    largest = np.sort(whole.weights, axis=2)[..., :-9:-1]
    np.testing.assert_allclose(np.sort(tower.reduced.largest)[..., ::-1], largest, atol=1e-6)
    assert {position.part for position in tower.keys if position.box} == {0, 1}


def test_patches_in_a_window_are_called_as_in_the_whole(saved, tmp_path):
    """Qwen2.5-VL's first layer looks within windows: three calls, of parts of one grid."""
    textured((97, 53)).save(tmp_path / "in.png")
    run = build_run(Request(saved("qwen2_5_vl"), str(tmp_path / "in.png"), prompt="a cat sat"))
    windows = [each.keys for each in run.attentions if "blocks.0" in each.name]
    (whole,) = (each.keys for each in run.attentions if "blocks.1" in each.name)
    assert [len(axis) for axis in windows] == [16, 16, 8] and len(whole) == 40
    named = {position.box: position.label for position in whole}
    assert all(named[position.box] == position.label for axis in windows for position in axis)
    assert whole.labels[-1] == "row 3 column 9"
