"""What a checkpoint calls its classes and its tokens, so that an option can name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def class_names(config: Any) -> tuple[str, ...]:
    """Return what a config calls the classes of a classifier, in the order of its logits."""
    names = getattr(config, "id2label", None) or {}
    return tuple(str(names[number]) for number in sorted(names))


def token_namer(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return a function from a text to its token ids, none added."""
    return lambda text: list(tokenizer(text, None, add_special_tokens=False)["input_ids"])
