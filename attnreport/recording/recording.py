"""The context manager, and what it leaves behind: capture one real run of a model.

Everything global that is touched (the mode, one check inside ``torch.nn``, how a compiled model
runs) is put back when the block ends, however it ends. This module knows no way of computing
attention and nothing of pages.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch

from attnreport.attention import Weights
from attnreport.axis import Axis
from attnreport.errors import AttentionNotFound, InvalidInput
from attnreport.pixels import Pixels
from attnreport.recording import (  # noqa: F401 - each registers what it reads
    deformable,
    flex,
    fused,
    handwritten,
    lookup,
    multihead,
    operators,
    sdpa,
    sums,
)
from attnreport.recording.assemble import assemble
from attnreport.recording.fastpath import unseen_by_fast_paths
from attnreport.recording.generating import GENERATIONS
from attnreport.recording.gradients import send_back
from attnreport.recording.kernels import KERNELS
from attnreport.recording.memory import MAX_MEMORY
from attnreport.recording.origin import complete
from attnreport.recording.selection import Selection
from attnreport.recording.watch import Watch
from attnreport.run import LedgerEntry, Provenance, Run

AxisLike = Axis | Pixels | Sequence[str]


class Recording:
    """Hold what one capture saw; grows while the block runs, is read after it."""

    def __init__(self, model: torch.nn.Module, watch: Watch, notes: Sequence[str]) -> None:
        self._model = model
        self._watch = watch
        self._notes = tuple(notes)

    @property
    def ledger(self) -> tuple[LedgerEntry, ...]:
        """Return every attention computation that was seen, captured or not."""
        return assemble(self._watch).ledger

    @property
    def gradients(self) -> tuple[Weights | None, ...]:
        """Return d(scalar)/d(weights) for each of ``run().attentions``.

        ``(head, query, key)`` float32 of the scalar that a backward inside the block began at,
        added up over several backwards; None where none arrived, e.g. through dropout.
        """
        return tuple(each.gradient for each in assemble(self._watch).attentions)

    def differentiate(self, value: torch.Tensor) -> None:
        """Take the gradient of one number at the weights; no parameter's ``grad`` is touched.

        Inside the block, in place of ``value.backward()``: less is computed. Further numbers add
        up. Layers that the number does not depend on get none.

        Args:
            value: a tensor of one element, made from what the model returned.

        Raises:
            InvalidInput: it is no single number, it cannot be differentiated, or the block is over
                or was opened without ``gradients=True``.
        """
        if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
            raise InvalidInput(
                "differentiate expects a tensor of one element that depends on the model with "
                f"autograd on, got {_kind_of(value)}"
            )
        if not self._watch.gradients or self._watch.over:
            raise InvalidInput("differentiate works inside a block of capture(…, gradients=True)")
        send_back(value, self._watch.edges)

    def run(self, provenance: Provenance | None = None, *, target: str = "") -> Run:
        """Return the run, with the gradients that arrived.

        Args:
            provenance: what the caller knows of where the run comes from; its empty fields are
                filled from the model.
            target: what was differentiated, in words for the page, e.g. ``"the loss"``.

        Raises:
            AttentionNotFound: no attention was captured; the message says what was seen.
        """
        assembled = assemble(self._watch)
        if not assembled.attentions:
            raise AttentionNotFound(_summary(self._model, assembled.ledger))
        filled = complete(provenance or Provenance(), self._model, (*self._notes, *assembled.notes))
        return Run(assembled.attentions, assembled.ledger, filled, target)


@contextlib.contextmanager
def capture(  # noqa: PLR0913 - all but the model have defaults
    model: torch.nn.Module,
    *,
    axes: Sequence[tuple[torch.Tensor, AxisLike]] = (),
    example: int = 0,
    gradients: bool = False,
    values: bool = False,
    layers: Sequence[int | str] | None = None,
    heads: Sequence[int] | None = None,
    queries: Sequence[int] | None = None,
    max_memory: int | None = MAX_MEMORY,
) -> Iterator[Recording]:
    """Record the attention of every call of ``model`` inside the block.

    The model's output is bit-identical with and without: every computation of its own runs first
    and untouched. Only this thread is watched, and only this model.

    Args:
        model: any module; nothing in it needs to be set.
        axes: pairs of an input tensor, shape ``(batch, position, …)``, and its ``Axis`` or the
            labels of its positions, e.g. ``Call.axes``; or ``Pixels`` for a tensor that holds a
            picture: then every layer's positions get the boxes that they were made of. Without
            them positions are numbered.
        example: which example of a batch to keep, from 0; where ``generate`` returns several
            sequences for each, which of all it returns.
        gradients: whether ``Recording.gradients`` is wanted; needs a backward inside the block.
        values: whether ``Attention.value_norms`` are wanted: how long the vectors are that the
            weights are multiplied by. Takes about as long again as the layers' projections.
        layers: which layers to keep, to hold memory: numbers, counted from 0 over the attentions as
            they run, or patterns of module paths, e.g. ``"decoder.*"``. All of them without. What
            is kept keeps its number, ``Attention.layer``.
        heads: which heads to keep of each, by number, which stands in ``Attention.head_numbers``.
            All of them without.
        queries: which rows to keep of each, by number, e.g. ``range(100, 120)``; of a generation
            the rows of prompt and generated positions are counted on. All of them without. What is
            selected so is kept whole, whatever ``max_memory`` says.
        max_memory: how many bytes the kept weights may take. Over it neighbouring positions are
            joined as they come, and the run says so; ``Attention.reduced`` then holds what is
            exact. None keeps all, and so does ``gradients``.

    Raises:
        InvalidInput: an argument is not of this form.

    Example:
        >>> with capture(model, axes=[(ids, tokens)]) as recording:  # doctest: +SKIP
        ...     model(ids)
        >>> recording.run().attentions[0].weights.shape  # doctest: +SKIP
        (12, 9, 9)
    """
    watch = Watch(
        model,
        _checked(model, axes, example),
        example,
        gradients=gradients,
        values=values,
        selection=Selection(layers, heads, queries),
        max_memory=None if gradients else _checked_memory(max_memory),
    )
    with contextlib.ExitStack() as stack:
        notes = _run_compiled_parts_eagerly(watch.names.modules(), stack)
        stack.enter_context(unseen_by_fast_paths(Watch))
        stack.enter_context(KERNELS.by(watch))
        stack.enter_context(GENERATIONS.by(watch))
        stack.callback(watch.release)
        stack.enter_context(watch)
        yield Recording(model, watch, notes)
        watch.settle()


def _checked(
    model: Any, axes: Sequence[tuple[torch.Tensor, AxisLike]], example: int
) -> list[tuple[torch.Tensor, Axis | Pixels]]:
    if not isinstance(model, torch.nn.Module):
        raise InvalidInput(f"capture: expected a torch.nn.Module, got {type(model).__name__}")
    if not isinstance(example, int) or example < 0:
        raise InvalidInput(f"capture: expected example to be 0 or more, got {example!r}")
    checked = []
    for place, (tensor, axis) in enumerate(axes):
        if not isinstance(tensor, torch.Tensor):
            raise InvalidInput(
                f"capture: axes[{place}]: expected a tensor and its axis, "
                f"got {type(tensor).__name__}"
            )
        checked.append((tensor, _described(tensor, axis, _axis_name(place, axes), place)))
    return checked


def _checked_memory(size: Any) -> int | None:
    if size is not None and (not isinstance(size, int) or size < 1):
        raise InvalidInput(f"capture: expected max_memory in bytes, or None, got {size!r}")
    return size


def _described(tensor: torch.Tensor, axis: AxisLike, name: str, place: int) -> Axis | Pixels:
    if isinstance(axis, Pixels):
        if not axis.fits(tuple(tensor.shape)):
            raise InvalidInput(
                f"capture: axes[{place}]: boxes of shape {axis.boxes.shape} do not fit a tensor "
                f"of shape {tuple(tensor.shape)}"
            )
        return axis
    return axis if isinstance(axis, Axis) else Axis.of_labels(name, axis)


def _axis_name(place: int, axes: Sequence[Any]) -> str:
    return "tokens" if len(axes) == 1 else f"tokens {place + 1}"


def _run_compiled_parts_eagerly(
    modules: Iterable[tuple[str, torch.nn.Module]], stack: contextlib.ExitStack
) -> tuple[str, ...]:
    """Let a compiled model run as written while it is watched, and say so.

    Compiled code calls no torch functions that could be seen.
    """
    # Importing the compiler takes seconds, and whoever compiled something has imported it already.
    compiler: Any = sys.modules.get("torch._dynamo")
    if compiler is None or not any(
        isinstance(module, compiler.OptimizedModule) or module._compiled_call_impl
        for _, module in modules
    ):
        return ()
    stack.enter_context(_uncompiled())
    return (
        "the model is compiled: it ran uncompiled while it was watched, so that its output may "
        "differ in the last bits from the compiled one",
    )


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    with torch.compiler.set_stance("force_eager"):
        yield


def _summary(model: torch.nn.Module, ledger: Sequence[LedgerEntry]) -> str:
    """Return one line that says what was seen instead of attention."""
    head = f"no attention was captured from {type(model).__name__}"
    if not ledger:
        return (
            f"{head}: no torch function of it was seen at all that makes attention weights; "
            "call the model inside the block, in the same thread"
        )
    seen = "; ".join(
        f"{entry.name or 'the model'}: {entry.call}: {entry.reason}" for entry in ledger[:5]
    )
    more = f"; and {len(ledger) - 5} more" if len(ledger) > 5 else ""
    return f"{head}; seen: {seen}{more}"


__all__ = ["Recording", "capture"]


def _kind_of(value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return type(value).__name__
    return f"a tensor of shape {tuple(value.shape)}, requires_grad={value.requires_grad}"
