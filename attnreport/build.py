"""From MODEL and INPUT to a Run: open the source, watch one call of it, keep what was seen."""

from __future__ import annotations

from attnreport.errors import AttnreportError, InvalidInput, one_line
from attnreport.run import Run
from attnreport.sources import Request, Source, load_saved_run, open_source


def build_run(request: Request) -> Run:
    """Return the run of MODEL on INPUT, or the saved run that MODEL names.

    Raises:
        UserError: MODEL, INPUT or an option cannot be used, or the model has no attention.
    """
    return load_saved_run(request) or capture_run(request)


def capture_run(request: Request) -> Run:
    """Open MODEL, call it once on INPUT without gradients, and return what capture found.

    Raises:
        UserError: MODEL, INPUT or an option cannot be used, or the model has no attention.
    """
    # torch takes seconds to import; a saved run needs none of it.
    import torch  # noqa: PLC0415

    from attnreport.recording import capture  # noqa: PLC0415
    from attnreport.sources.device import seed_everything  # noqa: PLC0415

    source = open_source(request)
    seed_everything(request.seed)
    try:
        with (
            torch.no_grad(),
            capture(
                source.model, axes=source.call.axes, max_memory=request.max_memory
            ) as recording,
        ):
            source.model(*source.call.args, **source.call.kwargs)
    except AttnreportError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise MemoryError from error
        _blame_model(source)
        raise AttnreportError(f"capture failed where the model alone runs: {error}") from error
    return recording.run(source.provenance)


def _blame_model(source: Source) -> None:
    """Run the model without capture; raise ``InvalidInput`` if it fails all by itself."""
    import torch  # noqa: PLC0415 - as above

    try:
        with torch.no_grad():
            source.model(*source.call.args, **source.call.kwargs)
    except Exception as error:
        raise InvalidInput(
            f"{type(source.model).__name__} cannot be called with this INPUT: {one_line(error)}"
        ) from error
