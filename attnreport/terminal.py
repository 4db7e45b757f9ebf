"""How the command line speaks: one line per error, one per file, progress on a terminal.

Knows neither arguments nor models.
"""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from attnreport.errors import AttnreportError, one_line

if TYPE_CHECKING:
    from pathlib import Path

    from attnreport.run import Run

_INTERRUPTED = 130  # 128 + SIGINT, as shells count


def verdict(error: BaseException) -> tuple[int, str]:
    """Return the exit code and the line that an error deserves."""
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return _INTERRUPTED, "stopped by Ctrl-C; nothing was written"
    if isinstance(error, click.UsageError):
        where = error.ctx.command_path if error.ctx is not None else "attnreport"
        return 2, f"{error.format_message()} See '{where} --help'."
    if isinstance(error, MemoryError):
        return 2, "not enough memory; give a shorter input or a smaller model"
    if isinstance(error, AttnreportError) and error.exit_code != AttnreportError.exit_code:
        return error.exit_code, str(error)
    return 3, (
        f"internal error, {one_line(error)}; this is a bug of attnreport: run the same command "
        "with --debug and report what it prints"
    )


@contextmanager
def quiet(*, debug: bool) -> Iterator[None]:
    """Keep the warnings, log lines and progress bars of the libraries off the terminal.

    What of them a reader must know, the sources put into the report as notes.
    """
    if debug:
        yield
        return
    # Read when transformers and torch are imported, which is yet to come.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class Steps:
    """Say on a terminal what is being done, how far it is, and for how long."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None)

    def __call__(self, words: str) -> None:
        """Begin something that takes nobody knows how long."""
        # A model's name may hold brackets, which rich would read as its markup.
        self._bar.update(self._task, description=escape(one_line(words)), total=None)

    def tell(self, words: str, done: int, total: int) -> None:
        """Say how much of something is done; its words, the first time, as a line that stays."""
        if not done:
            click.echo(words, err=True)
        description = escape(one_line(words))
        self._bar.update(self._task, description=description, completed=done, total=total)


@contextmanager
def progress() -> Iterator[Steps]:
    """Show what is being done, where stderr is a terminal; yield its setter."""
    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
    )
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        yield Steps(bar)


def summary(run: Run) -> str:
    """Return how much attention a run holds, e.g. ``6 attentions × 12 heads, none missed``."""
    heads = [attention.heads for attention in run.attentions]
    attentions = f"{len(heads)} attention" + "s" * (len(heads) != 1)
    each = f" × {heads[0]} heads" if len(set(heads)) == 1 else f", {sum(heads)} heads"
    missed = f"{len(run.missed)} missed" if run.missed else "none missed"
    return f"{attentions}{each}, {missed}"


def json_summary(run: Run, path: Path, size: int, reductions: tuple[str, ...]) -> str:
    """Return what was written as one line of JSON, for programs."""
    return json.dumps(
        {
            "path": str(path),
            "bytes": size,
            "attentions": len(run.attentions),
            "heads": sum(attention.heads for attention in run.attentions),
            "missed": len(run.missed),
            "reductions": list(reductions),
        }
    )


def size_of(text: str) -> int:
    """Return the bytes that people mean by e.g. ``16MB``, ``500 kB`` or ``1000000``.

    Raises:
        ValueError: it is no size.
    """
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,3})?) ?([kMG]?)B?", text.strip(), re.IGNORECASE)
    if not found:
        raise ValueError(f"expected a size such as 16MB, 500kB or 1000000, got {text!r}")
    return int(float(found[1]) * {"": 1, "k": 1000, "m": 10**6, "g": 10**9}[found[2].lower()])


def human(size: int) -> str:
    """Return a size in bytes as people read it, e.g. ``1.3 MB``."""
    if size < 1000:
        return f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1000:.0f} kB"
    return f"{size / 1_000_000:.1f} MB"
