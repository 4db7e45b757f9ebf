"""Pictures keep within their share of a page, and the page says how they were scaled."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from runs import softmax

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.cli import main
from attnreport.errors import InvalidRun
from attnreport.page.page import scripts_size
from attnreport.picture import Picture


def noise(width, height):
    """A picture that no PNG makes small."""
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def run_of(*images):
    """A layer for each picture, whose patches are its halves."""
    attentions = []
    for nth, image in enumerate(images):
        width, height = image.size
        positions = (
            Position("[CLS]", role="special"),
            Position("left", box=(0, 0, width / 2, height)),
            Position("right", box=(width / 2, 0, width, height)),
        )
        axis = Axis(f"picture {nth}", positions, picture=Picture.of(image))
        attentions.append(Attention(softmax((2, 3, 3), nth), "a", nth, "self", axis, axis))
    return Run(tuple(attentions))


def carried(html):
    """The pictures of a page, decoded."""
    urls = set(re.findall(r"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]{400,})", html))
    return [Image.open(io.BytesIO(base64.b64decode(url))) for url in urls], sum(map(len, urls))


def test_a_large_picture_is_scaled_and_it_is_said():
    report = Report(run_of(noise(2000, 1000)))
    (shown,), _ = carried(report.html())
    assert shown.size == (1024, 512)
    words = "scaled from 2000 × 1000 to 1024 × 512 pixels and stored as JPEG"
    assert any(words in said for said in report.reductions)
    assert words in report.html()


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_take_a_quarter_of_what_is_left_at_most(count):
    images = [noise(600 + nth, 500) for nth in range(count)]
    whole = Report(run_of(*images)).html()
    assert carried(whole)[1] > 300_000
    report = Report(run_of(*images), max_size=850_000)
    shown, characters = carried(report.html())
    assert len(report.html().encode()) <= 850_000
    left = 850_000 - scripts_size()
    assert 0.5 * left / 4 < characters <= left / 4
    for image in shown:
        assert image.width < 600
        assert image.height == pytest.approx(image.width * 500 / 600, abs=1.5)
    said = [words for words in report.reductions if "The picture was scaled from 60" in words]
    assert len(said) == count
    assert any(f"to {shown[0].width} × {shown[0].height} pixels" in words for words in said)


def test_places_stay_where_they_were(page_of):
    report = Report(run_of(noise(600, 500)), max_size=850_000)
    page = page_of(report.html(), fragment="#view=overlay&query=0")
    document = json.loads(page.text_content("#document"))
    assert document["places"][0]["boxes"][1:] == [[0, 0, 300, 500], [300, 0, 600, 500]]
    assert (document["pictures"][0]["width"], document["pictures"][0]["height"]) == (600, 500)


def test_a_picture_as_it_was_is_said_to_be(tmp_path, capsys):
    run_of(Image.new("RGB", (60, 40), "teal")).save(tmp_path / "run.safetensors")
    words = ["build", str(tmp_path / "run.safetensors"), "-o", str(tmp_path / "r.html"), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["reductions"] == []
    run_of(noise(400, 300)).save(tmp_path / "run.safetensors")
    assert main([*words, "--force"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["reductions"]
    assert said == "The picture was stored as JPEG, so that pixels differ a little."


def test_a_flat_drawing_stays_without_loss():
    drawing = Image.new("RGB", (1000, 800), "white")
    drawing.paste("black", (10, 10, 500, 300))
    kept = Picture.of(drawing)
    assert kept.within(len(kept.content)) is kept
    smaller = kept.within(len(kept.content) // 2)
    assert smaller.media_type == "image/png"
    assert len(smaller.content) <= len(kept.content) // 2
    assert (smaller.width, smaller.height) == (1000, 800)


def test_nothing_is_made_smaller_than_one_can_see():
    smallest = Picture.of(noise(500, 300)).within(1)
    assert smallest.kept_size == (96, 58)


def test_a_content_of_too_many_pixels_is_refused():
    buffer = io.BytesIO()
    Image.new("1", (2000, 3)).save(buffer, "PNG")
    with pytest.raises(InvalidRun, match="2000 × 3 pixels, expected up to 1024 a side"):
        Picture(buffer.getvalue(), 2000, 3)
    with pytest.raises(InvalidRun, match="cannot be read"):
        Picture(buffer.getvalue()[:20], 2000, 3)
