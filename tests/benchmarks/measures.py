"""Time the measures on 12 layers of 12 heads over 512 tokens; run it, it prints the figures."""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import numpy as np

from attnreport import Attention, Axis, Run
from attnreport.measures import (
    all_head_scores,
    flow,
    head_scores,
    known_measures,
    notable_heads,
    rollout,
)

LAYERS, HEADS, TOKENS, DISTINCT = 12, 12, 512, 300
ALL_BAR, ROLLOUT_BAR = 1.5, 0.5


def make_run(layers: int, heads: int, tokens: int, *, causal: bool) -> Run:
    """Return a run of random softmax weights over tokens of which some repeat."""
    generator = np.random.default_rng(0)
    axis = Axis.of_labels("text", map(str, generator.integers(0, DISTINCT, tokens)))
    attentions = []
    for layer in range(layers):
        scores = generator.normal(0, 3, (heads, tokens, tokens)).astype(np.float32)
        if causal:
            scores[:, np.triu(np.ones((tokens, tokens), dtype=bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(axis=2, keepdims=True))
        weights /= weights.sum(axis=2, keepdims=True)
        attentions.append(Attention(weights, f"layer.{layer}", layer, "self", axis, axis))
    return Run(tuple(attentions))


def seconds(work: Callable[[Run], object], *, causal: bool, fresh: Run | None = None) -> float:
    """Return the best of three, each on a run nobody has looked at before."""
    best = float("inf")
    for _ in range(3):
        run = fresh or make_run(LAYERS, HEADS, TOKENS, causal=causal)
        start = time.perf_counter()
        work(run)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> int:
    """Print every figure; return 1 if one of the two bars does not hold."""
    within = True
    for causal in (True, False):
        kind = "causal" if causal else "bidirectional"
        every = seconds(all_head_scores, causal=causal)
        joined = seconds(rollout, causal=causal)
        discarding = seconds(lambda run: rollout(run, discard=0.9), causal=causal)
        within = within and every < ALL_BAR and joined < ROLLOUT_BAR
        print(f"{kind}, {LAYERS * HEADS} heads, {TOKENS} tokens")
        print(f"  all measures      {every:6.3f} s (bar {ALL_BAR} s)")
        print(f"  rollout           {joined:6.3f} s (bar {ROLLOUT_BAR} s)")
        print(f"  rollout, discard  {discarding:6.3f} s")
        print(f"  worth a look      {seconds(notable_heads, causal=causal):6.3f} s")
    run = make_run(LAYERS, HEADS, TOKENS, causal=False)
    for name, found in known_measures().items():
        if not found.needs and found.suits(run):
            took = seconds(lambda run, name=name: head_scores(run, name), causal=False, fresh=run)
            print(f"  {name:17s} {took:6.3f} s")
    small = make_run(4, 4, 14, causal=False)
    print(f"flow, 4 layers, 14 tokens: {seconds(flow, causal=False, fresh=small):.2f} s")
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
