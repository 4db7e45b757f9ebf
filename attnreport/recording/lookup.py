"""Know that looking ids up in a table makes them a sequence. No attention here."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.recording.registry import recorder
from attnreport.recording.watch import Watch


@recorder(F.embedding, torch.embedding)
def embedding(watch: Watch, output: torch.Tensor, *args: Any, **kwargs: Any) -> None:
    """Give the embedded ids the stream of the ids, whichever argument came first."""
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor)]
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    ids = [tensor for tensor in tensors if not tensor.is_floating_point()]
    if floats and ids:
        watch.streams.assign(output, watch.streams.look_up(ids[0], floats[0]))
        if watch.generation is not None:
            watch.generation.read(ids[0])
