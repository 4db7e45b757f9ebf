"""torchvision's ViT and Swin, given as a user's own model: a function and a ``prepare`` beside it.

The reference is the model itself: what is lit in a position's box must change that key most, in
each stage; further up attention has mixed neighbours, and one of these may change more.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import Lit, check_page
from test_families import SIZES, boxed, changes, holds, lit, textured

from attnreport.build import build_run
from attnreport.sources import Request

SOURCE = """
import numpy as np
import torch
from PIL import Image
from torchvision.models import SwinTransformer, VisionTransformer

import attnreport
from attnreport.picture import Picture


def drawn(model):
    import sys
    sys.path.insert(0, {helpers!r})
    from families import draw
    torch.manual_seed(0)
    return draw(model).eval()


def vit():
    return drawn(VisionTransformer(48, 8, 2, 2, 16, 32, num_classes=3))


def swin():
    return drawn(SwinTransformer([4, 4], 8, [2, 2], [1, 2], [4, 4], num_classes=3))


def prepare(path):
    image = Image.open(path).convert("RGB")
    small = np.asarray(image.resize((48, 48), Image.Resampling.BILINEAR))
    tensor = torch.from_numpy(small.astype("float32") / 127.5 - 1).permute(2, 0, 1)[None]
    shown = attnreport.Pixels.stretched(Picture.of(image), 48, 48)
    return attnreport.Call(args=(tensor,), axes=((tensor, shown),))
"""
MODELS = {"vit": 2, "swin": 4}  # attentions


@pytest.fixture
def request_of(tmp_path):
    """A function that saves a picture, and says how a model is asked to look at it."""
    (tmp_path / "own.py").write_text(SOURCE.format(helpers=str(Path(__file__).parent)))

    def request(name, image):
        image.save(tmp_path / "in.png")
        return Request(f"{tmp_path / 'own.py'}:{name}", str(tmp_path / "in.png"))

    return request


@pytest.mark.parametrize("name", MODELS)
def test_what_shines_in_a_box_is_covered(request_of, either_page_of, name):
    found = []
    for size in SIZES.values():
        dark = build_run(request_of(name, textured(size)))
        assert len(dark.attentions) == MODELS[name] and not dark.missed
        first = dark.attentions[0].keys
        places = boxed(first)
        image, spot = lit(textured(size), first.positions[places[round(0.6 * len(places))]].box)
        bright = build_run(request_of(name, image))
        for before, after in zip(dark.attentions, bright.attentions, strict=True):
            most = int(changes(before, after)[1].argmax())
            assert before.queries == before.keys
            slack = 0.05 if before.layer < 2 else 1
            assert holds(before.keys.positions[most].box, spot, slack), (before.name, size)
        most = int(changes(dark.attentions[0], bright.attentions[0])[1].argmax())
        found.append(Lit(name, first, most, spot))
    check_page(either_page_of, found)
