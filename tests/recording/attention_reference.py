"""References the recorders are held against, written apart from them: numpy, float64, loops."""

from __future__ import annotations

import math

import numpy as np
import torch

import attnreport


def weights_of(query, key, *, scale=None, mask=None, causal=False):
    """Return softmax(q kᵀ · scale + mask) row by row; arguments are (head, position, width)."""
    query, key = (np.asarray(x.detach().double()) for x in (query, key))
    heads, length, width = query.shape
    scale = 1 / math.sqrt(width) if scale is None else scale
    group = heads // key.shape[0]
    result = np.zeros((heads, length, key.shape[1]))
    for head in range(heads):
        for row in range(length):
            scores = key[head // group] @ query[head, row] * scale
            allowed = np.ones(len(scores), bool)
            if causal:
                allowed &= np.arange(len(scores)) <= row
            if mask is not None:
                line = np.asarray(mask.expand(heads, length, -1)[head, row])
                if line.dtype == bool:
                    allowed &= line
                else:
                    scores = scores + line
                    allowed &= line != -np.inf
            if allowed.any():
                scores = np.where(allowed, scores, -np.inf)
                raised = np.exp(scores - scores.max())
                result[head, row] = raised / raised.sum()
    return result


class Calls(torch.nn.Module):
    """Be a module that computes whatever function it is given."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(*args)


def record(function, *args, **options):
    """Return run and output of a function, proven bit-identical to the call without a capture."""
    model = function if isinstance(function, torch.nn.Module) else Calls(function)
    torch.manual_seed(0)
    plain = model(*args)
    torch.manual_seed(0)
    with attnreport.capture(model, **options) as recording:
        output = model(*args)
    for before, after in zip(flat(plain), flat(output), strict=True):
        assert torch.equal(before.nan_to_num(7.5), after.nan_to_num(7.5))
    return recording.run(), output


def flat(values):
    """Return every tensor in a nest of tuples and lists; nested tensors as their parts."""
    if isinstance(values, torch.Tensor):
        return list(values.unbind()) if values.is_nested else [values]
    if isinstance(values, (tuple, list)):
        return [tensor for value in values for tensor in flat(value)]
    return []
