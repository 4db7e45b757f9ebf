"""Make calls that may suit a model, from the names of what it takes; which one runs is not known.

Of each argument there may be several forms: sound as waves or as features, a picture whole or as
patches. All of them are random, and the same for the same model.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

LENGTH = 10
# Patches of a picture where a model takes these instead of the picture: time, rows, columns.
GRID = (1, 4, 4)
# So many combinations of forms are tried of one set of arguments.
_MOST = 24
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class CannotCall(Exception):
    """Say which arguments of a model nothing is known of."""


def calls_of(model: Any) -> Iterator[dict[str, Any]]:
    """Yield the keyword arguments of calls, the likeliest first."""
    accepted = inspect.signature(model.forward).parameters
    wanted = model.main_input_name
    wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    required = [
        name
        for name, parameter in accepted.items()
        if parameter.default is inspect.Parameter.empty and parameter.kind in _NAMED
    ]
    # What a model of transformers calls its main input by default it may not take at all.
    first = [*(name for name in wanted if name in accepted), *required]
    unknown = [name for name in first if name not in FORMS]
    if unknown:
        raise CannotCall(f"it needs {', '.join(dict.fromkeys(unknown))}")
    if "input_ids" in accepted and "pixel_values" in accepted:
        yield from _with_a_picture_in_the_text(model, accepted)
    if "pixel_values" in wanted and "input_ids" in accepted:
        first.append("input_ids")
    if getattr(model.config, "is_encoder_decoder", False):
        first.append("decoder_input_ids")
    yield from _forms(model, accepted, first)
    for more in _MORE:
        if any(name in accepted and name not in first for name in more):
            yield from _forms(model, accepted, (*first, *more))


def _forms(model: Any, accepted: Any, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield calls with these arguments, as far as they are taken, in all forms together."""
    taken = [name for name in FORMS if name in accepted and name in names]
    if "input_ids" in taken and "inputs_embeds" in taken:
        taken.remove("inputs_embeds")
    forms = itertools.product(*(FORMS[name] for name in taken))
    for made in itertools.islice(forms, _MOST):
        with contextlib.suppress(AttributeError, TypeError, StopIteration):
            yield {name: make(model) for name, make in zip(taken, made, strict=True)}


def _with_a_picture_in_the_text(model: Any, accepted: Any) -> Iterator[dict[str, Any]]:
    """Yield calls whose text has as many places for the picture as the model makes of it."""
    place = _first(model.config, "image_token_id", _first(model.config, "image_token_index", None))
    if place is None or not hasattr(model, "get_image_features"):
        return
    known = inspect.signature(model.get_image_features).parameters
    beside = [name for name in _BESIDE_PICTURES if name in known or name in accepted]
    for picture in _forms(model, accepted, ["pixel_values", *beside]):
        with contextlib.suppress(Exception), torch.no_grad():
            given = {name: value for name, value in picture.items() if name in known}
            count = _rows(model.get_image_features(**given))
            ids = _ids(model, LENGTH)
            ids = torch.cat([ids[:, :3], torch.full((1, count), place), ids[:, 3:]], dim=1)
            call = picture | {"input_ids": ids}
            if "mm_token_type_ids" in accepted:
                call["mm_token_type_ids"] = (ids == place).long()
            yield call


def _rows(features: Any) -> int:
    """Return how many vectors there are in what a model makes of a picture."""
    features = getattr(features, "pooler_output", features)
    if isinstance(features, (list, tuple)):
        return sum(_rows(each) for each in features)
    return features.numel() // features.shape[-1]


def _ids(model: Any, length: int) -> torch.Tensor:
    torch.manual_seed(1)
    config = model.config
    text = config.get_text_config() if hasattr(config, "get_text_config") else config
    # The last ones mean something else than text: see tiny.py.
    return torch.randint(3, min(getattr(text, "vocab_size", None) or 99, 80), (1, length))


def _codes(more: int) -> Callable[[Any], torch.Tensor]:
    """Return what makes ids of several tracks, ``(1, position, track)``."""

    def make(model: Any) -> torch.Tensor:
        names = ("num_codebooks", "num_channels")
        tracks = next(x for name in names if (x := getattr(model.config, name, None)))
        return torch.stack([_ids(model, LENGTH)] * (tracks + more), dim=-1)

    return make


def _code_rows(model: Any) -> torch.Tensor:
    """Return ids of several tracks, ``(track, position)``."""
    return _codes(0)(model)[0].T.contiguous()


