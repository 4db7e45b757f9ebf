"""Tiny random models of every family that looks at pictures, with their processors.

A family is a row: which classes of transformers, the model's configuration, what prepares its
input, and a prompt where it reads one. Weights are drawn so that every position's own content
decides what its keys are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tiny_vision import SMALL, SQUARE, cropped, exact, stretched


@dataclass(frozen=True)
class Family:
    """One row of the table.

    Attributes:
        kind: what its classes are called, before ``Model`` and ``Config``.
        config: what differs from the defaults.
        processor: a function that makes it.
        prompt: for a model that reads one.
        sides: how many sides of attentions must have been held against the model, at least.
        slack: by what share of its size a box may miss, where convolutions overlap.
    """

    kind: str
    config: dict[str, Any]
    processor: Callable[[], Any] = exact
    prompt: str | None = None
    sides: int = 4
    slack: float = 0.01

    def model(self) -> Any:
        """Return the model, random."""
        config = getattr(hf, f"{self.kind}Config")(**self.config)
        return getattr(hf, f"{self.kind}Model")(config)


def detr_processor():
    """Resize the shorter side, pad what is missing."""
    return hf.DetrImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 128}, do_pad=True)


def sam_processor():
    """Resize the longer side, pad to a square below or to the right."""
    return hf.SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64},
        mask_size={"longest_edge": 16}, mask_pad_size={"height": 16, "width": 16})  # fmt: skip


def larger():
    """Resize to a square of 64."""
    return exact(64)


BACKBONE = {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1],
            "layer_type": "basic", "out_features": ["stage2"]}  # fmt: skip
DETR = {"backbone_config": BACKBONE, "use_timm_backbone": False, "use_pretrained_backbone": False,
        "d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
        "num_queries": 5}  # fmt: skip
DAB = {**DETR, "hidden_size": 16, "decoder_n_points": 4}
SWIN = {"image_size": 60, "patch_size": 4, "embed_dim": 8, "window_size": 4, "depths": [2, 2],
        "num_heads": [1, 2]}  # fmt: skip
HIERA = {"image_size": [64, 64], "embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 2, 2, 2],
         "embed_dim_multiplier": 2.0}  # fmt: skip
STAGES = {"hidden_sizes": [8, 8, 16, 16], "num_attention_heads": [1, 1, 2, 2], "depths": [1] * 4}
SAM = {"image_size": 64, "patch_size": 8, "hidden_size": 16, "num_hidden_layers": 2,
       "num_attention_heads": 2, "mlp_dim": 16, "output_channels": 8, "window_size": 3,
       "global_attn_indexes": [1]}  # fmt: skip
WHOLE_SAM = {
    "vision_config": {**SAM, "num_pos_feats": 8, "output_channels": 16},
    "prompt_encoder_config": {"hidden_size": 16, "image_size": 64, "patch_size": 8,
                              "mask_input_channels": 4},
    "mask_decoder_config": {"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 2,
                            "num_attention_heads": 2, "iou_head_hidden_dim": 8,
                            "iou_head_depth": 2},
}  # fmt: skip
LEVIT = {"image_size": 64, "hidden_sizes": [16] * 3, "num_attention_heads": [2] * 3,
         "depths": [1] * 3, "key_dim": [8] * 3}  # fmt: skip
DPT = {"backbone_out_indices": [0, 1, 1, 1], "neck_hidden_sizes": [8] * 4}

FAMILIES = {
    "vit": Family("ViT", SQUARE),
    "deit": Family("DeiT", SQUARE, stretched),
    "beit": Family("Beit", {**SQUARE, "use_relative_position_bias": True}),
    "dinov2": Family("Dinov2", SQUARE, cropped),
    "dinov2_with_registers": Family(
        "Dinov2WithRegisters", {**SQUARE, "num_register_tokens": 4}, cropped),
    "dinov3": Family("DINOv3ViT", {**SQUARE, "num_register_tokens": 4}),
    "ijepa": Family("IJepa", SQUARE),
    "clip": Family("CLIPVision", SQUARE, cropped),
    "siglip": Family("SiglipVision", SQUARE),
    "siglip2": Family(
        "Siglip2Vision", {**SMALL, "patch_size": 8, "num_patches": 36},
        lambda: hf.Siglip2ImageProcessorPil(patch_size=8, max_num_patches=36)),
    "vit_mae": Family("ViTMAE", SQUARE),
    "dpt": Family("DPT", {**SQUARE, **DPT}),
    "yolos": Family("Yolos", {**SQUARE, "image_size": [48, 48], "num_detection_tokens": 3}),
    "swin": Family("Swin", SWIN, lambda: exact(60), sides=8),
    "swinv2": Family("Swinv2", {**SWIN, "depths": [2, 1]}, lambda: exact(60), sides=6),
    "hiera": Family("Hiera", HIERA, larger, sides=6, slack=0.06),
    "pvt": Family(
        "Pvt", {**STAGES, "image_size": 64, "sequence_reduction_ratios": [4, 2, 1, 1]}, larger,
        sides=5),
    "pvt_v2": Family("PvtV2", {**STAGES, "image_size": 64, "sr_ratios": [4, 2, 1, 1]}, larger,
                     slack=0.5),
    "segformer": Family("Segformer", {**STAGES, "sr_ratios": [4, 2, 1, 1]}, larger, slack=0.5),
    "levit": Family("Levit", LEVIT, larger, slack=0.5),
    "sam": Family("SamVision", SAM, larger),
    "sam_with_decoder": Family("Sam", WHOLE_SAM, sam_processor, sides=9, slack=0.6),
    "detr": Family("Detr", DETR, detr_processor, slack=0.5),
    "table_transformer": Family("TableTransformer", DETR, detr_processor, slack=0.5),
    "dab_detr": Family("DabDetr", DAB, detr_processor, sides=2, slack=0.5),
    "conditional_detr": Family("ConditionalDetr", DETR, detr_processor, slack=0.5),
}  # fmt: skip

# Of a matrix: below 1, so that what attention adds stays small beside the position's own.
GAIN = 0.4
ASKING = re.compile("query|key|q_proj|k_proj|qkv|in_proj|queries")


def draw(model):
    """Draw the weights again, so that each position keeps mostly to what it holds itself.

    Convolutions see the middle of their window best, as trained ones do; attention adds little.
    """
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() < 2:
                continue
            spatial = parameter.dim() - 2
            gain = 1.0 if spatial or ASKING.search(name) else GAIN
            # One number for each pair of channels: a window that is smooth has one middle.
            numbers = torch.randn(*parameter.shape[:2], *[1] * spatial)
            parameter.copy_((gain * parameter.shape[1] ** -0.5 * numbers).expand(parameter.shape))
            for dimension in range(spatial):
                size = parameter.shape[2 + dimension]
                window = 1 - (torch.arange(size) - (size - 1) / 2).abs() * 2 / (size + 1)
                after = [1] * (spatial - 1 - dimension)
                parameter.mul_((window / window.sum()).reshape(-1, *after))
    return model


def save(name: str, folder: Path) -> Path:
    """Save a family's model and its processor, as a user would find them."""
    family = FAMILIES[name]
    torch.manual_seed(0)
    draw(family.model()).eval().save_pretrained(folder)
    family.processor().save_pretrained(folder)
    return folder
