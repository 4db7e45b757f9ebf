"""Make the prompt that a model of pictures or sounds reads too, and say what its tokens are.

The checkpoint's own processor puts as many tokens in the place of the picture as the model needs;
which patch each of them holds is followed in the run. A sound in a prompt is the same thing.
Here the tokens of the user's own words are found again among them. Knows no model family.
"""

from __future__ import annotations

from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

from attnreport.axis import Axis, Position
from attnreport.errors import InvalidInput
from attnreport.sources.tokens import encode, pieces_of, token_labels

NAME = "prompt"


def image_token(config: Any) -> int | None:
    """Return the token that stands for the picture in a prompt, or None for another model."""
    return _token(config, "image")


def with_image_token(config: Any, processor: Any, prompt: str) -> tuple[str, tuple[str, ...]]:
    """Return the prompt with a place for the picture, put in front if it had none, and notes.

    Raises:
        InvalidInput: it has several.
    """
    tokenizer = processor.tokenizer
    name = getattr(processor, "image_token", None)
    name = str(name or tokenizer.convert_ids_to_tokens(image_token(config)))
    around = [
        "" if token is None else str(tokenizer.convert_ids_to_tokens(token))
        for token in (
            getattr(config, "vision_start_token_id", None),
            getattr(config, "vision_end_token_id", None),
        )
    ]
    return _holding(name, around, prompt)


def audio_token(config: Any) -> int | None:
    """Return the token that stands for the sound in a prompt, or None for another model."""
    return _token(config, "audio")


def with_audio_token(processor: Any, prompt: str) -> tuple[str, tuple[str, ...]]:
    """Return the prompt with a place for the sound, put in front if it had none, and notes.

    Raises:
        InvalidInput: it has several, or the processor names none.
    """
    name = getattr(processor, "audio_token", None)
    if not isinstance(name, str):
        raise InvalidInput(f"{type(processor).__name__} names no audio_token to put in the prompt")
    around = [str(getattr(processor, f"audio_{side}_token", "")) for side in ("bos", "eos")]
    return _holding(name, around, prompt)


def _token(config: Any, kind: str) -> int | None:
    for name in (f"{kind}_token_id", f"{kind}_token_index"):
        if (token := getattr(config, name, None)) is not None:
            return int(token)
    return None


def _holding(name: str, around: list[str], prompt: str) -> tuple[str, tuple[str, ...]]:
    """Return a prompt that holds a token once, and what was done to that end."""
    if name in prompt:
        if (count := prompt.count(name)) > 1:
            raise InvalidInput(f"the prompt holds {name} {count} times, expected once")
        return prompt, ()
    front = name.join(around)
    return f"{front}\n{prompt}", (f"{front} was put in front of the prompt",)


def prompt_axis(tokenizer: Any, prompt: str, ids: list[int]) -> Axis:
    """Return the axis over the tokens that a processor made of a prompt.

    The prompt's own tokens keep their span; those that the processor put in are special.
    """
    plain, axis = encode(tokenizer, prompt, name=NAME)
    labels = token_labels(pieces_of(tokenizer, ids))
    positions = [Position(label, role="special") for label in labels]
    matcher = SequenceMatcher(None, plain["input_ids"], ids, autojunk=False)
    for own, place, count in matcher.get_matching_blocks():
        positions[place : place + count] = axis.positions[own : own + count]
    return replace(axis, positions=tuple(positions))
