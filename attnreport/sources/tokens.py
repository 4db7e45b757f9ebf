"""Say what each token of a tokenizer holds, and where in the text it came from.

Works on any tokenizer of transformers through a few of its methods, and imports none of it. Label
and span are two things: the label shows what the model was given (lower-cased where the tokenizer
lowers, ``[UNK]`` where it does not know), the span says which characters of the text that was. A
WordPiece continuation keeps its ``##``, the mark its readers know; no other mark survives. Spans
are the tokenizer's own: where a token holds the space before a word, so does its span. What the
tokenizer added by itself, ``[CLS]`` or the space before the first word, has none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnreport.axis import Axis, Position, Role, Span
from attnreport.sources.labels import labels_of, visible

# Between two segments of one axis: they are shown as two lines.
JOIN = "\n"

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_LOWER_ONE_EIGHTH = "\u2581"  # how SentencePiece writes a space


@dataclass(frozen=True)
class Piece:
    """Hold what one token stands for.

    Attributes:
        content: its UTF-8 bytes, the space before a word among them; may break off inside a
            character; empty for a special token.
        label: a label that is ready, or None where it is read from ``content``.
    """

    content: bytes
    label: str | None = None


def pieces_of(tokenizer: Any, ids: Sequence[int]) -> list[Piece]:
    """Return what each token holds, by the way this tokenizer writes bytes, spaces and joins."""
    special = set(tokenizer.all_special_ids)
    added = getattr(tokenizer, "added_tokens_decoder", {})
    read = _reader(tokenizer)
    pieces = []
    for token_id, token in zip(ids, tokenizer.convert_ids_to_tokens(list(ids)), strict=True):
        if token_id in special or token is None:
            pieces.append(Piece(b"", visible(token or f"id {token_id}")))
        elif token_id in added:
            # An added token is stored as it is, whatever the alphabet of the others.
            pieces.append(Piece(str(added[token_id]).encode()))
        else:
            pieces.append(read(token))
    return pieces


def token_labels(pieces: Sequence[Piece]) -> tuple[str, ...]:
    """Return one readable label per piece."""
    return labels_of([p.content if p.label is None else p.label for p in pieces])


def encode(
    tokenizer: Any, text: str, pair: str | None = None, *, name: str, **options: Any
) -> tuple[dict[str, list[int]], Axis]:
    r"""Tokenize one text, or two segments, and describe the positions.

    Args:
        tokenizer: any tokenizer of transformers.
        text: the text.
        pair: a second segment. The axis' text is then ``text + "\n" + pair``, and the spans of
            the second segment count from its start in that.
        name: the axis' name.
        options: passed on, e.g. ``truncation`` and ``max_length``.

    Returns:
        The model's inputs by name, one list of integers each, and the axis over ``input_ids``.
    """
    encoding = tokenizer(
        text,
        pair,
        return_special_tokens_mask=True,
        return_offsets_mapping=tokenizer.is_fast,
        **options,
    )
    mask = encoding.pop("special_tokens_mask")
    pieces = pieces_of(tokenizer, encoding["input_ids"])
    whole = text if pair is None else text + JOIN + pair
    if tokenizer.is_fast:
        spans = _spans_of_segments(encoding, pieces, whole, len(text) + len(JOIN))
    else:
        # Where two segments meet, their pieces put together are not the axis' text.
        spans = spans_in(text if pair is None else "", pieces)
    special = set(tokenizer.all_special_ids)
    # A slow tokenizer may know no place for what the user wrote; a fast one always does.
    roles: list[Role] = [
        "special" if marked or (span is None and (tokenizer.is_fast or i in special)) else "input"
        for i, marked, span in zip(encoding["input_ids"], mask, spans, strict=True)
    ]
    return dict(encoding), _axis(name, whole, pieces, spans, roles)


def _spans_of_segments(
    encoding: Any, pieces: Sequence[Piece], whole: str, second: int
) -> list[Span | None]:
    """Take the spans out of an encoding; the second segment begins at character ``second``."""
    places = zip(encoding.pop("offset_mapping"), encoding.sequence_ids(0), pieces, strict=True)
    spans: list[Span | None] = []
    for (start, stop), segment, piece in places:
        shift = second if segment == 1 else 0
        held = whole[start + shift : stop + shift]
        # A space put before the first word is given that word's first letter as its place.
        added = piece.label is None and not piece.content.strip() and held.strip()
        spans.append(None if not held or added else (start + shift, stop + shift))
    return spans


def describe_generated(tokenizer: Any, ids: Sequence[int], *, name: str) -> Axis:
    """Return the axis over tokens that a model wrote; its text is what they decode to."""
    pieces = pieces_of(tokenizer, ids)
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    special = set(tokenizer.all_special_ids)
    roles: list[Role] = ["special" if token_id in special else "generated" for token_id in ids]
    return _axis(name, text, pieces, spans_in(text, pieces), roles)


def spans_in(text: str, pieces: Sequence[Piece]) -> list[Span | None]:
    """Return where each piece lies in ``text``, or None for all where that is not certain.

    It is certain where the pieces, put together, are the text, but for one space in front that a
    tokenizer may have added.
    """
    joined = b"".join(piece.content for piece in pieces)
    encoded = text.encode()
    if joined not in (encoded, b" " + encoded) or not encoded:
        return [None] * len(pieces)
    added = len(joined) - len(encoded)
    # character_at[b] is the character that byte b of the text belongs to.
    character_at = [i for i, character in enumerate(text) for _ in character.encode()]
    spans: list[Span | None] = []
    stop = -added
    for piece in pieces:
        start, stop = stop, stop + len(piece.content)
        if piece.label is not None and piece.content.startswith(b" "):
            start += 1  # a ready label leaves out the space that the tokenizer joins words with
        first = max(start, 0)
        spans.append((character_at[first], character_at[stop - 1] + 1) if stop > first else None)
    return spans


def _axis(
    name: str,
    text: str,
    pieces: Sequence[Piece],
    spans: Sequence[Span | None],
    roles: Sequence[Role],
) -> Axis:
    rows = zip(token_labels(pieces), spans, roles, strict=True)
    return Axis(name, tuple(Position(label, span, role=role) for label, span, role in rows), text)


def _reader(tokenizer: Any) -> Callable[[str], Piece]:
    """Return the function that reads this tokenizer's tokens, from how it says it decodes."""
    steps = _steps(tokenizer) if tokenizer.is_fast else []
    kinds = {step["type"]: step for step in steps}
    if "ByteLevel" in kinds or hasattr(tokenizer, "byte_decoder"):
        return _read_byte_level
    if getattr(tokenizer, "_utf_vocab_size", None) == 256:  # ByT5: one character stands for a byte
        return lambda token: Piece(token.encode("latin-1", "ignore"))
    if "WordPiece" in kinds:
        prefix = kinds["WordPiece"].get("prefix", "##")
        return lambda token: _read_word_piece(token, prefix)
    suffix = kinds.get("BPEDecoder", {}).get("suffix", "</w>")
    space = kinds.get("Metaspace", {}).get("replacement", _LOWER_ONE_EIGHTH)
    return lambda token: _read_marked(token, space, suffix)


