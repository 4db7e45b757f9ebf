"""Count what a capture finds in every architecture of the installed transformers and timm.

    python tests/census/census.py [NAME ...] [--output table.tsv]

Each architecture of transformers that can be built offline with tiny sizes runs three times: plain,
captured, and with eager ``output_attentions``; one model of each family of timm (``timm:NAME``) and
torch's own modules (``torch:NAME``) run plain and captured. The table says whether the output
stayed bit-identical, how many attentions were found, and of each tensor that eager returns whether
it is among them, is another number, is named in the ledger, or was missed in silence.
"""

from __future__ import annotations

import argparse
import collections
import copy
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parent))

sys.path.insert(0, str(Path(__file__).parent.parent))

import contextlib

import beside
import calls
import timm_beside_cpu_torch
import tiny
from against_eager import TOLERANCE, Verdict, explained, judge, returned_by_eager

import attnreport
from attnreport.attention import Attention
from attnreport.run import LedgerEntry

SECONDS = 90
# So long a size and a call that suit are looked for.
LOOKING = 30


class TooLong(BaseException):
    """Say that an architecture took longer than it may; no code under test catches it."""


@dataclass
class Row:
    """Hold what was found in one architecture.

    Attributes:
        name: model type of transformers, ``timm:NAME`` or ``torch:NAME``.
        status: "ok", or why it could not be built or run.
        identical: whether the captured output is bit-identical to the plain one.
        found: attentions in the run.
        eager: attention tensors that eager returns.
        held: how many of those the run holds within the tolerance.
        differs: how many it has from the same module, with other numbers.
        named: how many it does not have, and the ledger says why.
        silent: how many it neither has nor names.
        unchecked: attentions whose residual is above the tolerance or missing.
        missed: what the ledger says was not captured.
        details: where eager and the run are not the same, by module.
    """

    name: str
    status: str = "ok"
    identical: bool = False
    found: int = 0
    eager: int = 0
    held: int = 0
    differs: int = 0
    named: int = 0
    silent: int = 0
    unchecked: int = 0
    missed: str = ""
    details: str = ""


def examine(name: str) -> Row:
    """Return the row of one architecture; whatever goes wrong is in its status."""
    row = Row(name)
    signal.signal(signal.SIGPROF, _too_long)
    # Seconds of the processor: on a machine that does much else the table says the same. Once more
    # each second after, since the first may fall into code that catches whatever it meets.
    signal.setitimer(signal.ITIMER_PROF, SECONDS, 1)
    try:
        _fill(row)
    except (Exception, TooLong) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        row.status = words[:160]
        if os.environ.get("CENSUS_DEBUG"):
            traceback.print_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return row


def _too_long(*_: Any) -> None:
    raise TooLong(f"took more than {SECONDS} s")


def _fill(row: Row) -> None:
    find = _working_beside if ":" in row.name else _working
    config, model, call, plain = find(row.name)
    with torch.no_grad(), attnreport.capture(model) as recording:
        output = list(tensors(_run(model, call)))
    row.identical = len(plain) == len(output) and all(map(same, plain, output))
    run = None
    with contextlib.suppress(attnreport.AttentionNotFound):
        run = recording.run()
    held = run.attentions if run else ()
    row.found = len(held)
    row.unchecked = sum(not attention.checked for attention in held)
    row.missed = _counted(
        f"{entry.call}: {entry.reason}" for entry in recording.ledger if not entry.captured
    )
    verdicts = [] if config is None else _verdicts(config, call, held, recording.ledger)
    row.eager = len(verdicts)
    kinds = collections.Counter(verdict.kind for verdict in verdicts)
    row.held, row.differs = kinds["held"], kinds["differs"]
    row.named, row.silent = kinds["named"], kinds["silent"]
    row.details = _counted(f"{x.kind}: {x.words}" for x in verdicts if x.kind != "held")


def _counted(words: Iterator[str]) -> str:
    return "; ".join(f"{count}× {each}" for each, count in collections.Counter(words).items())


