"""Train ``demo:text`` and print what it predicts and which kinds of heads it has grown.

::

    python examples/train_text.py

Minutes on one core. With ``--steps 0`` it measures the weights that are there. The same seed on
the same machine prints the same figures.
"""

from __future__ import annotations

import argparse
import math
import random
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fitting import fit, parameters, seeded
from numpy.typing import NDArray
from sentences import sequence, text
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by
from watching import Watch

import attnreport
from attnreport.demos import text as demo
from attnreport.demos.text import BOS, ByteModel
from attnreport.demos.transformer import load_weights, save_weights
from attnreport.recording import Trial, ablate

LENGTH = 511  # with BOS in front, all that the model takes
SHORT, SHARE_OF_SHORT = 128, 0.8
PERIOD = 128  # of the random bytes that heads are measured on
ABLATED = 20  # sequences of them that run once more without each head


def main() -> None:
    """Train, write the weights, and measure what was written."""
    options = _options()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    model = ByteModel()
    print(f"parameters: {parameters(model):,}")
    if options.steps:
        train(model, seeded(options.seed), options.steps, options.batch)
        print(f"weights: {save_weights(model, options.output):,} bytes in {options.output.name}")
    load_weights(model, options.output)
    report(model, seeded(options.seed + 1), options.held_out)


def train(model: ByteModel, rng: random.Random, steps: int, batch: int) -> None:
    """Fit the model to fresh random sequences, ``batch`` bytes of them at each step.

    Short ones most of the time: heads form on them as well, in half the time. Long ones at the
    end, so that every distance that the model will meet was trained.
    """

    def next_loss(over: float) -> Tensor:
        length = SHORT if over < SHARE_OF_SHORT else LENGTH
        sequences = [sequence(rng, length, test=False) for _ in range(max(batch // length, 1))]
        return losses(model, tensor(sequences)).mean()

    fit(model, steps, next_loss)


def report(model: ByteModel, rng: random.Random, count: int) -> None:
    """Print bits per byte on held-out text, and the scores of every head."""
    print(f"held-out text: {bits_per_byte(model, rng, count):.3f} bits per byte")
    repeated = repeated_noise(rng, count)
    first, second = repetition_losses(model, repeated)
    print(f"random bytes, bits per byte: {first:.3f} the first time, {second:.3f} the second")
    rises = ablated(model, repeated[:ABLATED])
    for layer, scores in enumerate(head_scores(model, repeated)):
        for head, (previous, induction) in enumerate(scores):
            shown = f"previous-token {previous:.3f}  induction {induction:.3f}"
            worse = f"without it the second time costs {rises[layer, head]:+.3f} bits per byte"
            print(f"layer {layer} head {head}: {shown}; {worse}")


@torch.no_grad()
def bits_per_byte(model: ByteModel, rng: random.Random, count: int) -> float:
    """Return the mean loss in bits on sentences about what training never named."""
    ids = tensor([text(rng, LENGTH, test=True) for _ in range(count)])
    return losses(model, ids).mean().item() / math.log(2)


@torch.no_grad()
def repetition_losses(model: ByteModel, repeated: Tensor) -> tuple[float, float]:
    """Return the loss in bits on the first and on the second occurrence of the random bytes."""
    first, second = losses(model, repeated).chunk(2, dim=1)
    return first.mean().item() / math.log(2), second.mean().item() / math.log(2)


@torch.no_grad()
def head_scores(model: ByteModel, repeated: Tensor) -> list[list[tuple[float, float]]]:
    """Return the previous-token and the induction score of each head of each layer, in [0, 1].

    Both are mean weights on repeated random bytes (Olsson et al. 2022, "prefix matching" and
    "previous token attention"): of the previous position, over all queries but the first two; and
    of the position after the earlier occurrence of the query's byte, over the second occurrence.
    """
    with Watch() as watch:
        model(repeated)
    return [
        [_scores(weights[:, head]) for head in range(weights.shape[1])] for weights in watch.weights
    ]


def ablated(model: ByteModel, repeated: Tensor) -> NDArray[np.float64]:
    """Return ``(layer, head)``: how many bits more the second occurrence costs without a head."""
    rises = []
    for ids in repeated.split(1):
        with torch.no_grad(), attnreport.capture(model) as recording:
            model(ids[:, :-1])
        trial = Trial(
            model,
            axes=(),
            call=partial(model, ids[:, :-1]),
            number=partial(_second_loss, ids=ids),
            how="zero",
        )
        found = ablate(recording.run(), trial)
        rises.append(np.stack(found.after) - found.before)
    return np.asarray(np.mean(rises, axis=0))


def _second_loss(logits: Tensor, ids: Tensor) -> float:
    """Return the mean loss in bits over the second occurrence, from ``(1, position, byte)``."""
    each = F.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return each.chunk(2, dim=1)[1].mean().item() / math.log(2)


def _scores(weights: Tensor) -> tuple[float, float]:
    """Score one head, ``(batch, query, key)``; query and key 0 are ``BOS``."""
    previous = weights.diagonal(-1, dim1=1, dim2=2)[:, 1:]
    # The query at PERIOD + i has read a byte for the second time. The first time was at i, so what
    # followed it stands at i + 1.
    induction = weights.diagonal(1 - PERIOD, dim1=1, dim2=2)[:, 2:]
    return previous.mean().item(), induction.mean().item()


def repeated_noise(rng: random.Random, count: int) -> Tensor:
    """Return ids ``(count, 1 + 2 · PERIOD)``: ``BOS``, random bytes, and the same bytes again.

    No byte occurs twice within a period, so that there is one earlier occurrence to find.
    """
    return tensor([bytes(rng.sample(range(256), PERIOD)) * 2 for _ in range(count)])


def losses(model: ByteModel, ids: Tensor) -> Tensor:
    """Return the loss ``(batch, position)`` in nats for each byte after ``BOS``."""
    return F.cross_entropy(model(ids[:, :-1]).transpose(1, 2), ids[:, 1:], reduction="none")


def tensor(sequences: list[bytes]) -> Tensor:
    """Return ids ``(batch, 1 + byte)``, ``BOS`` first."""
    return torch.tensor([[BOS, *content] for content in sequences])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=demo.WEIGHTS)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=4096, help="bytes in a step")
    parser.add_argument("--held-out", type=int, default=100, help="sequences to measure on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
