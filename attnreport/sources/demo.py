"""Open one of the small models that come with attnreport: ``demo:NAME``."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from attnreport.errors import UnknownModel
from attnreport.sources.device import check_device, seed_everything
from attnreport.sources.python import open_module
from attnreport.sources.request import Request, Source

PACKAGE = "attnreport.demos"


def demo_names() -> list[str]:
    """Return the names of the demos: the modules of ``attnreport.demos`` that build a model."""
    package = importlib.import_module(PACKAGE)
    modules = sorted(module.name for module in pkgutil.iter_modules(package.__path__))
    return [name for name in modules if _find(name) is not None]


def open_source(request: Request) -> Source:
    """Open the demo that ``request.model`` names after its colon.

    Raises:
        UnknownModel: there is no such demo.
        InvalidInput: the demo cannot take INPUT.
    """
    name = request.model.partition(":")[2]
    device = check_device(request.device)
    seed_everything(request.seed)
    module = _find(name)
    if module is None:
        raise UnknownModel(
            f"MODEL {request.model}: no such demo; there are {', '.join(demo_names())}"
        )
    return open_module(request, module, "factory", device)


def _find(name: str) -> ModuleType | None:
    """Return the demo's module, or None where there is no demo of that name."""
    if not name.isidentifier() or importlib.util.find_spec(f"{PACKAGE}.{name}") is None:
        return None
    module = importlib.import_module(f"{PACKAGE}.{name}")
    return module if hasattr(module, "factory") else None
