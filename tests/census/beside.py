"""What the census runs beside transformers: one model of each family of timm, and torch's modules.

Their names are ``timm:NAME`` and ``torch:NAME``. Neither has a form that returns its attention, so
that nothing is held against them but their own output.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

# Words in the names of small models, the smallest first.
_SMALL = ("atto", "femto", "pico", "nano", "xxs", "_xs", "micro", "tiny", "_t0", "b0", "mini", "_s")
# A larger model has fewer layers here.
_LARGEST, _FEW = 60_000_000, 2
WIDTH, LENGTH = 32, 10

Call = dict[str, Any]


def names() -> list[str]:
    """Return all of them; of timm the smallest of each file of models, as far as names tell."""
    timm = _timm()
    families = [timm.list_models(module=module) for module in sorted(timm.list_modules())]
    smallest = [min(family, key=_size) for family in families if family]
    return [*(f"torch:{name}" for name in MODULES), *(f"timm:{name}" for name in smallest)]


def _timm() -> Any:
    # Not at the top: beside torch without CUDA a part of it has to be replaced first.
    import timm  # noqa: PLC0415 - as above

    return timm


def _size(name: str) -> tuple[int, int, str]:
    ranks = [rank for rank, word in enumerate(_SMALL) if word in name]
    return min(ranks, default=len(_SMALL)), len(name), name


def working(name: str) -> tuple[nn.Module, Call]:
    """Return a model with random parameters, and the arguments of a call."""
    source, _, name = name.partition(":")
    torch.manual_seed(0)
    if source == "torch":
        return MODULES[name]()
    timm, fewer = _timm(), {}
    with torch.device("meta"), contextlib.suppress(TypeError):
        if sum(each.numel() for each in timm.create_model(name).parameters()) > _LARGEST:
            timm.create_model(name, depth=_FEW)
            fewer = {"depth": _FEW}
    model = timm.create_model(name, **fewer).eval()
    first = next(iter(inspect.signature(model.forward).parameters))
    return model, {first: torch.randn(1, *model.default_cfg.get("input_size", (3, 224, 224)))}


def _sequence() -> torch.Tensor:
    return torch.randn(2, LENGTH, WIDTH)


def _padding() -> torch.Tensor:
    return torch.arange(LENGTH).expand(2, -1) >= torch.tensor([[LENGTH], [LENGTH - 3]])


def _attention(**options: Any) -> tuple[nn.Module, Call]:
    model = nn.MultiheadAttention(WIDTH, 4, batch_first=True, **options).eval()
    return model, {"query": _sequence(), "key": _sequence(), "value": _sequence()}


def _encoder(*, norm_first: bool = False, padded: bool = False) -> tuple[nn.Module, Call]:
    layer = nn.TransformerEncoderLayer(WIDTH, 4, 64, batch_first=True, norm_first=norm_first)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=padded).eval()
    return model, {"src": _sequence(), "src_key_padding_mask": _padding() if padded else None}


def _decoder() -> tuple[nn.Module, Call]:
    layer = nn.TransformerDecoderLayer(WIDTH, 4, 64, batch_first=True)
    return nn.TransformerDecoder(layer, 2).eval(), {"tgt": _sequence(), "memory": _sequence()}


def _both() -> tuple[nn.Module, Call]:
    model = nn.Transformer(WIDTH, 4, 2, 2, 64, batch_first=True).eval()
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH)
    return model, {"src": _sequence(), "tgt": _sequence(), "tgt_mask": mask, "tgt_is_causal": True}


MODULES: dict[str, Callable[[], tuple[nn.Module, Call]]] = {
    "MultiheadAttention": _attention,
    "MultiheadAttention, bias_kv and zero_attn": lambda: _attention(
        add_bias_kv=True, add_zero_attn=True
    ),
    "TransformerEncoder": _encoder,
    "TransformerEncoder, norm first": lambda: _encoder(norm_first=True),
    "TransformerEncoder, padded and nested": lambda: _encoder(padded=True),
    "TransformerDecoder": _decoder,
    "Transformer": _both,
}
