"""Build a tiny random model of an architecture, and a call that suits it, without any download.

Sizes are set wherever a configuration has a field of a known name, in sub-configurations too. What
cannot be built this way is reported by the caller with the error it gave.
"""

from __future__ import annotations

import contextlib
import inspect
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
        "num_self_attends_per_block",
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
        "out_hidden_size",
        "d_latents",
        "audio_hidden_size",
        "text_hidden_size",
        "vision_hidden_size",
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
    "n_group": 1,
    "num_group": 1,
    "num_expert_group": 1,
    "topk_group": 1,
    # Of layers of two kinds every second one attends.
    "attn_layer_indices": [1],
    "attn_layer_offset": 1,
    "attn_layer_period": 2,
    "layer_group_size": 2,
    "full_attention_interval": 2,
    "mamba_n_heads": 4,
    "mamba_d_head": 16,
    "expand": 1,
    "num_filters": 4,
    "num_latents": 16,
    "num_windows": 4,
    "context_size": 16,
    "n_groups": 1,
    "mamba_n_groups": 1,
    "attention_types": [[["global", "local"], 1]],
    "upsample_groups": 32,
    "latent_query_num": 5,
    "num_kv_shared_layers": 0,
    "default_language": "en_XX",
    "fpn_hidden_size": 32,
    "vocabulary_map": {"<image>": 98},
    "num_queries": 5,
    "vocab_size_per_layer_input": 99,
    "image_size": 32,
    "patch_size": 8,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}
# A series of numbers is short.
SERIES = {"prediction_length": 4, "context_length": 32, "lags_sequence": [1, 2]}
VOCABULARY = {"vocab_size": 99, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SIZES: dict[str, Any] = LAYERS | WIDTHS | HEADS | OTHERS | SERIES
# Fields that some configurations work out by themselves, or refuse.
DERIVED = {"head_dim", "d_kv", "max_position_embeddings", "expand", "n_groups"}
DERIVED |= {"mamba_n_heads", "mamba_d_head", "mamba_n_groups", "text_hidden_size"}


def _kinds(default: Any, name: str) -> list[str] | None:
    """Return layers of every kind that there is by default, attention among them."""
    kinds = list(dict.fromkeys(getattr(default, name, None) or ["full_attention"]))
    linear = [kind for kind in kinds if "linear" in kind]
    attending = [kind for kind in kinds if "attention" in kind or kind == "hybrid"]
    attending = [kind for kind in attending if kind not in linear] or ["full_attention"]
    # Where there are more kinds than layers the last of either sort is there.
    return [kinds[0], attending[-1]]


# Some models need widths that fit each other: the next variant is tried where one fails.
VARIANTS: tuple[dict[str, Any], ...] = (
    SIZES,
    {name: value for name, value in SIZES.items() if name not in DERIVED},
    SIZES | dict.fromkeys(WIDTHS, 256) | {"head_dim": 64},
    SIZES | {"num_key_value_heads": 4},
    # Rotary positions in three parts want half a head of 64 numbers.
    SIZES | dict.fromkeys(WIDTHS, 256) | dict.fromkeys(HEADS, 2) | {"head_dim": 128},
    # With two layers some have none of the kind that keeps a cache.
    SIZES | dict.fromkeys(LAYERS, 4),
    SIZES | dict.fromkeys(LAYERS, 8) | {"num_key_value_heads": 4},
    LAYERS | VOCABULARY,
    VOCABULARY,
    {},
    SIZES | dict.fromkeys(("layer_types", "layers_block_type"), _kinds),
    {name: value for name, value in SIZES.items() if name not in DERIVED}
    | {"num_key_value_heads": 4},
    SIZES | {"patch_size": 16, "backbone_feature_sizes": [[8, 8], [4, 4], [2, 2]]},
)
# How many blocks each stage has.
_STAGES = {"depths", "layers", "num_encoder_blocks", "blocks_per_stage", "block_sizes"}
# Which stages of a backbone its user asks for.
_PARTS = ("out_features", "out_indices")
_BACKBONE = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16, 24, 32],
    "depths": [1, 1, 1, 1],
    "out_features": ["stage2", "stage3", "stage4"],
}
LARGEST = 130_000_000


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
    default = _default(kind)
    made = {name: x(default, name) if callable(x) else x for name, x in sizes.items()}
    given = {
        name: value
        for name, value in made.items()
        # A list is one size for each stage: its length says how many there are.
        if name in fields
        and _may_be(value, getattr(default or kind, name, None))
        # What is worked out from other fields cannot be set.
        and not isinstance(inspect.getattr_static(kind, name, None), property)
    }
    if isinstance(widths := getattr(default, "embed_dim_per_stage", None), (list, tuple)):
        given |= {"hidden_size": widths[0]} if "hidden_size" in given else {}
    if isinstance(heads := getattr(default, "num_heads", None), (list, tuple)):
        given |= {"embed_dim": 8 * heads[0]} if "embed_dim" in given else {}
    for name, declared in (getattr(kind, "sub_configs", None) or {}).items():
        # Where any is allowed only an instance knows which one it is.
        own = getattr(default, name, None)
        sub = type(own) if declared.__name__ == "AutoConfig" else declared
        if sub.__name__ == "TimmBackboneConfig":
            given |= {name: _BACKBONE}
        elif hasattr(sub, "model_type"):
            parts = {part: x for part in _PARTS if (x := getattr(own, part, None)) is not None}
            given[name] = _with_stages(sub, _shrunk(sub, sizes).to_dict(), parts)
    for name, value in (default.to_dict() if default is not None else {}).items():
        if name not in given:
            given |= _fitting(name, value, given, default)
    return kind(**given)


