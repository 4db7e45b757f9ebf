"""timm's architectures, tiny: square, tall, wide and odd pictures, held against the model itself.

Each is given as a user's own model, a function and a ``prepare`` beside it, for a name of timm's
opens it in its full size.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from planted import check_page
from test_families import SIZES, check_places, shone

from attnreport.build import build_run
from attnreport.sources import Request

# Arguments of timm.create_model, and of the class where these cannot make it small.
PLAIN = {"img_size": 48, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
SOURCE = """
import sys

import numpy as np
import timm
import torch
from PIL import Image
from timm.models.mvitv2 import MultiScaleVit, MultiScaleVitCfg

import attnreport
from attnreport.picture import Picture

sys.path.insert(0, {helpers!r})
from families import draw


def model():
    torch.manual_seed(0)
    if {name!r} == "mvitv2":
        made = MultiScaleVit(MultiScaleVitCfg(**{options!r}), img_size=({side}, {side}))
    else:
        made = timm.create_model({name!r}, **{options!r})
    return draw(made).eval()


def prepare(path):
    image = Image.open(path).convert("RGB")
    small = np.asarray(image.resize(({side}, {side}), Image.Resampling.BILINEAR))
    tensor = torch.from_numpy(small.astype("float32") / 127.5 - 1).permute(2, 0, 1)[None]
    shown = attnreport.Pixels.stretched(Picture.of(image), {side}, {side})
    return attnreport.Call(args=(tensor,), axes=((tensor, shown),))
"""
STAGES = {"depths": (1,) * 4}
# Name, options, side of what the model gets, how many sides must be held, how far boxes may miss.
MODELS = {
    "beit": ("beit_base_patch16_224", PLAIN, 48, 4, 0.01),
    "deit3": ("deit3_small_patch16_224", PLAIN, 48, 4, 0.01),
    "siglip": ("vit_base_patch16_siglip_224", PLAIN, 48, 4, 0.01),
    "clip": ("vit_base_patch16_clip_224", PLAIN, 48, 4, 0.01),
    "dinov2": ("vit_small_patch14_reg4_dinov2", PLAIN, 48, 4, 0.01),
    "dinov3": ("vit_base_patch16_dinov3", PLAIN, 48, 4, 0.01),
    "eva02": ("eva02_tiny_patch14_224", PLAIN, 48, 4, 0.01),
    "samvit": (
        "samvit_base_patch16_224",
        {**PLAIN, "global_attn_indexes": (1,), "window_size": 4}, 48, 4, 0.01),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {"img_size": 64, "embed_dim": 8, "depths": (2, 1), "num_heads": (1, 2), "window_size": 4},
        64, 6, 1),
    "hiera": (
        "hiera_tiny_224",
        {"img_size": (64, 64), "embed_dim": 8, "stages": (1,) * 4, "num_heads": 1}, 64, 6, 0.06),
    "mvitv2": ("mvitv2", {**STAGES, "embed_dim": 8, "num_heads": 1}, 64, 3, 0.5),
    "pvt_v2": (
        "pvt_v2_b0",
        {**STAGES, "embed_dims": (8, 8, 16, 16), "num_heads": (1, 1, 2, 2)}, 64, 3, 0.5),
}  # fmt: skip


@pytest.fixture
def run_of(tmp_path):
    """A function that runs a model on a picture."""

    def run(name, image):
        variant, options, side, *_ = MODELS[name]
        source = SOURCE.format(
            helpers=str(Path(__file__).parent), name=variant, options=options, side=side
        )
        (tmp_path / f"{name}.py").write_text(source)
        image.save(tmp_path / "in.png")
        return build_run(Request(f"{tmp_path / name}.py:model", str(tmp_path / "in.png")))

    return run


@pytest.mark.parametrize("name", MODELS)
def test_what_shines_in_a_box_changes_its_position_and_is_covered(run_of, either_page_of, name):
    *_, sides, slack = MODELS[name]
    found = []
    for size in SIZES.values():
        dark, bright, reached = shone(name, partial(run_of, name), size, slack)
        assert not dark.missed
        assert check_places(dark, bright, reached.spot, slack) >= sides, size
        found.append(reached)
    check_page(either_page_of, found)
