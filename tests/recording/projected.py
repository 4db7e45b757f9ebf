"""A model that projects a sequence of floats and hands queries, keys and values to a function."""

import torch
from torch import nn

BATCH, HEADS, LENGTH, WIDTH = 3, 2, 7, 4
FEATURES = HEADS * WIDTH


class Project(nn.Module):
    """Make queries, keys and values, and hand them to a function."""

    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.query, self.key, self.value = (nn.Linear(FEATURES, FEATURES) for _ in range(3))
        self.function = function

    def forward(self, hidden):
        return self.function(self.query(hidden), self.key(hidden), self.value(hidden))


def sequences():
    torch.manual_seed(1)
    return torch.randn(BATCH, LENGTH, FEATURES)
