"""What cannot be laid over a picture is said at the top of the page, with the reason."""

from __future__ import annotations

import pytest
import torch
from PIL import Image
from planted import grid_axis, planted_run
from playwright.sync_api import expect
from torch.nn import functional

import attnreport
from attnreport.build import build_run
from attnreport.page.account import warnings
from attnreport.picture import Picture
from attnreport.sources import Request, vision_boxes, vision_tiles

REASON = "no positions could be followed from it to an attention"


class Looks(torch.nn.Module):
    """Attention over the rows of a picture; detached from its pixels where it is told to be."""

    def __init__(self, *, detached):
        super().__init__()
        self.detached = detached
        self.project = torch.nn.Linear(1, 4)

    def forward(self, pixels):
        """Return ``(1, row, 4)``."""
        rows = self.project(pixels.mean(dim=(1, 3), keepdim=True)[:, 0])  # (1, row, 4)
        if self.detached:  # nothing follows numbers out of torch and back
            rows = torch.from_numpy(rows.detach().numpy().copy())
        return functional.scaled_dot_product_attention(rows, rows, rows)


@pytest.mark.parametrize("detached", [False, True])
def test_a_way_that_cannot_be_followed_is_a_warning(page_of, detached):
    torch.manual_seed(0)
    pixels = torch.randn(1, 3, 6, 8)
    shown = attnreport.Pixels.stretched(Picture.of(Image.new("RGB", (80, 60))), 6, 8)
    model = Looks(detached=detached)
    with attnreport.capture(model, axes=[(pixels, shown)]) as recording:
        model(pixels)
    run = recording.run()
    assert run.attentions[0].keys.pictured != detached
    said = [notice.what for notice in warnings(run)]
    assert said == ([f"Nothing can be laid over the picture: {REASON}."] if detached else [])
    page = page_of(run)
    expect(page.locator("#overlay-tab")).to_be_visible(visible=not detached)
    if detached:
        expect(page.get_by_text(REASON).first).to_be_visible()


def test_a_picture_that_no_processor_places_is_a_warning(checkpoint, tmp_path, monkeypatch):
    Image.new("RGB", (64, 40), "teal").save(tmp_path / "in.png")
    for module in (vision_boxes, vision_tiles):
        monkeypatch.setattr(module, "slack", lambda _: -1.0)
    run = build_run(Request(str(checkpoint("vit")), str(tmp_path / "in.png")))
    (notice,) = warnings(run)
    assert notice.what.startswith("Nothing can be laid over the picture: the processor does not")
    assert "never guessed" in notice.why


def test_a_picture_that_is_shown_warns_of_nothing():
    assert not warnings(planted_run(grid_axis(60, 40, 3, 2), {0: 1}))
