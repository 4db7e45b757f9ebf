"""``timm:NAME``: weights from a file, timm's own preparation, and boxes that the model confirms."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from families import draw
from PIL import Image
from planted import Lit, check_page
from safetensors.torch import save_file
from test_families import boxed, changes, check_places, lit, textured

from attnreport import Run
from attnreport.build import build_run
from attnreport.cli import main
from attnreport.errors import InvalidOption, UnknownModel
from attnreport.sources import Request, open_source

# How many sides must be held against the model at least, and by how much their boxes may miss.
DEEP = 6  # attentions of Swin: further up, in the corners of its windows, all has been mixed
MODELS = {
    "vit_tiny_patch16_224": (20, 0.01),
    "deit_tiny_distilled_patch16_224": (20, 0.01),
    "vit_little_patch16_reg4_gap_256": (20, 0.01),
    "eva02_tiny_patch14_224": (20, 0.01),
    "vit_tiny_patch16_dinov3_qkvb": (20, 0.01),
    "vit_xsmall_patch16_clip_224": (20, 0.01),
    "swin_tiny_patch4_window7_224": (10, 0.01),
    "hiera_tiny_224": (4, 0.06),
    "mvitv2_tiny": (4, 0.5),
    "pvt_v2_b0": (4, 0.5),
    "levit_128s": (4, 0.5),
}
# Wide, tall, square and odd.
SIZES = ((812, 308), (388, 612), (256, 256), (401, 333))
# Two sizes are enough of those whose first stage has 3136 positions, for the time they take.
LARGE = ("swin", "hiera", "mvitv2", "pvt")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that saves a model's redrawn weights once and returns the file."""
    folder = tmp_path_factory.mktemp("timm")

    def path_of(name, **options):
        path = folder / f"{name}{''.join(map(str, options.values()))}.safetensors"
        if not path.exists():
            torch.manual_seed(0)
            save_file(draw(timm.create_model(name, **options)).state_dict(), path)
        return path

    return path_of


@pytest.fixture
def picture(tmp_path):
    textured((203, 77)).save(tmp_path / "in.png")
    return tmp_path / "in.png"


@pytest.fixture(scope="module")
def reached(saved, tmp_path_factory):
    """A function that lights a spot, holds every side against the model, and says what it reached.

    Once for every model and size: how many sides were held, and the first layer's position.
    """
    kept, path = {}, tmp_path_factory.mktemp("lit") / "in.png"

    def reached_by(name, size):
        if (name, size) not in kept:
            dark = run_of(name, saved(name), textured(size), path)
            first = next(each for each in dark.attentions if len(boxed(each.queries)) > 1)
            places = boxed(first.queries)
            box = first.queries.positions[places[round(0.6 * len(places))]].box
            image, spot = lit(textured(size), box)
            bright = run_of(name, saved(name), image, path)
            told = int(changes(first, bright.attentions[first.layer])[0].argmax())
            if name.startswith("swin"):
                dark, bright = (Run(run.attentions[:DEEP]) for run in (dark, bright))
            slack = MODELS[name][1]
            checked = check_places(dark, bright, spot, slack)
            kept[name, size] = checked, Lit(name, first.queries, told, spot, max(slack, 0.05))
        return kept[name, size]

    return reached_by


def sizes_of(name):
    return SIZES[:2] if name.startswith(LARGE) else SIZES


def run_of(name, weights, image, path):
    image.save(path)
    return build_run(Request(f"timm:{name}", str(path), weights=str(weights)))


@pytest.mark.parametrize("name", MODELS)
def test_what_shines_in_a_box_changes_its_position(reached, name):
    for size in sizes_of(name):
        checked, found = reached(name, size)
        assert found.place in boxed(found.axis)
        assert checked >= MODELS[name][0], size


def test_on_the_page_each_model_is_covered_where_its_spot_is(reached, either_page_of):
    check_page(
        either_page_of, [reached(name, size)[1] for name in MODELS for size in sizes_of(name)]
    )


def test_the_picture_is_prepared_as_timm_does(saved, picture):
    name = "vit_tiny_patch16_224.augreg_in21k"
    source = open_source(Request(f"timm:{name}", str(picture), weights=str(saved(name))))
    config = timm.data.resolve_model_data_config(source.model)
    expected = timm.data.create_transform(**config)(Image.open(picture))
    assert torch.equal(source.call.args[0][0], expected)


def test_the_weights_say_how_many_classes_there_are(saved, picture):
    name = "vit_tiny_patch16_224"
    for count in (1000, 7, 0):
        weights = str(saved(name, num_classes=count))
        source = open_source(Request(f"timm:{name}", str(picture), weights=weights))
        model = timm.create_model(name, num_classes=count, checkpoint_path=weights).eval()
        with torch.no_grad():
            assert torch.equal(source.model(*source.call.args), model(*source.call.args))


def test_the_command_makes_a_report(saved, picture, tmp_path):
    weights = str(saved("vit_tiny_patch16_224"))
    words = ["build", "timm:vit_tiny_patch16_224", str(picture), "--weights", weights]
    assert main([*words, "-o", str(tmp_path / "r.html")]) == 0
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert f"--weights {weights}" in text
    assert 'id="overlay-still"' in text


@pytest.mark.parametrize(
    ("model", "options", "error", "words"),
    [
        ("vit_tiny_patch16_224", {}, InvalidOption, "needs its weights: give a file"),
        ("vit_tiny_patch16_22", {}, UnknownModel, "see vit_tiny_patch16_224"),
        ("hf-hub:owner/name", {}, UnknownModel, "has no model 'hf-hub:owner/name'"),
        ("vit_tiny_patch16_224", {"weights": "none.safetensors"}, UnknownModel, "no such file"),
        ("vit_tiny_patch16_224", {"weights": "w.pth"}, UnknownModel, "--allow-pickle opens it"),
        ("vit_tiny_patch16_224", {"weights": "bad.safetensors"}, UnknownModel, "cannot be opened"),
        ("vit_tiny_patch16_224", {"weights": "other.safetensors"}, UnknownModel, "not this model"),
        ("vit_tiny_patch16_224", {"prompt": "x"}, InvalidOption, "a picture and no text"),
    ],
)
def test_what_cannot_be_opened_says_why(model, options, error, words, picture):
    for name in ("w.pth", "bad.safetensors"):
        (picture.parent / name).write_bytes(b"\0" * 40)
    save_file({"other": torch.zeros(2)}, picture.parent / "other.safetensors")
    if "weights" in options:
        options = {"weights": str(picture.parent / options["weights"])}
    with pytest.raises(error, match=words):
        open_source(Request(f"timm:{model}", str(picture), **options))


def test_a_pickle_is_opened_where_it_is_trusted(saved, picture, tmp_path):
    torch.save(
        {"state_dict": timm.create_model("vit_tiny_patch16_224").state_dict()}, tmp_path / "w.pth"
    )
    request = Request("timm:vit_tiny_patch16_224", str(picture), weights=str(tmp_path / "w.pth"),
                      allow_pickle=True)  # fmt: skip
    assert np.isfinite(build_run(request).attentions[0].weights).all()


def test_other_models_bring_their_own_weights(picture):
    with pytest.raises(InvalidOption, match="--weights: MODEL demo:vision comes with its weights"):
        open_source(Request("demo:vision", str(picture), weights="w.safetensors"))
