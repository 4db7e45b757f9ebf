"""Train ``demo:vision`` and print how often it is right and where its class token looks.

::

    python examples/train_vision.py

Draws charts of vega-datasets, trains on them, and measures on charts of data sets that were held
out. About twenty minutes on two cores. With ``--steps 0`` it measures the weights that are there.
The same seed on the same machine prints the same figures.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from charts import Drawing, draw
from fitting import adamw, fit, parameters
from numpy.typing import NDArray
from pictures import Pictures, drawn, kind_of, seen
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name everyone knows it by

import attnreport
from attnreport.demos import vision
from attnreport.demos.transformer import load_weights, save_weights
from attnreport.demos.vision import GRID, KINDS, ChartModel, patches, pixels_of
from attnreport.measures import relevance, rollout

# Seeds of drawings: training has those from 0, so none of these is among them.
_HELD_OUT_SEED = 20_000_000
# A patch is labelled with the kind of chart where marks cover this share of it.
_MARKED = 0.03
_LABELS_WEIGHT = 1.0
# Until near the end a step looks at half of the patches, others each time: half the time, and
# what the class token needs cannot stand in one place (Liu et al. 2022, PatchDropout).
_HALVED = 0.85
_WATCHED = 300


def main() -> None:
    """Train, write the weights, and measure what was written."""
    options = _options()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(options.seed)
    model = ChartModel()
    print(f"parameters: {parameters(model):,}")
    if options.steps:
        count = min(options.drawn, options.steps * options.batch)
        train(
            model,
            drawn(0, count, kept=options.pictures),
            options.steps,
            options.batch,
            options.seed,
        )
        print(f"weights: {save_weights(model, options.output):,} bytes in {options.output.name}")
    load_weights(model, options.output)
    first = _HELD_OUT_SEED + options.seed
    seeds = range(first, first + options.held_out)
    report(model, [draw(seed, kind_of(seed), held_out=True) for seed in seeds])


def train(model: ChartModel, pictures: Pictures, steps: int, batch: int, seed: int) -> None:
    """Fit the model to the pictures, seen a little differently each time.

    The class token is to tell the kind, and every patch that marks cover as well (token
    labelling, Jiang et al. 2021): 100 answers a picture instead of one. Where to look is not said.
    """
    generator = torch.Generator().manual_seed(seed)
    labeller = nn.Linear(model.kind.in_features, len(KINDS) + 1)

    def next_loss(over: float) -> Tensor:
        chosen = torch.randint(len(pictures.kinds), (batch,), generator=generator)
        views, kinds = seen(pictures.pixels[chosen], generator), pictures.kinds[chosen]
        order = torch.rand(batch, GRID * GRID, generator=generator).argsort(dim=1)
        kept = order[:, : order.shape[1] // 2] if over < _HALVED else order
        found = model.positions(views[:, :3], kept)
        marked = patches(views[:, 3:]).mean(dim=2).gather(1, kept) > _MARKED
        labels = torch.where(marked, kinds[:, None], len(KINDS))
        told = F.cross_entropy(model.kind(found[:, 0]), kinds, label_smoothing=0.05)
        labelled = F.cross_entropy(labeller(found[:, 1:]).flatten(0, 1), labels.flatten())
        return told + _LABELS_WEIGHT * labelled

    both = nn.ModuleList((model, labeller))
    matrices = [p for layer in model.layers for p in layer.parameters() if p.ndim == 2]
    others = [p for p in both.parameters() if all(p is not matrix for matrix in matrices)]
    # Muon (Jordan 2024) takes half the examples that AdamW does; it is for matrices alone.
    muon = torch.optim.Muon(matrices, lr=4e-3, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    fit(both, steps, next_loss, optimisers=(muon, adamw(others)))


def report(model: ChartModel, drawings: list[Drawing]) -> None:
    """Print how often the kind is told rightly, and how much the class token looks at marks."""
    guesses = told(model, drawings)
    right = [guess == drawing.kind for guess, drawing in zip(guesses, drawings, strict=True)]
    print(f"held-out accuracy: {np.mean(right):.2%} of {len(drawings)}")
    for kind in KINDS:
        of_kind = [g for g, drawing in zip(guesses, drawings, strict=True) if drawing.kind == kind]
        wrong = sorted({guess for guess in of_kind if guess != kind})
        taken = ", ".join(f"{of_kind.count(guess)} taken for {guess}" for guess in wrong)
        print(f"  {kind}: {of_kind.count(kind)} of {len(of_kind)} right{taken and '; ' + taken}")
    watched = [drawing for drawing in drawings if drawing.marks.any()][:_WATCHED]
    looks = [look(model, drawing) for drawing in watched]
    area = float(np.mean([marked(drawing).mean() for drawing in watched]))
    print(f"patches that a mark touches: {area:.1%} of the area, over {len(watched)} pictures")
    print(
        "share of the attention to patches that falls on them, and times their share of the area:"
    )
    for name in looks[0]:
        share = float(np.mean([one[name] for one in looks]))
        print(f"  {name}: {share:.1%}, {share / area:.2f} times")


@torch.no_grad()
def told(model: ChartModel, drawings: list[Drawing]) -> list[str]:
    """Return the kind of chart that the model takes each drawing for."""
    batches = [drawings[first : first + 64] for first in range(0, len(drawings), 64)]
    return [
        KINDS[int(kind)]
        for batch in batches
        for kind in model(torch.stack([pixels_of(each.image) for each in batch])).argmax(dim=1)
    ]


def marked(drawing: Drawing) -> NDArray[np.bool_]:
    """Return ``(GRID · GRID,)``, row by row: which patches have a mark's pixel in them."""
    found = np.zeros((GRID, GRID), dtype=bool)
    places = np.nonzero(drawing.marks)
    rows, columns = (
        (place + 0.5) * GRID // side
        for place, side in zip(places, drawing.marks.shape, strict=True)
    )
    found[rows.astype(int), columns.astype(int)] = True
    return found.ravel()


def look(model: ChartModel, drawing: Drawing) -> dict[str, float]:
    """Return which share of the class token's attention to patches is on marks, by what is read.

    That is every head of the last layer, their mean, the rollout of all layers (Abnar & Zuidema
    2020) and the relevance for the predicted kind (Chefer et al. 2021), as attnreport captures and
    computes them.
    """
    with attnreport.capture(model, gradients=True) as recording:
        logits = model(pixels_of(drawing.image)[None])
        recording.differentiate(logits.max())
    run = recording.run()
    last = run.attentions[-1].weights
    rows = {f"last layer, head {head}": weights[0] for head, weights in enumerate(last)}
    rows["last layer, mean of heads"] = last.mean(axis=0)[0]
    rows["rollout of all layers"] = rollout(run).parts[0].weights[0]
    rows["relevance for the predicted kind"] = relevance(run)[0].weights[0]
    on_marks = marked(drawing)
    return {name: float(row[1:][on_marks].sum() / row[1:].sum()) for name, row in rows.items()}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=vision.WEIGHTS)
    parser.add_argument("--steps", type=int, default=4200)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--drawn", type=int, default=5400, help="charts to draw and train on")
    parser.add_argument("--pictures", type=Path, help="a .npy file to keep the drawn charts in")
    parser.add_argument("--held-out", type=int, default=1200, help="charts to measure on")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
