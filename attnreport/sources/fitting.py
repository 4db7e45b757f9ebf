"""Tokenize what a model reads or writes, no longer than it was made for.

Knows what models and tokenizers say of their length, and nothing of how a call is made.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from attnreport.axis import Axis
from attnreport.errors import InvalidInput
from attnreport.sources.request import Request
from attnreport.sources.tokens import encode

# Tokenizers without a limit of their own say 1e30.
_NO_LIMIT = 10**9


def encode_fitting(
    request: Request, model: Any, tokenizer: Any, text: str, *, name: str, **options: Any
) -> tuple[dict[str, list[int]], Axis, tuple[str, ...]]:
    """Tokenize a text; cut or refuse what is longer than the model takes.

    Returns:
        As ``encode`` does, and notes.

    Raises:
        InvalidInput: the text is too long and ``request.truncate`` is false, or gives no token.
    """
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


def model_limit(model: Any, tokenizer: Any) -> int | None:
    """Return the most positions the model was made for, or None where none is stated."""
    names = ("max_position_embeddings", "max_target_positions")
    limits = [*(getattr(model.config, name, None) for name in names), tokenizer.model_max_length]
    for name, module in model.named_modules():
        last = name.rpartition(".")[2]
        if last == "position_embeddings" and isinstance(module, nn.Embedding):
            # RoBERTa counts its positions from padding_idx + 1 on.
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - before)
    stated = [limit for limit in limits if isinstance(limit, int) and 0 < limit < _NO_LIMIT]
    return min(stated, default=None)
