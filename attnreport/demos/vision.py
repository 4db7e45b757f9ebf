"""demo:vision: a small vision transformer that tells which kind of chart a picture shows.

A class token and 10 × 10 patches of 10 × 10 pixels; a convolution reads each patch by itself, so
that no pixel reaches a position whose box it is not in. ``examples/train_vision.py`` trained it on
charts of vega-datasets and prints how often it is right and where its class token looks. It knows
nothing of capture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by

from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.demos.transformer import Layer, load_weights
from attnreport.picture_file import read_picture

WEIGHTS = Path(__file__).with_name("vision.safetensors")
KINDS = ("area", "bar", "heatmap", "line", "pie", "scatter")
SIDE, PATCH = 100, 10
GRID = SIDE // PATCH

_WIDTH, _HEADS, _LAYERS, _STROKES = 96, 4, 4, 32


class PatchReader(nn.Module):
    """Read each patch by itself: a small convolution inside of it, then one linear layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.strokes = nn.Conv2d(3, _STROKES, kernel_size=4, stride=2, padding=1)
        self.out = nn.Linear(_STROKES * (PATCH // 2) ** 2, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, patch, width)`` of ``(batch, patch, 3 · PATCH · PATCH)``."""
        batch, count = x.shape[:2]
        found = F.gelu(self.strokes(x.reshape(batch * count, 3, PATCH, PATCH)))
        return self.out(found.reshape(batch, count, -1))  # type: ignore[no-any-return] # nn.Module.__call__ is untyped


class ChartModel(nn.Module):
    """Tell the kind of chart, from ``(batch, 3, SIDE, SIDE)`` as ``contrast`` makes it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = PatchReader(_WIDTH)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, _WIDTH))
        self.place = nn.Parameter(0.02 * torch.randn(1, GRID * GRID, _WIDTH))
        self.layers = nn.ModuleList(Layer(_WIDTH, _HEADS, causal=False) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(_WIDTH)
        self.kind = nn.Linear(_WIDTH, len(KINDS))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits ``(batch, kind)``, in the order of ``KINDS``."""
        return self.kind(self.positions(pixels)[:, 0])  # type: ignore[no-any-return] # as above

    def positions(self, pixels: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return what every position has become, ``(batch, 1 + patch, width)``, class token first.

        Args:
            pixels: ``(batch, 3, SIDE, SIDE)``, as ``contrast`` makes it.
            kept: ``(batch, patch)``, which patches to look at; None for all of them.
        """
        x, place = patches(3 * pixels), self.place.expand(len(pixels), -1, -1)
        if kept is not None:
            x, place = _some(x, kept), _some(place, kept)
        x = self.embedding(x) + place
        x = torch.cat((self.class_token.expand(len(x), -1, -1), x), dim=1)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)  # type: ignore[no-any-return] # as above


def patches(pixels: Tensor) -> Tensor:
    """Cut ``(batch, channel, SIDE, SIDE)`` into patches, row by row.

    Returns:
        ``(batch, GRID · GRID, channel · PATCH · PATCH)``.
    """
    batch, channels = pixels.shape[:2]
    cut = pixels.reshape(batch, channels, GRID, PATCH, GRID, PATCH)
    # (batch, channel, row, y, column, x) → (batch, row, column, channel, y, x)
    return cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, GRID * GRID, -1)


def contrast(pixels: Tensor) -> Tensor:
    """Return how far each pixel is from the ground, so that dark and light charts look alike.

    Args:
        pixels: ``(…, 3, y, x)``, in [0, 1]; the ground is the median of the outermost ones.

    Returns:
        The same shape, in [0, 1].
    """
    sides = (pixels[..., 0, :], pixels[..., -1, :], pixels[..., :, 0], pixels[..., :, -1])
    ground = torch.cat(sides, dim=-1).median(dim=-1).values
    return (pixels - ground[..., None, None]).abs()


def pixels_of(image: Image.Image) -> Tensor:
    """Return an RGB picture as the model sees it: stretched to ``(3, SIDE, SIDE)``, by contrast."""
    small = image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return contrast(torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255)


def _some(x: Tensor, kept: Tensor) -> Tensor:
    """Return the positions ``kept``, ``(batch, some)``, of ``(batch, position, width)``."""
    return x.gather(1, kept[:, :, None].expand(-1, -1, x.shape[2]))


def factory() -> nn.Module:
    """Return the trained model, ready to be run."""
    model = ChartModel()
    load_weights(model, WEIGHTS)
    return model


def prepare(path: Path, *, model: nn.Module) -> Call:
    """Return the call that shows a picture to the model.

    Args:
        path: a PNG, JPEG or WebP of any size; it is stretched to a square.
        model: what ``factory`` returned; the pixels are put on its device.

    Raises:
        InvalidInput: the file is no such picture, or damaged, empty or too large.
    """
    opened = read_picture(path)
    weight = next(model.parameters())
    pixels = pixels_of(opened.image)[None].to(weight.device, weight.dtype)
    width, height = opened.image.size
    positions = (Position("[CLS]", role="special"), *_positions(width / GRID, height / GRID))
    axis = Axis("picture", positions, picture=opened.picture)
    return Call((pixels,), axes=((pixels, axis),), notes=opened.notes, classes=KINDS)


def _positions(across: float, down: float) -> list[Position]:
    """Return the patches row by row, each ``across`` × ``down`` pixels of the source picture."""
    return [
        Position(
            f"row {row} column {column}",
            box=(column * across, row * down, (column + 1) * across, (row + 1) * down),
        )
        for row in range(GRID)
        for column in range(GRID)
    ]
