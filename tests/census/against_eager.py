"""Hold a capture against what the model's own eager attention returns.

The eager model says by itself, through forward hooks, which module returned each attention tensor.
So an attention that a capture neither holds nor names is found without asking the capture.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attnreport.attention import Attention
from attnreport.run import LedgerEntry

TOLERANCE = 2e-6
# Swin adds -100 where it must not look: what is left there is no weight.
_SEEN = 1e-6


# What eager returns instead of the weights that it multiplies the values by.
EXPLAINED = {
    "groupvit": "eager returns a soft assignment beside the hard one that it uses",
    "prophetnet": "eager returns the scores before the softmax",
    "squeezebert": "eager returns the scores before the softmax",
    "wavlm": "eager returns the mean of the heads, once for each",
}


@dataclass
class Returned:
    """Hold one attention tensor that eager returned.

    Attributes:
        owner: path of the innermost module that returned it; None where no module did.
        weights: as returned, first dimension the batch.
    """

    owner: str | None
    weights: torch.Tensor


@dataclass
class Verdict:
    """Say what became of one tensor of eager's.

    Attributes:
        kind: "held", "differs" (captured from this module, another value), "named" (the ledger has
            a line on the module that says why it is not held) or "silent".
        words: the module, shape, and how far off or why not.
    """

    kind: str
    words: str


def returned_by_eager(
    model: torch.nn.Module, forward: Callable[[], Any], nested: Callable[[Any], Iterator[Any]]
) -> list[Returned]:
    """Run the model and return every attention tensor in its output.

    Args:
        model: with eager attention.
        forward: calls it, asking for attentions.
        nested: yields every tensor of a nest of outputs.
    """
    owners: dict[int, tuple[str, torch.Tensor]] = {}

    def hook_of(path: str) -> Callable[..., None]:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            for tensor in nested(output):
                # The tensor is kept, so that no other one gets its id.
                owners.setdefault(id(tensor), (path, tensor))

        return hook

    with contextlib.ExitStack() as stack:
        for path, module in model.named_modules():
            stack.callback(module.register_forward_hook(hook_of(path)).remove)
        output = forward()
    return [
        Returned(owners.get(id(tensor), (None,))[0], tensor)
        for value in _attentions(output)
        for tensor in nested(value)
        if tensor.dim() >= 3
    ]


def _attentions(output: Any) -> Iterator[Any]:
    """Yield what is called attentions, in the outputs of parts of the model too."""
    for name, value in output.items():
        if "attentions" in name:
            yield value
        elif isinstance(value, dict):
            yield from _attentions(value)


def judge(returned: Returned, held: Sequence[Attention], ledger: Sequence[LedgerEntry]) -> Verdict:
    """Say whether a capture holds what eager returned, or at least names it."""
    shape = tuple(returned.weights.shape)
    where = f"{returned.owner or 'no module'} {shape}"
    near = [x for x in held if _related(returned.owner, x.name)]
    distances = {False: _nearest(returned.weights, held), True: _nearest(returned.weights, near)}
    if distances[False] <= TOLERANCE:
        return Verdict("held", where)
    if distances[True] < np.inf:
        return Verdict("differs", f"{where}: by {distances[True]:.2g}")
    reasons = [
        f"{'captured as ' + str(_shape(near, entry)) if entry.captured else entry.reason}"
        for entry in ledger
        if _related(returned.owner, entry.name)
    ]
    if reasons:
        return Verdict("named", f"{where}: {'; '.join(dict.fromkeys(reasons))}")
    return Verdict("silent", where)


def explained(verdict: Verdict, own: Verdict, model_type: str) -> Verdict:
    """Return a verdict of other numbers with the reason for them, where there is one.

    Args:
        verdict: of what the model returned in eager, against the capture of it as it is.
        own: the same against a capture of that very eager run.
        model_type: whose it is.
    """
    if verdict.kind != "differs":
        return verdict
    why = "the eager run is another one: it is held there" if own.kind == "held" else ""
    why = why or EXPLAINED.get(model_type, "not explained")
    return Verdict(verdict.kind, f"{verdict.words} ({why})")


def _shape(held: Sequence[Attention], entry: LedgerEntry) -> tuple[int, ...]:
    return next(x.weights.shape for x in held if x.layer == entry.layer)


def _related(owner: str | None, name: str) -> bool:
    """Tell whether a line of the ledger speaks of the module that returned the weights."""
    if owner is None:
        return False
    return owner == name or (
        bool(name and owner) and (name.startswith(f"{owner}.") or owner.startswith(f"{name}."))
    )


def _nearest(weights: torch.Tensor, held: Sequence[Attention]) -> float:
    apart = [_apart(weights, attention.weights) for attention in held]
    # Of deformable attention eager returns the weights of points, in another order of dimensions.
    points = [attention.points for attention in held if attention.points is not None]
    apart += [_apart_in_pieces(weights, each.weights) for each in points]
    return min(apart, default=np.inf)


def _apart(weights: torch.Tensor, held: np.ndarray) -> float:
    """Return the largest difference over the rows that look at anything; infinite of other shapes.

    A row that may look at nothing is zeros in the kernels, and uniform in eager.
    """
    first = weights[0] if weights.dim() == 4 and len(weights) == 1 else weights
    heads, queries, keys = first.shape[-3:]
    if first.dim() != 3 or len(held) != heads or held.shape[1] < queries or held.shape[2] < keys:
        return _apart_in_pieces(weights, held)
    # Some models return the end only, without the prompt that they put before it, and some that
    # look at two sequences at once return each alone.
    live = held[:, held.shape[1] - queries :]
    ends = (live[..., held.shape[2] - keys :], live[..., :keys])
    apart = [np.abs(first.float().numpy() - own)[live.any(axis=-1)] for own in ends]
    return float(min(np.nanmax(each, initial=0) for each in apart))


def _apart_in_pieces(weights: torch.Tensor, held: np.ndarray) -> float:
    """Compare windows and blocks, in whatever form, by what weights there are, in order.

    Where they belong is what tests/recording prove: test_windows.py and test_blocks.py.
    """
    first, second = (np.sort(x[x > _SEEN]) for x in (held, weights.float().numpy()))
    return float(np.abs(first - second).max(initial=0)) if len(first) == len(second) else np.inf
