"""demo:text: a small causal language model over the bytes of UTF-8, so that it takes any text.

Three layers with rotary positions. Some of its heads look at the previous byte and some complete
what was said before (induction heads, Olsson et al. 2022); which ones, and how much, is printed by
``examples/train_text.py``, which trained it. It knows nothing of capture.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from attnreport.axis import Axis, Position
from attnreport.call import Call
from attnreport.demos.labels import readable
from attnreport.demos.transformer import Cache, Layer, device_of, load_weights
from attnreport.errors import InvalidInput

WEIGHTS = Path(__file__).with_name("text.safetensors")
BOS = 256
POSITIONS = 512

_WIDTH, _HEADS, _LAYERS = 128, 4, 3


class ByteModel(nn.Module):
    """Predict the next byte; ids are 0 to 255, and ``BOS`` in front."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(257, _WIDTH)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(
            Layer(_WIDTH, _HEADS, causal=True, rotary=True) for _ in range(_LAYERS)
        )
        self.norm = nn.LayerNorm(_WIDTH)

    def forward(self, ids: Tensor, cache: Cache | None = None) -> Tensor:
        """Return logits ``(batch, position, byte)``: at each position, for the byte after it.

        Args:
            ids: ``(batch, position)``; with a cache, all positions or the one that follows them.
            cache: what ran before, extended here.
        """
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, cache=cache)
        if cache is not None:
            cache.length += ids.shape[1]
        # The embedding serves as the output projection too (Press & Wolf 2017): half the size.
        return self.norm(x) @ self.embedding.weight[:256].T  # type: ignore[no-any-return] # nn.Module.__call__ is untyped

    @torch.no_grad()
    def generate(self, ids: Tensor, count: int) -> Tensor:
        """Return ``ids`` ``(batch, position)`` followed by the ``count`` likeliest next bytes.

        Raises:
            InvalidInput: the text and what is to follow it are longer than the model takes.
        """
        if ids.shape[1] + count > POSITIONS:
            raise InvalidInput(
                f"demo:text takes up to {POSITIONS - 1} bytes, the text has {ids.shape[1] - 1} "
                f"and {count} are to follow; shorten one of them"
            )
        cache, step = Cache(), ids
        for _ in range(count):
            step = self(step, cache)[:, -1:].argmax(dim=-1)
            ids = torch.cat((ids, step), dim=1)
        return ids


def factory() -> nn.Module:
    """Return the trained model, ready to be run."""
    model = ByteModel()
    load_weights(model, WEIGHTS)
    return model


def prepare(text: str, *, model: nn.Module, target: str | None = None) -> Call:
    """Return the call that runs ``text`` through the model.

    Args:
        text: any text of 1 to 511 bytes in UTF-8.
        model: what ``factory`` returned; the ids are put on its device.
        target: must be None; a language model continues its text.

    Raises:
        InvalidInput: the text is empty, too long, or cannot be written as UTF-8.
    """
    if target is not None:
        raise InvalidInput(
            "demo:text is a language model and has no target; append it to the text instead"
        )
    ids = torch.tensor([encode(text)], device=device_of(model))
    positions = (Position("<bos>", role="special"), *_positions(text))
    axes = ((ids, Axis("text", positions, text)),)
    return Call(
        args=(ids,),
        axes=axes,
        token_ids=lambda token: list(token.encode()),
        token_name=lambda byte: readable(chr(byte)) if byte < 128 else f"byte {byte:02X}",
    )


def encode(text: str) -> list[int]:
    """Return ``BOS`` and the bytes of ``text``.

    Raises:
        InvalidInput: the text is empty, too long, or cannot be written as UTF-8.
    """
    if not text:
        raise InvalidInput(
            "demo:text expected a text, got an empty one; give at least one character"
        )
    try:
        content = text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"demo:text expected text that UTF-8 can hold, got {text[error.start]!a} "
            f"at character {error.start}; remove it"
        ) from error
    if len(content) >= POSITIONS:
        raise InvalidInput(
            f"demo:text takes up to {POSITIONS - 1} bytes of UTF-8, the text has {len(content)}; "
            "shorten it"
        )
    return [BOS, *content]


def decode(ids: list[int]) -> str:
    """Return the text of the bytes among ``ids``; what is no UTF-8 becomes ``�``."""
    return bytes(index for index in ids if index != BOS).decode(errors="replace")


def _positions(text: str) -> tuple[Position, ...]:
    """Return one position per byte; those of one character share its span."""
    positions = []
    for at, character in enumerate(text):
        size = len(character.encode())
        labels = (readable(character), *(f"·{nth}" for nth in range(2, size + 1)))
        positions += [Position(label, (at, at + 1)) for label in labels]
    return tuple(positions)
