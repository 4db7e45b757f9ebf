"""Keep attention inside windows, laid on the sequence that the windows were cut from.

Knows pieces and where they belong; how their weights are computed is the recorders' business.
"""

from __future__ import annotations

import torch

from attnreport.recording.places import Pieces, pieces_of
from attnreport.recording.streams import Stream
from attnreport.recording.watch import Found, Watch
from attnreport.recording.weights import distance, to_host

# A matrix of all positions for each head: beyond this it is no picture any more.
_MOST = 2**28


def pieces_for(
    watch: Watch, stream: Stream | None, query: torch.Tensor, key: torch.Tensor
) -> Pieces | None:
    """Return where windows belong; None where that cannot be told, or is too much to show.

    Args:
        watch: whose example is wanted.
        stream: what the queries belong to.
        query: ``(window, head, query, …)``.
        key: ``(window, head, key, …)``.
    """
    if stream is None or stream.batch is None:
        return None
    pieces = pieces_of(watch.streams, query, key, stream.batch, watch.example)
    if pieces is None or pieces.length**2 * query.shape[1] > _MOST:
        return None
    return pieces


def lay(
    found: Found, pieces: Pieces, weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor
) -> None:
    """Fill in the weights of all windows of one example, and how well they mix the values.

    Args:
        found: to be filled in.
        pieces: where the windows belong.
        weights: ``(window, head, query, key)`` of the example's windows.
        values: ``(window, head, key, width)``.
        output: ``(window, head, query, width)``.
    """
    precise = torch.promote_types(weights.dtype, torch.float32)
    weights = weights.to(precise)
    found.residual = distance(weights @ values.to(precise), output)
    whole = pieces.whole(weights)
    found.weights = to_host(whole, ours=True)
    found.reasons.append(
        f"{len(pieces.own)} windows of {weights.shape[-1]} positions, laid on the sequence"
    )
    lost = 1 - whole.sum(dim=-1)
    if bool((lost.abs() > 1e-3).any()):
        found.sink = to_host(lost.clamp(0, 1))
        found.reasons.append("the share of padding inside windows is the sink's")
