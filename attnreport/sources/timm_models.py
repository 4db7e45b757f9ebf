"""Open a model of timm by its name: ``timm:NAME``, weights from a file with ``--weights``.

No network is used: timm would ask a hub for weights, so only names of models that it builds itself
are taken, and the weights come from a file of the user's. Pictures are prepared as timm's own
transform does; where they then lie is checked like any processor's. Knows no model family.
"""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from attnreport.call import Call
from attnreport.errors import InvalidInput, InvalidOption, UnknownModel, one_line
from attnreport.picture import UNLAID
from attnreport.pixels import Pixels
from attnreport.sources.assemble import assemble
from attnreport.sources.device import check_device, check_dtype, seed_everything
from attnreport.sources.extras import importing
from attnreport.sources.request import Request, Source
from attnreport.sources.vision import open_picture
from attnreport.sources.vision_boxes import UnknownGeometry
from attnreport.sources.vision_tiles import pixels_of

_SUFFIX = ".safetensors"


def open_source(request: Request) -> Source:
    """Build the model, load its weights, and turn the picture that INPUT names into the call.

    Raises:
        MissingExtra: timm is not installed.
        BrokenExtra: it is, and does not load.
        UnknownModel: timm has no such model, or the weights are missing or not its own.
        InvalidInput: INPUT is no picture.
        InvalidOption: an option that is not for models of pictures alone.
    """
    timm = _timm(request.model)
    device = check_device(request.device)
    dtype = check_dtype(request.dtype or "float32")
    name = request.model.partition(":")[2]
    if not timm.is_model(name.partition(".")[0]):
        near = ", ".join(get_close_matches(name, timm.list_models(), n=3)) or "timm.list_models()"
        raise UnknownModel(f"MODEL {request.model}: timm has no model {name!r}; see {near}")
    _check_options(request)
    path, opened = open_picture(request, name)
    seed_everything(request.seed)
    model = _model(timm, request, name).eval()
    processor = Processor(timm, model)
    pixels = processor(opened.image)["pixel_values"].to(dtype)
    axes: tuple[tuple[torch.Tensor, Pixels], ...] = ()
    notes = opened.notes
    try:
        axes = ((pixels, pixels_of(processor, opened, {"pixel_values": pixels})),)
    except UnknownGeometry as error:
        notes += (f"{UNLAID} the picture: {error}",)
    call = Call(args=(pixels,), axes=axes, notes=notes)
    return assemble(request, model.to(device, dtype), call, input_text=path.name)


class Processor:
    """Prepare pictures as timm's transform for evaluation does, and as ``vision_boxes`` asks.

    Attributes:
        backend: whose resizing and cropping it is.
        do_center_crop: whether it crops.
    """

    backend = "torchvision"

    def __init__(self, timm: ModuleType, model: nn.Module) -> None:
        config = timm.data.resolve_model_data_config(model)
        self._steps = timm.data.create_transform(**config, is_training=False).transforms
        self.do_center_crop = any(_is(step, "CenterCrop") for step in self._steps)

    def __call__(
        self,
        images: Any,
        *,
        do_center_crop: bool = True,
        do_rescale: bool = True,
        do_normalize: bool = True,
        **_: Any,
    ) -> dict[str, torch.Tensor]:
        """Return ``pixel_values`` of one picture, shape (1, channel, y, x), float32.

        Args:
            images: one picture.
            do_center_crop: False leaves the cropping out.
            do_rescale: False gives 0 to 255 instead of 0 to 1.
            do_normalize: False leaves mean and spread alone.
        """
        value = images
        for step in self._steps:
            if _is(step, "CenterCrop") and not do_center_crop:
                continue
            if _is(step, "Normalize") and not do_normalize:
                continue
            value = step(value)
        return {"pixel_values": value[None] if do_rescale else 255 * value[None]}


def _is(step: Any, name: str) -> bool:
    return type(step).__name__.startswith(name)


def _timm(model: str) -> ModuleType:
    with importing("timm", f"MODEL {model}", "timm"):
        import timm  # noqa: PLC0415 - an extra: attnreport works without it
        import timm.data  # noqa: PLC0415
    found: ModuleType = timm
    return found


def _check_options(request: Request) -> None:
    if request.text is None:
        raise InvalidInput(f"MODEL {request.model} needs an INPUT")
    unused = {"--target": request.target, "--pair": request.pair, "--text": request.prompt}
    for option, value in unused.items():
        if value is not None:
            raise InvalidOption(f"{option}: MODEL {request.model} takes a picture and no text")
    if request.weights is None:
        raise InvalidOption(
            f"MODEL {request.model} needs its weights: give a file with --weights MODEL{_SUFFIX}; "
            "nothing is downloaded"
        )


def _model(timm: ModuleType, request: Request, name: str) -> nn.Module:
    """Return the model with its weights; how many classes it tells apart, these say."""
    weights = _weights(Path(request.weights or ""), pickled=request.allow_pickle)
    try:
        settings: Any = timm.create_model(name, pretrained=False).pretrained_cfg
        options = {}
        if isinstance(head := settings.get("classifier"), str):
            classes = weights.get(f"{head}.weight")
            options["num_classes"] = 0 if classes is None else len(classes)
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
        model.load_state_dict(weights)
    except Exception as error:
        raise UnknownModel(
            f"MODEL {request.model}: the weights in {request.weights} are not this model's: "
            f"{one_line(error)}"
        ) from error
    return model


def _weights(path: Path, *, pickled: bool) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file  # noqa: PLC0415 - not needed by any other source

    if not path.is_file():
        raise UnknownModel(f"--weights {path}: there is no such file")
    try:
        if path.suffix == _SUFFIX:
            return load_file(path)
        if not pickled:
            raise UnknownModel(
                f"--weights {path} is no {_SUFFIX} file but perhaps a pickle, which can run code "
                "when it is opened; if you trust it, --allow-pickle opens it"
            )
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except UnknownModel:
        raise
    except Exception as error:
        raise UnknownModel(f"--weights {path} cannot be opened: {one_line(error)}") from error
    state: dict[str, torch.Tensor] = loaded.get("state_dict", loaded)
    return state
