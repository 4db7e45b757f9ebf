"""Time a forward with a capture against one without, side by side; run it, it prints the figures.

A BERT of 12 layers, 768 wide, with random weights; the two take turns, so that what else the
machine does falls on both.
"""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

sys.path.insert(0, str(Path(__file__).parent.parent))

import timm_beside_cpu_torch  # lies one folder up
import torch
import transformers

import attnreport

BARS = {128: 1.15, 512: 1.25}
# Weights of this length are reduced as they come: so many bytes are kept, and so many more needed.
LONG, LONG_BAR, LONG_KEPT, LONG_MEMORY = 2048, 1.6, 250_000_000, 1_000_000_000
UNSELECTED_BAR = 1.05


def ratio(plain: Callable[[], object], other: Callable[[], object], rounds: int) -> float:
    """Return how much longer ``other`` takes than ``plain``: the median over pairs.

    The two of a pair run one after the other, so that a slow minute of the machine is in both.
    """
    plain(), other()
    pairs = [(seconds(plain), seconds(other)) for _ in range(rounds)]
    return statistics.median(after / before for before, after in pairs)


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def peak() -> int:
    """Return how many bytes this process has needed at most until now."""
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size if sys.platform == "darwin" else size * 1024


def compare(  # noqa: PLR0917 - a row of a table
    model: torch.nn.Module,
    implementation: str,
    length: int,
    bar: float,
    rounds: int,
    kept: int | None = None,
) -> bool:
    """Print the figures of one length, and tell whether they keep their bars."""
    ids = torch.randint(0, 1000, (1, length))

    def plain() -> object:
        return model(input_ids=ids)

    def captured() -> object:
        with attnreport.capture(model, max_memory=kept):
            return model(input_ids=ids)

    def unselected() -> object:
        with attnreport.capture(model, layers=[]):
            return model(input_ids=ids)

    # A short forward is over before what else the machine does evens out.
    rounds *= max(512 // length, 1)
    with torch.inference_mode():
        plain()
        before = peak()
        whole = ratio(plain, captured, rounds)
        grown = peak() - before
        none = ratio(plain, unselected, rounds)
    limit = "" if kept is None else f", {kept / 1e9:g} GB kept, in {grown / 1e9:.2f} GB"
    print(
        f"{implementation:6s} {length:5d} tokens: captured{limit} {whole:.3f}× (bar {bar}×), "
        f"nothing selected {none:.3f}× (bar {UNSELECTED_BAR}×)",
        flush=True,
    )
    return whole <= bar and none <= UNSELECTED_BAR and (kept is None or grown <= LONG_MEMORY)


def main() -> int:
    """Print every figure beside its bar; return 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    timm_beside_cpu_torch.install()
    torch.set_num_threads(options.threads)
    within = True
    for implementation in ("sdpa", "eager"):
        model = transformers.BertModel._from_config(
            transformers.BertConfig(max_position_embeddings=LONG),
            attn_implementation=implementation,
        ).eval()
        for length, bar in BARS.items():
            within &= compare(model, implementation, length, bar, options.rounds)
        if implementation == "sdpa":
            rounds = min(5, options.rounds)
            within &= compare(model, implementation, LONG, LONG_BAR, rounds, LONG_KEPT)
    print(f"peak memory of this process: {peak() / 1e9:.2f} GB")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
