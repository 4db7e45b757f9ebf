"""The command line: arguments, progress, exit codes, and the only printing there is.

Exit codes: 0 done, 1 a check that was asked for did not hold, 2 something the user can mend, 3 a
bug of ours, 130 stopped by Ctrl-C. An error is one line on stderr; ``--debug`` adds the traceback.
Knows neither models nor pages, and imports torch only once a command needs it.
"""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from attnreport import __version__
from attnreport.errors import OutputError, one_line
from attnreport.files import check_writable
from attnreport.options import model_options, output_options, size
from attnreport.terminal import Steps, human, json_summary, progress, quiet, summary, verdict

if TYPE_CHECKING:
    from attnreport.run import Run

_Command = TypeVar("_Command", bound=Callable[..., Any])

_LONGEST_LINE = 4000
_NOT_IN_COMMAND = {"output", "force", "as_json"}


@dataclass
class _State:
    """What the whole command line shares."""

    debug: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        arguments: the words after ``attnreport``; by default those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="replace")  # an ASCII terminal shows ? for ×, and goes on
    state = _State()
    try:
        with cli.make_context("attnreport", words or ["--help"], obj=state) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except BrokenPipeError:  # `attnreport … | head -0`: the reader went away, the file is written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (Exception, KeyboardInterrupt) as error:
        code, message = verdict(error)
        if state.debug:
            traceback.print_exc()
        click.echo(f"attnreport: {one_line(message, _LONGEST_LINE)}", err=True)
        return code
    return 0


def _debug_option(command: _Command) -> _Command:
    def remember(context: click.Context, _: click.Parameter, chosen: bool) -> None:
        if chosen:
            context.ensure_object(_State).debug = True

    return click.option(
        "--debug",
        is_flag=True,
        expose_value=False,
        is_eager=True,  # before another option can fail
        callback=remember,
        help="Show tracebacks, warnings and log lines.",
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message="attnreport %(version)s")
@_debug_option
def cli() -> None:
    """See the attention of any PyTorch model in one self-contained HTML file.

    \b
    Examples:
      attnreport build demo:translate "Thursday, 5 March 2021"
      attnreport build path/to/checkpoint "The cat sat on the mat." -o cat.html
      attnreport build owner/name @article.txt --truncate
      attnreport build my_model.py:make_model "some input"
      attnreport capture owner/name "A long job" -o run.safetensors
      attnreport build run.safetensors

    'attnreport build --help' says how MODEL and INPUT are read.
    """  # noqa: D301 - click looks for the backspace itself


@cli.command()
@click.argument("model")
@click.argument("text", metavar="[INPUT]", required=False)
@output_options("report.html")
@click.option("--layer", type=click.IntRange(min=0), help="Attention shown first, counted from 0.")
@click.option("--head", type=click.IntRange(min=0), help="Head shown first, counted from 0.")
@click.option(
    "--max-size",
    default="16MB",
    show_default=True,
    metavar="SIZE",
    callback=size,
    help="Largest file to write, e.g. 5MB. Over it weights are rounded more, then neighbouring"
    " positions are joined; the report says so.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON object.")
