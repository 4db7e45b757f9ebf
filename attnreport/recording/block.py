"""Follow a projected attention to the sum with its residual and to the norm of that sum.

By the identity of tensors, like the way from the heads to their projection. A residual is one
only if the layer's values were made of it; a norm belongs to the sum only if nothing else reads
the sum. What else happens on the way is said, and nothing is guessed. Knows no modules.

Source: Kobayashi et al. 2021, Incorporating Residual and Normalization Layers into Analysis of
Masked Language Models, §3 https://arxiv.org/abs/2109.07152
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.apart import quietly
from attnreport.recording.following import SCALING, Called, methods
from attnreport.recording.lineage import Lineage, Tokens
from attnreport.recording.marking import UNKNOWN, Marks, tensors_of
from attnreport.recording.registry import name_of
from attnreport.recording.sending import Norm, Sent, block_norms

if TYPE_CHECKING:
    from attnreport.recording.found import Found

_ADDING = methods("add")


@dataclass(eq=False)
class Projected:
    """Be what one attention adds to the stream of its queries, on the way to the sum.

    Attributes:
        found: the attention.
        sent: its weights, values and projection.
        sources: what its values were made of.
        shape: ``(query, width)`` of what is followed.
    """

    found: Found
    sent: Sent
    sources: Tokens
    shape: tuple[int, int]


@dataclass(eq=False)
class _Sum:
    """Be the sum of a projected attention and its residual.

    Attributes:
        part: what was added.
        residual: ``(query, width)``.
        plain: the norms without the norm.
        read: how often anything but a norm read it.
    """

    part: Projected
    residual: torch.Tensor
    plain: NDArray[np.float32]
    read: int = 0


class Blocks:
    """Follow all projected attentions of one capture.

    Args:
        lineage: what tensors are made of.
        learned: tells whether a tensor is a parameter, or was made of parameters alone.
        grown: told of an attention whose arrays have grown, and by how many bytes.
    """

    def __init__(
        self,
        lineage: Lineage,
        learned: Callable[[torch.Tensor], bool],
        grown: Callable[[Found, int], None],
    ) -> None:
        self._lineage = lineage
        self._learned = learned
        self._grown = grown
        self._marks = Marks()

    def begin(self, part: Projected, output: torch.Tensor, numbers: torch.Tensor) -> None:
        """Follow what was projected.

        Args:
            part: what it is.
            output: what the model goes on with.
            numbers: int32 of its shape, query · width + channel, -1 where it is something else.
        """
        found = part.found
        if found.value_norms is None:
            return
        if found.queries is not found.keys or found.shape[1] > found.shape[2]:
            found.unsummed = "its queries are not its keys"
            return
        found.unsummed = "no sum with a residual was seen"
        self._marks.hold(output, numbers, part)

    def weigh(self, part: Projected, residual: torch.Tensor, norm: Norm | None) -> None:
        """Fill the norms of a block whose sum is known at once."""
        with quietly(residual):
            self._fill(part, block_norms(part.sent, residual, norm), normed=norm is not None)

    def follow(self, call: Called) -> None:
        """Follow one torch function."""
        for subject in self._marks.subjects(call):
            if isinstance(subject, _Sum):
                self._after_sum(call, subject)
            else:
                self._before_sum(call, subject)

    def _before_sum(self, call: Called, part: Projected) -> None:
        found, marks = part.found, self._marks
        tensor = next(x for x in tensors_of(call) if marks.get(x, part) is not None)
        others = [x for x in call.args[:2] if x is not tensor]
        other = others[0] if len(others) == 1 else None
        if marks.written_over(tensor, part) and call.output is not tensor:
            found.unsummed = "its output was written over before the sum"
        elif call.function in _ADDING and isinstance(other, torch.Tensor):
            self._add(call, part, tensor, other)
        elif call.function in SCALING and self._scales(call, part, tensor, other):
            scaled = replace(part, sent=_scaled(part.sent, call.function, other))
            marks.hold(call.output, marks.of(tensor)[id(part)].numbers, scaled)
        elif not marks.moved(call, part):
            found.unsummed = f"{name_of(call.function)} came before the sum with a residual"
            marks.drop(call.output, part)

    def _add(
        self, call: Called, part: Projected, tensor: torch.Tensor, other: torch.Tensor
    ) -> None:
        found, numbers = part.found, self._marks.of(tensor)[id(part)].numbers
        output = call.output
        if self._learned(other) and output.shape == tensor.shape:
            # A bias, which belongs to no key.
            self._marks.hold(output, numbers, part)
            return
        places = _places(numbers, part.shape)
        why = ""
        if call.kwargs.get("alpha", 1) != 1 or other.shape != tensor.shape:
            why = "the sum is not one of two tensors of one shape"
        elif output is other:
            why = "the residual was written over by the sum"
        elif not self._lineage.own(other) & part.sources:
            why = "what is added to its output is not what its values were made of"
        elif places is None:
            why = "only a part of its output is added to a residual"
        if why or places is None:
            found.unsummed = why
            return
        with quietly(tensor):
            residual = other.detach().flatten()[places]
            plain = block_norms(part.sent, residual, None)
            self._fill(part, plain, normed=False)
            self._marks.hold(output, numbers, _Sum(part, residual, plain))

    def _after_sum(self, call: Called, summed: _Sum) -> None:
        """Take a norm in, or find that the sum is read by something else as well."""
        part = summed.part
        tensor = next(x for x in tensors_of(call) if self._marks.get(x, summed) is not None)
        norm = _norm_of(call, tensor, part.shape[1])
        untouched = norm is None and not self._marks.written_over(tensor, summed)
        if untouched and self._marks.moved(call, summed):
            return
        places = _places(self._marks.of(tensor)[id(summed)].numbers, part.shape)
        summed.read += 1
        if norm is None or places is None or summed.read > 1:
            self._fill(part, summed.plain, normed=False)
            self._marks.drop(call.output, summed)
            return
        with quietly(tensor):
            norm = replace(norm, rows=tensor.detach().flatten()[places])
            self._fill(part, block_norms(part.sent, summed.residual, norm), normed=True)

    def _fill(self, part: Projected, block: NDArray[np.float32], *, normed: bool) -> None:
        found = part.found
        if found.value_norms is None:
            return
        block = found.cut(block)
        more = 0 if found.value_norms.block is not None else block.nbytes
        found.value_norms = replace(found.value_norms, block=block, normed=normed)
        found.unsummed = ""
        if more:
            self._grown(found, more)

    def _scales(self, call: Called, part: Projected, tensor: torch.Tensor, other: Any) -> bool:
        """Tell whether a call multiplies each channel with a number of the model's."""
        if "mul" not in name_of(call.function) and call.args[0] is not tensor:
            return False
        if isinstance(other, (int, float)):
            return True
        if not isinstance(other, torch.Tensor) or not self._learned(other):
            return False
        return other.numel() == 1 or other.numel() == other.shape[-1] == part.shape[1]


