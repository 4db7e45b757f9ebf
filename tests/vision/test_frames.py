"""Models of videos see the frames of one, or a picture that stands still."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import transformers as hf
from families import draw
from PIL import Image
from planted import Lit, check_page
from test_families import SIZES, boxed, changes, holds, lit, textured
from tiny_vision import SMALL

from attnreport.build import build_run
from attnreport.errors import InvalidInput
from attnreport.picture_file import read_frames, read_picture
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
    """A function that runs a model on a picture, or on frames; both saved as a user has them."""

    def run(name, *images):
        folder = tmp_path / name
        if not folder.exists():
            torch.manual_seed(0)
            model, processor = MODELS[name]
            draw(model()).eval().save_pretrained(folder)
            processor().save_pretrained(folder)
        path = tmp_path / "in"  # what it is called does not matter
        first, *others = images
        first.save(path, "WEBP", save_all=True, append_images=others, lossless=True)
        return build_run(Request(str(folder), str(path)))

    return run


# How many positions stand before the patches.
BEFORE = {"videomae": 0, "vivit": 1}


@pytest.mark.parametrize("name", BEFORE)
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_a_video_that_stands_still_has_its_patches_in_every_frame(run_of, name, size):
    """Two frames make a tube: of 2 × 6 × 6 tubes two change where a spot is lit."""
    dark = run_of(name, textured(size))
    axis, before = dark.attentions[0].queries, BEFORE[name]
    assert len(boxed(axis)) == len(axis) - before == 72
    assert axis.labels[before] == "frame 1 row 0 column 0"
    assert axis.labels[-1] == "frame 3 row 5 column 5"
    assert [axis.picture.parts[axis.positions[at].part].name for at in (before, -1)] == [
        "frame 1",
        "frame 3",
    ]
    place = before + 21
    image, spot = lit(textured(size), axis.positions[place].box)
    bright = run_of(name, image)
    for side in changes(dark.attentions[0], bright.attentions[0]):
        most = np.sort(np.argsort(side)[-2:])
        assert most.tolist() == [place, 36 + place]
        assert all(holds(axis.positions[index].box, spot, 0.01) for index in most)
    assert any("the picture was shown 4 times" in note for note in dark.provenance.notes)


def video(size, count=4):
    """Frames that differ everywhere."""
    first = np.asarray(textured(size))
    return [Image.fromarray(np.roll(first, 7 * nth, axis=1)) for nth in range(count)]


@pytest.mark.parametrize("name", BEFORE)
def test_what_shines_in_one_frame_is_covered_in_that_frame(run_of, either_page_of, name):
    """The model itself says which position a spot in the third of four frames changes."""
    found = []
    for size in SIZES.values():
        dark = run_of(name, *video(size))
        axis = dark.attentions[0].queries
        assert axis.name == "video"
        assert axis.labels[BEFORE[name]] == "frames 1–2 row 0 column 0"
        assert axis.labels[-1] == "frames 3–4 row 5 column 5"
        assert [part.name for part in axis.picture.parts] == ["frames 1–2", "frames 3–4"]
        first, second = (part.box for part in axis.picture.parts)
        assert (first[0], first[1]) == (0, 0) and second[2:] != first[2:]
        for position in (each for each in axis if each.box):
            (x0, y0, x1, y1), (left, top, right, bottom) = (
                position.box,
                axis.picture.parts[position.part].box,
            )
            assert left <= x0 < x1 <= right and top <= y0 < y1 <= bottom
        place = BEFORE[name] + 36 + 21
        # Where it lies in a frame, a picture that stands still tells.
        still = run_of(name, textured(size)).attentions[0].queries.positions[place].box
        frames = video(size)
        frames[2], (x, y) = lit(frames[2], still)
        bright = run_of(name, *frames)
        for side in changes(dark.attentions[0], bright.attentions[0]):
            assert int(side.argmax()) == place
        box = axis.positions[place].box
        left, top = (round(box[side] - still[side]) for side in (0, 1))
        check_cell(axis.picture, (left, top, left + size[0], top + size[1]), video(size)[2:])
        found.append(Lit(name, axis, place, (x + left, y + top)))
    check_page(either_page_of, found)


def check_cell(picture, cell, frames):
    """The sheet shows the mean of these frames there."""
    sheet = Image.open(io.BytesIO(picture.content))
    mean = np.mean([np.asarray(frame, dtype=float) for frame in frames], axis=0)
    assert np.abs(np.asarray(sheet.crop(cell), dtype=float) - mean).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_frames_are_taken_evenly_and_said(tmp_path, kind):
    """Of ten frames four: the middle of each quarter. Each holds a square of its own grey."""
    greys = [20 * nth for nth in range(10)]
    frames = [Image.new("RGB", (8, 6), (grey,) * 3) for grey in greys]
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(
        tmp_path / "in.mp4", kind, save_all=True, append_images=frames[1:], **options)  # fmt: skip
    opened = read_frames(tmp_path / "in.mp4", 4)
    assert [frame.getpixel((3, 3))[0] for frame in opened.frames] == [20, 60, 120, 160]
    assert opened.notes == ("of the video's 10 frames 4 were taken, evenly: 2, 4, 7, 9",)
    short = read_frames(tmp_path / "in.mp4", 16)
    assert len(short.frames) == 16


def test_transparent_frames_are_laid_on_white_once_said(tmp_path):
    frames = [Image.new("RGBA", (8, 6), (0, 0, 0, 0)) for _ in range(3)]
    for nth, frame in enumerate(frames):
        frame.putpixel((nth, 0), (255, 0, 0, 255))
    frames[0].save(tmp_path / "in", "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    opened = read_frames(tmp_path / "in", 3)
    assert all(frame.getpixel((7, 5)) == (255, 255, 255) for frame in opened.frames)
    assert opened.notes[1:] == ("transparent parts of the picture were laid on white",)


def test_a_video_that_is_too_much_is_refused(tmp_path, monkeypatch):
    frames = [Image.new("RGB", (8, 6), (grey,) * 3) for grey in (0, 90, 180)]
    frames[0].save(tmp_path / "in", "GIF", save_all=True, append_images=frames[1:])
    for limit in ("MAX_DECODED", "MAX_PIXELS"):
        with monkeypatch.context() as patch:
            patch.setattr(f"attnreport.picture_file.{limit}", 100)
            with pytest.raises(InvalidInput, match="8 × 6 pixels in 3 frames or more, over"):
                read_frames(tmp_path / "in", 3)


def test_a_damaged_video_is_refused(tmp_path):
    frames = video((40, 30))
    frames[0].save(tmp_path / "in", "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    content = (tmp_path / "in").read_bytes()
    (tmp_path / "in").write_bytes(content[: len(content) // 2])
    with pytest.raises(InvalidInput, match="damaged picture"):
        read_frames(tmp_path / "in", 4)


CONTAINERS = {
    "MP4": b"\0\0\0\x20ftypisom\0\0\2\0",
    "Matroska or WebM": b"\x1a\x45\xdf\xa3\1\0\0\0",
    "AVI": b"RIFF\0\0\1\0AVI LIST",
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_a_video_in_a_container_is_called_so(tmp_path, kind):
    (tmp_path / "in.gif").write_bytes(CONTAINERS[kind] + bytes(200))
    for read in (read_picture, lambda path: read_frames(path, 4)):
        with pytest.raises(InvalidInput) as raised:
            read(tmp_path / "in.gif")
        words = f"is a video ({kind}), which is not decoded; save its frames as an animated GIF"
        assert words in str(raised.value)


def test_attention_over_time_and_over_space(run_of, tmp_path):
    """TimeSformer: each of 36 patches looks at itself in 4 frames, then each frame at itself.

    The reference is the softmax of the model's own projections, in float64.
    """
    run = run_of("timesformer", *video((97, 53)))
    source = open_source(Request(str(tmp_path / "timesformer"), str(tmp_path / "in")))
    found = []
    for layer in source.model.encoder.layer:
        for each in (layer.temporal_attention, layer.attention):
            each.attention.qkv.register_forward_hook(
                lambda _, __, output: found.append(output.double().numpy())
            )
    with torch.no_grad():
        source.model(*source.call.args, **source.call.kwargs)
    assert not run.missed
    for attention, projected in zip(run.attentions, found, strict=True):
        count, length, _ = projected.shape
        query, key, _ = projected.reshape(count, length, 3, 2, 8).transpose(2, 0, 3, 1, 4)
        scores = np.exp(query @ key.swapaxes(2, 3) / 8**0.5)
        expected = np.zeros((2, count, length, count, length))
        for piece, score in enumerate(scores / scores.sum(axis=3, keepdims=True)):
            expected[:, piece, :, piece] = score
        over_time = length == 4
        # Key 0 of attention over time is the class token, which no patch sees there.
        assert not attention.weights[:, :, :1].any() or not over_time
        weights = attention.weights[:, :, 1:] if over_time else attention.weights
        np.testing.assert_allclose(weights, expected.reshape(2, *2 * (count * length,)), atol=1e-6)
        labels = attention.queries.labels
        assert labels[:2] == (
            ("frame 1 row 0 column 0", "frame 2 row 0 column 0")
            if over_time
            else ("[CLS]", "frame 1 row 0 column 0")
        )
        assert len(boxed(attention.queries)) == len(boxed(attention.keys)) == 144


def test_of_frames_one_by_one_the_right_one_is_covered(run_of, either_page_of):
    """A spot in the third frame changes one position over space: the one it lies in."""
    dark = run_of("timesformer", *video((97, 53)))
    first = dark.attentions[1]
    place = 2 * 37 + 1 + 21
    still = run_of("timesformer", textured((97, 53))).attentions[1].queries.positions[place].box
    frames = video((97, 53))
    frames[2], (x, y) = lit(frames[2], still)
    changed = changes(first, run_of("timesformer", *frames).attentions[1])[1]
    assert int(changed.argmax()) == place
    box = first.keys.positions[place].box
    spot = x + box[0] - still[0], y + box[1] - still[1]
    check_page(either_page_of, [Lit("timesformer", first.keys, place, spot)])
