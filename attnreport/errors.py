"""The errors attnreport raises on purpose, and the exit code each one means.

::

    AttnreportError                    exit code 3: a bug of ours
    ├── UserError                      exit code 2: something the user can mend
    │   ├── UnknownModel               MODEL names nothing that can be opened
    │   ├── MissingExtra               an optional dependency is not installed
    │   ├── BrokenExtra                an optional dependency is installed and does not load
    │   ├── InvalidInput               INPUT cannot be read, or does not suit the model
    │   ├── InvalidOption              an option's value cannot be used here
    │   ├── InvalidRun                 a Run, or a file that should hold one, breaks the contract
    │   ├── AttentionNotFound          the model ran, and no attention could be read from it
    │   ├── InvalidMeasure             a measure is not known, or cannot be taken of this run
    │   └── OutputError                the output cannot be written where it was asked for
    └── CheckFailed                    exit code 1: a check that was asked for did not hold

Every message is one line and says what was expected, what came instead, where, and what to do.
"""

from __future__ import annotations


class AttnreportError(Exception):
    """Be the root of every error that attnreport raises on purpose."""

    exit_code = 3


class UserError(AttnreportError):
    """Say what the user can mend."""

    exit_code = 2


class UnknownModel(UserError):
    """Say that MODEL names nothing that can be opened."""


class MissingExtra(UserError):
    """Say which optional dependency is missing and the command that installs it."""

    def __init__(self, needed_for: str, extra: str) -> None:
        super().__init__(
            f"{needed_for} needs the extra '{extra}': pip install 'attnreport[{extra}]'"
        )


class BrokenExtra(UserError):
    """Say which optional dependency is installed and does not load, and why."""

    def __init__(self, needed_for: str, package: str, error: BaseException) -> None:
        super().__init__(
            f"{needed_for} needs {package}, which is installed and does not load "
            f"({one_line(error)}): install it anew, together with what it imports; "
            "torch and torchvision must be of one release"
        )


class InvalidInput(UserError):
    """Say why INPUT cannot be read, or does not suit the model."""


class InvalidOption(UserError):
    """Say which option's value cannot be used here, and which could be."""


class InvalidRun(UserError):
    """Say which part of a Run, or of a file that should hold one, breaks the contract."""


class AttentionNotFound(UserError):
    """Say that the model ran and no attention could be read from it."""


class InvalidMeasure(UserError):
    """Say which measure is not known, or why it cannot be taken of this run."""


class OutputError(UserError):
    """Say why the output cannot be written where it was asked for."""


class CheckFailed(AttnreportError):
    """Say which check that was asked for did not hold."""

    exit_code = 1


def one_line(error: BaseException | str, longest: int = 600) -> str:
    """Return an error, or a text, as one line that is safe to print on a terminal.

    A foreign error is named by its class. What a terminal would obey is written as an escape, and
    a message over ``longest`` characters is cut: some print a whole state dict.
    """
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    words = " ".join(text.split()).removesuffix(":")
    printable = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    return printable if len(printable) <= longest else f"{printable[:longest]}…"
