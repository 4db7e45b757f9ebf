"""Models of videos see a picture that stands still."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers as hf
from families import draw
from test_families import SIZES, boxed, changes, holds, lit, textured
from tiny_vision import SMALL

from attnreport.build import build_run
from attnreport.sources import Request, open_source

FRAMES = {**SMALL, "image_size": 48, "patch_size": 8, "num_frames": 4}


def videomae_processor():
    return hf.VideoMAEImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})  # fmt: skip


def vivit_processor():
    return hf.VivitImageProcessor(
        size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})  # fmt: skip


MODELS = {
    "videomae": (lambda: hf.VideoMAEModel(hf.VideoMAEConfig(**FRAMES)), videomae_processor),
    "timesformer": (
        lambda: hf.TimesformerModel(hf.TimesformerConfig(**FRAMES)), videomae_processor),
    "vivit": (lambda: hf.VivitModel(hf.VivitConfig(**FRAMES, tubelet_size=[2, 8, 8])),
              vivit_processor),
}  # fmt: skip


@pytest.fixture
def run_of(tmp_path):
    """A function that runs a model on a picture; both are saved as a user would find them."""

    def run(name, image):
        folder = tmp_path / name
        if not folder.exists():
            torch.manual_seed(0)
            model, processor = MODELS[name]
            draw(model()).eval().save_pretrained(folder)
            processor().save_pretrained(folder)
        image.save(tmp_path / "in.png")
        return build_run(Request(str(folder), str(tmp_path / "in.png")))

    return run


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_video_that_stands_still_has_its_patches_in_every_frame(run_of, size):
    """Two frames make a tube: of 2 × 6 × 6 tubes two change where a spot is lit."""
    dark = run_of("videomae", textured(size))
    axis = dark.attentions[0].queries
    assert len(boxed(axis)) == len(axis) == 72
    assert axis.labels[0] == "frame 1 row 0 column 0"
    assert axis.labels[-1] == "frame 3 row 5 column 5"
    place = 21
    image, spot = lit(textured(size), axis.positions[place].box)
    bright = run_of("videomae", image)
    for side in changes(dark.attentions[0], bright.attentions[0]):
        most = np.sort(np.argsort(side)[-2:])
        assert most.tolist() == [place, 36 + place]
        assert all(holds(axis.positions[index].box, spot, 0.01) for index in most)
    assert any("the picture was shown 4 times" in note for note in dark.provenance.notes)


def test_where_frames_cannot_be_found_there_are_no_boxes(run_of):
    run = run_of("vivit", textured((97, 53)))
    assert not any(position.box for axis in run.axes for position in axis)
    assert any("nothing can be laid over the picture" in note for note in run.provenance.notes)


def test_attention_over_time_is_shown_and_that_over_space_named(run_of, tmp_path):
    """Each of 36 patches looks at itself in 4 frames: softmax of the projections, in float64."""
    run = run_of("timesformer", textured((97, 53)))
    source = open_source(Request(str(tmp_path / "timesformer"), str(tmp_path / "in.png")))
    found = []
    for layer in source.model.encoder.layer:
        layer.temporal_attention.attention.qkv.register_forward_hook(
            lambda _, __, output: found.append(output.double().numpy())
        )
    with torch.no_grad():
        source.model(*source.call.args, **source.call.kwargs)
    for attention, projected in zip(run.attentions, found, strict=True):
        query, key, _ = projected.reshape(36, 4, 3, 2, 8).transpose(2, 0, 3, 1, 4)
        scores = np.exp(query @ key.swapaxes(2, 3) / 8**0.5)
        expected = np.zeros((2, 36, 4, 36, 4))
        for patch, score in enumerate(scores / scores.sum(axis=3, keepdims=True)):
            expected[:, patch, :, patch] = score
        weights = attention.weights  # key 0 is the class token, which no patch sees here
        assert not weights[:, :, 0].any()
        np.testing.assert_allclose(weights[:, :, 1:], expected.reshape(2, 144, 144), atol=1e-6)
    assert [entry.name for entry in run.missed] == [
        f"encoder.layer.{layer}.attention.attention" for layer in range(2)
    ]
