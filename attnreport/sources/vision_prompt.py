"""Put the patches of a picture where a prompt has its image token.

A model that writes about pictures reads one sequence: words, and in the place of the image token
as many positions as the vision encoder hands over. Each of those carries the box of its patch.
Knows how LLaVA does it (Liu et al. 2023, "Visual Instruction Tuning"); a family whose way is not
known is refused, because a wrong count or order would lay attention over the wrong patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from attnreport.axis import Axis, Position
from attnreport.errors import InvalidInput
from attnreport.sources.tokens import encode

_FAMILIES = {"llava"}


def has_image_token(config: Any) -> bool:
    """Tell whether the model reads the picture within its prompt, and not beside it."""
    return _image_token(config) is not None


def prompt_with_patches(
    config: Any, tokenizer: Any, prompt: str, picture: Axis
) -> tuple[dict[str, list[int]], Axis, tuple[str, ...]]:
    """Return the model's inputs by name, the axis over them, and notes.

    Args:
        config: of the whole model.
        tokenizer: the checkpoint's.
        prompt: with one image token, or with none: then it goes in front.
        picture: the positions of the vision encoder, those in front of the patches included.

    Raises:
        InvalidInput: the family is not known, or the prompt has several image tokens.
    """
    if config.model_type not in _FAMILIES:
        raise InvalidInput(
            f"how the prompt of a {config.model_type} takes a picture is not known to this version"
        )
    token = _image_token(config)
    name = str(tokenizer.convert_ids_to_tokens(token))
    notes: tuple[str, ...] = ()
    if name not in prompt:
        prompt, notes = f"{name}\n{prompt}", (f"{name} was put in front of the prompt",)
    inputs, axis = encode(tokenizer, prompt, name="prompt")
    places = [place for place, each in enumerate(inputs["input_ids"]) if each == token]
    if len(places) != 1:
        raise InvalidInput(f"the prompt holds {name} {len(places)} times, expected once")
    (place,) = places
    patches = _handed_over(config, picture)
    spread = {
        key: [*values[:place], *[values[place]] * len(patches), *values[place + 1 :]]
        for key, values in inputs.items()
    }
    positions = (*axis.positions[:place], *patches, *axis.positions[place + 1 :])
    return spread, replace(axis, positions=positions, picture=picture.picture), notes


def _handed_over(config: Any, picture: Axis) -> Sequence[Position]:
    """Return the positions of the vision encoder that the language model gets."""
    if config.vision_feature_select_strategy == "default":
        return picture.positions[1:]  # LLaVA leaves out the first one, the class token
    return picture.positions


def _image_token(config: Any) -> int | None:
    for name in ("image_token_id", "image_token_index"):
        if (token := getattr(config, name, None)) is not None:
            return int(token)
    return None