def _steps(tokenizer: Any) -> list[dict[str, Any]]:
    """Return the steps of a fast tokenizer's decoder and pre-tokenizer, sequences unfolded.

    Their state is the JSON they are saved as, the one form that names every setting.
    """
    backend = tokenizer.backend_tokenizer
    found: list[dict[str, Any]] = []
    waiting = [
        json.loads(part.__getstate__())
        for part in (backend.decoder, backend.pre_tokenizer)
        if part is not None
    ]
    while waiting:
        step = waiting.pop(0)
        nested = step.get("decoders", step.get("pretokenizers"))
        if nested is None:
            found.append(step)
        else:
            waiting += nested
    return found


def _byte_alphabet() -> dict[str, int]:
    """Return which byte each character of byte-level BPE stands for (Radford et al. 2019).

    The printable bytes of Latin-1 stand for themselves, the others in order for U+0100 onwards.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    alphabet = {chr(byte): byte for byte in printable}
    return alphabet | {chr(256 + index): byte for index, byte in enumerate(others)}


_BYTE_OF = _byte_alphabet()


def _read_byte_level(token: str) -> Piece:
    if all(character in _BYTE_OF for character in token):
        return Piece(bytes(_BYTE_OF[character] for character in token))
    return Piece(token.encode())


def _read_word_piece(token: str, prefix: str) -> Piece:
    if token.startswith(prefix) and token != prefix:
        rest = token.removeprefix(prefix)
        return Piece(rest.encode(), prefix + visible(rest))
    return Piece(b" " + token.encode(), visible(token))


def _read_marked(token: str, space: str, suffix: str) -> Piece:
    if byte := _BYTE_TOKEN.fullmatch(token):
        return Piece(bytes([int(byte[1], 16)]))
    if suffix and token.endswith(suffix) and token != suffix:
        token = token.removesuffix(suffix) + " "
    return Piece(token.replace(space, " ").encode())
