"""What is asked of a source, and what a source hands back. Knows no family of models.

A source reads a ``Request`` (MODEL, INPUT and the options, as strings) and returns a ``Source``: a
model that is ready to be called, the call, and what is known of where both come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from attnreport.call import Call
from attnreport.run import Provenance

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Request:
    """Hold MODEL, INPUT and the options that say how to open and to run them.

    Attributes:
        model: MODEL as given; ``attnreport.sources`` says how it is read.
        text: INPUT as given, or None; ``attnreport.sources.text`` says how it is read.
        target: the text an encoder–decoder is made to write; None lets it generate.
        pair: the second segment of a two-segment encoder.
        prompt: the text that a model of pictures and texts reads beside the picture.
        truncate: whether an input over the model's length is cut instead of refused.
        device: where to run, e.g. ``"cpu"``, ``"cuda:1"``.
        dtype: ``"float32"``, ``"float16"`` or ``"bfloat16"``; None means float32 for a checkpoint
            and "as it was built" for a model from Python.
        seed: what every random generator is set to, before opening and again before the run.
        weights: file with the weights of a model that is opened by its architecture's name.
        revision: branch, tag or commit of a hub id.
        trust_remote_code: whether Python files that come with a checkpoint may run.
        allow_pickle: whether weights that are pickled may be opened.
        max_memory: how many bytes of weights to keep; over it positions are joined.
        target_class: the class whose logit is differentiated, by name, number or ``"predicted"``.
        target_token: the token whose logit is differentiated, as text, as ``"id:NUMBER"`` or
            ``"predicted"``.
        target_position: which position's logits ``target_token`` is read from; None for where it is
            written in a target, the last mask, or the last position.
        ablate: what stands in for each head's output, one at a time, to see what the head matters:
            ``"zero"`` or ``"mean"``; None to leave that.
        probe: ``"induction"`` for another run, on a random sequence that is repeated.
        values: whether it is weighed how long the vectors are that heads add up.
    """

    model: str
    text: str | None = None
    target: str | None = None
    pair: str | None = None
    prompt: str | None = None
    truncate: bool = False
    device: str = "cpu"
    dtype: str | None = None
    seed: int = 0
    weights: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    allow_pickle: bool = False
    max_memory: int = 2_000_000_000
    target_class: str | None = None
    target_token: str | None = None
    target_position: int | None = None
    ablate: Literal["zero", "mean"] | None = None
    probe: Literal["induction"] | None = None
    values: bool = False

    @property
    def asks_the_model(self) -> bool:
        """Tell whether something is asked for that needs the model, not only its weights."""
        asked = (self.target_class, self.target_token, self.ablate, self.probe)
        return self.values or any(each is not None for each in asked)


@dataclass(frozen=True)
class Source:
    """Hold a model that is ready to be called, the call, and where both come from.

    Attributes:
        model: in evaluation mode, on the device and in the dtype that were asked for.
        call: the arguments, on the same device, and the axes of the sequences among them.
        provenance: what the source knows: model, input, digest of the input, seed, notes.
    """

    model: nn.Module
    call: Call
    provenance: Provenance
