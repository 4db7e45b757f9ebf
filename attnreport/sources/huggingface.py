"""Open a checkpoint in Hugging Face's format: a folder, or a name on the hub.

A checkpoint is somebody else's: nothing in it runs unless the user says so. Weights are read from
safetensors, Python files are ignored, and an attention kernel that a config wants fetched from the
hub is dropped. A folder is opened without any network. Knows nothing of texts, ``text_call`` does,
nothing of pictures, ``vision`` does, and nothing of sounds, ``sound_call`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from attnreport.errors import (
    AttnreportError,
    InvalidInput,
    InvalidOption,
    UnknownModel,
    one_line,
)
from attnreport.sources.assemble import assemble
from attnreport.sources.device import check_device, check_dtype, seed_everything
from attnreport.sources.extras import importing
from attnreport.sources.request import Request, Source
from attnreport.sources.senses import Inputs, Sense, sense_of
from attnreport.sources.sound_call import open_sound, sound_call
from attnreport.sources.text import read_text
from attnreport.sources.text_call import text_call
from attnreport.sources.tokens import JOIN
from attnreport.sources.vision import open_picture, picture_call
from attnreport.sources.vision_frames import frames_wanted
from attnreport.sources.vision_prompt import audio_token, image_token

_SHOWN_KEYS = 3


def open_source(request: Request) -> Source:
    """Open model and tokenizer, and turn INPUT into the call.

    Raises:
        MissingExtra: transformers is not installed.
        BrokenExtra: it is, and does not load.
        UnknownModel: the checkpoint is missing, damaged, or would run code.
        InvalidInput: INPUT does not suit the model.
        InvalidOption: an option that does not apply to the model or to this machine.
    """
    transformers = _transformers(request.model)
    device = check_device(request.device)
    dtype = check_dtype(request.dtype or "float32")
    if request.text is None:
        raise InvalidInput(f"MODEL {request.model} needs an INPUT")
    _check_folder(request)
    config = _open_config(transformers, request)
    model_class = _signed(_class_for(transformers, request, config)[0], config)
    sense: Sense = "text"
    if model_class is not None:
        hears = audio_token(config) is not None
        sense = sense_of(request, model_class, hears_in_prompt=hears)
    if sense == "picture":
        return _open_with_picture(transformers, request, config, model_class, dtype)
    if sense == "sound":
        return _open_with_sound(transformers, request, config, model_class, dtype)
    text, notes = read_text(request.text)
    tokenizer = _open_tokenizer(transformers, request)
    seed_everything(request.seed)  # what a checkpoint lacks is drawn at random: the same each time
    model, model_notes = _open_model(transformers, request, config, dtype)
    model = model.to(device).eval()
    call = text_call(request, model, tokenizer, text)
    shown = text if request.pair is None else text + JOIN + request.pair
    return assemble(request, model, call, input_text=shown, notes=(*model_notes, *notes))


def _open_with_picture(
    transformers: ModuleType,
    request: Request,
    config: Any,
    model_class: Any,
    dtype: torch.dtype,
) -> Source:
    """Do what ``open_source`` does, for a model that looks at a picture."""
    path, opened = open_picture(request, model_class.__name__, frames_wanted(config))
    within = image_token(config) is not None
    processor = _open_processor(transformers, request, within_prompt=within)
    reads = Inputs.of(model_class).text and not within
    tokenizer = _open_tokenizer(transformers, request) if reads else None
    seed_everything(request.seed)
    model, notes = _open_model(transformers, request, config, dtype)
    call = picture_call(request, model.eval(), processor, tokenizer, opened)
    shown = path.name if request.prompt is None else path.name + JOIN + request.prompt
    return assemble(request, model.to(request.device), call, input_text=shown, notes=notes)


def _open_with_sound(
    transformers: ModuleType,
    request: Request,
    config: Any,
    model_class: Any,
    dtype: torch.dtype,
) -> Source:
    """Do what ``open_source`` does, for a model that listens to a sound."""
    if request.prompt is None:
        with _explained(request, "feature extractor (preprocessor_config.json)", InvalidInput):
            extractor = transformers.AutoFeatureExtractor.from_pretrained(
                request.model, **_where(request)
            )
    else:
        extractor = _open_processor(transformers, request, within_prompt=True)
    rates = getattr(extractor, "feature_extractor", extractor)
    path, heard = open_sound(request, model_class.__name__, rates)
    writes = bool(getattr(config, "is_encoder_decoder", False))
    tokenizer = _open_tokenizer(transformers, request) if writes else None
    seed_everything(request.seed)
    model, notes = _open_model(transformers, request, config, dtype)
    model = model.to(request.device).eval()
    call = sound_call(request, model, extractor, tokenizer, heard)
    shown = path.name if request.prompt is None else path.name + JOIN + request.prompt
    return assemble(request, model, call, input_text=shown, notes=notes)


def _open_processor(transformers: ModuleType, request: Request, *, within_prompt: bool) -> Any:
    """Return the image processor, or for a prompt that holds the picture, that of both."""
    if within_prompt:
        with _explained(request, "processor (processor_config.json)", InvalidInput):
            return transformers.AutoProcessor.from_pretrained(request.model, **_where(request))
    with _explained(request, "image processor (preprocessor_config.json)", InvalidInput):
        return transformers.AutoImageProcessor.from_pretrained(request.model, **_where(request))


def _transformers(model: str) -> ModuleType:
    with _loading(model):
        import transformers  # noqa: PLC0415 - an extra: attnreport works without it
    return transformers


def _loading(model: str) -> AbstractContextManager[None]:
    """Return where transformers is imported: parts of it are only once they are asked for."""
    needed_for = f"MODEL {model}, a checkpoint in Hugging Face's format,"
    return importing("transformers", needed_for, "transformers")


def _check_folder(request: Request) -> None:
    """Refuse a folder that holds no checkpoint, or one that would have to be unpickled."""
    folder = Path(request.model)
    if not folder.is_dir():
        return
    if request.revision is not None:
        raise InvalidOption("--revision: MODEL is a folder, which has no revisions; leave it out")
    if not (folder / "config.json").is_file():
        raise UnknownModel(
            f"MODEL {folder} is a folder without config.json, expected a checkpoint in Hugging "
            "Face's format"
        )
    names = [path.name for path in folder.iterdir()]
    pickled = [name for name in sorted(names) if name.endswith((".bin", ".pt", ".pth", ".ckpt"))]
    if pickled and not request.allow_pickle and not any(n.endswith(".safetensors") for n in names):
        raise UnknownModel(
            f"MODEL {folder} holds its weights only as a pickle ({pickled[0]}), which can run code "
            "when it is opened; if you trust it, --allow-pickle opens it"
        )


def _where(request: Request) -> dict[str, Any]:
    """Return what every ``from_pretrained`` is told; never None, which would ask on a terminal."""
    return {
        "trust_remote_code": request.trust_remote_code,
        "local_files_only": Path(request.model).is_dir(),
        "revision": request.revision or "main",
    }


def _open_config(transformers: ModuleType, request: Request) -> Any:
    with _explained(request, "config.json"):
        config = transformers.AutoConfig.from_pretrained(request.model, **_where(request))
    if not request.trust_remote_code:
        _drop_kernels(config)
    return config


def _drop_kernels(config: Any) -> None:
    """Forget attention functions that live on the hub: a config may name any repository's code."""
    for part in (config, *(getattr(config, name, None) for name in config.sub_configs)):
        if part is None:
            continue
        for name in ("_attn_implementation_internal", "_experts_implementation_internal"):
            if "/" in str(getattr(part, name, None) or ""):
                setattr(part, name, None)


