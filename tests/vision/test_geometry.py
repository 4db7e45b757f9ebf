"""Where patches lie: a patch lights up if, and only if, what is in its box does."""

from __future__ import annotations

import numpy as np
import pytest
import transformers
from PIL import Image
from tiny_vision import FAMILIES, black_but, cropped, exact, stretched

from attnreport.build import build_run
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.picture import Picture
from attnreport.picture_file import Opened
from attnreport.sources import Request, open_source, vision_tiles
from attnreport.sources.vision_boxes import UnknownGeometry, placement
from attnreport.sources.vision_tiles import pixels_of

SIZES = {"square": (96, 96), "tall": (60, 131), "wide": (203, 77), "odd": (97, 53),
         "small": (31, 29)}  # fmt: skip
PROCESSORS = {"exact": exact, "cropped": cropped, "stretched": stretched,
              "padded": lambda: cropped(short=32, side=48)}  # fmt: skip


def brightness(pixels):
    """The mean of each 8 × 8 patch of (1, 3, y, x), as (row, column)."""
    values = pixels[0].mean(dim=0).numpy()
    rows, columns = (side // 8 for side in values.shape)
    return values[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8).mean(axis=(1, 3))


def patch_boxes(pixels, source, patch=8):
    """The part of the source under each patch of pixels ``(…, y, x, 4)``; None for padding."""
    rows, columns = (side // patch for side in pixels.shape[-3:-1])
    cells = pixels.reshape(-1, *pixels.shape[-3:])[0][: rows * patch, : columns * patch]
    cells = cells.reshape(rows, patch, columns, patch, 4)
    low, high = cells.min(axis=(1, 3))[..., :2], cells.max(axis=(1, 3))[..., 2:]
    low, high = low.clip(0), np.minimum(high, source)
    boxes = np.concatenate([low, high], axis=-1).reshape(-1, 4)
    return [tuple(box) if (box[2:] > box[:2]).all() else None for box in boxes]


@pytest.mark.parametrize("how", ["computed", "measured"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", PROCESSORS)
def test_what_shines_in_a_box_arrives_in_its_patch(kind, size, how, monkeypatch):
    """The reference is the real processor: it knows nothing of boxes."""
    processor = PROCESSORS[kind]()
    width, height = SIZES[size]
    black = Image.new("RGB", (width, height))
    arrived = processor(images=black, return_tensors="pt")
    if how == "measured":
        monkeypatch.setattr(vision_tiles, "placement", refuse)
    pixels = pixels_of(processor, Opened(black, Picture.of(black), ()), arrived)
    dark = brightness(arrived["pixel_values"])
    boxes = patch_boxes(pixels.boxes, (width, height))
    assert len(boxes) == dark.size
    assert any(boxes)
    for index, box in enumerate(boxes):
        if box is None or round(box[2]) <= round(box[0]) or round(box[3]) <= round(box[1]):
            continue
        lit = black_but(width, height, box)
        changed = brightness(processor(images=lit, return_tensors="pt")["pixel_values"]) - dark
        assert int(changed.argmax()) == index, box


def refuse(make, image):
    raise UnknownGeometry


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("size", SIZES)
def test_measured_boxes_are_the_computed_ones(kind, size):
    """Two ways to the same places; ramps of 255 steps leave a thousandth of the side open."""
    image = Image.new("RGB", SIZES[size])
    opened = Opened(image, Picture.of(image), ())
    computed = placement(PROCESSORS[kind](), image).boxes()
    shape = (1, 3, *computed.shape[:2])
    measured = vision_tiles._tiles(PROCESSORS[kind](), opened, shape).boxes[0, 0]
    assert np.abs(measured - computed).max() < 0.3 + 0.004 * max(SIZES[size])


def test_boxes_of_a_square_resize_are_even():
    boxes = placement(exact(48), Image.new("RGB", (96, 24))).boxes()
    assert tuple(boxes[0, 0]) == (0, 0, 2, 0.5)
    assert tuple(boxes[47, 47]) == (94, 23.5, 96, 24)


def test_boxes_of_a_centre_crop_begin_where_it_does():
    """By hand: 200 × 100 becomes 112 × 56, of which 32 … 80 across and 4 … 52 down is left."""
    found = placement(cropped(56, 48), Image.new("RGB", (200, 100)))
    assert (found.left, found.top) == (32, 4)
    scale = 200 / 112
    assert found.boxes()[0, 0] == pytest.approx((32 * scale, 4 * scale, 33 * scale, 5 * scale))


class Twisted(transformers.ViTImageProcessorPil):
    """A processor that does what its configuration does not say."""

    def resize(self, image, size, **options):
        values = super().resize(image, size, **options)
        return np.stack([np.roll(row, index, axis=1) for index, row in
                         enumerate(values.swapaxes(0, 1))], axis=1)  # fmt: skip


def test_a_processor_that_does_something_else_has_no_boxes(tmp_path):
    image = Image.new("RGB", (90, 90))
    processor = Twisted(size={"height": 48, "width": 48})
    arrived = processor(images=image, return_tensors="pt")
    with pytest.raises(UnknownGeometry, match="straight lines"):
        pixels_of(processor, Opened(image, Picture.of(image), ()), arrived)


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
