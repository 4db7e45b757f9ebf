"""Open a model that a user's own Python builds: ``package.module:factory``, ``file.py:factory``.

The factory is called without arguments and returns an ``nn.Module`` (or is one already). Beside it
``prepare`` turns INPUT into the call. Running somebody's file is what this family is for: it does
what ``python file.py`` would. Knows no checkpoint format.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from attnreport.call import Call
from attnreport.errors import AttnreportError, InvalidInput, InvalidOption, UnknownModel, one_line
from attnreport.sources.assemble import assemble
from attnreport.sources.device import check_device, check_dtype, seed_everything
from attnreport.sources.request import Request, Source
from attnreport.sources.text import file_named, read_text

PREPARE = (
    "def prepare(text, *, model): return attnreport.Call(args=(ids,), "
    "axes=((ids, attnreport.Axis.of_labels('text', tokens)),))"
)

# What an option's value is called among the arguments of ``prepare``.
_OPTIONS = {"--target": "target", "--pair": "pair", "--text": "prompt", "--truncate": "truncate"}


def open_source(request: Request) -> Source:
    """Import the module, build the model, and let ``prepare`` make the call.

    ``prepare`` gets the text of INPUT first, or, where that parameter is called ``path``, the
    file that INPUT names, unread; and of ``model``, ``target``, ``pair``, ``prompt`` (which is
    --text) and ``truncate`` those that its signature accepts.

    Raises:
        UnknownModel: the module, the factory or the model is not what it should be.
        InvalidInput: there is no ``prepare``, it refuses INPUT, or it returns something else.
        InvalidOption: an option that ``prepare`` does not take.
    """
    place, _, name = request.model.rpartition(":")
    device = check_device(request.device)
    seed_everything(request.seed)
    module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    return open_module(request, module, name, device)


def open_module(request: Request, module: ModuleType, name: str, device: torch.device) -> Source:
    """Build ``module.name`` and call the module's ``prepare``; the demos come in here."""
    model = _build(request.model, module, name).eval().to(device)
    if request.dtype is not None:
        model = model.to(check_dtype(request.dtype))
    prepare = getattr(module, "prepare", None)
    if not callable(prepare):
        raise InvalidInput(
            f"MODEL {request.model}: there is no function 'prepare' beside '{name}', which says "
            f"how INPUT becomes the model's arguments; write {PREPARE}"
        )
    given, shown, notes = _input_for(prepare, request)
    call = _prepare(prepare, given, _accepted(prepare, request, model))
    return assemble(request, model, call, input_text=shown, notes=notes)


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UnknownModel(f"MODEL {path}: there is no such Python file")
    _import_from(path.parent)
    name = f"_attnreport_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownModel(f"MODEL {path} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # Pickle, dataclasses and typing look a class's module up by its name.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise UnknownModel(f"MODEL {path}: importing it raised {one_line(error)}") from error
    return module


def _import_module(name: str) -> ModuleType:
    _import_from(Path())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise UnknownModel(f"MODEL {name}: importing it raised {one_line(error)}") from error


def _import_from(folder: Path) -> None:
    """Let imports find what lies in ``folder``, also those that a factory makes later."""
    place = str(folder.resolve())
    if place not in sys.path:
        sys.path.insert(0, place)


def _build(model: str, module: ModuleType, name: str) -> nn.Module:
    factory = getattr(module, name, None)
    if factory is None:
        known = [n for n, value in vars(module).items() if callable(value) and n[0] != "_"]
        raise UnknownModel(
            f"MODEL {model}: the module has no {name!r}; it has {', '.join(known) or 'none'}"
        )
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        raise UnknownModel(f"MODEL {model}: {name!r} is not a function that returns a model")
    try:
        built = factory()
    except AttnreportError:
        raise
    except (Exception, SystemExit) as error:
        raise UnknownModel(f"MODEL {model}: {name}() raised {one_line(error)}") from error
    if not isinstance(built, nn.Module):
        raise UnknownModel(
            f"MODEL {model}: {name}() returned {type(built).__name__}, expected a torch.nn.Module"
        )
    return built


def _input_for(
    prepare: Callable[..., Any], request: Request
) -> tuple[str | Path, str, tuple[str, ...]]:
    """Return what ``prepare`` gets first, what the page calls it, and notes."""
    if request.text is None:
        raise InvalidInput(f"MODEL {request.model} needs an INPUT")
    if next(iter(inspect.signature(prepare).parameters), "") != "path":
        text, notes = read_text(request.text)
        return text, text, notes
    path = file_named(request.text)
    if path is None:
        raise InvalidInput(f"INPUT {request.text}: there is no such file, and this model reads one")
    return path, path.name, ()


def _accepted(prepare: Callable[..., Any], request: Request, model: nn.Module) -> dict[str, object]:
    """Return the keyword arguments for ``prepare``; refuse an option that it cannot take."""
    parameters = inspect.signature(prepare).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    offered = {
        "model": model,
        "prompt": request.prompt,
        "target": request.target,
        "pair": request.pair,
        "truncate": request.truncate,
    }
    for option, name in _OPTIONS.items():
        if offered[name] and not takes_all and name not in parameters:
            raise InvalidOption(f"{option}: the prepare of MODEL {request.model} takes no {name!r}")
    return {name: value for name, value in offered.items() if takes_all or name in parameters}


def _prepare(prepare: Callable[..., Any], given: str | Path, options: dict[str, object]) -> Call:
    try:
        with torch.no_grad():
            call = prepare(given, **options)
    except AttnreportError:
        raise
    except (Exception, SystemExit) as error:
        raise InvalidInput(f"prepare raised {one_line(error)}") from error
    if not isinstance(call, Call):
        raise InvalidInput(
            f"prepare returned {type(call).__name__}, expected an attnreport.Call: {PREPARE}"
        )
    return call
