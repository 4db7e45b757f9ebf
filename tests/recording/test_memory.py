"""A capture that may keep little: what it says stays exact, held against one that keeps all."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812

import attnreport
from attnreport.cli import main
from attnreport.errors import InvalidMeasure
from attnreport.measures import all_head_scores, flow, rollout
from attnreport.recording import operands, product
from attnreport.recording.reducing import Reduction
from attnreport.recording.room import Pool
from attnreport.reduced import LARGEST

HEADS, LENGTH, WIDTH = 3, 300, 8


class Layers(torch.nn.Module):
    def __init__(self, causal, count=3):
        super().__init__()
        self.causal = causal
        self.layers = torch.nn.ModuleList(Attending(causal) for _ in range(count))

    def forward(self, x):
        for layer in self.layers:
            x = x + layer(x)
        return x


class Attending(torch.nn.Module):
    def __init__(self, causal):
        super().__init__()
        self.causal = causal
        self.project = torch.nn.Linear(HEADS * WIDTH, 3 * HEADS * WIDTH)

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, HEADS, WIDTH)).permute(2, 0, 3, 1, 4) * 4
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return mixed.transpose(1, 2).flatten(2)


def captured(causal, length=LENGTH, **options):
    torch.manual_seed(0)
    model, x = Layers(causal).eval(), torch.randn(1, length, HEADS * WIDTH)
    axes = [(x, [f"t{place}" for place in range(length)])]
    with torch.no_grad():
        plain = model(x)
        with attnreport.capture(model, axes=axes, **options) as recording:
            output = model(x)
    assert torch.equal(plain, output)
    return recording.run()


def blocks_of(weights, block):
    """Sums over keys, means over queries, by the slow and obvious way."""
    heads, queries, keys = weights.shape
    joined = np.zeros((heads, -(-queries // block), -(-keys // block)))
    for row in range(joined.shape[1]):
        rows = weights[:, row * block : (row + 1) * block].astype(np.float64)
        for column in range(joined.shape[2]):
            part = rows[:, :, column * block : (column + 1) * block]
            joined[:, row, column] = part.sum(axis=2).mean(axis=1)
    return joined


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [300, 97])
def test_what_is_kept_is_exact_for_what_it_says(causal, length):
    whole = captured(causal, length)
    size = sum(attention.weights.nbytes for attention in whole.attentions)
    small = captured(causal, length, max_memory=size // 2)
    for full, part in zip(whole.attentions, small.attentions, strict=True):
        reduced, weights = part.reduced, full.weights
        assert full.reduced is None
        assert reduced.block in (2, 4, 8)
        np.testing.assert_allclose(part.weights, blocks_of(weights, reduced.block), atol=1e-6)
        # What the longest row of the difference has, not its largest number.
        assert full.residual / 2 < part.residual <= max(full.residual, part.tolerance)
        assert (reduced.queries, reduced.keys) == (full.queries, full.keys)
        assert part.queries.labels[1] == f"t{reduced.block}…t{2 * reduced.block - 1}"
        order = np.sort(weights, axis=2)[:, :, ::-1][:, :, :LARGEST]
        np.testing.assert_array_equal(reduced.largest, order)
        found = np.take_along_axis(weights, reduced.largest_keys.astype(np.int64), axis=2)
        np.testing.assert_array_equal(found, reduced.largest)
        np.testing.assert_allclose(reduced.columns, weights.sum(axis=1), rtol=1e-5)
    assert any("neighbouring positions were joined" in note for note in small.provenance.notes)
    assert all("positions are joined" in entry.reason for entry in small.ledger)


@pytest.mark.parametrize("causal", [True, False])
def test_measures_are_those_of_the_whole_or_none(causal):
    whole = all_head_scores(captured(causal))
    small = all_head_scores(captured(causal, max_memory=1))
    exact = {name for name, scores in small.items() if np.isfinite(scores.array).any()}
    assert {"entropy", "distance", "vertical", "first_token", "previous_token"} <= exact
    for name in exact:
        np.testing.assert_allclose(small[name].array, whole[name].array, rtol=2e-5, err_msg=name)
        assert all(map(np.array_equal, small[name].masked, whole[name].masked))


def test_little_memory_is_really_little():
    run = captured(True, length=512, max_memory=100_000)
    assert {attention.reduced.block for attention in run.attentions} == {64}
    assert {attention.weights.shape for attention in run.attentions} == {(HEADS, 8, 8)}


def test_what_fits_is_kept_whole():
    run = captured(False, length=16, max_memory=1)
    assert all(attention.reduced is None for attention in run.attentions)
    assert all(attention.reduced is None for attention in captured(True).attentions)


class Overwriting(Attending):
    """Write over everything that the call was given and returned, as soon as it is used."""

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, HEADS, WIDTH)).permute(2, 0, 3, 1, 4) * 4
        mask = torch.zeros(1, 1, x.shape[1], x.shape[1]).index_fill_(
            3, torch.tensor([2]), -math.inf
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result = mixed.transpose(1, 2).flatten(2)
        for tensor in (q, k, v, mask, mixed):
            tensor.fill_(7)
        return result


class Writing(Attending):
    """Attend by hand, and write over the weights as soon as they are used."""

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, HEADS, WIDTH)).permute(2, 0, 3, 1, 4) * 4
        weights = torch.softmax(q @ k.mT / math.sqrt(WIDTH), dim=-1)
        mixed = weights @ v
        weights.fill_(7)
        return mixed.transpose(1, 2).flatten(2)


def test_weights_that_are_reduced_as_they_come_are_not_copied_and_not_lost(monkeypatch):
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(Writing(causal=False) for _ in range(3))).eval()
    x, copies, host = torch.randn(1, LENGTH, HEADS * WIDTH), [], product.to_host
    monkeypatch.setattr(
        product, "to_host", lambda t, *, ours=False: copies.append(not ours) or host(t, ours=ours)
    )
    runs = []
    for limit in (None, 10**5):
        with torch.no_grad(), attnreport.capture(model, max_memory=limit) as recording:
            model(x)
        runs.append(recording.run())
    assert copies == [True, True, True, True, False, False]
    for whole, part in zip(*(run.attentions for run in runs), strict=True):
        expected = blocks_of(whole.weights, part.reduced.block)
        np.testing.assert_allclose(part.weights, expected, atol=1e-6)
        assert part.residual == whole.residual < 1e-5


@pytest.mark.parametrize("limit", [None, 10**9, 10**6])
def test_what_waits_to_be_computed_is_what_the_call_got(limit):
    torch.manual_seed(0)
    model, x = Overwriting(causal=False).eval(), torch.randn(1, LENGTH, HEADS * WIDTH)
    with torch.no_grad(), attnreport.capture(model, max_memory=limit) as recording:
        model(x)
    (attention,) = recording.run().attentions
    q, k, _ = (model.project(x).double().unflatten(-1, (3, HEADS, WIDTH)) * 4)[0].unbind(1)
    scores = q.transpose(0, 1) @ k.permute(1, 2, 0) / math.sqrt(WIDTH)
    expected = scores.index_fill(2, torch.tensor([2]), -math.inf).softmax(dim=-1).detach().numpy()
    if limit == 10**6:
        expected = blocks_of(expected, attention.reduced.block)
    np.testing.assert_allclose(attention.weights, expected, atol=2e-6)
    assert attention.residual < 1e-5


def test_what_waited_and_failed_is_named(monkeypatch):
    def fail(*args, **kwargs):
        raise MemoryError("too many")

    monkeypatch.setattr(operands, "attend", fail)
    with pytest.raises(attnreport.AttentionNotFound) as caught:
        captured(True, max_memory=4 * 3 * HEADS * LENGTH**2)
    for layer in range(3):
        assert f"layers.{layer}: scaled_dot_product_attention: could not be read" in str(
            caught.value
        )


PEAK = """
import json, resource, sys, torch
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from test_memory import HEADS, WIDTH, Layers
import attnreport