def _scaled(sent: Sent, function: Any, factor: Any) -> Sent:
    if isinstance(factor, torch.Tensor):
        factor = factor.detach().flatten().to(sent.matrix)
    dividing = "div" in name_of(function)
    return replace(sent, matrix=sent.matrix / factor if dividing else sent.matrix * factor)


def _places(numbers: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor | None:
    """Return where each number lies in the flat tensor, ``(query, width)``; None if not all do."""
    flat = numbers.flatten()
    where = (flat != UNKNOWN).nonzero().flatten()
    found = flat[where]
    if len(found) != shape[0] * shape[1]:
        return None
    order = found.argsort()
    whole = torch.arange(len(found), dtype=found.dtype, device=found.device)
    return where[order].view(shape) if torch.equal(found[order], whole) else None


def _norm_of(call: Called, tensor: torch.Tensor, width: int) -> Norm | None:
    """Return the norm that a call applies to the width of its first argument, or None."""
    if call.function not in {F.layer_norm, F.rms_norm} or call.args[:1] != (tensor,):
        return None
    shape = call.argument(1, "normalized_shape", None)
    shape = (shape,) if isinstance(shape, int) else tuple(shape or ())
    if shape != (width,) or tensor.shape[-1] != width:
        return None
    weight = call.argument(2, "weight", None)
    centred = call.function is F.layer_norm
    eps = call.argument(4, "eps", 1e-5) if centred else call.argument(3, "eps", None)
    if eps is None:
        eps = torch.finfo(tensor.dtype).eps
    return Norm(None if weight is None else weight.detach(), float(eps), centred)