def _open_tokenizer(transformers: ModuleType, request: Request) -> Any:
    with _explained(request, "tokenizer", InvalidInput):
        tokenizer = transformers.AutoTokenizer.from_pretrained(request.model, **_where(request))
    if not _knows_words(tokenizer, Path(request.model)):
        raise InvalidInput(
            f"MODEL {request.model} comes without a tokenizer, so a text cannot be given to it; "
            "package.module:factory with a 'prepare' can"
        )
    return tokenizer


def _knows_words(tokenizer: Any, folder: Path) -> bool:
    """Tell whether this is the checkpoint's own tokenizer.

    Without its files transformers makes one that knows no word, and says nothing.
    """
    files = set(tokenizer.vocab_files_names.values())
    if folder.is_dir() and files:
        return any((folder / name).is_file() for name in files)
    return len(tokenizer) > len(set(tokenizer.all_special_ids))


def _open_model(
    transformers: ModuleType, request: Request, config: Any, dtype: torch.dtype
) -> tuple[Any, tuple[str, ...]]:
    model_class, notes = _class_for(transformers, request, config)
    with _explained(request, "weights"), _no_bar(transformers):
        model, loading = model_class.from_pretrained(
            request.model,
            config=config,
            dtype=dtype,
            use_safetensors=None if request.allow_pickle else True,
            output_loading_info=True,
            **_where(request),
        )
    notes += _missing(model, sorted(loading["missing_keys"]))
    if commit := getattr(config, "_commit_hash", None):
        notes += (f"revision {commit} of the hub's {request.model}",)
    return model, notes


