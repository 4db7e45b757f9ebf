"""Turn a picture into the call of a transformers model, and say what its positions are.

Families whose patches all look at each other, with class, distillation and register tokens in
front. A family that is not listed runs all the same, and its positions are numbered: the page then
says why nothing is laid over the picture. Knows nothing of how the model was opened.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption, one_line
from attnreport.picture import Opened, read_picture
from attnreport.sources.request import Request
from attnreport.sources.text import file_named
from attnreport.sources.tokens import encode
from attnreport.sources.vision_boxes import UnknownGeometry, patches, placement
from attnreport.sources.vision_prompt import has_image_token, prompt_with_patches

Prefix = Callable[[Any], tuple[str, ...]]


def _nothing(_: Any) -> tuple[str, ...]:
    return ()


def _class_token(_: Any) -> tuple[str, ...]:
    return ("[CLS]",)


def _distilled(_: Any) -> tuple[str, ...]:
    return ("[CLS]", "[distillation]")


def _registers(config: Any) -> tuple[str, ...]:
    return ("[CLS]", *(f"[register {nth}]" for nth in range(config.num_register_tokens)))


# By `model_type` of the vision config: what stands before the patches.
_PREFIXES: dict[str, Prefix] = {
    "beit": _class_token,
    "clip_vision_model": _class_token,
    "data2vec-vision": _class_token,
    "deit": _distilled,
    "dinov2": _class_token,
    "dinov2_with_registers": _registers,
    "ijepa": _nothing,
    "siglip_vision_model": _nothing,
    "vit": _class_token,
    "vit_msn": _class_token,
}


@dataclass(frozen=True)
class Inputs:
    """Say what a model class takes, by the arguments of its ``forward``."""

    picture: bool
    text: bool

    @classmethod
    def of(cls, model_class: Any) -> Inputs:
        """Read the signature of ``model_class.forward``."""
        names = inspect.signature(model_class.forward).parameters
        return cls("pixel_values" in names, "input_ids" in names)


def asks_for_picture(request: Request, model_class: Any) -> bool:
    """Tell whether INPUT is a picture for this model.

    Raises:
        InvalidOption: there is a ``--text`` beside INPUT, and the model does not take both.
        InvalidInput: INPUT is a picture, and the text that the model takes too is missing.
    """
    takes = Inputs.of(model_class)
    name = model_class.__name__
    if request.prompt is not None and not (takes.picture and takes.text):
        wanted = "no text beside it" if takes.picture else "no picture; give the text as INPUT"
        raise InvalidOption(f"--text: {name} takes {wanted}")
    if not takes.picture or not takes.text or request.prompt is not None:
        return takes.picture
    path = file_named(request.text or "")
    if path is not None and path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"}:
        raise InvalidInput(f"{name} takes a text beside the picture {path}; give it with --text")
    return False


def open_picture(request: Request, model_name: str) -> tuple[Path, Opened]:
    """Read the picture that INPUT names.

    Raises:
        InvalidInput: there is no such file, or it is no picture.
    """
    path = file_named(request.text or "")
    if path is None:
        raise InvalidInput(
            f"INPUT {request.text}: there is no such file, and {model_name} looks at a picture: "
            "PNG, JPEG or WebP"
        )
    return path, read_picture(path)


def picture_call(
    request: Request, model: Any, processor: Any, tokenizer: Any, opened: Opened
) -> Call:
    """Return the call that shows a picture, and reads ``request.prompt``, to a model.

    Args:
        request: what was asked for.
        model: in evaluation mode.
        processor: the checkpoint's image processor.
        tokenizer: the checkpoint's; None for a model that takes no text.
        opened: the picture.

    Raises:
        InvalidInput: the processor cannot take the picture, or the tokenizer the text.
    """
    pixels = _processed(processor, opened)
    # A model in half precision wants its pixels so; the axis goes with the tensor that is used.
    pixels = pixels.to(model.dtype)
    notes = opened.notes
    axes: list[tuple[torch.Tensor, Axis]] = []
    try:
        axes.append((pixels, picture_axis(model, processor, opened)))
    except UnknownGeometry as error:
        notes += (f"nothing can be laid over the picture: {error}",)
    if tokenizer is None:
        return Call(kwargs={"pixel_values": pixels}, axes=tuple(axes), notes=notes)
    prompt = request.prompt or ""
    if has_image_token(model.config):
        if not axes:
            raise InvalidInput(f"the prompt cannot hold the patches of the picture: {notes[-1]}")
        inputs, text, more = prompt_with_patches(model.config, tokenizer, prompt, axes[0][1])
        notes += more
    else:
        inputs, text = encode(tokenizer, prompt, name="text")
    tensors = {name: torch.tensor([ids]) for name, ids in inputs.items()}
    known = inspect.signature(model.forward).parameters
    taken = {name: tensor for name, tensor in tensors.items() if name in known}
    axes.append((taken["input_ids"], text))
    return Call(kwargs={**taken, "pixel_values": pixels}, axes=tuple(axes), notes=notes)


def picture_axis(model: Any, processor: Any, opened: Opened) -> Axis:
    """Return what the positions of the vision encoder are.

    Raises:
        UnknownGeometry: the family is not known, or its processor does something else.
    """
    config = getattr(model.config, "vision_config", None) or model.config
    prefix = _PREFIXES.get(config.model_type)
    if prefix is None:
        raise UnknownGeometry(
            f"where the patches of a {config.model_type} lie is not known to this version"
        )
    found = placement(processor, opened.image)
    before = tuple(Position(label, role="special") for label in prefix(config))
    positions = before + patches(found, _patch_size(config))
    return Axis("picture", positions, picture=opened.picture)


def _patch_size(config: Any) -> tuple[int, int]:
    """Return width and height of a patch; a config gives height and width, or one for both."""
    size = config.patch_size
    height, width = size if isinstance(size, (list, tuple)) else (size, size)
    return int(width), int(height)


def _processed(processor: Any, opened: Opened) -> torch.Tensor:
    try:
        pixels = processor(images=opened.image, return_tensors="pt")["pixel_values"]
    except Exception as error:
        raise InvalidInput(f"the processor cannot take the picture: {one_line(error)}") from error
    if not isinstance(pixels, torch.Tensor):
        raise InvalidInput(f"the processor made {type(pixels).__name__}, expected a tensor")
    return pixels
