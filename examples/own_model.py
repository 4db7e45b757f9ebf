"""A model of one's own, made for ``attnreport build examples/own_model.py:make_model TEXT``.

``make_model`` returns any ``nn.Module``. ``prepare`` turns INPUT into the arguments of its call
and says what their positions are: here every word is one position.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from attnreport import Axis, Call, Position

WIDTH = 32
VOCABULARY = 512


class WordMixer(nn.Module):
    """Mix words by two layers of PyTorch's own transformer, with random weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, nhead=4, dim_feedforward=64, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, num_layers=2)

    def forward(self, ids: Tensor) -> Tensor:
        """Return a vector for every word: (batch, word) -> (batch, word, WIDTH)."""
        mixed: Tensor = self.layers(self.embedding(ids))
        return mixed


def make_model() -> nn.Module:
    """Return the model; attnreport sets its seed before, and ``eval()`` after."""
    return WordMixer()


def prepare(text: str) -> Call:
    """Return the call ``model(ids)`` and an axis with a label and a span for every word."""
    words = text.split()
    positions, end = [], 0
    for word in words:
        start = text.index(word, end)
        end = start + len(word)
        positions.append(Position(word, span=(start, end)))
    ids = torch.tensor([[sum(word.encode()) % VOCABULARY for word in words]])
    return Call(args=(ids,), axes=((ids, Axis("text", tuple(positions), text)),))
