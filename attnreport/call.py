"""What a source hands over so that the model can be called: the arguments and what they mean.

``prepare`` beside a user's own model returns a ``Call``; so do the built-in sources. The tensors
are typed ``Any`` here so that this floor stays free of torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from attnreport.axis import Axis
from attnreport.pixels import Pixels


@dataclass(frozen=True)
class Call:
    """Hold the arguments of one call of a model, and the axes of the sequences among them.

    Attributes:
        args: positional arguments of ``model(...)``.
        kwargs: keyword arguments of ``model(...)``.
        axes: pairs of an input tensor, shape ``(batch, position, …)``, and the axis that describes
            its positions; or of a tensor that holds a picture and its ``Pixels``. Capture follows
            each tensor through the model to learn which attention has which sequence as its
            queries and keys, and for a picture, what each position of every layer was made of.
        notes: what was done to INPUT on the way, in words for the page; e.g. that it was cut.
        classes: names of the classes that the model tells apart, in the order of its logits, so
            that ``--target-class`` can name one.
        token_ids: makes token ids of a text without adding any, so that ``--target-token`` can
            name one.
        token_name: says what a token id stands for, for the page.
        written: the token ids that the positions of the logits are made to write, in their order,
            where there is a target: ``--target-token`` is read where it is written.
        special: token ids that stand for no text: ``--probe`` draws none of them.
        blanks: the positions that the model is to fill in: ``--target-token`` is read at the last.
    """

    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    axes: tuple[tuple[Any, Axis | Pixels], ...] = ()
    notes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    token_ids: Callable[[str], Sequence[int]] | None = None
    token_name: Callable[[int], str] | None = None
    written: tuple[int, ...] = ()
    special: tuple[int, ...] = ()
    blanks: tuple[int, ...] = ()