def peak():
    # What getrusage tells on Linux begins with what the parent needed.
    status = Path("/proc/self/status")
    if status.exists():
        words = status.read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

torch.manual_seed(0)
model, x = Layers(False, 6).eval(), torch.randn(1, 2048, HEADS * WIDTH)
with torch.no_grad():
    for each in model.parameters():
        each *= float(sys.argv[2])
    model(x)
    plain = peak()
    with attnreport.capture(model, **json.loads(sys.argv[1])) as recording:
        model(x)
    print(peak() - plain, sum(each.weights.nbytes for each in recording.run().attentions))
"""
LAYER = HEADS * 2048 * 2048 * 4


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"max_memory": 10**8}, 6 * LAYER // 4),
        ({"heads": [1]}, 6 * LAYER // HEADS),
        ({"queries": [*range(1024)]}, 6 * LAYER // 2),
        ({}, 6 * LAYER),
    ],
)
# Where scores are so large that rounding shows, one head at a time is computed in float64 too.
@pytest.mark.parametrize(("size", "extra"), [(0.5, 0), (1, 8 * 2048**2)])
def test_memory_grows_by_one_layer_and_what_is_kept(options, kept, size, extra):
    here = Path(__file__).parent
    folders = here, here.parent, here.parent.parent
    words = [sys.executable, "-c", PEAK, json.dumps(options), str(size), *folders]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    grown, found = map(int, ran.stdout.split())
    assert found == kept
    assert grown < kept + LAYER + extra + 25e6
    if "max_memory" in options:
        assert grown < options["max_memory"] + extra + 20e6


@pytest.mark.parametrize("size", [0, -1, "2GB", 1.5])
def test_a_memory_that_is_no_number_of_bytes_is_refused(size):
    with (
        pytest.raises(attnreport.errors.InvalidInput, match="max_memory in bytes"),
        attnreport.capture(torch.nn.Linear(1, 1), max_memory=size),
    ):
        pass


def test_masked_rows_sinks_and_nan_stay_what_they_are():
    weights = np.random.default_rng(3).dirichlet(np.ones(50), (2, 40)).astype(np.float32)
    weights[:, 7] = 0
    weights[0, 20, 3] = np.nan
    sink = np.full((2, 40), 0.25, np.float32)
    reduction = Reduction.of(weights, sink)
    assert not reduction.whole_rows()
    joined = reduction.weights(normalised=True)
    np.testing.assert_allclose(joined[1], blocks_of(weights, 2)[1], atol=1e-6)
    assert np.isnan(joined[0]).sum() == 1
    assert (reduction.figures[0][:, 7] == 0).all()
    np.testing.assert_allclose(reduction.joined_sink(), np.full((2, 20), 0.25))
    reduction.coarsen(Pool())
    np.testing.assert_allclose(
        reduction.weights(normalised=True)[1], blocks_of(weights, 4)[1], atol=1e-6
    )


def test_a_reduced_run_is_saved_and_drawn_and_says_so(tmp_path):
    run = captured(True, max_memory=200_000)
    run.save(tmp_path / "run.safetensors")
    again = attnreport.Run.load(tmp_path / "run.safetensors")
    assert again.to_bytes() == run.to_bytes()
    for before, after in zip(run.attentions, again.attentions, strict=True):
        np.testing.assert_array_equal(before.reduced.figures, after.reduced.figures)
        assert before.reduced.keys == after.reduced.keys
    page = attnreport.Report(again).html()
    assert "There were too many weights to keep: every" in page
    assert "No weight was rounded, pooled or left out" not in page


@pytest.mark.parametrize("joining", [rollout, flow])
def test_what_needs_every_weight_refuses_blocks(joining):
    with pytest.raises(InvalidMeasure, match="needs all weights"):
        joining(captured(True, max_memory=1))


def test_the_command_line_keeps_less_where_it_is_told(tmp_path, capsys):
    target = tmp_path / "run.safetensors"
    text = "Ada met Grace. " * 12
    words = ["capture", "demo:text", text, "-o", str(target), "--max-memory", "400kB"]
    assert main(words) == 0
    run = attnreport.Run.load(target)
    assert {attention.reduced.block for attention in run.attentions} == {4}
    assert "--max-memory" in run.provenance.command
    capsys.readouterr()
    assert main(["heads", str(target), "--by", "previous_token", "--limit", "1"]) == 0
    assert "previous token" in capsys.readouterr().out
