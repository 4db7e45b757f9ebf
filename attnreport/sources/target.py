"""Choose the number of a model's output that is differentiated, with a graph behind it.

The number is the logit of a class or of a token, as the request names it, or what a function of
the user's makes of the output. Knows outputs by their shapes, and no family of models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch

from attnreport.call import Call
from attnreport.errors import AttnreportError, InvalidOption, one_line
from attnreport.pixels import Pixels
from attnreport.sources.request import Request

Target = Callable[[Any], torch.Tensor]
Place = tuple[int, ...]

PREDICTED = "predicted"
_NAMED = ("logits", "logits_per_image")
_MOST_NAMES = 20

# matmul folds its batch where autograd is on, and torch.nn leaves its fused encoder path: the
# numbers are those of the same call with autograd on, bit for bit, and not always of one without.
WITH_AUTOGRAD = (
    "run with autograd on, so that it can be differentiated; torch may take other kernels then, "
    "and last digits differ from a run without a target"
)


def check_target(request: Request) -> None:
    """Refuse options that do not go together, before any work.

    Raises:
        InvalidOption: both a class and a token are named, or a position without a token.
    """
    if request.target_class is not None and request.target_token is not None:
        raise InvalidOption("--target-class and --target-token name one number each; leave one out")
    if request.target_position is not None and request.target_token is None:
        raise InvalidOption("--target-position says where --target-token is read; give that too")


def asks_for_target(request: Request) -> bool:
    """Tell whether the request names a number to differentiate."""
    return request.target_class is not None or request.target_token is not None


@contextlib.contextmanager
def differentiable(model: torch.nn.Module) -> Iterator[None]:
    """Build a graph inside the block, through parameters that are frozen as well.

    No number of the forward changes by that; afterwards everything is as it was.
    """
    frozen = [
        parameter
        for parameter in model.parameters()
        if not parameter.requires_grad and parameter.is_floating_point()
    ]
    try:
        for parameter in frozen:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield
    finally:
        for parameter in frozen:
            parameter.requires_grad_(False)


def one_number(value: object) -> torch.Tensor:
    """Return ``value`` if it can be differentiated.

    Raises:
        InvalidOption: it is no single number, or does not depend on the model.
    """
    if not isinstance(value, torch.Tensor) or value.numel() != 1:
        got = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
        raise InvalidOption(f"the target must be one number, a tensor of shape (), got {got}")
    if not value.requires_grad:
        raise InvalidOption(
            "the target does not depend on the model's parameters by operations that can be "
            "differentiated, so there is no gradient of it"
        )
    return value


def called(target: Target, output: object) -> torch.Tensor:
    """Return what the user's function makes of the output.

    Raises:
        InvalidOption: it raises something.
    """
    try:
        return target(output)
    except AttnreportError:
        raise
    except Exception as error:
        raise InvalidOption(f"the target raised {one_line(error)}") from error


def words_of(target: Target) -> str:
    """Return what a number is called that the user's function makes."""
    return f"what {getattr(target, '__name__', 'a function')} returned"


def named_logit(request: Request, call: Call, output: object) -> tuple[Place, str]:
    """Return where among the logits the one is that the request names, and its words.

    Raises:
        InvalidOption: the output has no such logits, or there is no such class, token or position.
    """
    logits = logits_of(output)
    if request.target_class is not None:
        return _class_place(request.target_class, call, logits)
    return _token_place(request, call, logits)


def logits_of(output: object) -> torch.Tensor:
    """Return the model's logits, ``(batch, class)`` or ``(batch, position, token)``."""
    if isinstance(output, Mapping):
        found = next((output[name] for name in _NAMED if name in output), None)
    elif isinstance(output, (tuple, list)) and output:
        found = output[0]
    else:
        found = next((getattr(output, name) for name in _NAMED if hasattr(output, name)), output)
    if isinstance(found, torch.Tensor) and found.is_floating_point():
        return found
    raise InvalidOption(
        f"the model returned {type(output).__name__} without logits, so no class or token can be "
        "named; from Python build_run(request, target=function) takes any number of it"
    )


