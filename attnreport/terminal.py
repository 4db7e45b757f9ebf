"""How the command line speaks: one line per error, one per file, progress on a terminal.

Knows neither arguments nor models.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from attnreport.errors import AttnreportError, one_line

if TYPE_CHECKING:
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


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """Show what is being done and for how long, where stderr is a terminal; yield its setter."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        task = bar.add_task("", total=None)
        # A model's name may hold brackets, which rich would read as its markup.
        yield lambda words: bar.update(task, description=escape(one_line(words)))


def summary(run: Run) -> str:
    """Return how much attention a run holds, e.g. ``6 attentions × 12 heads, none missed``."""
    heads = [attention.heads for attention in run.attentions]
    attentions = f"{len(heads)} attention" + "s" * (len(heads) != 1)
    each = f" × {heads[0]} heads" if len(set(heads)) == 1 else f", {sum(heads)} heads"
    missed = f"{len(run.missed)} missed" if run.missed else "none missed"
    return f"{attentions}{each}, {missed}"


def human(size: int) -> str:
    """Return a size in bytes as people read it, e.g. ``1.3 MB``."""
    if size < 1000:
        return f"{size} bytes"
    if size < 1_000_000:
        return f"{size / 1000:.0f} kB"
    return f"{size / 1_000_000:.1f} MB"