def _with_stages(kind: Any, small: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """Return a backbone with the stages that are asked for, where it still has these."""
    with contextlib.suppress(Exception):
        kind(**small | parts)
        return small | parts
    return small


def _may_be(value: Any, default: Any) -> bool:
    return isinstance(value, (list, dict)) or not isinstance(default, (list, tuple))


def _default(kind: Any) -> Any:
    with contextlib.suppress(Exception):
        return kind()
    return None


def _fitting(name: str, value: Any, given: dict[str, Any], default: Any) -> dict[str, Any]:
    """Return the field with a value that fits the sizes which were given, if it has to be another.

    Args:
        name: of the field.
        value: its default.
        given: what was set already.
        default: the whole configuration as it is by default.
    """
    if isinstance(value, list | tuple):
        return _shorter(name, value)
    if name == "n_shared_experts" and value is None:
        return {name: 1}
    if name.endswith(("_token_id", "_token_index")) and (value or name.startswith("image_")):
        # Each of these has a number of its own at the end of the vocabulary.
        taken = {x for key, x in given.items() if key.endswith(("_token_id", "_token_index"))}
        number = next(x for x in range(98, 80, -1) if x not in taken)
        return {} if (value or 99) < 99 else {name: number}
    if name in {"rope_parameters", "rope_scaling"} and isinstance(value, dict):
        return {name: _turned(value, given, default)} if "mrope_section" in value else {}
    return {}


def _shorter(name: str, value: list[Any] | tuple[Any, ...]) -> dict[str, Any]:
    """Return the field with a list that fits small sizes, if it has to be another."""
    if name in _STAGES:
        return {name: [1] * len(value)}
    if name == "image_size":
        return {name: [32 * round(side / min(value)) for side in value]}
    if name == "vision_feature_layer" and isinstance(value, list):
        return {name: [1, 0][: len(value)]}
    return {}


def _turned(rope: dict[str, Any], given: dict[str, Any], default: Any) -> dict[str, Any]:
    """Return rotary positions whose parts for time, rows and columns fill half a head."""
    sizes = {name: getattr(default, name, None) for name in ("hidden_size", "num_attention_heads")}
    sizes |= {name: given[name] for name in (*sizes, "head_dim") if name in given}
    width = sizes.get("head_dim") or sizes["hidden_size"] // sizes["num_attention_heads"]
    half = int(width * rope.get("partial_rotary_factor", 1.0)) // 2
    total, parts = sum(rope["mrope_section"]), rope["mrope_section"]
    small = [max(1, half * part // total) for part in parts]
    small[0] += half - sum(small)
    return rope | {"mrope_section": small}


def _of_its_model(config: Any) -> tuple[Any, Any]:
    """Return the part that the model takes, where it is none of the whole, and what makes it."""
    model = transformers.models.auto.modeling_auto.MODEL_MAPPING.get(type(config), None)
    wanted = getattr(model, "config_class", None)
    if wanted is not None and not isinstance(config, wanted):
        for name in getattr(config, "sub_configs", None) or {}:
            if isinstance(part := getattr(config, name, None), wanted):
                return part, model._from_config
    return config, transformers.AutoModel.from_config


def build(config: Any, implementation: str | None) -> torch.nn.Module:
    """Return a random model in eval mode, the same for the same configuration."""
    # Where a type has several models it looks for the one that a checkpoint names.
    config.architectures = config.architectures or []
    config, kind = _of_its_model(config)
    options = {} if implementation is None else {"attn_implementation": implementation}
    with torch.device("meta"):
        size = kind(config, **options).num_parameters()
    if size > LARGEST:
        raise CannotBuild(f"{size / 1e6:.0f} million parameters at these sizes")
    torch.manual_seed(0)
    return kind(config, **options).eval()
