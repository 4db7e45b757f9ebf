r"""Read INPUT: the words themselves, a file, or standard input. Knows nothing of models.

The rules, in order:

1. ``-`` is standard input.
2. ``@NAME`` is the file NAME, which must be there.
3. The name of something that exists is that file: ``notes.txt`` in this folder is read, and the
   page says so. A folder is refused. To attend over a word that happens to be a file's name, send
   it through standard input: ``printf notes.txt | attnreport build MODEL -``.
4. Everything else is the text itself.

A file is UTF-8, with or without a byte order mark; line ends become ``\n``; the one line end that
editors and ``echo`` put last is not part of the text.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import BinaryIO

from attnreport.errors import InvalidInput
from attnreport.sound import sound_words

# Attention grows with the square of the length: a text this long is a mistake, or /dev/zero.
MAX_BYTES = 4 * 2**20


def read_text(given: str) -> tuple[str, tuple[str, ...]]:
    """Return the text that INPUT stands for, and notes on how it was found.

    Raises:
        InvalidInput: it cannot be read, is not UTF-8 text, is empty or too long.
    """
    notes: tuple[str, ...] = ()
    if given == "-":
        if sys.stdin is None:  # a service may start us without one
            raise InvalidInput("INPUT is -, but there is no standard input")
        text, notes = _decode(sys.stdin.buffer, "standard input"), ("INPUT was standard input",)
    elif (path := file_named(given)) is not None:
        text, notes = _read_file(path), (f"INPUT was the file {path.name}",)
    else:
        text = _literal(given)
    if not text.strip():
        raise InvalidInput("INPUT is empty: expected at least one character that is not a space")
    return text, notes


def file_named(given: str) -> Path | None:
    """Return the file that INPUT names, or None where INPUT is the text itself.

    Raises:
        InvalidInput: it names a folder, or ``@`` names no file.
    """
    if not given:  # as a path it would be this folder
        return None
    marked = given.startswith("@") and len(given) > 1
    path = Path(given[1:] if marked else given)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a text too long for a name
        raise InvalidInput(
            f"INPUT {given} is a folder, expected a text or a file; to use the word itself, "
            "send it through standard input with -"
        )
    if os.path.exists(path):  # noqa: PTH110 - as above
        return path
    if marked:
        raise InvalidInput(
            f"INPUT {given}: no file {path}; a text that starts with @ goes through "
            "standard input with -"
        )
    return None


def _read_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return _decode(file, str(path))
    except OSError as error:
        raise InvalidInput(f"INPUT {path} cannot be read: {error.strerror}") from error


def _decode(file: BinaryIO, name: str) -> str:
    content = file.read(MAX_BYTES + 1)
    if sound := sound_words(content[:12]):
        raise InvalidInput(f"INPUT {name} is {sound}; expected text")
    if len(content) > MAX_BYTES:
        raise InvalidInput(f"INPUT {name} is over {MAX_BYTES} bytes, too long to attend over")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"INPUT {name} is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}"
        ) from error
    if "\0" in text:
        raise InvalidInput(f"INPUT {name} holds zero bytes: it is a binary file, expected text")
    return text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n")


def _literal(given: str) -> str:
    """Return the words as given; a shell passes bytes that are not UTF-8 on as surrogates."""
    try:
        given.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"INPUT is not UTF-8 text: character {error.start} cannot be read"
        ) from error
    return given
