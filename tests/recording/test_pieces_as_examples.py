"""Frames, patches and halos that are counted as examples lie on the sequence that they make."""

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

WIDTH, HEADS, EACH = 8, 2, 4
CLOSE = 2e-6


def attend(query, key, value, *, fused):
    """Attend; ``(…, head, position, width)``."""
    if fused:
        return F.scaled_dot_product_attention(query, key, value)
    return (query @ key.mT / math.sqrt(query.shape[-1])).softmax(-1) @ value


class Frames(nn.Module):
    """Attend inside each frame of a video, which has a class token of its own where asked for."""

    def __init__(self, *, token, fused):
        super().__init__()
        torch.manual_seed(0)
        self.token, self.fused = token, fused
        self.embed = nn.Conv2d(3, WIDTH, 4, 4)
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH))
        self.project = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(2))
        self.widen, self.narrow = nn.Linear(WIDTH, 16), nn.Linear(16, WIDTH)

    def tokens(self, frames):
        hidden = self.embed(frames).flatten(2).transpose(1, 2)
        if self.token:
            hidden = torch.cat([self.first.expand(len(hidden), -1, -1), hidden], dim=1)
        return hidden

    def split(self, hidden, layer):
        projected = self.project[layer](hidden).unflatten(-1, (3, HEADS, EACH))
        return projected.permute(2, 0, 3, 1, 4)

    def layer(self, hidden, layer):
        mixed = attend(*self.split(hidden, layer), fused=self.fused)
        hidden = hidden + mixed.transpose(1, 2).flatten(2)
        inner = self.widen(hidden)
        return hidden + self.narrow(inner * torch.sigmoid(1.702 * inner))

    def forward(self, video):
        hidden = self.tokens(video.flatten(0, 1))
        for layer in range(2):
            hidden = self.layer(hidden, layer)
        return hidden

    def expected(self, frames):
        """Return the weights of both layers, each frame alone, block after block."""
        hidden, found = [self.tokens(each[None]) for each in frames], []
        for layer in range(2):
            alone = [reference.weights_of(*self.split(x, layer)[:2, 0]) for x in hidden]
            side = alone[0].shape[-1]
            whole = np.zeros((HEADS, side * len(frames), side * len(frames)))
            for frame, weights in enumerate(alone):
                own = slice(frame * side, (frame + 1) * side)
                whole[:, own, own] = weights
            found.append(whole)
            hidden = [self.layer(x, layer) for x in hidden]
        return found


