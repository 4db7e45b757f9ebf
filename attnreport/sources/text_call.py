"""Turn a text into the call of a transformers model, and say what its positions are.

An encoder or a decoder is called with the text. An encoder–decoder is called once with the text
and the target, as in training (teacher forcing): position ``i`` of the target sees the tokens up
to ``i`` and predicts the next. Without a target the model writes one first, greedily. Knows
nothing of how the model was opened.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption, one_line
from attnreport.sources.names import class_names, token_ids, token_name
from attnreport.sources.request import Request
from attnreport.sources.tokens import describe_generated, encode, pieces_of, token_labels

# Tokenizers without a limit of their own say 1e30.
_NO_LIMIT = 10**9
MAX_GENERATED = 256
_ROWS = "a row of the target shows where the model looked to write the token after it"


def text_call(request: Request, model: Any, tokenizer: Any, text: str) -> Call:
    """Return the call of ``model`` for ``text``, one example without padding.

    Raises:
        InvalidInput: the text is too long and ``request.truncate`` is false, or gives no token.
        InvalidOption: ``target`` or ``pair`` does not apply to the model.
    """
    _check_options(request, model, tokenizer)
    both = _is_encoder_decoder(model)
    inputs, axis, notes = _encode(
        request, model, tokenizer, text, pair=request.pair, name="source" if both else "text"
    )
    tensors = _tensors(model, inputs)
    if "input_ids" not in tensors:
        raise InvalidInput(f"{type(model).__name__} takes no text: it has no argument input_ids")
    axes = [(tensors["input_ids"], axis)]
    written: tuple[int, ...] = ()
    if both:
        target = _target(request, model, tokenizer, tensors, axis)
        tensors["decoder_input_ids"] = torch.tensor([target.ids], device=model.device)
        axes.append((tensors["decoder_input_ids"], target.axis))
        notes += target.notes
        written = target.written
    words = _AsTarget(tokenizer) if both else tokenizer
    # A cache changes no number; without it keys and queries of a decoder are one sequence.
    options = {"use_cache": False} if "use_cache" in _parameters(model) else {}
    return Call(
        kwargs={**tensors, **options},
        axes=tuple(axes),
        notes=notes,
        classes=class_names(model.config),
        token_ids=token_ids(words),
        token_name=token_name(words),
        special=tuple(tokenizer.all_special_ids),
        written=written,
        blanks=() if both else _masked(tokenizer, inputs["input_ids"]),
    )


def model_limit(model: Any, tokenizer: Any) -> int | None:
    """Return the most positions the model was made for, or None where none is stated."""
    limits = [getattr(model.config, "max_position_embeddings", None), tokenizer.model_max_length]
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last == "position_embeddings" and isinstance(module, nn.Embedding):
            # RoBERTa counts its positions from padding_idx + 1 on.
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - before)
    stated = [limit for limit in limits if isinstance(limit, int) and 0 < limit < _NO_LIMIT]
    return min(stated, default=None)


def _check_options(request: Request, model: Any, tokenizer: Any) -> None:
    if request.target is not None and not _is_encoder_decoder(model):
        raise InvalidOption(
            f"--target: {type(model).__name__} is no encoder–decoder, so it has no target"
        )
    if request.target is not None and _reads_source_twice(model):
        raise InvalidOption(
            f"--target: {type(model).__name__} judges its source and writes nothing; leave it out"
        )
    if request.target is not None and not request.target.strip():
        raise InvalidOption("--target is empty; leave it out to let the model generate")
    if request.pair is None:
        return
    if not request.pair.strip():
        raise InvalidOption("--pair is empty; leave it out for one segment")
    one, two = (tokenizer.num_special_tokens_to_add(pair=pair) for pair in (False, True))
    if two <= one:
        raise InvalidOption(
            f"--pair: the tokenizer of {type(model).__name__} sets no mark between two segments"
        )


def _is_encoder_decoder(model: Any) -> bool:
    return bool(getattr(model.config, "is_encoder_decoder", False))


def _encode(
    request: Request, model: Any, tokenizer: Any, text: str, *, name: str, **options: Any
) -> tuple[dict[str, list[int]], Axis, tuple[str, ...]]:
    """Tokenize, and cut or refuse what is longer than the model."""
    inputs, axis = encode(tokenizer, text, name=name, **options)
    limit, length = model_limit(model, tokenizer), len(axis)
    if not length:
        raise InvalidInput(f"the tokenizer made no token of the {name}; give a longer text")
    if limit is None or length <= limit:
        return inputs, axis, ()
    if not request.truncate:
        raise InvalidInput(
            f"the {name} has {length} tokens, {type(model).__name__} takes at most {limit}; "
            "--truncate cuts it"
        )
    inputs, axis = encode(tokenizer, text, name=name, truncation=True, max_length=limit, **options)
    return inputs, axis, (f"the {name} was cut from {length} to {len(axis)} tokens",)


def _parameters(model: Any) -> set[str]:
    return set(inspect.signature(model.forward).parameters)


def _masked(tokenizer: Any, ids: Sequence[int]) -> tuple[int, ...]:
    """Return the positions of ``[MASK]``, which a masked language model is to fill in."""
    mask = getattr(tokenizer, "mask_token_id", None)
    return tuple(place for place, token in enumerate(ids) if token == mask)


def _tensors(model: Any, inputs: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """Return the inputs that the model takes as tensors of shape (1, position)."""
    taken = _parameters(model)
    return {
        name: torch.tensor([values], device=model.device)
        for name, values in inputs.items()
        if name in taken
    }


@dataclass(frozen=True)
class _Target:
    """Hold the decoder's input ids, the axis over them, notes, and what each position writes."""

    ids: list[int]
    axis: Axis
    notes: tuple[str, ...]
    written: tuple[int, ...] = ()


