"""Put a model and its call together into a Source; the last step of every family.

Knows devices, dtypes and provenance, and nothing of how a model was found.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import torch
from torch import nn

from attnreport.call import Call
from attnreport.errors import InvalidOption
from attnreport.run import Provenance
from attnreport.sources.device import check_axes, digest_call, move_call
from attnreport.sources.request import Request, Source


def assemble(
    request: Request,
    model: nn.Module,
    call: Call,
    *,
    input_text: str,
    notes: tuple[str, ...] = (),
) -> Source:
    """Return the source, with every tensor of the call on the device of the request.

    Args:
        request: what was asked for.
        model: in evaluation mode, on the device and in the dtype already.
        call: on any device.
        input_text: what the page's heading shows.
        notes: what a reader must know of how model and input were found; the call's follow.

    Raises:
        InvalidInput: an axis does not fit the tensor it describes.
    """
    check_axes(call)
    call = move_call(call, torch.device(request.device))
    return Source(
        model,
        call,
        Provenance(
            model=request.model,
            input_text=input_text,
            input_digest=digest_call(call),
            seed=request.seed,
            created=_created(),
            notes=(*notes, *_nonfinite(model), *call.notes),
        ),
    )


def _nonfinite(model: nn.Module) -> tuple[str, ...]:
    """Say how many parameters are NaN or infinite: the report shows what they do, not why."""
    bad = {
        name: count
        for name, parameter in model.named_parameters()
        if not parameter.is_meta
        and (count := int(parameter.numel() - torch.isfinite(parameter).sum()))
    }
    if not bad:
        return ()
    return (
        f"{sum(bad.values())} parameters of the model are NaN or infinite, "
        f"the first in {next(iter(bad))}",
    )


def _created() -> str:
    """Return the date that ``SOURCE_DATE_EPOCH`` gives, or an empty string without it.

    Source: https://reproducible-builds.org/specs/source-date-epoch/
    """
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds:
        return ""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidOption(
            f"SOURCE_DATE_EPOCH is {seconds!r}, expected seconds since 1970"
        ) from error
