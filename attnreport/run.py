"""The Run: everything one capture found, as plain arrays and words.

Capture makes a Run; measures, charts and the page only read it. Nothing here imports torch, so a
Run captured on one machine can be looked at on another that has no torch device at all. How it is
written to a file is in ``runfile``.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.errors import InvalidInput, InvalidRun
from attnreport.files import replace_file
from attnreport.numbers import in_words

if TYPE_CHECKING:
    from attnreport.measures import Measured

Taken = NDArray[np.float64]


@dataclass(frozen=True)
class LedgerEntry:
    """Say what became of one attention computation that the capture saw.

    Attributes:
        name: module path, or the nearest thing to it.
        call: what computed it, e.g. ``"scaled_dot_product_attention"``.
        layer: ``Attention.layer`` of what was captured; None where nothing was.
        reason: why nothing was captured, or what is to be known about what was; may be empty.
    """

    name: str
    call: str
    layer: int | None = None
    reason: str = ""

    @property
    def captured(self) -> bool:
        """Tell whether the run holds this attention."""
        return self.layer is not None


@dataclass(frozen=True)
class Provenance:
    """Say where a run comes from, so that somebody else can make it again.

    Attributes:
        model: what the model is called: MODEL as given, or the class name.
        model_digest: ``sha256:…`` over the parameters and buffers; empty where unknown.
        input_text: the input as given, for the page's heading; empty where unknown.
        input_digest: ``sha256:…`` over the tensors the model was called with; empty where unknown.
        versions: version of every library that took part, by name.
        dtype: precision of the parameters, e.g. ``"float32"``.
        device: where the model ran, e.g. ``"cpu"``.
        seed: random seed that was set before the run; None where none was.
        command: command line that makes the report again; empty from Python.
        created: date from ``SOURCE_DATE_EPOCH``; empty without it, so that the same input gives
            the same bytes.
        notes: everything done between INPUT and weights that a reader must know: truncation, a
            target that the model generated itself, a head that was left out.
    """

    model: str = ""
    model_digest: str = ""
    input_text: str = ""
    input_digest: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    dtype: str = ""
    device: str = ""
    seed: int | None = None
    command: str = ""
    created: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Run:
    """Hold the attentions of one run of one model, and where they come from.

    Attributes:
        attentions: in the order of execution; ``attentions[i].layer == i`` unless a selection left
            some out: then ``attentions[run.place(layer)]`` is the one of that number.
        ledger: every attention computation that was seen, captured or not.
        provenance: model, input, versions and notes.
        target: in words the number that the gradients are of, e.g. ``"the logit of class bar"``;
            empty where nothing was differentiated, or whoever did so did not say what.
        taken: scores that need the model itself, by the measure's name: per attention ``(head,)``
            float64, read-only, NaN where a head could not be asked. What was done for them stands
            in the provenance's notes.
    """

    attentions: tuple[Attention, ...]
    ledger: tuple[LedgerEntry, ...] = ()
    provenance: Provenance = field(default_factory=Provenance)
    target: str = ""
    taken: Mapping[str, tuple[Taken, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.attentions:
            raise InvalidRun("a run must hold at least one attention, got none")
        layers = [attention.layer for attention in self.attentions]
        for index, (before, layer) in enumerate(itertools.pairwise([-1, *layers])):
            if layer <= before:
                raise InvalidRun(f"attention {index} says it is layer {layer}, after {before}")
        held = set(layers)
        for entry in self.ledger:
            if entry.layer is not None and entry.layer not in held:
                raise InvalidRun(f"ledger entry {entry.name!r} names layer {entry.layer}, not held")
        heads = [(attention.heads,) for attention in self.attentions]
        for name, scores in self.taken.items():
            if [each.shape for each in scores] != heads:
                raise InvalidRun(f"scores {name!r}: expected one for each head of each attention")
            for each in scores:
                each.flags.writeable = False

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Return every different axis, in order of first use."""
        used = (
            axis for attention in self.attentions for axis in (attention.queries, attention.keys)
        )
        return tuple(dict.fromkeys(used))

    def place(self, layer: int) -> int:
        """Return where in ``attentions`` the one of this number is.

        Raises:
            InvalidInput: it is not held.
        """
        layers = [attention.layer for attention in self.attentions]
        if layer not in layers:
            raise InvalidInput(f"no layer {layer}: the run has layers {in_words(layers)}")
        return layers.index(layer)

    @property
    def differentiated(self) -> bool:
        """Tell whether some attention has a gradient, or was to get one."""
        return bool(self.target) or any(each.gradient is not None for each in self.attentions)

    @property
    def missed(self) -> tuple[LedgerEntry, ...]:
        """Return what was seen and not captured."""
        return tuple(entry for entry in self.ledger if not entry.captured)

    def with_provenance(self, provenance: Provenance) -> Run:
        """Return the same run with another provenance."""
        return replace(self, provenance=provenance)

    def measure(self, name: str, **options: Any) -> Measured:
        """Return one score for every head; ``attnreport.measures.head_scores`` says more.

        Raises:
            InvalidMeasure: there is no such measure, or it takes other options.
        """
        # The one import that goes up, and only when called: the words do not depend on it.
        from attnreport.measures import head_scores  # noqa: PLC0415

        return head_scores(self, name, **options)

    def save(self, path: str | Path) -> None:
        """Write the run to one ``.safetensors`` file, whole or not at all.

        Raises:
            OutputError: the file cannot be written.
        """
        replace_file(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the bytes that ``save`` writes; the same run gives the same bytes."""
        # The file form knows the words, not the other way round.
        from attnreport.runfile import to_bytes  # noqa: PLC0415

        return to_bytes(self)

    @classmethod
    def load(cls, path: str | Path) -> Run:
        """Read a run that ``save`` wrote.

        Raises:
            InvalidRun: the file is not a run, is damaged, or was written by a newer attnreport.
        """
        from attnreport.runfile import load  # noqa: PLC0415 - as above

        return load(path)
