"""demo:translate: dates as people write them, character by character into ISO 8601.

An encoder and a decoder of two layers each. English and German, with or without a weekday (which
is never believed), in any case. ``3/5/21`` is month/day/year, ``5.3.2021`` is day.month.year, and
two-digit years mean 1969 to 2068 (POSIX ``strptime``). It knows nothing of capture, and how it
was trained is in ``examples/train_translate.py``.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.demos.labels import readable
from attnreport.demos.transformer import Cache, Embedding, Layer, device_of, load_weights
from attnreport.errors import InvalidInput

WEIGHTS = Path(__file__).with_name("translate.safetensors")
ALPHABET = "".join(
    ("0123456789", " ,./-", "abcdefghijklmnopqrstuvwxyzä", "ABCDEFGHIJKLMNOPQRSTUVWXYZÄ")
)
TARGET_ALPHABET = "0123456789-"
PAD, BOS, EOS = 0, 1, 2
SOURCE_POSITIONS = 48
# <bos>, YYYY-MM-DD, and one to spare: a model that does not stop where it should is seen to go on.
TARGET_POSITIONS = 12

_WIDTH, _HEADS, _LAYERS = 64, 4, 2
_ID = {character: index for index, character in enumerate(ALPHABET, start=3)}
_SPECIAL = {PAD: "<pad>", BOS: "<bos>", EOS: "<eos>"}
_CHARACTER = {index: character for character, index in _ID.items()}


class Encoder(nn.Module):
    """Read the source, every character in the light of all others."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding(len(ALPHABET) + 3, _WIDTH, SOURCE_POSITIONS)
        self.layers = nn.ModuleList(Layer(_WIDTH, _HEADS, causal=False) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, source: Tensor, mask: Tensor) -> Tensor:
        """Return ``(batch, source, width)``; ``mask`` is true where a key may be seen."""
        x = self.embedding(source)
        for layer in self.layers:
            x = layer(x, mask=mask)
        return self.norm(x)  # type: ignore[no-any-return] # nn.Module.__call__ is untyped