def _working(name: str) -> tuple[Any, Any, dict[str, Any], list[torch.Tensor]]:
    """Return the first variant that runs plain: its config, model, call and output."""
    first: Exception | None = None
    begun = time.process_time()
    for sizes in tiny.VARIANTS:
        if time.process_time() - begun > LOOKING:
            break
        try:
            config = tiny.config_of(name, sizes)
            model = tiny.build(copy.deepcopy(config), None)
            for call in calls.calls_of(model):
                try:
                    with torch.no_grad():
                        return config, model, call, list(tensors(_run(model, call)))
                except Exception as error:
                    first = first or error
        except Exception as error:
            first = first or error
    assert first is not None
    raise first


def _working_beside(name: str) -> tuple[None, Any, dict[str, Any], list[torch.Tensor]]:
    """Return the same of what is no architecture of transformers and has no config."""
    model, call = beside.working(name)
    with torch.no_grad():
        return None, model, call, list(tensors(_run(model, call)))


def _verdicts(
    config: Any,
    call: dict[str, Any],
    held: Sequence[Attention],
    ledger: Sequence[LedgerEntry],
) -> list[Verdict]:
    """Judge each tensor that eager returns; if it is another number, whether it is so in eager."""
    try:
        model = tiny.build(copy.deepcopy(config), "eager")
        with torch.no_grad(), attnreport.capture(model) as recording:
            returned = returned_by_eager(model, lambda: _run(model, call, more=True), tensors)
    except Exception:
        # A model without eager attention has nothing to hold against.
        return []
    verdicts = [judge(each, held, ledger) for each in returned]
    if all(verdict.kind != "differs" for verdict in verdicts):
        return verdicts
    with contextlib.suppress(attnreport.AttentionNotFound):
        held = recording.run().attentions
    return [
        explained(verdict, judge(each, held, recording.ledger), config.model_type)
        for verdict, each in zip(verdicts, returned, strict=True)
    ]


def _run(model: Any, call: dict[str, Any], *, more: bool = False) -> Any:
    torch.manual_seed(2)
    return model(**copy.deepcopy(call), **({"output_attentions": True} if more else {}))


def same(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Tell whether two tensors are equal in every bit that means something."""
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if before.is_floating_point():
        before, after = before.nan_to_num(7.5), after.nan_to_num(7.5)
    return torch.equal(before, after)


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield every tensor in a nest of outputs."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors(item)


def summary(rows: list[Row]) -> str:
    """Return the figures of a whole census in a few lines."""
    ran = [row for row in rows if row.status == "ok"]
    return "\n".join(
        (
            f"architectures: {len(rows)}, ran here: {len(ran)}",
            f"bit-identical: {sum(row.identical for row in ran)} of {len(ran)}",
            f"attentions found: {sum(row.found for row in ran)}",
            f"with a residual above its tolerance or none: {sum(row.unchecked for row in ran)}",
            f"returned by eager: {sum(row.eager for row in ran)}, "
            f"of these held within {TOLERANCE:g}: {sum(row.held for row in ran)}, "
            f"other numbers: {sum(row.differs for row in ran)}, "
            f"named: {sum(row.named for row in ran)}, "
            f"missed in silence: {sum(row.silent for row in ran)}",
            f"architectures with a line in the ledger of something not captured: "
            f"{sum(bool(row.missed) for row in ran)}",
            f"architectures with nothing found and nothing said: "
            f"{sum(not row.found and not row.missed for row in ran)}",
        )
    )


def main() -> None:
    """Run the census from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="model types; all without any")
    parser.add_argument("--output", type=Path, help="write the table here, tab separated")
    options = parser.parse_args()
    timm_beside_cpu_torch.install()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    rows = []
    for name in options.names or [*tiny.names(), *beside.names()]:
        rows.append(examine(name))
        _say("\t".join(map(str, astuple(rows[-1]))))
    if options.output:
        lines = [tuple(field.name for field in fields(Row)), *(astuple(row) for row in rows)]
        options.output.write_text("\n".join("\t".join(map(str, line)) for line in lines) + "\n")
    for source in ("", "timm:", "torch:"):
        own = [row for row in rows if row.name.rpartition(":")[0] == source.rstrip(":")]
        if own:
            _say(f"{source.rstrip(':') or 'transformers'}\n{summary(own)}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
