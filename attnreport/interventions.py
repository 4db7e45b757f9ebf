"""Scores that need the model again: without each head, or on a sequence made for the purpose.

They go into the run as ``Run.taken``, and what was done for them into its notes. Opens no model
and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from attnreport.axis import Axis
from attnreport.errors import InvalidOption
from attnreport.run import Run, Taken

if TYPE_CHECKING:
    from attnreport.sources import Request, Source

# Told in words what is done, how much of it is done, and how much there is.
Tell = Callable[[str, int, int], None]


def with_ablation(  # noqa: PLR0913 - each is another thing, and two have names
    run: Run,
    request: Request,
    source: Source,
    output: object,
    *,
    loss: Callable[[Any], Any] | None,
    tell: Tell,
) -> Run:
    """Return the run with the score ``ablation`` of every head.

    Args:
        run: what was captured of the call.
        request: says how a head's output is replaced, and may name a logit.
        source: the model and the call.
        output: what the call returned.
        loss: makes a number of the output, more of which is worse; None for the request's logit
            or the loss that suits the output.
        tell: hears of the cost before the heads' runs, and of the progress.

    Raises:
        InvalidOption: nothing tells what would be better or worse, or only weights would that were
            joined.
    """
    if request.ablate is None:
        return run
    from attnreport.recording import Trial, ablate  # noqa: PLC0415 - torch takes seconds
    from attnreport.sources.loss import Number, judging_number  # noqa: PLC0415 - as above
    from attnreport.sources.target import called, words_of  # noqa: PLC0415 - as above

    call, model = source.call, source.model
    if loss is None:
        number = judging_number(request, call, output, causal=partial(is_causal, run))
    else:
        number = Number(lambda found: float(called(loss, found)), words_of(loss), 1)
    heads = sum(attention.heads for attention in run.attentions)

    def progress(done: int, total: int, seconds: float) -> None:
        about = f"{heads} heads, {heads} more runs of about {seconds:.2g} s each"
        tell(f"Ablating {about}", done - 1, total - 1)

    trial = Trial(
        model,
        call.axes,
        call=lambda: model(*call.args, **call.kwargs),
        number=number.of,
        how=request.ablate,
    )
    found = ablate(run, trial, progress)
    scores = tuple(number.sign * (after - found.before) for after in found.after)
    how = "zero" if request.ablate == "zero" else "its mean over the queries"
    change = "rise" if number.sign > 0 else "fall"
    notes = [
        f"for the measure ablation each head's output was replaced by {how}, one head at a time; "
        f"the score is the {change} of {number.words}, which was {found.before:.6g}"
    ]
    if found.untouched:
        whys = ", ".join(f"{name} ({why})" for name, why in found.untouched.items())
        notes.append(f"heads that could not be ablated: those of {whys}")
    return _taken(run, "ablation", scores, notes)


def with_probe(run: Run, request: Request, source: Source) -> Run:
    """Return the run with the score ``induction_probe`` of every head.

    Raises:
        InvalidOption: the model does not read one sequence of token ids, or the layers that ran
            on the sequence are not those of the run.
    """
    if request.probe is None:
        return run
    import torch  # noqa: PLC0415 - it takes seconds

    from attnreport.recording import capture  # noqa: PLC0415 - as above
    from attnreport.sources.probe import repeated  # noqa: PLC0415 - as above

    call, period = repeated(source.call, source.model)
    with torch.no_grad(), capture(source.model, axes=call.axes) as recording:
        source.model(*call.args, **call.kwargs)
    probed = recording.run()
    if [each.heads for each in probed.attentions] != [each.heads for each in run.attentions]:
        raise InvalidOption(
            "--probe induction: on the repeated sequence other layers ran than on INPUT"
        )
    note = (
        f"for the measure induction_probe the model ran on {period} random tokens, repeated once, "
        "in place of INPUT"
    )
    return _taken(run, "induction_probe", probed.measure("induction").values, [note])


def is_causal(run: Run, axis: Axis) -> bool:
    """Tell whether every position of a sequence looks at itself and what is before it alone.

    Raises:
        InvalidOption: positions were joined while the run was captured, so that nobody can tell.
    """
    if any(each.reduced is not None for each in run.attentions):
        raise InvalidOption(
            "--ablate cannot tell whether text is read from left to right after positions were "
            "joined to save memory; allow more with --max-memory, or name what counts with "
            "--target-token"
        )
    own = [each for each in run.attentions if each.queries == axis == each.keys]
    return bool(own) and not any(np.triu(each.weights, 1).any() for each in own)


def _taken(run: Run, name: str, scores: tuple[Taken, ...], notes: list[str]) -> Run:
    provenance = replace(run.provenance, notes=(*run.provenance.notes, *notes))
    copies = tuple(np.array(each, dtype=np.float64) for each in scores)
    return replace(run, provenance=provenance, taken={**run.taken, name: copies})