@pytest.mark.parametrize("fused", [True, False], ids=["sdpa", "by hand"])
@pytest.mark.parametrize("token", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_frames_that_are_counted_as_examples_follow_one_another(batch, token, fused):
    model, video = Frames(token=token, fused=fused).eval(), torch.randn(batch, 3, 3, 8, 12)
    with torch.no_grad():
        run, _ = reference.record(model, video, example=batch - 1)
        expected = model.expected(video[-1])
    assert len(run.attentions) == len(expected) == 2
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert np.abs(attention.weights - weights).max() < CLOSE
        assert attention.residual < 1e-5
        assert attention.kind == "self"


class Patches(nn.Module):
    """Attend inside each patch of a picture, as TNT's inner transformer does (Han et al. 2021)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Conv2d(3, WIDTH, 7, 2, 3)
        self.project = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, picture):
        patches = F.unfold(picture, 8, stride=8).transpose(1, 2).reshape(-1, 3, 8, 8)
        hidden = self.embed(patches).flatten(2).transpose(1, 2)
        projected = self.project(hidden).unflatten(-1, (3, HEADS, EACH))
        return attend(*projected.permute(2, 0, 3, 1, 4), fused=False)


def test_pixels_inside_patches_lie_on_the_grid_of_the_picture():
    model, picture = Patches().eval(), torch.randn(1, 3, 16, 24)
    with torch.no_grad():
        run, _ = reference.record(model, picture)
        (attention,) = run.attentions
        side = 4  # of a patch, after the convolution
        whole = np.zeros((HEADS, 96, 96))
        for row in range(2):
            for column in range(3):
                patch = picture[0, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
                hidden = model.embed(patch[None])[0].flatten(1).T
                q, k, _ = model.project(hidden).unflatten(-1, (3, HEADS, EACH)).permute(1, 2, 0, 3)
                places = [
                    (row * side + y) * 3 * side + column * side + x
                    for y in range(side)
                    for x in range(side)
                ]
                whole[np.ix_(range(HEADS), places, places)] = reference.weights_of(q, k)
    assert np.abs(attention.weights - whole).max() < CLOSE


class Halo(nn.Module):
    """Let blocks look at themselves and a halo around them (Vaswani et al. 2021)."""

    def __init__(self, stride):
        super().__init__()
        torch.manual_seed(0)
        self.stride = stride
        self.query = nn.Conv2d(3, WIDTH, 1, stride)
        self.keys = nn.Conv2d(3, 2 * WIDTH, 1)

    def forward(self, picture):
        block, halo, own = 4, 1, 4 // self.stride
        query = self.query(picture).unflatten(1, (HEADS, EACH))
        query = query.unfold(3, own, own).unfold(4, own, own)  # (…, row, column, y, x)
        query = query.flatten(-2).flatten(3, 4).permute(0, 1, 3, 4, 2).flatten(0, 1)
        keys = F.pad(self.keys(picture), [halo] * 4)
        keys = keys.unfold(2, block + 2 * halo, block).unfold(3, block + 2 * halo, block)
        keys = keys.flatten(-2).flatten(2, 3).unflatten(1, (HEADS, 2 * EACH))
        keys = keys.permute(0, 1, 3, 4, 2).flatten(0, 1)
        return attend(query, *keys.split(EACH, -1), fused=False)

    def expected(self, picture):
        """Return the weights, and what padding has of them, query by query."""
        query, keys = (
            self.query(picture)[0],
            self.keys(picture)[0].unflatten(0, (HEADS, -1))[:, :EACH],
        )
        _, rows, columns = query.shape
        _, _, height, width = keys.shape
        weights = np.zeros((HEADS, rows * columns, height * width))
        for head in range(HEADS):
            for place in range(rows * columns):
                y, x = (each * self.stride // 4 * 4 for each in divmod(place, columns))
                near = [(y + i, x + j) for i in range(-1, 5) for j in range(-1, 5)]
                own = query.unflatten(0, (HEADS, EACH))[head].flatten(1)[:, place]
                there = [0 <= i < height and 0 <= j < width for i, j in near]
                scores = [
                    float(own @ keys[head, :, i, j]) / math.sqrt(EACH) if real else 0.0
                    for real, (i, j) in zip(there, near, strict=True)
                ]
                parts = np.exp(scores) / np.exp(scores).sum()
                for real, (i, j), part in zip(there, near, parts, strict=True):
                    if real:
                        weights[head, place, i * width + j] += part
        return weights


@pytest.mark.parametrize("stride", [1, 2])
def test_blocks_lie_on_the_picture_with_their_halo(stride):
    model, picture = Halo(stride).eval(), torch.randn(1, 3, 8, 12)
    with torch.no_grad():
        run, _ = reference.record(model, picture)
        expected = model.expected(picture)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected).max() < CLOSE
    assert np.abs(attention.sink - (1 - expected.sum(-1))).max() < 1e-5


class Pair(nn.Module):
    """Let each of two pictures look at the other one, as matchers of keypoints do."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project = nn.Linear(WIDTH, 2 * WIDTH)

    def forward(self, points):
        # Where they were before is not known, only that the pictures were examples.
        hidden = points.flatten(0, 1).cumsum(-1).reshape(points.shape).flatten(0, 1)
        other = hidden.reshape(-1, 2, *hidden.shape[1:]).flip(1).reshape(hidden.shape)
        query = self.project(hidden)[..., :WIDTH].unflatten(-1, (HEADS, EACH)).transpose(1, 2)
        key = self.project(other)[..., WIDTH:].unflatten(-1, (HEADS, EACH)).transpose(1, 2)
        return F.scaled_dot_product_attention(query, key, key)


def test_two_pictures_that_look_at_each_other_lie_side_by_side():
    model, points = Pair().eval(), torch.randn(1, 2, 5, WIDTH)
    with torch.no_grad():
        run, _ = reference.record(model, points)
        whole = np.zeros((HEADS, 10, 10))
        for own, other in ((0, 1), (1, 0)):
            query = model.project(points[0, own].cumsum(-1))[:, :WIDTH].unflatten(-1, (HEADS, EACH))
            key = model.project(points[0, other].cumsum(-1))[:, WIDTH:].unflatten(-1, (HEADS, EACH))
            part = reference.weights_of(query.transpose(0, 1), key.transpose(0, 1))
            whole[:, 5 * own : 5 * own + 5, 5 * other : 5 * other + 5] = part
    (attention,) = run.attentions
    assert np.abs(attention.weights - whole).max() < CLOSE
