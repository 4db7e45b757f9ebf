"""Compute beside the model without anybody noticing: no mode, no gradient, no autocast.

A profiler or a counter of the user's must see the model's operations and not ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes


@contextlib.contextmanager
def without_modes(kind: type[TorchFunctionMode] = TorchFunctionMode) -> Iterator[None]:
    """Take every torch function mode of this kind off this thread's stack; others stay."""
    modes = []
    while torch._C._len_torch_function_stack():
        modes.append(torch._C._pop_torch_function_stack())
    try:
        for mode in reversed(modes):
            if not isinstance(mode, kind):
                torch._C._push_on_torch_function_stack(mode)
        yield
    finally:
        while torch._C._len_torch_function_stack():
            torch._C._pop_torch_function_stack()
        for mode in reversed(modes):
            torch._C._push_on_torch_function_stack(mode)


@contextlib.contextmanager
def quietly(tensor: torch.Tensor) -> Iterator[None]:
    """Compute without dispatch modes, gradient, or autocast on the tensor's device."""
    with (
        _disable_current_modes(),
        torch.no_grad(),
        torch.autocast(tensor.device.type, enabled=False),
    ):
        yield
