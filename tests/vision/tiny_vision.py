"""Tiny random vision models with their processors, saved as a user would find them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 32}  # fmt: skip
SQUARE = {"image_size": 48, "patch_size": 8, **SMALL}


def exact(side=48):
    """Resize to a square, as SigLIP and ViT do."""
    return transformers.ViTImageProcessorPil(size={"height": side, "width": side})


def cropped(short=56, side=48):
    """Resize the shorter side, then cut the middle out, as CLIP and DINOv2 do."""
    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": short}, crop_size={"height": side, "width": side}
    )


def stretched(side=56, cut=48):
    """Resize to a square, then cut the middle out, as DeiT does."""
    return transformers.DeiTImageProcessorPil(
        size={"height": side, "width": side}, crop_size={"height": cut, "width": cut}
    )


# Name, model, processor, what stands before the patches.
FAMILIES = {
    "vit": (
        lambda: transformers.ViTModel(transformers.ViTConfig(**SQUARE)), exact, ("[CLS]",)),
    "deit": (
        lambda: transformers.DeiTModel(transformers.DeiTConfig(**SQUARE)), stretched,
        ("[CLS]", "[distillation]")),
    "beit": (
        lambda: transformers.BeitModel(transformers.BeitConfig(**SQUARE)), exact, ("[CLS]",)),
    "dinov2": (
        lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SQUARE)), cropped,
        ("[CLS]",)),
    "dinov2_with_registers": (
        lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**SQUARE, num_register_tokens=4)),
        cropped, ("[CLS]", "[register 0]", "[register 1]", "[register 2]", "[register 3]")),
    "clip": (
        lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**SQUARE)), cropped,
        ("[CLS]",)),
    "siglip": (
        lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SQUARE)), exact,
        ()),
    "wide": (
        lambda: transformers.ViTModel(
            transformers.ViTConfig(**{**SQUARE, "image_size": (24, 64)})),
        lambda: transformers.ViTImageProcessorPil(size={"height": 24, "width": 64}), ("[CLS]",)),
}  # fmt: skip


def save_family(family: str, folder: Path) -> Path:
    """Save a family's model, with random weights, and its processor."""
    model, processor, _ = FAMILIES[family]
    torch.manual_seed(0)
    model().eval().save_pretrained(folder)
    processor().save_pretrained(folder)
    return folder


def black_but(width: int, height: int, box: tuple[float, float, float, float]) -> Image.Image:
    """A black picture with one white rectangle."""
    values = np.zeros((height, width, 3), dtype=np.uint8)
    x0, y0, x1, y1 = (round(side) for side in box)
    values[y0:y1, x0:x1] = 255
    return Image.fromarray(values)


def picture_tokenizer(*names: str, special: tuple[str, ...] = ("<image>",)):
    """A tokenizer of whole words that also knows tokens which stand for pictures, stuck or not."""
    tokenizer = words_tokenizer(*names)
    tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def words_tokenizer(*names: str):
    """A tokenizer of whole words: ``names`` and an end token, id 0."""
    vocabulary = {name: index for index, name in enumerate(("<end>", *names))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))  # noqa: S106 - a token
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <end>", special_tokens=[("<end>", 0)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<end>",  # noqa: S106 - a token
        pad_token="<end>",  # noqa: S106 - a token
    )