def _picture(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    side = _first(model.config, "image_size", 32)
    height, width = side if isinstance(side, (list, tuple)) else (side, side)
    return torch.randn(1, _first(model.config, "num_channels", 3), height, width)


def _larger_picture(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    return torch.randn(1, _first(model.config, "num_channels", 3), 96, 320)


def _two_pictures(model: Any) -> torch.Tensor:
    return torch.stack([_picture(model)] * 2, dim=1)


def _patches(model: Any) -> torch.Tensor:
    """Return ``(patch, numbers of its pixels)``, as towers of Qwen's kind take a picture."""
    torch.manual_seed(1)
    side = _first(model.config, "patch_size", 14)
    depth = _first(model.config, "temporal_patch_size", 1)
    channels = _first(model.config, "in_channels", _first(model.config, "num_channels", 3))
    count = GRID[0] * GRID[1] * GRID[2]
    return torch.randn(count, channels * depth * side * side)


def _video(model: Any) -> torch.Tensor:
    return torch.stack([_picture(model)] * _first(model.config, "num_frames", 4), dim=1)


def _features(length: int | None, *, bins_first: bool) -> Callable[[Any], torch.Tensor]:
    """Return what makes ``(1, bin, frame)`` of a sound, or ``(1, frame, bin)``."""

    def make(model: Any) -> torch.Tensor:
        torch.manual_seed(1)
        config = model.config
        bins = next((x for name in _BINS if (x := _first(config, name, None)) is not None), 80)
        frames = length or _first(config, "max_length", 128)
        return torch.randn((1, bins, frames) if bins_first else (1, frames, bins))

    return make


def _waves(model: Any) -> torch.Tensor:
    torch.manual_seed(1)
    channels = _first(model.config, "audio_channels", None)
    return torch.randn(1, 4000) if channels is None else torch.randn(1, channels, 4000)


def _boxes(model: Any) -> torch.Tensor:
    corners = torch.arange(LENGTH) % 4
    boxes = torch.stack([corners, corners, corners + 1, corners + 1], dim=-1)
    wide = model.config.model_type == "bros"
    return boxes.repeat(1, 1, 2)[None, 0] / 8 if wide else boxes[None]


def _series(model: Any, count: int | None = None) -> torch.Tensor:
    """Return ``(1, moment)`` numbers, or ``(1, moment, channel)``."""
    torch.manual_seed(1)
    config = model.config
    lags = getattr(config, "lags_sequence", None)
    length = config.context_length + (max(lags) if lags else 0)
    width = getattr(config, "num_input_channels", None) if count is None else count
    return torch.randn((1, length) if width is None else (1, length, width))


def _seen_moments(model: Any) -> torch.Tensor:
    return torch.ones_like(_series(model))


def _future(model: Any, count: int | None = None) -> torch.Tensor:
    torch.manual_seed(2)
    length = model.config.prediction_length
    return torch.randn((1, length) if count is None else (1, length, count))


def _of_width(name: str, length: int = LENGTH) -> Callable[[Any], torch.Tensor]:
    """Return what makes ``(1, position, width)`` with a width that the configuration has."""
    return lambda model: torch.randn(1, length, _first(model.config, name, 32))


def _positions_of_patches(_: Any) -> torch.Tensor:
    rows = torch.arange(GRID[1])
    return torch.cartesian_prod(rows, rows)[None]


def _grid(_: Any) -> torch.Tensor:
    return torch.tensor([GRID])


def _first(config: Any, name: str, default: Any) -> Any:
    parts = ("vision_config", "audio_config", "encoder_config", "text_config")
    parts = (*parts, "semantic_model_config")
    for each in (config, *(getattr(config, part, None) for part in parts)):
        value = getattr(each, name, None)
        if value is not None:
            return value
    return default


def _ones(length: int) -> Callable[[Any], torch.Tensor]:
    return lambda _: torch.ones(1, length, dtype=torch.long)


_BINS = (
    "feature_projection_input_dim",
    "input_dim",
    "input_size",
    "num_mel_bins",
    "feature_size",
    "n_mels",
    "mel_bins",
    "input_feat_size",
    "num_mels",
)
# In which forms each argument may be given, the likeliest first.
FORMS: dict[str, list[Callable[[Any], Any]]] = {
    "input_ids": [lambda model: _ids(model, LENGTH), _codes(1), _codes(0), _code_rows],
    "qformer_input_ids": [lambda model: _ids(model, LENGTH)],
    "task_inputs": [lambda model: _ids(model, 77)],
    "decoder_input_ids": [lambda model: _ids(model, LENGTH - 3), _codes(0)],
    "pixel_values": [
        _picture,
        _larger_picture,
        _video,
        _two_pictures,
        _patches,
        lambda model: _patches(model)[None],
    ],
    "image_embeds_position_mask": [lambda _: torch.arange(LENGTH)[None] < 5],
    "hidden_states": [_patches, _of_width("hidden_size")],
    "grid_thw": [_grid],
    "image_grid_thw": [_grid],
    "spatial_shapes": [lambda _: torch.tensor([GRID[1:]])],
    "pixel_attention_mask": [_ones(GRID[1] * GRID[2])],
    "pixel_position_ids": [_positions_of_patches],
    "image_sizes": [lambda model: torch.tensor([_picture(model).shape[2:]])],
    "target_sizes": [lambda _: torch.tensor([GRID[1:]])],
    "image_attention_mask": [lambda _: torch.ones(1, LENGTH, 2, dtype=torch.long)],
    "prompt_pixel_values": [_picture],
    "prompt_masks": [_picture],
    "pixel_values_videos": [_video],
    "input_values": [
        _waves,
        lambda model: _waves(model)[:, None],
        lambda _: torch.randn(1, 3840),
        _features(None, bins_first=False),
        _of_width("hidden_size"),
    ],
    "decoder_input_values": [_of_width("hidden_size", LENGTH - 3)],
    "latents": [_of_width("hidden_size"), lambda model: _of_width("hidden_size")(model).mT],
    "past_values_padding": [lambda model: torch.zeros_like(_series(model))],
    "freq": [lambda _: torch.zeros(1, 1, dtype=torch.long)],
    "input_features": [
        _features(None, bins_first=True),
        _features(128, bins_first=False),
        _features(200, bins_first=True),
        _features(3000, bins_first=True),
        _features(200, bins_first=False),
        lambda model: _features(256, bins_first=False)(model)[:, None],
    ],
    "is_longer": [lambda _: torch.zeros(1, 1, dtype=torch.bool)],
    "input_features_mask": [_ones(128), _ones(200), _ones(3000)],
    "audio_mel": [lambda _: torch.randn(1, 64, 128)],
    "audio_mel_mask": [lambda _: torch.zeros(1, 64, dtype=torch.bool)],
    "attention_mask": [_ones(LENGTH), _ones(128), _ones(200)],
    "bbox": [_boxes],
    "visual_feats": [_of_width("visual_feat_dim", 5)],
    "visual_pos": [lambda _: torch.rand(1, 5, 4)],
    "inputs": [_of_width("d_model")],
    "state": [lambda model: torch.randn(1, _first(model.config, "max_state_dim", 32))],
    "encoder_hidden_states": [_of_width("encoder_hidden_size", 6)],
    "query_embeds": [_of_width("hidden_size", 4)],
    "inputs_embeds": [_of_width("hidden_size")],
    "states": [_of_width("state_dim", 5)],
    "actions": [_of_width("act_dim", 5)],
    "rewards": [lambda _: torch.randn(1, 5, 1)],
    "returns_to_go": [lambda _: torch.randn(1, 5, 1)],
    "timesteps": [lambda _: torch.arange(5)[None]],
    "past_values": [_series],
    "past_time_features": [lambda model: _series(model, model.config.num_time_features)],
    "past_observed_mask": [_seen_moments],
    "future_values": [_future],
    "future_time_features": [lambda model: _future(model, model.config.num_time_features)],
}
_BESIDE_PICTURES = ("image_grid_thw", "image_sizes", "spatial_shapes", "pixel_attention_mask")
# What some models want beside what they say they want.
_MORE = (
    ("pixel_values",),
    ("input_ids", "pixel_values"),
    ("pixel_values", "image_attention_mask"),
    ("target_sizes",),
    ("input_ids", "input_features"),
    ("input_ids", "input_values"),
    ("input_ids", "input_features", "is_longer"),
    ("bbox",),
    ("encoder_hidden_states",),
    ("bbox", "pixel_values"),
    ("attention_mask",),
    ("input_features_mask",),
    ("decoder_input_ids",),
    ("input_features", "attention_mask"),
    ("input_features", "input_features_mask"),
    ("image_grid_thw",),
    ("spatial_shapes", "pixel_attention_mask"),
    ("visual_feats", "visual_pos"),
    ("pixel_values_videos", "input_values", "input_ids"),
    ("states", "actions", "rewards", "returns_to_go", "timesteps"),
    ("future_values", "future_time_features"),
    ("decoder_input_ids", "input_values"),
    ("decoder_input_values",),
    ("image_embeds_position_mask", "pixel_values"),
    tuple(FORMS),
)
