"""Positions are followed from the pixels on: what they hold, and where that ends."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.errors import InvalidInput
from attnreport.picture import Picture

SIDE = 16


def pixels(side=SIDE, height=None):
    """A tensor of noise and what it shows: a picture of the same size."""
    height = height or side
    picture = Picture.of(Image.new("RGB", (side, height), "navy"))
    tensor = torch.randn(1, 3, height, side, generator=torch.Generator().manual_seed(0))
    return tensor, attnreport.Pixels.stretched(picture, height, side)


class Attending(nn.Module):
    """Attend over what ``embed`` makes of a picture, ``(1, position, 4)``."""

    def __init__(self, embed, *parts):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.parts = embed, nn.ModuleList(parts)

    def forward(self, picture):
        hidden = self.embed(self, picture)
        if isinstance(hidden, torch.Tensor):
            hidden = hidden, hidden
        query, key = (side.unsqueeze(1) for side in hidden)
        return F.scaled_dot_product_attention(query, key, key)


def axes_of(model, *, side=SIDE, height=None, **more):
    tensor, described = pixels(side, height)
    with torch.no_grad():
        expected = model(tensor)
        with attnreport.capture(model, axes=[(tensor, described)], **more) as recording:
            output = model(tensor)
    assert torch.equal(output, expected)
    run = recording.run()
    return run.attentions[0].queries, run.attentions[0].keys, run


def flat(grid):
    return grid.flatten(2).transpose(1, 2)


def boxes(axis):
    return [position.box for position in axis]


def test_a_convolution_with_its_own_windows_covers_them():
    model = Attending(lambda own, x: flat(own.parts[0](x)), nn.Conv2d(3, 4, 4, 4))
    axis, keys, _ = axes_of(model, side=16, height=8)
    assert axis is keys
    assert boxes(axis)[:5] == [(0, 0, 4, 4), (4, 0, 8, 4), (8, 0, 12, 4), (12, 0, 16, 4),
                               (0, 4, 4, 8)]  # fmt: skip
    assert axis.labels[-1] == "row 1 column 3"


def test_a_convolution_whose_windows_overlap_is_a_cell_around_its_middle():
    """By hand: kernel 3, stride 2, padding 1 is around pixel 2i, whose middle is at 2i + 0.5."""
    model = Attending(lambda own, x: flat(own.parts[0](x)), nn.Conv2d(3, 4, 3, 2, 1))
    axis, _, _ = axes_of(model, side=8)
    assert boxes(axis)[5] == pytest.approx((1.5 - 0.0, 1.5, 3.5, 3.5))
    assert boxes(axis)[0] == pytest.approx((0, 0, 1.5, 1.5))


def test_two_convolutions_are_one_after_the_other():
    parts = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 2, 2)
    axis, _, _ = axes_of(Attending(lambda own, x: flat(own.parts[1](own.parts[0](x))), *parts))
    assert len(axis) == 16
    # The cells of pixels 4 and 6, which are around 4.5 and 6.5.
    assert boxes(axis)[5] == pytest.approx((3.5, 3.5, 7.5, 7.5))


def test_keys_that_were_pooled_are_the_hull_of_what_they_hold():
    def embed(own, picture):
        grid = own.parts[0](picture)
        return flat(grid), flat(F.avg_pool2d(grid, 2))

    queries, keys, _ = axes_of(Attending(embed, nn.Conv2d(3, 4, 4, 4)))
    assert boxes(queries)[0] == (0, 0, 4, 4)
    assert boxes(keys) == [(0, 0, 8, 8), (8, 0, 16, 8), (0, 8, 8, 16), (8, 8, 16, 16)]


def test_pixels_beside_each_other_in_the_channels_are_merged():
    """Patch merging (Swin), pixel shuffle (InternVL): neighbours go into one position."""

    def embed(own, picture):
        grid = own.parts[0](picture).permute(0, 2, 3, 1)
        joined = torch.cat([grid[:, 0::2, 0::2], grid[:, 1::2, 0::2], grid[:, 0::2, 1::2],
                            grid[:, 1::2, 1::2]], dim=-1)  # fmt: skip
        return own.parts[1](joined).flatten(1, 2)

    axis, _, _ = axes_of(Attending(embed, nn.Conv2d(3, 4, 4, 4), nn.Linear(16, 4)))
    assert boxes(axis) == [(0, 0, 8, 8), (8, 0, 16, 8), (0, 8, 8, 16), (8, 8, 16, 16)]


def test_learned_tokens_are_called_by_the_name_of_their_parameter():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.cls_token = nn.Parameter(torch.randn(1, 1, 4))
            self.register_tokens = nn.Parameter(torch.randn(1, 2, 4))
            self.pos_embed = nn.Parameter(torch.randn(1, 19, 4))

    def embed(own, picture):
        tokens, patches = own.parts[1], flat(own.parts[0](picture))
        joined = torch.cat([tokens.cls_token, tokens.register_tokens, patches], dim=1)
        return tokens.pos_embed + joined

    axis, _, _ = axes_of(Attending(embed, nn.Conv2d(3, 4, 4, 4), Tokens()))
    assert axis.labels[:4] == ("[CLS]", "[register 0]", "[register 1]", "row 0 column 0")
    assert boxes(axis)[:3] == [None] * 3
    assert boxes(axis)[3] == (0, 0, 4, 4)


def test_positions_in_another_order_take_their_boxes_along():
    order = torch.tensor([5, 0, 15, 9])
    plain, picked = (
        boxes(axes_of(Attending(embed, nn.Conv2d(3, 4, 4, 4)))[0])
        for embed in (lambda own, x: flat(own.parts[0](x)),
                      lambda own, x: flat(own.parts[0](x))[:, order])
    )  # fmt: skip
    assert picked == [plain[place] for place in order]


def test_what_the_model_pads_has_no_box():
    model = Attending(lambda own, x: flat(F.pad(own.parts[0](x), (0, 1))), nn.Conv2d(3, 4, 4, 4))
    axis, _, _ = axes_of(model, side=8)
    assert [box is None for box in boxes(axis)] == [False, False, True, False, False, True]
    assert axis.labels[2] == "2 (padding)"


def test_padding_of_the_processor_lies_outside_the_picture():
    tensor, described = pixels()
    moved = attnreport.Pixels(described.picture, described.boxes - (8, 0, 8, 0))
    model = Attending(lambda own, x: flat(own.parts[0](x)), nn.Conv2d(3, 4, 8, 8))
    with torch.no_grad(), attnreport.capture(model, axes=[(tensor, moved)]) as recording:
        model(tensor)
    axis = recording.run().attentions[0].queries
    assert boxes(axis) == [None, (0, 0, 8, 8), None, (0, 8, 8, 16)]
    assert axis.labels[:2] == ("(padding)", "row 0 column 0")


def test_what_is_not_understood_ends_in_numbers_and_says_so():
    def embed(own, picture):
        return torch.fft.fft(flat(own.parts[0](picture)), dim=1).real

    axis, _, run = axes_of(Attending(embed, nn.Conv2d(3, 4, 4, 4)))
    assert boxes(axis) == [None] * 16
    assert axis.labels[:2] == ("0", "1")
    assert "where its queries lie in the picture could not be followed" in run.ledger[0].reason


def test_channels_are_no_positions_of_a_picture():
    """Attention over channels (XCiT): each of them sees everything."""
    model = Attending(lambda own, x: own.parts[0](x).flatten(2), nn.Conv2d(3, 4, 4, 4))
    assert boxes(axes_of(model)[0]) == [None] * 4


def test_boxes_that_do_not_fit_are_refused():
    tensor, described = pixels()
    wrong = attnreport.Pixels(described.picture, described.boxes[:3])
    message = r"axes\[0\]: boxes of shape \(3, 16, 4\) do not fit a tensor of shape \(1, 3, 16, 16"
    model = Attending(lambda own, x: flat(own.parts[0](x)), nn.Conv2d(3, 4, 4, 4))
    with (
        pytest.raises(InvalidInput, match=message),
        attnreport.capture(model, axes=[(tensor, wrong)]),
    ):
        pass
    with pytest.raises(attnreport.AttnreportError, match="boxes of pixels have shape"):
        attnreport.Pixels(described.picture, np.zeros((3, 3)))


def batch_of(boxes_of):
    """Two pictures in one call, each cut into 4 × 4 patches; ``boxes_of`` says what they show."""
    model = Attending(lambda self, x: flat(self.parts[0](x)), nn.Conv2d(3, 4, 4, 4))
    tensor, described = pixels()
    both = torch.cat([tensor, tensor.flip(3)])
    shown = attnreport.Pixels(
        described.picture, boxes_of(described.boxes), np.arange(2).reshape(2, 1, 1, 1), ("a", "b")
    )
    if boxes_of is examples:
        shown = described
    with torch.no_grad(), attnreport.capture(model, axes=[(both, shown)]) as recording:
        model(both)
    with torch.no_grad():
        hidden = flat(model.parts[0](both)).double()
    weights = (hidden @ hidden.mT / 2).softmax(dim=2).numpy()
    return recording.run().attentions[0], weights


def examples(whole):
    """Both are of the same place."""
    return whole


def tiles(whole):
    """The left half, and the right half."""
    half = whole * [0.5, 1, 0.5, 1]
    right = np.array([SIDE / 2, 0, SIDE / 2, 0])
    return np.stack([half, half + right])[:, None]


def test_two_pictures_of_a_batch_are_two_examples():
    attention, weights = batch_of(examples)
    np.testing.assert_allclose(attention.weights[0], weights[0], atol=1e-6)
    assert len(attention.keys) == 16


def test_two_halves_of_one_picture_are_one_sequence():
    attention, weights = batch_of(tiles)
    assert attention.weights.shape == (1, 32, 32)
    for half in (0, 1):
        own = slice(16 * half, 16 * half + 16)
        np.testing.assert_allclose(attention.weights[0, own, own], weights[half], atol=1e-6)
    assert not attention.weights[0, :16, 16:].any() and not attention.weights[0, 16:, :16].any()
    assert attention.keys.labels[0] == "a row 0 column 0"
    assert attention.keys.positions[16].box == (8, 0, 10, 4)
