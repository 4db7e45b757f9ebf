"""Three small trained models that come with attnreport, so that the first report needs no download.

Each module has ``factory()``, which returns the trained model, and ``prepare(text, model=…)`` or
``prepare(path, model=…)``, which returns the ``Call`` that runs a text or a picture through it.
Nothing here is imported before it is asked for: listing the names does not load torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class Demo:
    """Say where a demo is and what it does, in one line."""

    module: str
    description: str


DEMOS: Mapping[str, Demo] = MappingProxyType(
    {
        "text": Demo(
            "attnreport.demos.text",
            "byte-level language model with previous-token and induction heads; takes any text",
        ),
        "translate": Demo(
            "attnreport.demos.translate",
            "encoder-decoder that turns English and German dates into ISO 8601",
        ),
        "vision": Demo(
            "attnreport.demos.vision",
            "vision transformer that tells which kind of chart a picture shows; takes any picture",
        ),
    }
)


def names() -> tuple[str, ...]:
    """Return the names that may follow ``demo:``, in alphabetical order."""
    return tuple(sorted(DEMOS))
