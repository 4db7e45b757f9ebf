"""Open MODEL and INPUT: one file per family of models.

MODEL is read by the first of these rules that fits:

1. ``NAME:REST`` where NAME is ``demo``, ``timm`` or a source that another package brings (the
   entry-point group ``attnreport.sources``) belongs to that source: ``demo:translate``.
2. A folder that exists is a checkpoint in Hugging Face's format, read without any network.
3. A name that ends in ``.safetensors`` is a run that ``attnreport capture`` saved.
4. A name that ends in ``.pt2`` is a program that ``torch.export`` saved.
5. ``file.py:factory`` or ``package.module:factory`` is a function that returns a model.
6. A name such as ``bert-base-uncased`` or ``owner/name`` is a model on the Hugging Face hub.

A path is never mistaken for a hub id when it begins with ``./``. A source that another package
brings is a function that takes a ``Request`` and returns a ``Source``; its entry point's name is
the prefix it answers to, and a second source of one name is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

from attnreport.errors import InvalidInput, InvalidOption, UnknownModel
from attnreport.run import Run
from attnreport.sources.request import Request, Source

__all__ = ["Request", "Source", "load_saved_run", "open_source"]

GROUP = "attnreport.sources"
Opener = Callable[[Request], Source]

# By the module that holds `open_source`: torch and transformers are imported when they are needed.
_BUILT_IN = {
    "demo": "attnreport.sources.demo:open_source",
    "timm": "attnreport.sources.timm_models:open_source",
}
_HUB_ID = re.compile(r"(?=.{1,96}$)[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_FACTORY = re.compile(r"(.+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")


def open_source(request: Request) -> Source:
    """Return the model that MODEL names, ready to be called with what INPUT says.

    Raises:
        UnknownModel: no rule fits MODEL, or what it names cannot be opened.
        MissingExtra: the family needs an optional dependency.
        BrokenExtra: it is installed and does not load.
        InvalidInput: INPUT is missing, cannot be read, or does not suit the model.
        InvalidOption: an option cannot be used with this model or on this machine.
    """
    opener = _opener(request.model)
    if request.weights is not None and _prefix(request.model) in {"", "demo"}:
        raise InvalidOption(
            f"--weights: MODEL {request.model} comes with its weights; leave it out, or give "
            "timm:NAME as MODEL"
        )
    return opener(request)


def load_saved_run(request: Request) -> Run | None:
    """Return the saved run that MODEL names, or None where MODEL names no saved run.

    Raises:
        UnknownModel: there is no such file.
        InvalidInput: INPUT was given, but the run holds its own.
        InvalidRun: the file is not a saved run, or is damaged.
    """
    path = Path(request.model)
    if not request.model.endswith(".safetensors") or _prefix(request.model) or _is_folder(path):
        return None
    if not path.exists():
        raise UnknownModel(f"MODEL {request.model}: there is no such file")
    if request.text is not None:
        raise InvalidInput(
            f"MODEL {request.model} is a saved run, which holds its own input; leave INPUT out"
        )
    return Run.load(path)


def _opener(model: str) -> Opener:
    if prefix := _prefix(model):
        return _load(_known()[prefix])
    if model and _is_folder(Path(model)):
        return _load("attnreport.sources.huggingface:open_source")
    if model.endswith(".pt2"):
        return _load("attnreport.sources.program:open_source")
    if _FACTORY.fullmatch(model):
        return _load("attnreport.sources.python:open_source")
    if _HUB_ID.fullmatch(model) and not model.endswith(".safetensors"):
        return _load("attnreport.sources.huggingface:open_source")
    raise UnknownModel(
        f"MODEL {model or repr(model)} names nothing that can be opened; tried "
        f"{', '.join(f'{name}:NAME' for name in _known())}, a folder with a checkpoint, "
        "a saved run (.safetensors), a program of torch.export (.pt2), package.module:factory, "
        "file.py:factory, a hub id owner/name"
    )


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # e.g. too long for a name
        return False


def _prefix(model: str) -> str:
    """Return the source that claims MODEL by its prefix, or an empty string."""
    name, colon, _ = model.partition(":")
    return name if colon and name in _known() else ""


def _known() -> dict[str, str]:
    """Return where the opener of every prefix lies, built-in ones first."""
    known = dict(_BUILT_IN)
    for entry in entry_points(group=GROUP):
        if known.setdefault(entry.name, entry.value) != entry.value:
            raise UnknownModel(
                f"two installed sources are called {entry.name!r}: {known[entry.name]} and "
                f"{entry.value}; uninstall one"
            )
    return known


def _load(place: str) -> Opener:
    module, _, name = place.partition(":")
    opener: Opener = getattr(import_module(module), name)
    return opener
