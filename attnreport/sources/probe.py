"""A sequence of random tokens that is repeated once, in place of a call's own text.

Where nothing has a meaning, only a head that finds what came before can know what comes next
(Olsson et al. 2022). Knows calls and embeddings, and no family of models.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.errors import InvalidOption

PERIOD = 50
_SEED = 0
_FILLED = {"attention_mask": 1, "token_type_ids": 0}


def repeated(call: Call, model: nn.Module) -> tuple[Call, int]:
    """Return the call with its tokens replaced, and how many of them are repeated.

    A special token at the start stays. The others are drawn without replacement from what the
    model embeds, special tokens left out; the same ones every time.

    Raises:
        InvalidOption: the model does not read one sequence of token ids.
    """
    ids, axis = _sequence(call)
    table = _embedding(model, int(ids.max()))
    start = 1 if axis.positions[0].role == "special" else 0
    taken = {int(ids[0, at]) for at, each in enumerate(axis.positions) if each.role == "special"}
    taken.update(call.special)
    free = torch.tensor([number for number in range(table.num_embeddings) if number not in taken])
    longest = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    room = (longest - start) // 2 if isinstance(longest, int) and longest > 0 else PERIOD
    period = min(PERIOD, room, len(free))
    if period < 2:
        raise InvalidOption(f"--probe: the model takes {room} tokens twice, expected 2 or more")
    order = torch.randperm(len(free), generator=torch.Generator().manual_seed(_SEED))[:period]
    drawn = free[order].to(ids)
    new = torch.cat((ids[0, :start], drawn, drawn))[None]
    labels = (*axis.labels[:start], *(f"id {int(number)}" for number in new[0, start:]))
    positions = tuple(
        Position(label, role="special" if at < start else "input")
        for at, label in enumerate(labels)
    )
    return _with_ids(call, ids, new, Axis("probe", positions)), period


def _sequence(call: Call) -> tuple[torch.Tensor, Axis]:
    """Return the only token ids of the call, ``(1, position)``, and their axis."""
    found = [
        (tensor, axis)
        for tensor, axis in call.axes
        if isinstance(axis, Axis) and tensor.dim() == 2 and not tensor.is_floating_point()
    ]
    if len(found) != 1 or len(call.axes) != 1 or not len(found[0][1]):
        raise InvalidOption(
            "--probe induction needs a model that reads one sequence of token ids; this call has "
            f"{len(call.axes)} sequences, {len(found)} of them token ids"
        )
    return found[0]


def _embedding(model: nn.Module, largest: int) -> nn.Embedding:
    """Return the table of token embeddings: the model's own word for it, or the first that fits."""
    own = getattr(model, "get_input_embeddings", lambda: None)()
    tables = [own, *model.modules()]
    for table in tables:
        if isinstance(table, nn.Embedding) and table.num_embeddings > largest:
            return table
    raise InvalidOption("--probe induction: the model has no nn.Embedding that its tokens fit into")


def _with_ids(call: Call, ids: torch.Tensor, new: torch.Tensor, axis: Axis) -> Call:
    def swapped(name: str, value: Any) -> Any:
        if value is ids:
            return new
        if not isinstance(value, torch.Tensor) or value.shape != ids.shape:
            return value
        if name not in _FILLED:
            raise InvalidOption(
                f"--probe induction: nothing says what the argument {name!r} is for other tokens"
            )
        return torch.full_like(new, _FILLED[name], dtype=value.dtype)

    args = tuple(swapped(str(at), value) for at, value in enumerate(call.args))
    kwargs = {name: swapped(name, value) for name, value in call.kwargs.items()}
    return replace(call, args=args, kwargs=kwargs, axes=((new, axis),), notes=())
