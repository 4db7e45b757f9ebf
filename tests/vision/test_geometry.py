"""Where patches lie: a patch lights up if, and only if, what is in its box does."""

from __future__ import annotations

import numpy as np
import pytest
import transformers
from PIL import Image
from tiny_vision import FAMILIES, black_but, cropped, exact, stretched

from attnreport.build import build_run
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.sources import Request, open_source
from attnreport.sources.vision_boxes import UnknownGeometry, patches, placement

SIZES = {"square": (96, 96), "tall": (60, 131), "wide": (203, 77), "odd": (97, 53),
         "small": (31, 29)}  # fmt: skip
PROCESSORS = {"exact": exact, "cropped": cropped, "stretched": stretched,
              "padded": lambda: cropped(short=32, side=48)}  # fmt: skip


def brightness(pixels):
    """The mean of each 8 × 8 patch of (1, 3, y, x), as (row, column)."""
    values = pixels[0].mean(dim=0).numpy()
    rows, columns = (side // 8 for side in values.shape)
    return values[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean(axis=(1, 3))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", PROCESSORS)
def test_what_shines_in_a_box_arrives_in_its_patch(kind, size):
    """The reference is the real processor: it knows nothing of boxes."""
    processor = PROCESSORS[kind]()
    width, height = SIZES[size]
    black = Image.new("RGB", (width, height))
    found = placement(processor, black)
    dark = brightness(processor(images=black, return_tensors="pt")["pixel_values"])
    positions = patches(found, (8, 8))
    assert len(positions) == dark.size

    whole = [position for position in positions if position.box]
    assert whole
    for index, position in enumerate(positions):
        if position.box is None:
            assert position.label.endswith("(padding)")
            continue
        x0, y0, x1, y1 = position.box
        if round(x1) <= round(x0) or round(y1) <= round(y0):
            continue
        lit = black_but(width, height, position.box)
        arrived = brightness(processor(images=lit, return_tensors="pt")["pixel_values"]) - dark
        assert int(arrived.argmax()) == index, position.label


def test_boxes_of_a_square_resize_are_even():
    found = placement(exact(48), Image.new("RGB", (96, 24)))
    first, *_, last = patches(found, (8, 8))
    assert first.box == (0, 0, 16, 4)
    assert last.box == (80, 20, 96, 24)
    assert last.label == "row 5 column 5"


def test_boxes_of_a_centre_crop_begin_where_it_does():
    """By hand: 200 × 100 becomes 112 × 56, of which 32 … 80 across and 4 … 52 down is left."""
    found = placement(cropped(56, 48), Image.new("RGB", (200, 100)))
    assert (found.left, found.top) == (32, 4)
    first = patches(found, (8, 8))[0]
    assert first.box == pytest.approx((32 * 200 / 112, 4 * 100 / 56, 40 * 200 / 112, 12 * 100 / 56))


def test_pixels_that_fill_no_patch_have_no_box():
    found = placement(exact(48), Image.new("RGB", (48, 48)))
    positions = patches(found, (10, 20))
    assert len(positions) == 4 * 2
    assert positions[-1].box == (30, 20, 40, 40)


class Mirrored(transformers.ViTImageProcessorPil):
    """A processor that does what its configuration does not say."""

    def resize(self, image, size, **options):
        return super().resize(image, size, **options)[:, :, ::-1].copy()


def test_a_processor_that_does_something_else_has_no_boxes():
    with pytest.raises(UnknownGeometry, match="does not place the picture across"):
        placement(Mirrored(size={"height": 48, "width": 48}), Image.new("RGB", (90, 90)))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_boxes_on_all_its_layers(checkpoint, tmp_path, family):
    folder = checkpoint(family)
    Image.new("RGB", (120, 80), "navy").save(tmp_path / "in.png")
    run = build_run(Request(str(folder), str(tmp_path / "in.png")))
    before = FAMILIES[family][2]
    layers = [attention for attention in run.attentions if attention.kind == "self"]
    assert len(layers) >= 2
    for attention in layers:
        assert attention.queries is attention.keys or attention.queries == attention.keys
        axis = attention.queries
        assert axis.labels[: len(before)] == before
        assert all(position.box is None for position in axis.positions[: len(before)])
        assert all(position.box for position in axis.positions[len(before) :])
        assert (axis.picture.width, axis.picture.height) == (120, 80)
    assert run.provenance.input_text == "in.png"


def test_a_family_that_is_not_known_has_no_boxes_and_says_so(tmp_path):
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
    )
    transformers.SwinModel(config).save_pretrained(tmp_path / "swin")
    exact(32).save_pretrained(tmp_path / "swin")
    Image.new("RGB", (40, 40)).save(tmp_path / "in.png")
    run = build_run(Request(str(tmp_path / "swin"), str(tmp_path / "in.png")))
    assert all(position.box is None for axis in run.axes for position in axis)
    assert any("patches of a swin lie is not known" in note for note in run.provenance.notes)


def test_a_text_is_refused_by_a_model_that_only_looks(checkpoint, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "in.png")
    request = Request(str(checkpoint("vit")), str(tmp_path / "in.png"), prompt="a cat")
    with pytest.raises(InvalidOption, match="--text: ViTModel takes no text beside it"):
        open_source(request)


def test_a_missing_picture_is_said(checkpoint):
    with pytest.raises(InvalidInput, match="no such file, and ViTModel looks at a picture"):
        open_source(Request(str(checkpoint("vit")), "a cat on a mat"))


def test_a_missing_processor_is_said(tmp_path):
    model = FAMILIES["vit"][0]()
    model.save_pretrained(tmp_path / "vit")
    Image.new("RGB", (40, 40)).save(tmp_path / "in.png")
    with pytest.raises(InvalidInput, match="preprocessor_config"):
        open_source(Request(str(tmp_path / "vit"), str(tmp_path / "in.png")))


def test_half_precision_keeps_its_boxes(checkpoint, tmp_path):
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "in.png")
    request = Request(str(checkpoint("vit")), str(tmp_path / "in.png"), dtype="bfloat16")
    run = build_run(request)
    assert run.provenance.dtype == "bfloat16"
    assert sum(position.box is not None for position in run.axes[0]) == 36


def test_pixels_reach_the_model_as_the_processor_makes_them(checkpoint, tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "in.png")
    folder = str(checkpoint("clip"))
    source = open_source(Request(folder, str(tmp_path / "in.png")))
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    wanted = processor(images=Image.fromarray(values), return_tensors="pt")["pixel_values"]
    assert source.call.kwargs["pixel_values"].equal(wanted)
