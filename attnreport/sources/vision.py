"""Turn a picture into the call of a transformers model, and say where its pixels lie.

Which position of which layer holds which part of the picture is followed in the run, so that no
family has to be known here. Knows nothing of how the model was opened.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from attnreport.axis import Axis
from attnreport.call import Call
from attnreport.errors import InvalidInput, one_line
from attnreport.picture import UNLAID
from attnreport.picture_file import Opened, read_frames, read_picture
from attnreport.pixels import Pixels
from attnreport.sources.names import class_names, token_ids, token_name
from attnreport.sources.request import Request
from attnreport.sources.text import file_named
from attnreport.sources.tokens import encode
from attnreport.sources.vision_boxes import Make, UnknownGeometry
from attnreport.sources.vision_frames import Still, frames_wanted, on_sheet
from attnreport.sources.vision_prompt import image_token, prompt_axis, with_image_token
from attnreport.sources.vision_tiles import pixels_of


def open_picture(request: Request, model_name: str, frames: int = 1) -> tuple[Path, Opened]:
    """Read the picture that INPUT names, or where a model wants several, frames of a video.

    Raises:
        InvalidInput: there is no such file, or it is no picture.
    """
    path = file_named(request.text or "")
    if path is None:
        raise InvalidInput(
            f"INPUT {request.text}: there is no such file, and {model_name} looks at a picture: "
            "PNG, JPEG or WebP"
        )
    return path, read_picture(path) if frames == 1 else read_frames(path, frames)


def picture_call(
    request: Request, model: Any, processor: Any, tokenizer: Any, opened: Opened
) -> Call:
    """Return the call that shows a picture, and reads ``request.prompt``, to a model.

    Args:
        request: what was asked for.
        model: in evaluation mode.
        processor: the checkpoint's image processor; where the prompt holds the picture, its
            processor of pictures and texts.
        tokenizer: the checkpoint's; None for a model that takes no text.
        opened: the picture.

    Raises:
        InvalidInput: the processor cannot take the picture, or the tokenizer the text.
    """
    prompt, notes = request.prompt or "", opened.notes
    make: Make = processor
    if image_token(model.config) is not None:
        prompt, more = with_image_token(model.config, processor, prompt)
        notes += more
        make = partial(processor, text=prompt)
    if (frames := frames_wanted(model.config)) > 1:
        make = Still(processor, frames)
        if not opened.frames:
            notes += (
                f"the model looks at {frames} frames: the picture was shown {frames} times, and "
                "the patches of all lie over each other",
            )
    if opened.frames:
        inputs = _processed(processor, list(opened.frames))
    else:
        inputs = _processed(partial(make, images=opened.image))
    # A model in half precision wants its pixels so; the axis goes with the tensor that is used.
    inputs["pixel_values"] = inputs["pixel_values"].to(model.dtype)
    words = processor.tokenizer if "input_ids" in inputs else tokenizer
    axes: list[tuple[torch.Tensor, Axis | Pixels]] = []
    try:
        pixels = pixels_of(make, opened, inputs)
        if opened.frames:
            pixels = on_sheet(pixels, opened.frames, model.config)
        axes.append((inputs["pixel_values"], pixels))
    except UnknownGeometry as error:
        notes += (f"{UNLAID} the picture: {error}",)
    if "input_ids" in inputs:
        ids = inputs["input_ids"]
        axes.append((ids, prompt_axis(processor.tokenizer, prompt, ids[0].tolist())))
    elif tokenizer is not None:
        encoded, axis = encode(tokenizer, prompt, name="text")
        inputs |= {name: torch.tensor([ids]) for name, ids in encoded.items()}
        axes.append((inputs["input_ids"], axis))
    return Call(
        kwargs=_taken(model, inputs),
        axes=tuple(axes),
        notes=notes,
        classes=class_names(model.config),
        token_ids=None if words is None else token_ids(words),
        token_name=None if words is None else token_name(words),
    )


def _taken(model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what of the inputs the model takes."""
    parameters = inspect.signature(model.forward).parameters
    return {name: value for name, value in inputs.items() if name in parameters}


def _processed(make: Callable[..., Any], *given: Any) -> dict[str, Any]:
    try:
        inputs = dict(make(*given, return_tensors="pt"))
    except Exception as error:
        raise InvalidInput(f"the processor cannot take the picture: {one_line(error)}") from error
    pixels = inputs.get("pixel_values")
    if not isinstance(pixels, torch.Tensor):
        raise InvalidInput(f"the processor made {type(pixels).__name__}, expected a tensor")
    return inputs