class Decoder(nn.Module):
    """Write the target from left to right, looking at the source."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = Embedding(len(ALPHABET) + 3, _WIDTH, TARGET_POSITIONS)
        self.layers = nn.ModuleList(
            Layer(_WIDTH, _HEADS, causal=True, cross=True) for _ in range(_LAYERS)
        )
        self.norm = nn.LayerNorm(_WIDTH)
        self.head = nn.Linear(_WIDTH, len(ALPHABET) + 3)

    def forward(
        self, target: Tensor, memory: Tensor, mask: Tensor, cache: Cache | None = None
    ) -> Tensor:
        """Return logits ``(batch, target, character)``: at each position, for the next one."""
        x = self.embedding(target, cache.length if cache else 0)
        for layer in self.layers:
            x = layer(x, memory=memory, memory_mask=mask, cache=cache)
        if cache is not None:
            cache.length += target.shape[1]
        return self.head(self.norm(x))  # type: ignore[no-any-return] # as above


class DateTranslator(nn.Module):
    """Translate dates; ids are those of ``encode_source`` and ``encode_target``."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        self.decoder = Decoder()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Return logits ``(batch, target, character)`` for the character after each position.

        Args:
            source: ids ``(batch, source)``; shorter ones are filled with ``PAD``.
            target: ids ``(batch, target)``, each beginning with ``BOS``.
        """
        mask = visible(source)
        return self.decoder(target, self.encoder(source, mask), mask)  # type: ignore[no-any-return] # as above

    @torch.no_grad()
    def generate(self, source: Tensor) -> Tensor:
        """Return the likeliest target ids ``(batch, target)``, ``BOS`` first, chosen greedily.

        A row ends with its first ``EOS``; what follows that means nothing.
        """
        mask = visible(source)
        memory, cache = self.encoder(source, mask), Cache()
        target = source.new_full((len(source), 1), BOS)
        while target.shape[1] < TARGET_POSITIONS and not (target == EOS).any(dim=1).all():
            logits = self.decoder(target[:, -1:], memory, mask, cache)
            target = torch.cat((target, logits[:, -1:].argmax(dim=-1)), dim=1)
        return target


def factory() -> nn.Module:
    """Return the trained model, ready to be run."""
    model = DateTranslator()
    load_weights(model, WEIGHTS)
    return model


def prepare(text: str, *, model: nn.Module, target: str | None = None) -> Call:
    """Return the call that runs ``text`` and its translation through the model in one pass.

    Args:
        text: a date, 1 to 47 characters of ``ALPHABET``.
        model: what ``factory`` returned; it writes the target where none is given.
        target: what the decoder is to read, up to 10 characters of ``TARGET_ALPHABET``.

    Raises:
        InvalidInput: a text is empty, too long, or holds characters that the model never saw.
    """
    if not text:
        raise InvalidInput("demo:translate expected a date, got an empty text; try '5 March 2021'")
    _check("the source", text, ALPHABET, SOURCE_POSITIONS - 1)
    source = torch.tensor([encode_source(text)], device=device_of(model))
    notes = ["a row of the target shows where the model looked to write the character after it"]
    generated = target is None
    if target is not None:
        _check("the target", target, TARGET_ALPHABET, TARGET_POSITIONS - 2)
    else:
        target = decode(_generator(model).generate(source)[0].tolist())
        notes.append(
            "the target was generated by the model itself, then the whole pair was run in one "
            "pass, which is the pass shown"
        )
    ids = torch.tensor([encode_target(target)], device=source.device)
    axes = ((source, _source_axis(text)), (ids, _target_axis(target, generated=generated)))
    return Call(
        args=(source, ids),
        axes=axes,
        notes=tuple(notes),
        token_ids=_token_ids,
        token_name=lambda token: _SPECIAL.get(token) or readable(_CHARACTER[token]),
        written=(*ids[0, 1:].tolist(), EOS),
    )


def visible(source: Tensor) -> Tensor:
    """Return the mask ``(batch, 1, 1, source)`` that is false on padding."""
    return (source != PAD)[:, None, None, :]


def encode_source(text: str) -> list[int]:
    """Return the ids of ``text``, ``EOS`` at the end."""
    return [*(_ID[character] for character in text), EOS]


def encode_target(text: str) -> list[int]:
    """Return the ids that the decoder reads: ``BOS``, then ``text``."""
    return [BOS, *(_ID[character] for character in text)]


def _token_ids(text: str) -> list[int]:
    _check("the target token", text, ALPHABET, TARGET_POSITIONS)
    return [_ID[character] for character in text]


def decode(ids: list[int]) -> str:
    """Return the text between ``BOS`` and the first ``EOS``."""
    end = ids.index(EOS) if EOS in ids else len(ids)
    return "".join(_CHARACTER.get(index, "") for index in ids[:end])


def _generator(model: nn.Module) -> DateTranslator:
    if isinstance(model, DateTranslator):
        return model
    raise InvalidInput(
        f"demo:translate writes its target with the model of its own factory, got a "
        f"{type(model).__name__}; give the target too"
    )


def _check(what: str, text: str, alphabet: str, longest: int) -> None:
    strange = sorted(set(text) - set(alphabet))
    if strange:
        listed = " ".join(readable(character) for character in strange)
        raise InvalidInput(
            f"demo:translate never saw these characters of {what}: {listed}; "
            f"it knows {alphabet.replace(' ', '␣')}"
        )
    if len(text) > longest:
        raise InvalidInput(
            f"demo:translate takes up to {longest} characters, {what} has {len(text)}; "
            "give one date alone"
        )


def _source_axis(text: str) -> Axis:
    return Axis("source", (*_characters(text), Position("<eos>", role="special")), text)


def _target_axis(text: str, *, generated: bool) -> Axis:
    return Axis("target", (Position("<bos>", role="special"), *_characters(text, generated)), text)


def _characters(text: str, generated: bool = False) -> tuple[Position, ...]:
    return tuple(
        Position(readable(character), (at, at + 1), role="generated" if generated else "input")
        for at, character in enumerate(text)
    )
