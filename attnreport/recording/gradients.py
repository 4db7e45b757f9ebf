"""Take the gradient of a scalar with respect to attention weights that were never in the graph.

With O = A V the gradient at the weights is dL/dA = dL/dO · Vᵀ, so that a hook on what the layer
returned is enough and nothing in the forward is swapped. Knows tensors; no modules, no models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch.autograd.graph import GradientEdge, get_gradient_edge

from attnreport.recording.apart import quietly, without_modes
from attnreport.recording.weights import to_host

if TYPE_CHECKING:
    from attnreport.recording.found import Found
    from attnreport.recording.watch import Watch

Arrange = Callable[[torch.Tensor], torch.Tensor]


def as_it_is(tensor: torch.Tensor) -> torch.Tensor:
    """Arrange nothing."""
    return tensor


def turned_over(tensor: torch.Tensor) -> torch.Tensor:
    """Make columns of the rows of matrices."""
    return tensor.mT


def through_values(gradient: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Return dL/dA from dL/dO.

    Args:
        gradient: dL/dO as ``(head, query, width)``.
        value: ``(key head, key, width)``; fewer heads are shared by groups of neighbours.

    Returns:
        ``(head, query, key)``, at least in float32.
    """
    precise = torch.promote_types(gradient.dtype, torch.float32)
    heads, length, width = gradient.shape
    groups = value.shape[0]
    grouped = gradient.to(precise).reshape(groups, heads // groups, length, width)
    product = grouped @ value.to(precise).unsqueeze(1).mT
    return product.reshape(heads, length, value.shape[1])


def await_gradient(watch: Watch, found: Found, tensor: torch.Tensor, arrange: Arrange) -> None:
    """Fill ``found.gradient`` when a backward reaches ``tensor``, if gradients are asked for.

    Args:
        watch: holds the hook, and takes it away when the capture ends.
        found: whose weights they belong to.
        tensor: of the user's own graph.
        arrange: makes ``(head, query, key)`` of the gradient at ``tensor``.
    """
    if not watch.gradients or not tensor.requires_grad:
        return

    def take(gradient: torch.Tensor) -> None:
        with without_modes(), quietly(gradient):
            arrived = to_host(arrange(gradient))
        if found.heads is not None:
            arrived = arrived[found.heads]
        arrived = found.cut(arrived)
        # A second backward adds to the first, as it does in a parameter.
        found.gradient = arrived if found.gradient is None else found.gradient + arrived

    def arrive(gradient: torch.Tensor) -> None:
        watch.attempt(tensor.register_hook, lambda _: take(gradient))

    hook = tensor.register_hook(arrive)  # type: ignore[no-untyped-call]  # torch left it untyped
    watch.hooks.append(hook)
    watch.edges.append(get_gradient_edge(tensor))


def send_back(value: torch.Tensor, edges: Sequence[GradientEdge]) -> None:
    """Send the gradient of ``value``, a single number, as far back as ``edges`` and no further.

    No parameter's gradient is computed for it but those that lie on the way.
    """
    if edges:
        torch.autograd.grad(value.reshape(()), edges, allow_unused=True)