def _class_for(
    transformers: ModuleType, request: Request, config: Any
) -> tuple[Any, tuple[str, ...]]:
    """Return the class that the config's ``architectures`` names, or AutoModel with a note.

    The name is somebody else's: it counts only where transformers has a model class of that name
    which is made for this kind of config.
    """
    named = (getattr(config, "architectures", None) or [""])[0]
    if request.trust_remote_code:
        for auto, place in (getattr(config, "auto_map", None) or {}).items():
            if str(place).rpartition(".")[2] == named and hasattr(transformers, auto):
                return getattr(transformers, auto), ("the checkpoint's own Python code was run",)
    with _loading(request.model):
        found = getattr(transformers, named, None) if named.isidentifier() else None
    if (
        isinstance(found, type)
        and issubclass(found, transformers.PreTrainedModel)
        and isinstance(config, getattr(found, "config_class", None) or ())
    ):
        return found, ()
    said = f"names {named!r}, which transformers lacks" if named else "names no architecture"
    return transformers.AutoModel, (
        f"config.json {said}: the model was opened without its task head",
    )


def _signed(model_class: Any, config: Any) -> Any:
    """Return the class whose ``forward`` will run, or None where only the checkpoint knows it."""
    mapping = getattr(model_class, "_model_mapping", None)  # of AutoModel and its like
    found = model_class if mapping is None else mapping.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def _missing(model: Any, keys: list[str]) -> tuple[str, ...]:
    """Say which weights the checkpoint lacks: transformers draws them at random and logs it."""
    if not keys:
        return ()
    shown = ", ".join(keys[:_SHOWN_KEYS]) + (", …" if len(keys) > _SHOWN_KEYS else "")
    total = len(model.state_dict())
    return (f"{len(keys)} of {total} weights are not in the checkpoint and are random: {shown}",)


@contextmanager
def _explained(
    request: Request, part: str, kind: type[AttnreportError] = UnknownModel
) -> Iterator[None]:
    """Turn whatever transformers raises while it opens ``part`` into one line of ours."""
    try:
        yield
    except AttnreportError:
        raise
    except Exception as error:  # it raises OSError, ValueError, ImportError, KeyError, TypeError …
        raise kind(f"MODEL {request.model}: {_reason(request, part, error)}") from error


def _reason(request: Request, part: str, error: Exception) -> str:
    local = Path(request.model).is_dir()
    if "trust_remote_code" in str(error):
        return "it comes with Python code of its own; if you trust it, --trust-remote-code runs it"
    if local and part == "config.json" and not _is_json(Path(request.model) / part):
        return "config.json is not JSON; is the download whole?"
    if local:
        return f"its {part} cannot be opened: {one_line(error)}"
    return (
        "no such folder, file or prefix, and as a name on the Hugging Face hub its "
        f"{part} cannot be opened: {one_line(error)}"
    )


@contextmanager
def _no_bar(transformers: ModuleType) -> Iterator[None]:
    """Keep the bar for reading weights, which takes a blink, off the terminal; then as before."""
    logging = transformers.utils.logging
    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_bytes()), dict)
    except (OSError, ValueError):
        return False
