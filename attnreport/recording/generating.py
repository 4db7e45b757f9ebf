"""Hear of transformers' ``generate``: where a generation begins and ends, and what it returned.

Which beam of a search is returned only its end says. ``generate`` says so where it is asked to
return more than ids; the caller gets what he asked for. Knows that one function and nothing else of
transformers; does not import it.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any

import torch

from attnreport.recording.generation import Generation
from attnreport.recording.hearing import Hearing
from attnreport.recording.watch import Watch

_MORE = "return_dict_in_generate"
# What has a row for each example, whatever else is given.
_INPUTS = ("inputs", "input_ids", "inputs_embeds", "attention_mask")


def _mixin() -> Any:
    """Return the class whose ``generate`` every model of transformers has, if it is there."""
    module = sys.modules.get("transformers.generation.utils")
    return getattr(module, "GenerationMixin", None)


def _wrapping(original: Callable[..., Any], hearing: Hearing) -> Callable[..., Any]:
    @functools.wraps(original)
    def generate(self: Any, *args: Any, **kwargs: Any) -> Any:
        # An assistant has its own generate, inside that of the model.
        watches = [watch for watch in hearing.watches() if watch.names.has(self)]
        if not watches:
            return original(self, *args, **kwargs)
        more = _has_to_say_more(watches[0], original, (self, args, kwargs))
        if more:
            kwargs[_MORE] = True
        with contextlib.ExitStack() as stack:
            for watch in watches:
                watch.attempt(original, _begin, stack, self, args, kwargs)
            output = original(self, *args, **kwargs)
            for watch in watches:
                watch.attempt(original, _end, output)
        return getattr(output, "sequences", output) if more else output

    return generate


def _has_to_say_more(
    watch: Watch, original: Callable[..., Any], call: tuple[Any, tuple[Any, ...], dict[str, Any]]
) -> bool:
    """Tell whether a search would return ids alone, which do not say whose rows they are."""

    def ask(_: Watch) -> None:
        sources = _sources(*call)
        answers.append(_count("num_beams", sources) > 1 and not _option(_MORE, sources))

    answers = [False]
    watch.attempt(original, ask)
    return answers[-1]


def _begin(
    watch: Watch,
    stack: contextlib.ExitStack,
    model: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    sources = _sources(model, args, kwargs)
    beams, returned = (_count(name, sources) for name in ("num_beams", "num_return_sequences"))
    inputs = [*args[:1], *(kwargs[name] for name in _INPUTS if name in kwargs), *kwargs.values()]
    tensors = [x for x in inputs if isinstance(x, torch.Tensor) and x.dim() > 1]
    prompt = None
    if not getattr(model.config, "is_encoder_decoder", False):
        ids = [x for x in tensors[:1] if x.dim() == 2 and not x.is_floating_point()]
        prompt = ids[0].shape[1] if ids else None
    elif "decoder_input_ids" not in kwargs:
        prompt = 1
    batch = len(tensors[0]) if tensors else None
    stack.enter_context(watch.during(Generation(watch.example, batch, beams, returned, prompt)))


def _end(watch: Watch, output: Any) -> None:
    sequences = getattr(output, "sequences", output)
    if watch.generation is not None and isinstance(sequences, torch.Tensor):
        watch.generation.end(sequences, getattr(output, "beam_indices", None))


def _sources(model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return what says how to generate, what counts most first."""
    given = kwargs.get("generation_config", args[1] if len(args) > 1 else None)
    return kwargs, given, getattr(model, "generation_config", None)


def _option(name: str, sources: tuple[Any, ...]) -> Any:
    """Return the first value that is not None, from dicts and objects in their order."""
    values = (x.get(name) if isinstance(x, dict) else getattr(x, name, None) for x in sources)
    return next((value for value in values if value is not None), None)


def _count(name: str, sources: tuple[Any, ...]) -> int:
    """Return a number of sequences; what is none is for ``generate`` to refuse."""
    count = _option(name, sources)
    return count if isinstance(count, int) and count > 0 else 1


# While it runs, a watch knows which generation runs.
GENERATIONS = Hearing(_mixin, "generate", _wrapping)