@model_options
@_debug_option
@click.pass_context
def build(
    context: click.Context,
    /,
    output: Path,
    force: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Run MODEL on INPUT once and write its attention as one HTML file.

    \b
    MODEL is one of
      demo:NAME                one that comes along: demo:text, demo:translate, demo:vision
      FOLDER                   a checkpoint in Hugging Face's format; no network is used
      timm:NAME                a vision model of timm, its weights from --weights FILE
      RUN.safetensors          what 'attnreport capture' saved; INPUT is left out
      PROGRAM.pt2              what torch.export.save wrote, with --allow-pickle
      file.py:factory          a function that returns a torch.nn.Module,
      package.module:factory     with a function 'prepare' beside it that makes the call
      owner/name               a model on the Hugging Face hub

    \b
    INPUT is one of
      -                        standard input
      @FILE                    a text file; for models that look a picture (PNG, JPEG, WebP), for
                               those of videos an animated one (GIF too), for models that listen
                               a sound (WAV, FLAC, Ogg, MP3, AIFF)
      FILE                     the same, where a file of that name exists
      FILE.npz or .safetensors arrays by the names of a PROGRAM's arguments; left out, its examples
      anything else            the text itself

    \b
    Examples:
      attnreport build demo:translate "5 March 2021" --target 2021-03-05
      attnreport build bert-base-uncased "Who wrote it?" --pair "Ada did." --layer 3 --head 5
      echo "some text" | attnreport build demo:text - -o text.html --force
    """  # noqa: D301 - click looks for the backspace itself
    with _work(context, output, force=force) as step:
        from attnreport.build import build_run  # noqa: PLC0415 - see the module's docstring
        from attnreport.report import Report  # noqa: PLC0415
        from attnreport.sources import Request  # noqa: PLC0415

        step(f"Running {options['model']}")
        drawn = {name: options.pop(name) for name in ("layer", "head", "max_size")}
        run = _with_command(build_run(Request(**options), tell=step.tell), context)
        step("Drawing the report")
        report = Report(run, **drawn)
        size = report.save(output, force=force)
    if as_json:
        click.echo(json_summary(run, output, size, report.reductions))
        return
    click.echo(f"{one_line(str(output))}: {human(size)}, {summary(run)}")
    for reduction in report.reductions:
        click.echo(f"  {reduction}")


@cli.command()
@click.argument("model")
@click.argument("text", metavar="INPUT")
@output_options("run.safetensors")
@model_options
@_debug_option
@click.pass_context
def capture(context: click.Context, /, output: Path, force: bool, **options: Any) -> None:
    """Run MODEL on INPUT once and save what was captured, to be drawn elsewhere.

    MODEL and INPUT are read as by 'attnreport build'.

    \b
    Example:
      attnreport capture owner/name @article.txt --device cuda -o run.safetensors
      attnreport build run.safetensors -o report.html
    """  # noqa: D301 - click looks for the backspace itself
    with _work(context, output, force=force) as step:
        from attnreport.build import capture_run  # noqa: PLC0415 - see the module's docstring
        from attnreport.sources import Request  # noqa: PLC0415

        step(f"Running {options['model']}")
        run = _with_command(capture_run(Request(**options), tell=step.tell), context)
        step("Writing the run")
        run.save(output)
    click.echo(f"{one_line(str(output))}: {human(output.stat().st_size)}, {summary(run)}")


@cli.command(name="export")
@click.argument("source", metavar="REPORT_OR_RUN", type=click.Path(path_type=Path))
@click.option("--layer", type=click.IntRange(min=0), help="Attention to take, counted from 0.")
@click.option("--head", type=click.IntRange(min=0), help="Head to take, counted from 0.")
@click.option(
    "--view",
    type=click.Choice(["heatmap", "overlay"]),
    default="heatmap",
    show_default=True,
    help="What a figure shows: all weights, or what one query looks at, over the picture.",
)
@click.option(
    "--query",
    type=click.IntRange(min=0),
    help="Query of the overlay, counted from 0. By default that with which a report opens.",
)
@click.option(
    "--part",
    metavar="NAME",
    help="Part of the picture that the overlay shows, where the model saw it in several:"
    " 'frame 3', tiles, 'whole picture', or all.",
)
@output_options("figure.pdf")
@_debug_option
@click.pass_context
def export_head(
    context: click.Context, /, source: Path, output: Path, force: bool, **chosen: Any
) -> None:
    """Take one head out of a report or a saved run, as a figure or as numbers.

    The name of the output says which: .pdf, .svg and .png are figures, .csv and .npz hold the
    weights. Without --layer and --head it is the head that the report opens with.

    \b
    Example:
      attnreport export report.html --layer 3 --head 5 -o figure.pdf
      attnreport export run.safetensors --layer 3 --head 5 -o weights.csv
      attnreport export chart.html --view overlay --layer 3 --head 1 --query 0 -o looks.png
    """  # noqa: D301 - click looks for the backspace itself
    with _work(context, output, force=force) as step:
        from attnreport.export import export  # noqa: PLC0415 - see the module's docstring

        step(f"Reading {source}")
        made = export(source, output, force=force, **chosen)
    head = made.head
    where = f"layer {head.attention.layer}, head {head.head}, {head.precision}"
    click.echo(f"{one_line(str(output))}: {human(output.stat().st_size)}, {where}")
    if made.shown:
        click.echo(f"  {one_line(made.shown)}")


@cli.command()
@click.argument("model")
@click.argument("text", metavar="[INPUT]", required=False)
@click.option(
    "--by", "measure", default="entropy", show_default=True, help="Measure that ranks the heads."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many heads to print.",
)
@click.option(
    "--alignment",
    "gold",
    metavar="FILE",
    type=click.File(encoding="utf-8"),
    help="Gold alignment of source and target, as links 3-4 (source-target) or 3?4 (possible)"
    " between positions counted from 0. Adds the measure alignment_error_rate.",
)
@click.option("--json", "json_wanted", is_flag=True, help="Print all heads and measures as JSON.")
@model_options
@_debug_option
@click.pass_context
def heads(
    context: click.Context,
    /,
    measure: str,
    limit: int,
    gold: IO[str] | None,
    json_wanted: bool,
    **options: Any,
) -> None:
    """Run MODEL on INPUT once and print its heads in order of a measure, largest first.

    MODEL and INPUT are read as by 'attnreport build'.

    \b
    Examples:
      attnreport heads demo:text "Ada met Grace. Then Ada met" --by induction
      attnreport heads run.safetensors --json > heads.json
      attnreport heads demo:translate 5.3.21 --alignment gold.txt --by alignment_error_rate
    """  # noqa: D301 - click looks for the backspace itself
    with quiet(debug=context.ensure_object(_State).debug), progress() as step:
        from attnreport.build import build_run  # noqa: PLC0415 - see the module's docstring
        from attnreport.heads import as_json, ranked, table  # noqa: PLC0415
        from attnreport.measures import read_alignment  # noqa: PLC0415
        from attnreport.sources import Request  # noqa: PLC0415

        step(f"Running {options['model']}")
        run = build_run(Request(**options), tell=step.tell)
        ranking = ranked(run, measure, None if gold is None else read_alignment(gold.read(), run))
    click.echo(as_json(ranking) if json_wanted else table(ranking, limit))


@contextmanager
def _work(context: click.Context, output: Path, *, force: bool) -> Iterator[Steps]:
    """Refuse a bad output before any work, keep foreign chatter away, and show progress."""
    try:
        check_writable(output, force=force)
    except OSError as error:  # a name that no file can have
        raise OutputError(f"cannot write {output}: {error.strerror}") from error
    with quiet(debug=context.ensure_object(_State).debug), progress() as step:
        yield step


def _with_command(run: Run, context: click.Context) -> Run:
    """Return the run with the command line that makes this output again."""
    command, before = _command_line(context), run.provenance
    if before.command:  # a saved run: what made it comes first
        saved = shlex.quote(context.params["model"])
        command = f"{before.command} -o {saved} && {command}"
    return run.with_provenance(replace(before, command=command))


def _command_line(context: click.Context) -> str:
    """Return the command as one would type it, without what only says where the output goes."""
    options: list[str] = []
    values: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        chosen = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if not chosen or not parameter.expose_value or name in _NOT_IN_COMMAND:
            continue
        value = context.params[name]
        if isinstance(parameter, click.Argument):
            values.append(str(value))
        elif value is True:
            options.append(parameter.opts[0])
        else:
            options += [parameter.opts[0], str(value)]
    if any(len(value) > 1 and value.startswith("-") for value in values):
        values.insert(0, "--")
    name = context.info_name or ""
    tail = [*options, *values] if "--" in values else [*values, *options]
    return shlex.join(["attnreport", name, *tail])
