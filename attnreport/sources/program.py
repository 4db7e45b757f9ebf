"""Open a program that ``torch.export`` saved: ``MODEL.pt2``, called with tensors from a file.

A program knows its arguments by their names in the function it was made of, and no text or picture:
INPUT is a file of arrays of these names, or left out for the ones that the program was made with.
torch unpickles parts of such a file where it must, so that it is opened only where that is allowed.
Knows no model family.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch.utils import _pytree as pytree

from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption, UnknownModel, one_line
from attnreport.sources.assemble import assemble
from attnreport.sources.device import check_device
from attnreport.sources.request import Request, Source

Tensors = Mapping[str, torch.Tensor]


def open_source(request: Request) -> Source:
    """Load the program, and the tensors that it is called with.

    Raises:
        UnknownModel: there is no such file, it is no program, or pickles were not allowed.
        InvalidInput: INPUT is no file of tensors, or lacks one of the program's arguments.
        InvalidOption: an option that a program cannot follow.
    """
    device = check_device(request.device)
    unused = {"--target": request.target, "--pair": request.pair, "--text": request.prompt}
    for option, value in unused.items():
        if value is not None:
            raise InvalidOption(f"{option}: the program {request.model} takes arrays and no text")
    if request.dtype is not None:
        raise InvalidOption(
            f"--dtype: the program {request.model} has its precision written in it; leave it out"
        )
    program = _program(request)
    names = _names(program)
    args, kwargs, source = _arguments(request, program, names)
    if device.type != "cpu":
        from torch.export.passes import move_to_device_pass  # noqa: PLC0415 - seldom needed

        program = move_to_device_pass(program, device)
    note = f"the program's arguments {', '.join(names)} are {source}"
    call = Call(args=args, kwargs=kwargs, notes=(note,))
    return assemble(request, program.module(), call, input_text=source)


def _program(request: Request) -> torch.export.ExportedProgram:
    path = Path(request.model)
    if not path.is_file():
        raise UnknownModel(f"MODEL {path}: there is no such file")
    if not request.allow_pickle:
        raise UnknownModel(
            f"MODEL {path} is a program of torch.export, parts of which may be pickled, and "
            "opening pickled data can run code; --allow-pickle opens it if you trust the file"
        )
    if not zipfile.is_zipfile(path):
        raise UnknownModel(f"MODEL {path}: expected a program of torch.export.save, a zip archive")
    try:
        return torch.export.load(path)
    except Exception as error:
        raise UnknownModel(
            f"MODEL {path}: torch.export cannot load it: {one_line(error)}"
        ) from error


def _names(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """Return what the program's arguments are called, numbers that are none of its tensors too."""
    specs = program.graph_signature.input_specs
    user = torch.export.graph_signature.InputKind.USER_INPUT
    return tuple(spec.arg.name for spec in specs if spec.kind is user)


def _arguments(
    request: Request, program: torch.export.ExportedProgram, names: tuple[str, ...]
) -> tuple[tuple[Any, ...], dict[str, Any], str]:
    """Return what the program is called with, and where it comes from in words."""
    examples = program.example_inputs
    if request.text is None:
        if examples is None:
            raise InvalidInput(f"MODEL {request.model} holds no example inputs; {_wanted(names)}")
        args, kwargs = examples
        return tuple(args), dict(kwargs), "those that it was exported with"
    path = Path(request.text.removeprefix("@"))
    given = _tensors(path, names)
    known = [] if examples is None else pytree.tree_leaves(examples)
    values = []
    for place, name in enumerate(names):
        example = known[place] if len(known) == len(names) else None
        if name in given:
            values.append(_like(given[name], example))
        elif example is not None and not isinstance(example, torch.Tensor):
            values.append(example)
        else:
            raise InvalidInput(
                f"INPUT {path} has no array {name!r}, only {', '.join(given) or 'none'}; "
                f"{_wanted(names)}"
            )
    args, kwargs = pytree.tree_unflatten(values, program.call_spec.in_spec)
    return tuple(args), dict(kwargs), path.name


def _like(tensor: torch.Tensor, example: Any) -> torch.Tensor:
    """Return integers in the width that the program was made for, whatever the file has."""
    if isinstance(example, torch.Tensor) and not (
        example.is_floating_point() or tensor.is_floating_point()
    ):
        return tensor.to(example.dtype)
    return tensor


def _tensors(path: Path, names: tuple[str, ...]) -> Tensors:
    read = _READERS.get(path.suffix)
    if read is None or not path.is_file():
        raise InvalidInput(f"INPUT {path} is no file of arrays; {_wanted(names)}")
    try:
        return read(path)
    except Exception as error:
        raise InvalidInput(f"INPUT {path} cannot be read: {one_line(error)}") from error


def _of_numpy(path: Path) -> Tensors:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


_READERS: dict[str, Callable[[Path], Tensors]] = {
    ".npz": _of_numpy,
    ".safetensors": safetensors.torch.load_file,
}


def _wanted(names: tuple[str, ...]) -> str:
    return f"give an .npz or .safetensors file with {', '.join(names)} as INPUT"
