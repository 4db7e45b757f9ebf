"""Where a run comes from: digest, versions, precision and device, from the model itself.

Reads no clock, so that the same input gives the same bytes. Knows nothing of attention.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import torch

import attnreport
from attnreport.run import Provenance


def complete(provenance: Provenance, model: torch.nn.Module, notes: Sequence[str]) -> Provenance:
    """Return the provenance with its empty fields filled from the model, and these notes added."""
    digest, skipped = model_digest(model)
    if skipped:
        notes = (
            *notes,
            f"{skipped} tensors have no plain data here and are not in the model digest",
        )
    return replace(
        provenance,
        model=provenance.model or type(model).__name__,
        model_digest=provenance.model_digest or digest,
        versions=provenance.versions or versions(),
        dtype=provenance.dtype or _most_common(str(p.dtype)[6:] for p in _floats(model)),
        device=provenance.device or _most_common(str(p.device) for p in model.parameters()),
        created=provenance.created or created(),
        notes=(*provenance.notes, *(note for note in notes if note not in provenance.notes)),
    )


def model_digest(model: torch.nn.Module) -> tuple[str, int]:
    """Return sha256 over the sorted names, dtypes, shapes and bytes of parameters and buffers.

    Returns:
        The digest as ``sha256:…``, and how many tensors had no data to be read.
    """
    digest = hashlib.sha256()
    skipped = 0
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        content = _bytes(tensor)
        if content is None:
            skipped += 1
            continue
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(content)
    return f"sha256:{digest.hexdigest()}", skipped


def versions() -> dict[str, str]:
    """Return the version of every library that took part, by name."""
    found = {
        "attnreport": attnreport.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": str(torch.__version__),
    }
    transformers = sys.modules.get("transformers")
    if transformers is not None:
        found["transformers"] = str(transformers.__version__)
    return found


def created() -> str:
    """Return the date in ``SOURCE_DATE_EPOCH`` in ISO 8601, or an empty string without it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not epoch.isdecimal():
        return ""
    return datetime.fromtimestamp(int(epoch), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _bytes(tensor: torch.Tensor) -> bytes | None:
    """Return the bytes of a tensor; None where it has none here, or none in a plain row."""
    if tensor.is_meta or tensor.layout != torch.strided:
        return None
    # NumPy has no bfloat16 and fewer small floats than torch: take the bytes as they are.
    try:
        flat = tensor.cpu().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().tobytes()
    except (RuntimeError, NotImplementedError, TypeError):
        # Quantised and distributed tensors are subclasses of their own kinds.
        return None


def _floats(model: torch.nn.Module) -> Iterable[torch.nn.Parameter]:
    return (parameter for parameter in model.parameters() if parameter.is_floating_point())


def _most_common(words: Iterable[str]) -> str:
    counted = Counter(words).most_common(1)
    return counted[0][0] if counted else ""
