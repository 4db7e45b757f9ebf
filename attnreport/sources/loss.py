"""The number by which it is judged how well a model does without one of its heads.

A logit that the request names, or else the loss: of the next token, or of the predicted class.
Knows outputs by their shapes, and no family of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.axis import Axis
from attnreport.call import Call
from attnreport.errors import InvalidOption
from attnreport.sources.request import Request
from attnreport.sources.target import asks_for_target, logits_of, named_logit

_NAME_ONE = (
    "name one with --target-class or --target-token; from Python build_run(request, loss=function)"
)


@dataclass(frozen=True)
class Number:
    """Hold a number of a model's output.

    Attributes:
        of: reads it from the output.
        words: what it is.
        sign: 1 where more is worse, as of a loss; -1 where less is, as of a logit.
    """

    of: Callable[[Any], float]
    words: str
    sign: int


def judging_number(
    request: Request, call: Call, output: object, *, causal: Callable[[Axis], bool]
) -> Number:
    """Return the number that the request names, or the loss that suits the model's output.

    Args:
        request: may name a logit.
        call: whose token ids are what a language model should predict.
        output: of the run with every head: what it predicts is what is judged.
        causal: tells of an axis whether its positions see only themselves and those before.

    Raises:
        InvalidOption: nothing tells what would be better or worse.
    """
    if asks_for_target(request):
        place, words = named_logit(request, call, output)
        return Number(lambda found: float(logits_of(found)[place]), words, -1)
    logits = logits_of(output)
    if logits.ndim == 2:
        return _of_class(call, logits)
    ids, axis = _token_ids(call, logits)
    if ids is None or axis is None or not causal(axis):
        raise InvalidOption(
            f"--ablate needs a number that says how well the model does, and logits of shape "
            f"{tuple(logits.shape)} without text that is read from left to right give none; "
            f"{_NAME_ONE}"
        )
    wanted = ids[0, 1:].clone()
    wanted[(wanted < 0) | (wanted >= logits.shape[2])] = -100  # what the model never writes
    if not (wanted >= 0).any():
        raise InvalidOption(f"--ablate: the text has no next token to predict; {_NAME_ONE}")

    def loss(found: object) -> float:
        rows = logits_of(found)[0, :-1].double()
        return float(F.cross_entropy(rows, wanted.to(rows.device)))

    return Number(loss, f"the mean cross-entropy of the next token of the {axis.name}, in nats", 1)


def _of_class(call: Call, logits: torch.Tensor) -> Number:
    number, count = int(logits[0].argmax()), logits.shape[1]
    name = f" (“{call.classes[number]}”)" if len(call.classes) == count else ""
    return Number(
        lambda found: -float(logits_of(found)[0].double().log_softmax(dim=0)[number]),
        f"−log p of the predicted class {number}{name}, in nats",
        1,
    )


def _token_ids(call: Call, logits: torch.Tensor) -> tuple[torch.Tensor | None, Axis | None]:
    """Return the ids that the logits' positions read, ``(batch, position)``, and their axis."""
    for tensor, axis in reversed(call.axes):
        if (
            isinstance(axis, Axis)
            and not tensor.is_floating_point()
            and tuple(tensor.shape) == tuple(logits.shape[:2])
        ):
            return tensor, axis
    return None, None
