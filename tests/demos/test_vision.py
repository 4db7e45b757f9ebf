"""demo:vision: charts it never saw, boxes of its patches, and a report of a picture."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from attnreport.build import build_run
from attnreport.demos import vision
from attnreport.sources import Request

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def script(monkeypatch):
    """The training script, imported the way it runs."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    return importlib.import_module("train_vision")


def test_shipped_model_tells_held_out_charts_and_looks_at_marks(script):
    drawings = [
        script.draw(40_000_000 + nth, script.kind_of(40_000_000 + nth), held_out=True)
        for nth in range(180)
    ]
    model = vision.factory()
    guesses = script.told(model, drawings)
    right = [guess == drawing.kind for guess, drawing in zip(guesses, drawings, strict=True)]
    assert np.mean(right) >= 0.92  # 95 % and more of many; 180 drawings scatter around it
    looks = [script.look(model, drawing) for drawing in drawings[:60]]
    area = np.mean([script.marked(drawing).mean() for drawing in drawings[:60]])
    for read in ("last layer, mean of heads", "relevance for the predicted kind"):
        assert np.mean([one[read] for one in looks]) > 1.3 * area
    # Rollout takes in what each layer lets through as it is, so it is spread wider.
    assert np.mean([one["rollout of all layers"] for one in looks]) > 1.2 * area


def test_a_picture_of_any_size_has_its_patches_over_all_of_it(tmp_path):
    Image.new("RGB", (203, 57), "white").save(tmp_path / "in.png")
    run = build_run(Request("demo:vision", str(tmp_path / "in.png")))
    axis = run.axes[0]
    assert len(run.attentions) == 4
    assert axis.positions[0].box is None
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (p.box for p in axis.positions[1:])]
    assert sum(areas) == pytest.approx(203 * 57)


def test_what_shines_in_a_box_arrives_in_its_patch():
    """The reference is the model's own cutting: it knows nothing of boxes."""
    for patch in (0, 37, 99):
        row, column = divmod(patch, vision.GRID)
        values = np.zeros((200, 300, 3), dtype=np.uint8)
        values[row * 20 : row * 20 + 20, column * 30 : column * 30 + 30] = 255
        cut = vision.patches(vision.pixels_of(Image.fromarray(values))[None])
        assert int(cut[0].sum(dim=1).argmax()) == patch


def test_dark_and_light_look_alike():
    pixels = torch.rand(3, 20, 20, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        vision.contrast(1 - pixels), vision.contrast(pixels), atol=0.1, rtol=0
    )
    assert vision.contrast(torch.full((3, 8, 8), 0.7)).max() == 0


def test_marks_are_what_the_data_drew(script):
    """Of a pie the marks lie in the round of its arcs; legend and title are none."""
    drawing = script.draw(12, "pie", held_out=True)
    assert 0.02 < drawing.marks.mean() < 0.9
    assert not drawing.marks[0].any() and not drawing.marks[:, 0].any()


@pytest.mark.parametrize("name", ["bar", "line", "scatter"])
def test_example_pictures_are_told_rightly(name):
    image = Image.open(EXAMPLES / f"{name}.png").convert("RGB")
    logits = vision.factory()(vision.pixels_of(image)[None])
    assert vision.KINDS[int(logits.argmax())] == name
