"""Build a tiny random model of an architecture, and a call that suits it, without any download.

Sizes are set wherever a configuration has a field of a known name, in sub-configurations too. What
cannot be built this way is reported by the caller with the error it gave.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers

LAYERS = dict.fromkeys(
    [
        "num_hidden_layers",
        "n_layer",
        "n_layers",
        "num_layers",
        "encoder_layers",
        "decoder_layers",
        "num_encoder_layers",
        "num_decoder_layers",
        "encoder_num_hidden_layers",
        "decoder_num_hidden_layers",
        "depth",
        "num_blocks",
    ],
    2,
)
WIDTHS = dict.fromkeys(
    [
        "hidden_size",
        "d_model",
        "n_embd",
        "dim",
        "embed_dim",
        "embedding_size",
        "emb_dim",
        "word_embed_proj_dim",
    ],
    32,
)
HEADS = dict.fromkeys(
    [
        "num_attention_heads",
        "n_head",
        "n_heads",
        "num_heads",
        "encoder_attention_heads",
        "decoder_attention_heads",
        "encoder_num_attention_heads",
        "decoder_num_attention_heads",
    ],
    4,
)
OTHERS = {
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "moe_intermediate_size": 32,
    "shared_expert_intermediate_size": 32,
    "ffn_dim": 64,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "d_ff": 64,
    "d_inner": 64,
    "n_inner": 64,
    "ffn_hidden_size": 64,
    "hidden_dim": 64,
    "vocab_size": 99,
    "head_dim": 8,
    "d_kv": 8,
    "attention_head_dim": 8,
    "num_experts": 4,
    "n_routed_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "max_position_embeddings": 64,
    "n_positions": 64,
    "image_size": 32,
    "patch_size": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
SIZES: dict[str, Any] = LAYERS | WIDTHS | HEADS | OTHERS
# Fields that some configurations work out by themselves, or refuse.
DERIVED = {"head_dim", "d_kv", "max_position_embeddings"}
# Some models need widths that fit each other: the next variant is tried where one fails.
VARIANTS: tuple[dict[str, Any], ...] = (
    SIZES,
    {name: value for name, value in SIZES.items() if name not in DERIVED},
    SIZES | dict.fromkeys(WIDTHS, 256) | {"head_dim": 64},
    SIZES | {"num_key_value_heads": 4},
    LAYERS | {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2},
    {},
)
LARGEST = 130_000_000
LENGTH = 10


class CannotBuild(Exception):
    """Say why an architecture has no tiny model here."""


def names() -> list[str]:
    """Return the model type of every architecture that ``AutoModel`` knows."""
    known = transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES
    return sorted(known)


def config_of(name: str, sizes: dict[str, Any]) -> Any:
    """Return a tiny configuration; ``sizes`` is one of ``VARIANTS``."""
    kind = transformers.models.auto.configuration_auto.CONFIG_MAPPING[name]
    return _shrunk(kind, sizes)


def _shrunk(kind: Any, sizes: dict[str, Any]) -> Any:
    fields = set(inspect.signature(kind.__init__).parameters) | set(dir(kind))
    fields |= set(getattr(kind, "__dataclass_fields__", {}))
    given = {
        name: value
        for name, value in sizes.items()
        # A list is one size for each stage: its length says how many there are.
        if name in fields and not isinstance(getattr(kind, name, None), (list, tuple))
    }
    for name, declared in (getattr(kind, "sub_configs", None) or {}).items():
        # Where any is allowed only an instance knows which one it is.
        sub = type(getattr(kind(), name, None)) if declared.__name__ == "AutoConfig" else declared
        if hasattr(sub, "model_type"):
            given[name] = _shrunk(sub, sizes).to_dict()
    return kind(**given)


def build(config: Any, implementation: str | None) -> torch.nn.Module:
    """Return a random model in eval mode, the same for the same configuration."""
    options = {} if implementation is None else {"attn_implementation": implementation}
    with torch.device("meta"):
        size = transformers.AutoModel.from_config(config, **options).num_parameters()
    if size > LARGEST:
        raise CannotBuild(f"{size / 1e6:.0f} million parameters at these sizes")
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(config, **options).eval()


def calls_of(model: Any) -> Iterator[dict[str, Any]]:
    """Yield the keyword arguments of calls, the likeliest first; which one runs is not known."""
    accepted = inspect.signature(model.forward).parameters
    wanted = model.main_input_name
    wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    made = [name for name in MAKERS if name in accepted]
    required = [
        name
        for name, parameter in accepted.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind in _NAMED
    ]
    first = [*wanted, *required]
    if "pixel_values" in wanted and "input_ids" in made:
        first.append("input_ids")
    if model.config.is_encoder_decoder:
        first.append("decoder_input_ids")
    unknown = [name for name in (*wanted, *required) if name not in made]
    if unknown:
        raise CannotBuild(f"it needs {', '.join(dict.fromkeys(unknown))}")
    yield {name: MAKERS[name](model) for name in made if name in first}
    for more in _MORE:
        if any(name in made and name not in first for name in more):
            yield {name: MAKERS[name](model) for name in made if name in (*first, *more)}


def _ids(model: Any, length: int) -> torch.Tensor:
    torch.manual_seed(1)
    config = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    return torch.randint(3, min(getattr(text, "vocab_size", None) or 99, 99), (1, length))


def _picture(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    side = _first(model.config, "image_size", 32)
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    return torch.randn(1, _first(model.config, "num_channels", 3), height, width)


def _video(model: Any) -> torch.Tensor:
    return torch.stack([_picture(model)] * _first(model.config, "num_frames", 4), dim=1)


def _features(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    bins, length = _first(model.config, "num_mel_bins", 80), _first(model.config, "max_length", 128)
    shape = (1, length, bins) if hasattr(model.config, "frequency_stride") else (1, bins, 128)
    return torch.randn(shape)


def _waves(model: Any) -> torch.Tensor:
    if hasattr(model.config, "frequency_stride"):
        return _features(model)
    channels = _first(model.config, "audio_channels", None)
    return torch.randn(1, 4000) if channels is None else torch.randn(1, channels, 4000)


def _boxes(model: Any) -> torch.Tensor:
    corners = torch.arange(LENGTH) % 4
    boxes = torch.stack([corners, corners, corners + 1, corners + 1], dim=-1)
    wide = model.config.model_type == "bros"
    return boxes.repeat(1, 1, 2)[None, 0] / 8 if wide else boxes[None]


MAKERS: dict[str, Callable[[Any], Any]] = {
    "input_ids": lambda model: _ids(model, LENGTH),
    "decoder_input_ids": lambda model: _ids(model, LENGTH - 3),
    "pixel_values": _picture,
    "pixel_values_videos": _video,
    "input_values": _waves,
    "input_features": _features,
    "input_features_mask": lambda model: torch.ones(_features(model).shape[::2], dtype=torch.bool),
    "attention_mask": lambda model: torch.ones(1, LENGTH, dtype=torch.long),
    "bbox": _boxes,
    "query_embeds": lambda model: torch.randn(1, 4, model.config.hidden_size),
    "inputs_embeds": lambda model: torch.randn(1, LENGTH, model.config.hidden_size),
}
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
# What some models want beside what they say they want.
_MORE = (
    ("pixel_values",),
    ("input_ids", "pixel_values"),
    ("input_ids", "input_features"),
    ("input_ids", "input_values"),
    ("bbox",),
    ("bbox", "pixel_values"),
    ("attention_mask",),
    ("input_features_mask",),
    ("decoder_input_ids",),
)


def _first(config: Any, name: str, default: Any) -> Any:
    for each in (config, getattr(config, "vision_config", None)):
        value = getattr(each, name, None)
        if value is not None:
            return value
    return default
