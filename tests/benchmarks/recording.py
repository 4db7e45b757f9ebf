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

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers

import attnreport

BARS = {128: 1.15, 512: 1.25}
UNSELECTED_BAR = 1.05


def ratio(plain: Callable[[], object], other: Callable[[], object], rounds: int) -> float:
    """Return how much longer ``other`` takes than ``plain``: the ratio of the medians."""
    times: tuple[list[float], list[float]] = ([], [])
    plain(), other()
    for _ in range(rounds):
        for function, taken in zip((plain, other), times, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return statistics.median(times[1]) / statistics.median(times[0])


def main() -> int:
    """Print every figure beside its bar; return 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    within = True
    for implementation in ("sdpa", "eager"):
        model = transformers.BertModel._from_config(
            transformers.BertConfig(), attn_implementation=implementation
        ).eval()
        for length, bar in BARS.items():
            ids = torch.randint(0, 1000, (1, length))

            def plain(ids: torch.Tensor = ids, model: torch.nn.Module = model) -> object:
                return model(input_ids=ids)

            def captured(ids: torch.Tensor = ids, model: torch.nn.Module = model) -> object:
                with attnreport.capture(model):
                    return model(input_ids=ids)

            def unselected(ids: torch.Tensor = ids, model: torch.nn.Module = model) -> object:
                with attnreport.capture(model, layers=[]):
                    return model(input_ids=ids)

            with torch.inference_mode():
                whole = ratio(plain, captured, options.rounds)
                none = ratio(plain, unselected, options.rounds)
            within &= whole <= bar and none <= UNSELECTED_BAR
            print(
                f"{implementation:6s} {length:5d} tokens: captured {whole:.3f}× (bar {bar}×), ",
                end="",
            )
            print(f"nothing selected {none:.3f}× (bar {UNSELECTED_BAR}×)", flush=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"peak memory of this process: {peak:.2f} GiB")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
