"""The options that commands share: how a model is opened and called, where the output goes.

Knows what each option says on the command line, and nothing of what is done with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from attnreport.terminal import size_of

_Command = TypeVar("_Command", bound=Callable[..., Any])


def size(context: click.Context, parameter: click.Parameter, text: str) -> int:
    """Return the bytes that a size such as ``16MB`` means."""
    try:
        return size_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


_MODEL = (
    click.option(
        "--target",
        metavar="TEXT",
        help="Text that an encoder–decoder is made to write."
        " Without it the model generates, greedily.",
    ),
    click.option("--pair", metavar="TEXT", help="Second segment, for two-segment encoders."),
    click.option(
        "--text",
        "prompt",
        metavar="TEXT",
        help="Text beside the picture or the sound, for models that take both; INPUT is then that.",
    ),
    click.option(
        "--truncate",
        is_flag=True,
        help="Cut an input that is longer than the model takes, and say so in the report.",
    ),
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="NAME",
        help="Where to run: cpu, cuda, cuda:1, mps.",
    ),
    click.option(
        "--dtype",
        type=click.Choice(["float32", "float16", "bfloat16"]),
        help="Precision to run in. By default float32 for a checkpoint, whatever it was"
        " saved in, so that the weights can be checked closely; a model from Python"
        " stays as it was built.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0, 2**32 - 1),
        default=0,
        show_default=True,
        help="Random seed, set before opening and before the run.",
    ),
    click.option("--weights", metavar="FILE", help="Weights of a timm:NAME, a .safetensors file."),
    click.option("--revision", metavar="NAME", help="Branch, tag or commit of a model on the hub."),
    click.option(
        "--trust-remote-code", is_flag=True, help="Run Python files that come with the checkpoint."
    ),
    click.option(
        "--allow-pickle", is_flag=True, help="Open weights that are pickled, not only safetensors."
    ),
    click.option(
        "--max-memory",
        default="2GB",
        show_default=True,
        metavar="SIZE",
        callback=size,
        help="How much memory the attention weights may take. Over it neighbouring positions are"
        " joined as they are captured; the report says so.",
    ),
    click.option(
        "--target-class",
        metavar="CLASS",
        help="Differentiate the logit of this class (a name, a number, or 'predicted'), and show"
        " relevance and gradient × attention. Keeps all weights, whatever --max-memory says.",
    ),
    click.option(
        "--target-token",
        metavar="TOKEN",
        help="The same for the logit of a token: its text, id:NUMBER, or 'predicted'.",
    ),
    click.option(
        "--target-position",
        type=click.IntRange(min=0),
        metavar="N",
        help="Where --target-token is read, counted from 0. By default where the"
        " target has that token, else at the last mask, else at the last position.",
    ),
    click.option(
        "--ablate",
        type=click.Choice(["zero", "mean"]),
        help="Run once more without each head, its output replaced by zero or by its mean over the"
        " queries, and score the heads by how much worse the loss, or the target's logit, gets.",
    ),
    click.option(
        "--values",
        is_flag=True,
        help="Weigh the vectors that heads add up too, and show value-weighted attention.",
    ),
    click.option(
        "--probe",
        type=click.Choice(["induction"]),
        help="Run once more on a random sequence that is repeated, and score the heads by it.",
    ),
)


def model_options(command: _Command) -> _Command:
    """Give a command every option that says how MODEL is opened and run on INPUT."""
    for option in reversed(_MODEL):
        command = option(command)
    return command


def output_options(default: str) -> Callable[[_Command], _Command]:
    """Give a command ``--output``, by default the file ``default``, and ``--force``."""

    def decorate(command: _Command) -> _Command:
        command = click.option("--force", is_flag=True, help="Replace the file if it exists.")(
            command
        )
        return click.option(
            "-o",
            "--output",
            default=default,
            show_default=True,
            metavar="FILE",
            type=click.Path(path_type=Path),
            help="File to write.",
        )(command)

    return decorate
