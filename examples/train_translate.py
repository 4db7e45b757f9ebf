"""Train ``demo:translate`` and print how well it reads dates and how well its heads align.

::

    python examples/train_translate.py

Minutes on one core. The same seed on the same machine prints the same figures.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch
from dates import Example, draw
from fitting import fit, parameters, seeded
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by
from watching import Watch

from attnreport.demos import translate
from attnreport.demos.transformer import load_weights, save_weights
from attnreport.demos.translate import DateTranslator


def main() -> None:
    """Train, write the weights, and measure what was written."""
    options = _options()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    model = DateTranslator()
    print(f"parameters: {parameters(model):,}")
    train(model, seeded(options.seed), options.steps, options.batch)
    print(f"weights: {save_weights(model, options.output):,} bytes in {options.output.name}")
    load_weights(model, options.output)
    rng = seeded(options.seed + 1)
    report(model, [draw(rng, test=True) for _ in range(options.held_out)])


def train(model: DateTranslator, rng: random.Random, steps: int, batch: int) -> None:
    """Fit the model to fresh random examples."""

    def next_loss(over: float) -> Tensor:
        del over
        source, target, wanted = tensors([draw(rng, test=False) for _ in range(batch)])
        return F.cross_entropy(model(source, target).flatten(0, 1), wanted.flatten())

    fit(model, steps, next_loss)


def report(model: DateTranslator, examples: list[Example]) -> None:
    """Print accuracy and alignment error rates on examples."""
    print(f"held-out exact match: {accuracy(model, examples):.2%} of {len(examples)}")
    for layer, rates in enumerate(alignment_error_rates(model, examples)):
        shown = "  ".join(f"head {head} {rate:.3f}" for head, rate in enumerate(rates))
        print(f"alignment error rate, decoder layer {layer}: {shown}")


def accuracy(model: DateTranslator, examples: list[Example]) -> float:
    """Return the share of examples whose generated target is right in every character."""
    source, _, _ = tensors(examples)
    generated = model.generate(source).tolist()
    right = [
        translate.decode(ids) == example.target
        for ids, example in zip(generated, examples, strict=True)
    ]
    return sum(right) / len(right)


@torch.no_grad()
def alignment_error_rates(model: DateTranslator, examples: list[Example]) -> list[list[float]]:
    """Return the alignment error rate of each head of each decoder layer's cross-attention.

    The link of an output digit is the source position with the largest weight in the row from
    which the digit was written. AER = 1 - (|A∩S| + |A∩P|) / (|A| + |S|) (Och & Ney 2003, §2.2):
    0 is best. Hyphens and ``<eos>`` have no gold alignment and are not counted.
    """
    source, target, _ = tensors(examples)
    with Watch() as watch:
        model(source, target)
    # Two for the encoder's layers, then self- and cross-attention of each decoder layer in turn.
    cross = watch.weights[len(model.encoder.layers) :][1::2]
    return [
        [_error_rate(examples, links[:, head]) for head in range(links.shape[1])]
        for links in (weights.argmax(dim=-1) for weights in cross)
    ]


def _error_rate(examples: list[Example], links: Tensor) -> float:
    sure = possible = asked = gold = 0
    for example, row in zip(examples, links.tolist(), strict=True):
        found = {
            (at, row[at]) for at, character in enumerate(example.target) if character.isdigit()
        }
        sure += len(found & example.sure)
        possible += len(found & example.possible)
        asked += len(found)
        gold += len(example.sure)
    return 1 - (sure + possible) / (asked + gold)


def tensors(examples: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Return source ids, target ids that the decoder reads, and ids that it should write."""
    sources = [torch.tensor(translate.encode_source(example.source)) for example in examples]
    targets = torch.tensor([translate.encode_target(example.target) for example in examples])
    wanted = torch.cat((targets[:, 1:], torch.full((len(targets), 1), translate.EOS)), dim=1)
    return torch.nn.utils.rnn.pad_sequence(sources, batch_first=True), targets, wanted


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=translate.WEIGHTS)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--held-out", type=int, default=5000, help="dates to measure on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