def _target(
    request: Request, model: Any, tokenizer: Any, tensors: dict[str, torch.Tensor], source: Axis
) -> _Target:
    if _reads_source_twice(model):
        ids, axis = _shifted(model, tokenizer, tensors["input_ids"][0].tolist(), source)
        return _Target(ids, axis, ("the decoder reads the source as well, one place later",))
    if request.target is None:
        ids, axis, notes = _generate(model, tokenizer, tensors)
        return _Target(ids, axis, (*notes, _ROWS), tuple(ids[1:]))
    inputs, axis, notes = _encode(
        request, model, _AsTarget(tokenizer), request.target, name="target"
    )
    labels = inputs["input_ids"]
    ids, axis = _shifted(model, tokenizer, labels, axis)
    written = labels if ids[1:] == labels[:-1] else ids[1:]
    return _Target(ids, axis, (*notes, _ROWS), tuple(written))


def _reads_source_twice(model: Any) -> bool:
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


class _AsTarget:
    """A tokenizer whose call tokenizes a target: some have another vocabulary for it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def __call__(self, text: str, pair: None, **options: Any) -> Any:
        return self._tokenizer(text_target=text, **options)


def _shift_right(model: Any, labels: list[int]) -> list[int]:
    """Return ``labels`` behind a start token, by the model's own function where it has one."""
    config, tensor = model.config, torch.tensor([labels], device=model.device)
    names = ("decoder_start_token_id", "bos_token_id", "pad_token_id")
    starts = (getattr(config, name, None) for name in names)
    start = next((token for token in starts if token is not None), None)
    if start is None:
        raise InvalidInput(f"{type(model).__name__}: config.json names no decoder_start_token_id")
    shift = getattr(sys.modules[type(model).__module__], "shift_tokens_right", None)
    if hasattr(model, "prepare_decoder_input_ids_from_labels"):
        shifted = model.prepare_decoder_input_ids_from_labels(labels=tensor)
    elif hasattr(model, "_shift_right"):  # T5 and its kin
        shifted = model._shift_right(tensor)
    elif shift is not None:  # BART and its kin; mBART's has no start token, it turns the text round
        arguments = (tensor, getattr(config, "pad_token_id", None), start)
        shifted = shift(*arguments[: len(inspect.signature(shift).parameters)])
    else:
        return [int(start), *labels[:-1]]
    return [int(token) for token in shifted[0]]


def _generate(
    model: Any, tokenizer: Any, tensors: dict[str, torch.Tensor]
) -> tuple[list[int], Axis, tuple[str, ...]]:
    if not getattr(model, "can_generate", bool)():
        raise InvalidInput(
            f"{type(model).__name__} has no head to generate with; give the target with --target"
        )
    # Tables of positions may end before the model does.
    longest = min(MAX_GENERATED, (model_limit(model, tokenizer) or MAX_GENERATED) - 1)
    try:
        with torch.no_grad():
            written = model.generate(
                **tensors, do_sample=False, num_beams=1, max_new_tokens=longest
            )
    except Exception as error:
        raise InvalidInput(f"the model cannot generate a target: {one_line(error)}") from error
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
