"""Tell what INPUT is for a model: a text, a picture, or a sound. Opens nothing."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Literal

from attnreport.errors import InvalidInput, InvalidOption
from attnreport.sources.request import Request
from attnreport.sources.sound_file import is_sound
from attnreport.sources.text import file_named

Sense = Literal["text", "picture", "sound"]

_GIVE = "give it with --text"
_PICTURES = {".png", ".jpg", ".jpeg", ".webp"}


@dataclass(frozen=True)
class Inputs:
    """Say what a model class takes, by the arguments of its ``forward``."""

    picture: bool
    text: bool
    sound: bool = False

    @classmethod
    def of(cls, model_class: Any) -> Inputs:
        """Read the signature of ``model_class.forward``."""
        names = inspect.signature(model_class.forward).parameters
        sound = "input_values" in names or "input_features" in names
        return cls("pixel_values" in names, "input_ids" in names, sound)

    @property
    def only_sound(self) -> bool:
        """Tell whether it listens, and neither reads nor looks."""
        return self.sound and not self.picture and not self.text


def sense_of(request: Request, model_class: Any, *, hears_in_prompt: bool) -> Sense:
    """Return what INPUT is for this model.

    Args:
        request: what was asked for.
        model_class: of the model.
        hears_in_prompt: whether a token of its prompt stands for a sound.

    Raises:
        InvalidOption: there is a ``--text`` beside INPUT, and the model does not take both.
        InvalidInput: INPUT is a picture or a sound, and the text that the model takes too is
            missing; or it is a sound that has no place in what the model reads.
    """
    takes, name = Inputs.of(model_class), model_class.__name__
    if takes.only_sound:
        if request.prompt is not None:
            raise InvalidOption(
                f"--text: {name} takes no text beside the sound; what it writes is --target"
            )
        return "sound"
    path = file_named(request.text or "")
    if takes.sound and path is not None and is_sound(path):
        if hears_in_prompt and takes.text:
            if request.prompt is None:
                raise InvalidInput(f"{name} takes a text beside the sound {path}; {_GIVE}")
            return "sound"
        raise InvalidInput(
            f"{name} listens to the sound {path} together with more, which cannot be given here; "
            "call it from Python, inside attnreport.capture(model)"
        )
    if request.prompt is not None and not (takes.picture and takes.text):
        wanted = "no text beside it" if takes.picture else "no picture; give the text as INPUT"
        raise InvalidOption(f"--text: {name} takes {wanted}")
    if not takes.picture:
        return "text"
    if not takes.text or request.prompt is not None:
        return "picture"
    if path is not None and path.suffix.lower() in _PICTURES:
        raise InvalidInput(f"{name} takes a text beside the picture {path}; {_GIVE}")
    return "text"
