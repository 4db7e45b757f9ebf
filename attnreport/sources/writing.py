"""What an encoder–decoder is made to write: a target that is given, or what it writes itself.

With a target it runs as in training (teacher forcing): position ``i`` of the target sees the tokens
up to ``i`` and predicts the next. Without one the model writes it first, greedily. Knows nothing of
what the encoder reads.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnreport.axis import Axis, Position
from attnreport.errors import InvalidInput, one_line
from attnreport.sources.fitting import encode_fitting, model_limit
from attnreport.sources.request import Request
from attnreport.sources.tokens import describe_generated, pieces_of, token_labels

MAX_GENERATED = 256
# Whisper begins with a start, a language, a task and a word on marks of time.
_SPEECH_FRONT = 4
_ROWS = "a row of the target shows where the model looked to write the token after it"


def is_encoder_decoder(model: Any) -> bool:
    """Tell whether a model writes a target beside what it reads."""
    return bool(getattr(model.config, "is_encoder_decoder", False))


@dataclass(frozen=True)
class Target:
    """Hold the decoder's input ids, the axis over them, notes, and what each position writes."""

    ids: list[int]
    axis: Axis
    notes: tuple[str, ...]
    written: tuple[int, ...] = ()


def target_of(
    request: Request,
    model: Any,
    tokenizer: Any,
    tensors: dict[str, torch.Tensor],
    source: Axis | None = None,
) -> Target:
    """Return what the decoder is given.

    Args:
        request: its ``target``, or None to let the model generate.
        model: an encoder–decoder.
        tokenizer: the checkpoint's.
        tensors: what the encoder reads.
        source: the axis over it where it is a text.

    Raises:
        InvalidInput: the target is too long, or the model cannot generate one.
    """
    if source is not None and reads_source_twice(model):
        ids, axis = _shifted(model, tokenizer, tensors["input_ids"][0].tolist(), source)
        return Target(ids, axis, ("the decoder reads the source as well, one place later",))
    if request.target is None:
        ids, axis, notes = _generate(model, tokenizer, tensors)
        return Target(ids, axis, (*notes, _ROWS), tuple(ids[1:]))
    inputs, axis, notes = encode_fitting(
        request, model, AsTarget(tokenizer), request.target, name="target"
    )
    labels = inputs["input_ids"]
    if source is None and labels[0] == _start(model):
        # A tokenizer of speech writes the start token itself, which shifting puts there again.
        labels, axis = labels[1:], replace(axis, positions=axis.positions[1:])
    ids, axis = _shifted(model, tokenizer, labels, axis)
    written = labels if ids[1:] == labels[:-1] else ids[1:]
    return Target(ids, axis, (*notes, _ROWS), tuple(written))


def reads_source_twice(model: Any) -> bool:
    """Tell whether an encoder–decoder judges its source instead of writing a target."""
    return type(model).__name__.endswith(("ForSequenceClassification", "ForQuestionAnswering"))


def _shifted(model: Any, tokenizer: Any, labels: list[int], axis: Axis) -> tuple[list[int], Axis]:
    """Return what the decoder reads when it is to write ``labels``, which ``axis`` describes."""
    ids = _shift_right(model, labels)
    names = token_labels(pieces_of(tokenizer, ids))
    if ids[1:] != labels[:-1]:  # a model of its own mind: its tokens, without places
        return ids, Axis.of_labels("target", names)
    positions = (Position(names[0], role="special"), *axis.positions[:-1])
    return ids, Axis("target", positions, axis.text)


class AsTarget:
    """A tokenizer whose call tokenizes a target: some have another vocabulary for it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, text: str, pair: None, **options: Any) -> Any:
        """Tokenize a target; nothing can be its pair."""
        return self._tokenizer(text_target=text, **options)


def _shift_right(model: Any, labels: list[int]) -> list[int]:
    """Return ``labels`` behind a start token, by the model's own function where it has one."""
    config, tensor = model.config, torch.tensor([labels], device=model.device)
    start = _start(model)
    shift = getattr(sys.modules[type(model).__module__], "shift_tokens_right", None)
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        shifted = model.prepare_decoder_input_ids_from_labels(labels=tensor)
    elif hasattr(model, "_shift_right"):  # T5 and its kin
        shifted = model._shift_right(tensor)
    elif shift is not None:  # BART and its kin; mBART's has no start token, it turns the text round
        arguments = (tensor, getattr(config, "pad_token_id", None), start)
        shifted = shift(*arguments[: len(inspect.signature(shift).parameters)])
    else:
        return [start, *labels[:-1]]
    return [int(token) for token in shifted[0]]


def _start(model: Any) -> int:
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    starts = (getattr(model.config, name, None) for name in names)
    start = next((token for token in starts if token is not None), None)
    if start is None:
        raise InvalidInput(f"{type(model).__name__}: config.json names no decoder_start_token_id")
    return int(start)


def _generate(
    model: Any, tokenizer: Any, tensors: dict[str, torch.Tensor]
) -> tuple[list[int], Axis, tuple[str, ...]]:
    if not getattr(model, "can_generate", bool)():
        raise InvalidInput(
            f"{type(model).__name__} has no head to generate with; give the target with --target"
        )
    # Tables of positions may end before the model does; models of speech begin with a few tokens.
    front = 1 if "input_ids" in tensors else _SPEECH_FRONT
    longest = min(MAX_GENERATED, (model_limit(model, tokenizer) or MAX_GENERATED) - front)
    options: dict[str, Any] = {"do_sample": False, "num_beams": 1, "max_new_tokens": longest}
    if "force_unique_generate_call" in inspect.signature(model.generate).parameters:
        # Whisper else leaves out the tokens that it began with.
        options |= {"force_unique_generate_call": True, "return_dict_in_generate": True}
    try:
        with torch.no_grad():
            written = model.generate(**tensors, **options)
    except Exception as error:
        raise InvalidInput(f"the model cannot generate a target: {one_line(error)}") from error
    written = getattr(written, "sequences", written)
    ids = [int(token) for token in written[0]]
    notes = ["the target was generated by the model itself, greedily, then run as one forced pass"]
    if ids[-1] in _ends(model):
        ids = ids[:-1]  # what the model reads to write `ids[1:]` and the end
    else:
        notes.append(f"generation stopped after {longest} tokens")
    return ids, describe_generated(tokenizer, ids, name="target"), tuple(notes)


def _ends(model: Any) -> Sequence[int]:
    ends = model.generation_config.eos_token_id
    if ends is None:
        return ()
    return [int(end) for end in ends] if isinstance(ends, (list, tuple)) else [int(ends)]