def _class_place(wanted: str, call: Call, logits: torch.Tensor) -> tuple[Place, str]:
    if logits.ndim != 2:
        raise InvalidOption(
            f"--target-class expects logits (batch, class), this model gives {tuple(logits.shape)}"
            f"{'; --target-token may be meant' if logits.ndim == 3 else ''}"
        )
    count = logits.shape[1]
    names = call.classes if len(call.classes) == count else ()
    number = _class_number(wanted, names, logits)
    name = f" (“{names[number]}”)" if names else ""
    said = ", which the model predicts" if number == int(logits[0].argmax()) else ""
    return (0, number), f"the logit of class {number}{name}{said}"


def _class_number(wanted: str, names: tuple[str, ...], logits: torch.Tensor) -> int:
    if wanted in names:
        return names.index(wanted)
    alike = [at for at, name in enumerate(names) if name.lower() == wanted.lower()]
    if len(alike) == 1:
        return alike[0]
    if wanted == PREDICTED:
        return int(logits[0].argmax())
    if wanted.isdecimal() and int(wanted) < len(logits[0]):
        return int(wanted)
    listed = ", ".join(names[:_MOST_NAMES]) + (", …" if len(names) > _MOST_NAMES else "")
    known = f"; they are {listed}" if names else ""
    raise InvalidOption(
        f"--target-class {wanted}: there is no such class, expected {PREDICTED}, a number below "
        f"{len(logits[0])}{' or a name' if names else ''}{known}"
    )


def _token_place(request: Request, call: Call, logits: torch.Tensor) -> tuple[Place, str]:
    if logits.ndim != 3:
        raise InvalidOption(
            "--target-token expects logits (batch, position, token), this model gives "
            f"{tuple(logits.shape)}{'; --target-class may be meant' if logits.ndim == 2 else ''}"
        )
    wanted, (length, count) = request.target_token or "", logits.shape[1:]
    asked = None if wanted == PREDICTED else _token_number(wanted, call, count)
    place = _row(request, call, asked, length)
    row = logits[0, place]
    best = int(row.argmax())
    number = best if asked is None else asked
    said = ", which the model predicts there" if number == best else ""
    token, where = _named(call, number), _position(call, place, length)
    return (0, place, number), f"the logit of token {token} at position {where}{said}"


def _row(request: Request, call: Call, token: int | None, length: int) -> int:
    """Return the position to read: the one asked for, where the token is written, or the last."""
    if request.target_position is not None:
        if request.target_position >= length:
            raise InvalidOption(
                f"--target-position {request.target_position}: expected 0 to {length - 1}"
            )
        return request.target_position
    written = [place for place, each in enumerate(call.written[:length]) if each == token]
    return (written or call.blanks or (length - 1,))[-1]


def _token_number(wanted: str, call: Call, count: int) -> int:
    prefix, _, digits = wanted.partition("id:")
    if not prefix and digits.isdecimal() and int(digits) < count:
        return int(digits)
    if call.token_ids is None:
        raise InvalidOption(
            f"--target-token {wanted}: this model comes without a tokenizer; give id:NUMBER, a "
            f"number below {count}"
        )
    ids = list(call.token_ids(wanted))
    if len(ids) != 1 or not 0 <= ids[0] < count:
        pieces = ", ".join(f"id:{_named(call, number)}" for number in ids) or "none"
        raise InvalidOption(
            f"--target-token {wanted}: expected a text that is one token of the model's, got "
            f"{len(ids)}: {pieces}"
        )
    return int(ids[0])


def _named(call: Call, number: int) -> str:
    return str(number) if call.token_name is None else f"{number} (“{call.token_name(number)}”)"


def _position(call: Call, place: int, length: int) -> str:
    """Return a position with its label, where an input's axis says what it is."""
    axes = [axis for _, axis in call.axes if not isinstance(axis, Pixels) and len(axis) == length]
    return f"{place} (“{axes[-1].positions[place].label}”)" if axes else str(place)
