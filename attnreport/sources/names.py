"""What a checkpoint calls its classes and its tokens, so that an option can name one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attnreport.errors import InvalidOption
from attnreport.sources.tokens import pieces_of, token_labels


def class_names(config: Any) -> tuple[str, ...]:
    """Return what a config calls the classes of a classifier, in the order of its logits."""
    names = getattr(config, "id2label", None) or {}
    return tuple(str(names[number]) for number in sorted(names))


def token_ids(tokenizer: Any) -> Callable[[str], list[int]]:
    """Return a function from a text to its token ids, none added.

    It raises ``InvalidOption`` for a text that the tokenizer only knows as unknown.
    """

    def ids_of(text: str) -> list[int]:
        ids = [int(each) for each in tokenizer(text, None, add_special_tokens=False)["input_ids"]]
        unknown = getattr(tokenizer, "unk_token_id", None)
        if unknown is not None and unknown in ids and text != tokenizer.unk_token:
            raise InvalidOption(
                f"--target-token {text}: the tokenizer has no token for it, "
                f"{tokenizer.unk_token} stands for what it does not know"
            )
        return ids

    return ids_of


def token_name(tokenizer: Any) -> Callable[[int], str]:
    """Return a function from a token id to its label, as the axes of the page have it."""
    return lambda number: token_labels(pieces_of(tokenizer, [number]))[0]
