"""From MODEL and INPUT to a Run: open the source, watch one call of it, keep what was seen."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from attnreport.errors import AttnreportError, InvalidInput, InvalidOption, UserError, one_line
from attnreport.interventions import Tell, with_ablation, with_probe
from attnreport.run import Run
from attnreport.sources import Request, Source, load_saved_run, open_source

if TYPE_CHECKING:
    from attnreport.sources.target import Target


def build_run(
    request: Request,
    *,
    target: Target | None = None,
    loss: Target | None = None,
    tell: Tell = lambda *_: None,
) -> Run:
    """Return the run of MODEL on INPUT, or the saved run that MODEL names.

    Args:
        request: MODEL, INPUT and the options.
        target: as for ``capture_run``, and so are the others.
        loss: see there.
        tell: see there.

    Raises:
        UserError: MODEL, INPUT or an option cannot be used, or the model has no attention.
    """
    saved = load_saved_run(request)
    if saved is None:
        return capture_run(request, target=target, loss=loss, tell=tell)
    if target or loss or request.asks_the_model:
        raise InvalidOption(
            f"MODEL {request.model} is a saved run, without the model that a target, --ablate, "
            "--probe and --values need; give them to 'attnreport capture'"
        )
    return saved


def capture_run(
    request: Request,
    *,
    target: Target | None = None,
    loss: Target | None = None,
    tell: Tell = lambda *_: None,
) -> Run:
    """Open MODEL, call it once on INPUT, and return what capture found.

    Without a target no gradients are made.

    Args:
        request: MODEL, INPUT and the options.
        target: makes the number to differentiate of the model's output, a tensor of shape (), in
            place of the request's ``target_class`` or ``target_token``.
        loss: makes the number of the output that gets worse, hence larger, without a head that
            matters, for ``request.ablate``; by default the loss that suits the output.
        tell: told in words what is done, how much of it is done and how much there is.

    Raises:
        UserError: MODEL, INPUT or an option cannot be used, or the model has no attention.
    """
    # torch takes seconds to import; a saved run needs none of it.
    import torch  # noqa: PLC0415

    from attnreport.recording import capture  # noqa: PLC0415
    from attnreport.sources import target as targets  # noqa: PLC0415
    from attnreport.sources.device import seed_everything  # noqa: PLC0415

    targets.check_target(request)
    source = open_source(request)
    seed_everything(request.seed)
    wanted = target is not None or targets.asks_for_target(request)
    words = ""
    try:
        with (
            targets.differentiable(source.model) if wanted else torch.no_grad(),
            capture(
                source.model,
                axes=source.call.axes,
                gradients=wanted,
                values=request.values,
                max_memory=request.max_memory,
            ) as recording,
        ):
            output = source.model(*source.call.args, **source.call.kwargs)
            if wanted:
                value, words = _target(request, source, output, target)
                recording.differentiate(targets.one_number(value))
    except AttnreportError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            raise MemoryError from error
        _blame(source, torch.no_grad(), InvalidInput("cannot be called with this INPUT"))
        if wanted:
            alone = InvalidOption(
                "runs only without autograd, so that no number of its output can be differentiated"
            )
            _blame(source, targets.differentiable(source.model), alone)
        raise AttnreportError(f"capture failed where the model alone runs: {error}") from error
    notes = (*source.provenance.notes, *([targets.WITH_AUTOGRAD] if wanted else []))
    run = recording.run(replace(source.provenance, notes=notes), target=words)
    run = with_ablation(run, request, source, output, loss=loss, tell=tell)
    return with_probe(run, request, source)


def _target(
    request: Request, source: Source, output: object, target: Target | None
) -> tuple[Any, str]:
    from attnreport.sources import target as targets  # noqa: PLC0415 - as above

    if target is not None:
        return targets.called(target, output), targets.words_of(target)
    place, words = targets.named_logit(request, source.call, output)
    return targets.logits_of(output)[place], words


def _blame(source: Source, mode: AbstractContextManager[object], reason: UserError) -> None:
    """Run the model without capture; raise what ``reason`` says if it fails all by itself."""
    try:
        with mode:
            source.model(*source.call.args, **source.call.kwargs)
    except Exception as error:
        name = type(source.model).__name__
        raise type(reason)(f"{name} {reason}: {one_line(error)}") from error
