"""Which module of the model is computing right now, by its path. Puts no hook on any module.

The frames of the Python stack know it: a module's ``forward`` has it as ``self``, an attention
function of transformers as ``module``. Walking them costs nothing until an attention is seen.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from types import FrameType

import torch

from attnreport.recording.exported import step_path
from attnreport.recording.weightless import kind_of

# Which frame, and where in it and in the methods that it calls: larger is later.
Position = tuple[int, tuple[int, ...]]
_LOCALS = ("self", "module")
# The functions of a module that run while it is called.
_CALLS = ("forward", "_call_impl", "_wrapped_call_impl")
_ATTENTION_WORDS = ("attention", "attn")
# A norm is often called post_attention_layernorm, and a mask or a bias is not the attention.
_OTHER_WORDS = ("norm", "mask", "bias", "embed", "rotary", "pool", "layerscale")
# Small parts that some models put under such a path.
_OTHER_CLASSES = ("conv", "gate", "bottleneck", "hyper", "output")


class Names:
    """Know the path of every module of one model, and whose parameter a tensor is.

    Args:
        model: the model that is captured.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self._modules = dict(model.named_modules(remove_duplicate=False))
        self._paths: dict[int, str] = {}
        for path, module in self._modules.items():
            self._paths.setdefault(id(module), path)
        self.executed: set[str] = set()

    def modules(self) -> Iterator[tuple[str, torch.nn.Module]]:
        """Yield every module once, with its first path."""
        for path, module in self._modules.items():
            if self._paths[id(module)] == path:
                yield path, module

    def paths(self) -> Collection[str] | None:
        """Return what ``current`` may return; None where steps of a program have their own."""
        if any(isinstance(module, torch.fx.GraphModule) for module in self._modules.values()):
            return None
        return self._modules.keys()

    def current(self) -> str | None:
        """Return the path of the innermost module that runs now, "" for the model itself.

        None where no module of this model is running: then the computation is not its own.
        """
        another = False
        for module, frame in _running_modules(sys._getframe(1)):
            path = self._paths.get(id(module))
            if path is None:
                another = another or next(module.parameters(), None) is not None
                continue
            if another and frame.f_code.co_name not in _CALLS:
                # One that this model's own code calls, but that is no part of its forward: what
                # generate() runs beside it for assisted decoding.
                continue
            if isinstance(module, torch.fx.GraphModule):
                step = step_path(frame, module)
                return ".".join(part for part in (path, step) if part)
            return path
        return None

    def position(self, path: str) -> Position | None:
        """Return which call of a module runs now, and how far it is; None where none does."""
        lines: list[int] = []
        for module, frame in _running_modules(sys._getframe(1)):
            if self._paths.get(id(module)) == path:
                lines.insert(0, frame.f_lasti)
                if frame.f_code.co_name == "forward":
                    return id(frame), tuple(lines)
        return None

    def has(self, module: object) -> bool:
        """Tell whether this is the model or one of its modules."""
        return id(module) in self._paths

    def module(self, path: str) -> torch.nn.Module:
        """Return the module with this path."""
        module: torch.nn.Module = self._modules[path]
        return module

    def class_of(self, path: str) -> str:
        """Return what the class of this module is called; empty for a step of a program."""
        return type(self._modules[path]).__name__ if path in self._modules else ""

    def says_attention(self, path: str) -> bool:
        """Tell whether this module, or one it is part of, is called attention."""
        parts = path.split(".")
        parents = (".".join(parts[: place + 1]) for place in range(len(parts)))
        return any(
            parent in self._modules and _is_called_attention(parent, self._modules[parent])
            for parent in parents
        )

    def ran(self, path: str) -> bool:
        """Tell whether a parameter of a module, or of a part of it, was used."""
        return any(_within(other, path) for other in self.executed)

    def silent(self, seen: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Yield path and class of each executed attention module that none of ``seen`` is part of.

        Of nested ones the innermost whose class says what it is, else the outermost. ``seen`` holds
        the paths of everything in the ledger.
        """
        spoken = set(seen)
        ran = {
            path: type(module).__name__
            for path, module in self._modules.items()
            if self.ran(path) and not any(_related(path, other) for other in spoken)
        }
        known = [path for path, kind in ran.items() if kind_of(kind)]
        reported = [x for x in known if not any(x != y and _within(y, x) for y in known)]
        for path in ran:
            if not any(_related(path, other) for other in reported) and _is_called_attention(
                path, self._modules[path]
            ):
                reported.append(path)
        yield from ((path, ran[path]) for path in ran if path in reported)


def _running_modules(
    frame: FrameType | None,
) -> Iterator[tuple[torch.nn.Module, FrameType]]:
    while frame is not None and frame.f_globals.get("__package__") == __package__:
        frame = frame.f_back  # our own, between the model and here
    while frame is not None:
        for name in _LOCALS:
            # Only look at frames that have such a name at all: building f_locals costs.
            if name in frame.f_code.co_varnames or name in frame.f_code.co_freevars:
                value = frame.f_locals.get(name)
                if isinstance(value, torch.nn.Module):
                    yield value, frame
        frame = frame.f_back


def _is_called_attention(path: str, module: torch.nn.Module) -> bool:
    kind = type(module)
    if kind.__module__.startswith("torch.nn.") and kind is not torch.nn.MultiheadAttention:
        return False
    words = (path.rpartition(".")[2].lower(), kind.__name__.lower())
    if any(other in word for word in words for other in _OTHER_WORDS):
        return False
    if any(other in words[1] for other in _OTHER_CLASSES):
        return False
    return any(word in text for text in words for word in _ATTENTION_WORDS)


def _within(path: str, parent: str) -> bool:
    return not parent or path == parent or path.startswith(parent + ".")


def _related(path: str, other: str) -> bool:
    # A computation named after the model itself says nothing about one of its parts.
    if not other:
        return not path
    return _within(path, other) or _within(other, path)
