"""Turn a text into the call of a transformers model, and say what its positions are.

An encoder or a decoder is called with the text, an encoder–decoder once with the text and the
target that ``writing`` finds. Knows nothing of how the model was opened.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.sources.fitting import encode_fitting
from attnreport.sources.names import class_names, token_ids, token_name
from attnreport.sources.request import Request
from attnreport.sources.writing import AsTarget, is_encoder_decoder, reads_source_twice, target_of


def text_call(request: Request, model: Any, tokenizer: Any, text: str) -> Call:
    """Return the call of ``model`` for ``text``, one example without padding.

    Raises:
        InvalidInput: the text is too long and ``request.truncate`` is false, or gives no token.
        InvalidOption: ``target`` or ``pair`` does not apply to the model.
    """
    _check_options(request, model, tokenizer)
    both = is_encoder_decoder(model)
    inputs, axis, notes = encode_fitting(
        request, model, tokenizer, text, pair=request.pair, name="source" if both else "text"
    )
    tensors = _tensors(model, inputs)
    if "input_ids" not in tensors:
        raise InvalidInput(f"{type(model).__name__} takes no text: it has no argument input_ids")
    axes = [(tensors["input_ids"], axis)]
    written: tuple[int, ...] = ()
    if both:
        target = target_of(request, model, tokenizer, tensors, axis)
        tensors["decoder_input_ids"] = torch.tensor([target.ids], device=model.device)
        axes.append((tensors["decoder_input_ids"], target.axis))
        notes += target.notes
        written = target.written
    words = AsTarget(tokenizer) if both else tokenizer
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


def _check_options(request: Request, model: Any, tokenizer: Any) -> None:
    if request.target is not None and not is_encoder_decoder(model):
        raise InvalidOption(
            f"--target: {type(model).__name__} is no encoder–decoder, so it has no target"
        )
    if request.target is not None and reads_source_twice(model):
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
