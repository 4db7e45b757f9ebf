"""Turn a sound into the call of a transformers model, and say when its features were.

The checkpoint's own feature extractor makes the input; which position of which layer holds which
part of the sound is followed in the run, as it is for a picture. Knows no model family, and
nothing of how the model was opened.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attnreport.axis import Axis
from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption, one_line
from attnreport.picture import UNLAID
from attnreport.pixels import Pixels
from attnreport.sources.names import class_names, token_ids, token_name
from attnreport.sources.request import Request
from attnreport.sources.sound_file import FORMATS, Heard, read_sound
from attnreport.sources.sound_frames import Frames, frames_of
from attnreport.sources.sound_picture import pixels_of_sound
from attnreport.sources.text import file_named
from attnreport.sources.vision_boxes import UnknownGeometry
from attnreport.sources.vision_prompt import prompt_axis, with_audio_token
from attnreport.sources.writing import AsTarget, is_encoder_decoder, target_of

FEATURES = ("input_features", "input_values")
# An extractor that ends a few frames early cuts nothing off that one would miss.
_SPARE_SECONDS = 0.05


def open_sound(request: Request, model_name: str, extractor: Any) -> tuple[Path, Heard]:
    """Read the sound that INPUT names, at the rate of the extractor.

    Raises:
        InvalidInput: there is no such file, or it is no sound.
    """
    path = file_named(request.text or "")
    if path is None:
        raise InvalidInput(
            f"INPUT {request.text}: there is no such file, and {model_name} listens to a sound: "
            f"{FORMATS}"
        )
    rate = getattr(extractor, "sampling_rate", None)
    if not isinstance(rate, int) or rate < 1:
        raise InvalidInput(f"the feature extractor of {model_name} names no sampling_rate")
    return path, read_sound(path, rate)


def sound_call(request: Request, model: Any, extractor: Any, tokenizer: Any, heard: Heard) -> Call:
    """Return the call that lets a model hear a sound, and read or write, where it does.

    Args:
        request: what was asked for.
        model: in evaluation mode.
        extractor: the checkpoint's feature extractor; where the prompt holds the sound, its
            processor of sounds and texts.
        tokenizer: the checkpoint's; None for a model that writes no text.
        heard: the sound, at the extractor's rate.

    Raises:
        InvalidInput: the extractor cannot take the sound, or it is longer than the model takes.
    """
    _check_target(request, model)
    prompt = request.prompt
    read: tuple[str, ...] = ()
    reader = None if prompt is None else extractor.tokenizer
    if prompt is not None:
        prompt, read = with_audio_token(extractor, prompt)
        extractor = _Reading(extractor, prompt)
    frames, notes = _frames(extractor, heard)
    if frames is not None:
        heard, notes = _fitted(request, model, frames, heard)
    name, inputs = _features(extractor, heard)
    taken = inspect.signature(model.forward).parameters
    kwargs = {each: value.to(model.device) for each, value in inputs.items() if each in taken}
    kwargs[name] = kwargs[name].to(model.dtype)
    axes: list[tuple[torch.Tensor, Axis | Pixels]] = []
    try:
        if frames is not None:
            axes.append((kwargs[name], _pixels(inputs[name], frames, heard)))
    except UnknownGeometry as error:
        notes += (_unknown(error),)
    if prompt is not None:
        ids = kwargs["input_ids"]
        axes.append((ids, prompt_axis(reader, prompt, ids[0].tolist())))
    written: tuple[int, ...] = ()
    if tokenizer is not None:
        target = target_of(request, model, tokenizer, kwargs)
        kwargs["decoder_input_ids"] = torch.tensor([target.ids], device=model.device)
        axes.append((kwargs["decoder_input_ids"], target.axis))
        notes, written = (*notes, *target.notes), target.written
        reader = AsTarget(tokenizer)
    # A cache changes no number; without it keys and queries of a decoder are one sequence.
    options = {"use_cache": False} if "use_cache" in taken else {}
    return Call(
        kwargs={**kwargs, **options},
        axes=tuple(axes),
        notes=(*heard.notes, *read, *notes),
        classes=class_names(model.config),
        token_ids=None if reader is None else token_ids(reader),
        token_name=None if reader is None else token_name(reader),
        written=written,
    )


@dataclass(frozen=True)
class _Reading:
    """Call a processor of sounds and texts with a sound, as a feature extractor is called."""

    processor: Any
    prompt: str

    def __call__(self, samples: NDArray[np.float32], **options: Any) -> Any:
        return self.processor(text=self.prompt, audio=samples, **options)


def _check_target(request: Request, model: Any) -> None:
    if request.target is not None and not is_encoder_decoder(model):
        raise InvalidOption(
            f"--target: {type(model).__name__} is no encoder–decoder, so it has no target"
        )
    if request.pair is not None:
        raise InvalidOption(f"--pair: {type(model).__name__} listens to one sound; leave it out")


def _pixels(features: torch.Tensor, frames: Frames, heard: Heard) -> Pixels:
    values = features.numpy().astype(np.float32)
    return pixels_of_sound(values, replace(frames, shape=values.shape), heard.seconds)


def _frames(extractor: Any, heard: Heard) -> tuple[Frames | None, tuple[str, ...]]:
    """Return how the extractor cuts the sound into frames, or None with the reason as a note."""

    def extract(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        name, inputs = _features(extractor, replace(heard, samples=samples))
        return np.asarray(inputs[name], dtype=np.float32)

    try:
        return frames_of(extract, len(heard.samples), heard.rate), ()
    except UnknownGeometry as error:
        return None, (_unknown(error),)


def _unknown(error: UnknownGeometry) -> str:
    return f"{UNLAID} the sound: {error}"


def _fitted(
    request: Request, model: Any, frames: Frames, heard: Heard
) -> tuple[Heard, tuple[str, ...]]:
    """Return the sound as far as the model hears it, and what was done to its length."""
    limit = float(frames.edges()[-1])
    spare = max(_SPARE_SECONDS, 3 / frames.per_second)
    if heard.seconds > limit + spare:
        if not request.truncate:
            raise InvalidInput(
                f"the sound is {heard.seconds:.2f} s long, {type(model).__name__} hears "
                f"{limit:.2f} s; --truncate cuts it"
            )
        cut = replace(heard, samples=heard.samples[: round(limit * heard.rate)])
        return cut, (f"the sound was cut from {heard.seconds:.2f} to {cut.seconds:.2f} s",)
    if limit > heard.seconds + spare:
        return heard, (
            f"the sound is {heard.seconds:.2f} s long and was padded to {limit:.2f} s: positions "
            "behind its end are called (padding)",
        )
    return heard, ()


def _features(extractor: Any, heard: Heard) -> tuple[str, dict[str, Any]]:
    """Return which of the inputs that an extractor makes are its features, and all of them."""
    try:
        made = extractor(heard.samples, sampling_rate=heard.rate, return_tensors="pt")
        inputs = dict(made)
    except Exception as error:  # each extractor raises what it likes
        raise InvalidInput(f"the extractor cannot take the sound: {one_line(error)}") from error
    name = next((name for name in FEATURES if isinstance(inputs.get(name), torch.Tensor)), None)
    if name is None:
        raise InvalidInput(f"the extractor made {', '.join(inputs)}, no tensor of features")
    return name, inputs
