"""Check device and dtype, set the seed, move a call. Knows no family of models."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.pixels import Pixels

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def check_device(name: str) -> torch.device:
    """Return the device of that name once a number has gone there and come back.

    Raises:
        InvalidOption: torch knows no such device, or this machine has none.
    """
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except Exception as error:  # torch raises RuntimeError, AssertionError and NotImplementedError
        raise InvalidOption(
            f"--device {name} cannot be used on this machine; usable: {', '.join(_usable())}"
        ) from error
    return device


def _usable() -> list[str]:
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is None:
        return ["cpu"]
    count = torch.accelerator.device_count()
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(count))]


def check_dtype(name: str) -> torch.dtype:
    """Return the dtype of that name.

    Raises:
        InvalidOption: it is none of ``DTYPES``.
    """
    if name not in DTYPES:
        raise InvalidOption(f"--dtype {name}: expected one of {', '.join(DTYPES)}")
    return DTYPES[name]


def seed_everything(seed: int) -> None:
    """Set the random generators of Python, NumPy and torch, on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # a user's model may draw from the global one
    torch.manual_seed(seed)


def move_call(call: Call, device: torch.device) -> Call:
    """Return the call with its tensors on ``device``; axes stay with the tensor they describe."""
    moved: dict[int, torch.Tensor] = {}

    def move(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return moved.setdefault(id(value), value.to(device))
        if isinstance(value, dict):
            return {key: move(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(move(item) for item in value)
        return value

    return replace(
        call,
        args=move(tuple(call.args)),
        kwargs=move(dict(call.kwargs)),
        axes=tuple((move(tensor), axis) for tensor, axis in call.axes),
    )


def check_axes(call: Call) -> None:
    """Raise ``InvalidInput`` where an axis or boxes do not fit the tensor they describe.

    How many positions a picture ``(batch, channel, …)`` becomes, the model says later: capture
    checks that against every attention.
    """
    for tensor, axis in call.axes:
        shape = tuple(tensor.shape)
        if isinstance(axis, Pixels):
            if axis.fits(shape):
                continue
            raise InvalidInput(
                f"{axis.name!r} describes pixels by boxes of shape {axis.boxes.shape}, which do "
                f"not fit a tensor of shape {shape}"
            )
        if tensor.is_floating_point() and len(shape) > 3:
            continue
        if len(shape) < 2 or shape[1] != len(axis):
            raise InvalidInput(
                f"axis {axis.name!r} has {len(axis)} positions, but the tensor it describes has "
                f"shape {shape}, expected (batch, position, …)"
            )


def digest_call(call: Call) -> str:
    """Return ``sha256:…`` over every tensor the model is called with: name, dtype, shape, bytes."""
    digest = hashlib.sha256()

    def add(path: str, value: Any) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(f"{path} {value.dtype} {tuple(value.shape)}\n".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                add(f"{path}.{key}", value[key])
        elif isinstance(value, (list, tuple)):
            for index, item in enumerate(value):
                add(f"{path}.{index}", item)

    add("args", call.args)
    add("kwargs", call.kwargs)
    return f"sha256:{digest.hexdigest()}"
