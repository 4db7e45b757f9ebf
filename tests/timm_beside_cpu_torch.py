"""Let torchvision, which timm needs, be imported beside the CPU build of torch.

The registry's torchvision is compiled for CUDA: beside the CPU wheel its library does not load, and
its import stops at operators that are then unknown. Only their names are missed, nobody calls them
here, so they are declared just before the import. ``tests/conftest.py`` does so for this process,
and for those that tests start, by a ``sitecustomize`` on their path.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
from importlib.abc import MetaPathFinder
from pathlib import Path

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_kept = []


class _Declaring(MetaPathFinder):
    """Find torchvision where it is, and declare its operators before it runs."""

    def find_spec(self, name, path=None, target=None):
        if name != "torchvision":
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (_declare(spec), run(module))[1]
        return spec


def _declare(spec):
    import torch  # noqa: PLC0415 - only when torchvision is wanted

    library = next(Path(spec.origin).parent.glob("_C*.so"), None)
    try:
        torch.ops.load_library(str(library))
    except (OSError, ImportError):
        names = torch.library.Library("torchvision", "DEF")
        for schema in _OPERATORS:
            names.define(schema)
        _kept.append(names)


def install():
    """Do it for this process; a second time is no harm."""
    if not any(isinstance(finder, _Declaring) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Declaring())


def install_for_children():
    """Do it for every Python that is started from here."""
    place = str(Path(__file__).parent / "beside_cpu_torch")
    before = os.environ.get("PYTHONPATH", "")
    if place not in before.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (place, before)))
