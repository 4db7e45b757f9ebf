"""Deformable attention: its points, and what each cell of the maps gives to each query."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so
from transformers.models.deformable_detr import modeling_deformable_detr

import attnreport
from attnreport import Run
from attnreport.errors import InvalidRun
from attnreport.points import Points
from attnreport.recording import Trial, ablate

SIZES = ((3, 5), (2, 2))
CELLS, QUERIES, HEADS, WIDTH, POINTS = 19, 6, 2, 4, 3
HIDDEN = torch.randn(2, QUERIES, HEADS * WIDTH, generator=torch.Generator().manual_seed(1))
MEMORY = torch.randn(2, CELLS, HEADS * WIDTH, generator=torch.Generator().manual_seed(2))


class Deformable(nn.Module):
    """The attention of Zhu et al. 2021, §4.1, over maps that are given, with some options."""

    def __init__(self, *, far=1.0, join="stack", dropout=0.0, gone=None, **sampling):
        super().__init__()
        torch.manual_seed(0)
        width, points = HEADS * WIDTH, HEADS * len(SIZES) * POINTS
        self.offsets, self.scores = nn.Linear(width, 2 * points), nn.Linear(width, points)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.far, self.join, self.dropout, self.gone = far, join, dropout, gone
        self.sampling = {"align_corners": False, **sampling}
        self.seen = ()

    def forward(self, hidden, memory):
        batch, queries, _ = hidden.shape
        grids = self.far * self.offsets(hidden).view(batch, queries, HEADS, len(SIZES), POINTS, 2)
        weights = self.scores(hidden).view(batch, queries, HEADS, -1).softmax(-1)
        weights = F.dropout(weights, self.dropout, training=self.training)
        values = self.value(memory).view(batch, CELLS, HEADS, WIDTH)
        self.seen = grids.detach(), weights.detach(), values.detach()
        cells, rows = [height * width for height, width in SIZES], batch * HEADS
        sampled = []
        for level, part in enumerate(values.split(cells, dim=1)):
            maps = part.flatten(2).transpose(1, 2).reshape(rows, WIDTH, *SIZES[level])
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1)
            sampled.append(F.grid_sample(maps, grid, **self.sampling))
        if self.join == "stack":
            whole = torch.stack(sampled, dim=-2).flatten(-2)
        else:
            whole = torch.cat(sampled, dim=-1)
        weights = weights.transpose(1, 2).reshape(rows, 1, queries, -1)
        mixed = (whole * weights).sum(-1).view(batch, HEADS * WIDTH, queries).transpose(1, 2)
        if self.gone is not None:
            mixed = mixed.clone()
            mixed[..., self.gone * WIDTH : (self.gone + 1) * WIDTH] = 0
        return self.out(mixed)


def spread_of(model, example):
    """The weights of cells, point by point in float64: the same formula, written apart."""
    grids, weights, _ = (np.asarray(x[example].double()) for x in model.seen)
    result = np.zeros((HEADS, QUERIES, CELLS))
    places = itertools.product(range(QUERIES), range(HEADS), range(len(SIZES)), range(POINTS))
    for query, head, level, point in places:
        height, width = SIZES[level]
        x, y = grids[query, head, level, point]
        if model.sampling["align_corners"]:
            x, y = (x + 1) / 2 * (width - 1), (y + 1) / 2 * (height - 1)
        else:
            x, y = ((x + 1) * width - 1) / 2, ((y + 1) * height - 1) / 2
        share = weights[query, head, level * POINTS + point]
        for column, row in itertools.product(range(width), range(height)):
            near = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            first = sum(h * w for h, w in SIZES[:level])
            result[head, query, first + row * width + column] += share * near
    return result


def captured(model, **options):
    """The run of one call, which is bit for bit the call without a capture."""
    torch.manual_seed(0)
    plain = model(HIDDEN, MEMORY)
    torch.manual_seed(0)
    with attnreport.capture(model, **options) as recording:
        output = model(HIDDEN, MEMORY)
    assert torch.equal(plain, output)
    return recording.run()


AXES = [(HIDDEN, [f"q{n}" for n in range(QUERIES)]), (MEMORY, [f"c{n}" for n in range(CELLS)])]


@pytest.mark.parametrize("example", [0, 1])
@pytest.mark.parametrize(
    "options", [{}, {"join": "cat"}, {"align_corners": True}, {"far": 0.2}, {"far": 5}]
)
def test_cells_get_what_the_points_take_from_them(options, example):
    model = Deformable(**options)
    run = captured(model, axes=AXES, example=example)
    (attention,) = run.attentions
    assert np.abs(attention.weights - spread_of(model, example)).max() < 1e-6
    assert attention.residual < 1e-6
    assert attention.kind == "deformable"
    assert attention.queries.labels[1] == "q1"
    assert attention.keys.labels[-1] == f"c{CELLS - 1}"
    (entry,) = run.ledger
    assert "each query has 6 points on 2 maps" in entry.reason
    sums = attention.weights.sum(-1)
    assert attention.normalised == bool((sums > 0.999).all())
    assert (
        "of all weight is on points outside the maps" in entry.reason
    ) is not attention.normalised


def test_points_are_where_the_model_looked():
    model = Deformable()
    points = captured(model, axes=AXES, example=1).attentions[0].points
    grids, weights, _ = (x[1] for x in model.seen)
    assert points.sizes == SIZES
    assert points.levels.tolist() == [0] * POINTS + [1] * POINTS
    # (query, head, level, point, 2), from -1 to 1
    where = (grids.transpose(0, 1).flatten(2, 3) + 1) / 2
    assert np.abs(points.locations - where.numpy()).max() < 1e-6
    assert np.array_equal(points.weights, weights.transpose(0, 1).numpy())


def test_no_weight_is_outside_where_no_point_is():
    attention = captured(Deformable(far=0.01), axes=AXES).attentions[0]
    assert attention.normalised
    assert np.abs(attention.weights.sum(-1) - 1).max() < 1e-5


@pytest.mark.parametrize("sampling", [{"mode": "nearest"}, {"padding_mode": "border"}])
def test_samples_of_another_kind_are_named(sampling):
    model = Deformable(**sampling)
    with attnreport.capture(model) as recording:
        model(HIDDEN, MEMORY)
    (entry,) = recording.ledger
    assert not entry.captured
    assert "deformable attention: its samples are " in entry.reason
    assert next(iter(sampling.values())) in entry.reason


def test_dropout_is_before_what_is_shown():
    model = Deformable(dropout=0.5)
    plain = captured(model.eval(), axes=AXES).attentions[0]
    run = captured(model.train(), axes=AXES)
    assert np.abs(run.attentions[0].weights - plain.weights).max() < 1e-6
    assert run.attentions[0].residual is None
    assert "weights before dropout 0.5" in run.ledger[0].reason


def test_selected_heads_and_queries_are_the_same_numbers():
    model = Deformable()
    whole = captured(model, axes=AXES).attentions[0]
    part = captured(model, axes=AXES, heads=[1], queries=[4, 2]).attentions[0]
    assert np.array_equal(part.weights, whole.weights[1:][:, [2, 4]])
    assert np.array_equal(part.points.locations, whole.points.locations[1:][:, [2, 4]])
    assert part.queries.labels == ("q2", "q4")
    assert part.head_numbers == (1,)
    assert part.residual < 1e-6


def test_gradients_are_those_at_the_weights_of_cells():
    model = Deformable()
    with attnreport.capture(model, axes=AXES, gradients=True, example=1) as recording:
        output = model(HIDDEN, MEMORY)
        output.pow(2).sum().backward()
    (found,) = recording.gradients
    sent = (2 * output.detach() @ model.out.weight.detach())[1].unflatten(-1, (HEADS, WIDTH))
    expected = torch.einsum("qhw,khw->hqk", sent, model.seen[2][1])
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_a_head_can_be_taken_out():
    model = Deformable()
    run = captured(model, axes=AXES)

    def number(output):
        return float(output[0].sum())

    trial = Trial(model, AXES, lambda: model(HIDDEN, MEMORY), number, "zero")
    with torch.no_grad():
        expected = [number(Deformable(gone=head)(HIDDEN, MEMORY)) for head in range(HEADS)]
    np.testing.assert_allclose(ablate(run, trial).after[0], expected, rtol=1e-6)


def test_more_cells_than_memory_are_read_some_rows_at_a_time(monkeypatch):
    model, wide = Deformable(), HIDDEN.repeat(1, 12, 1)
    axes = [(wide, [str(n) for n in range(wide.shape[1])])]
    runs = []
    for limit in (None, 4 * HEADS * CELLS * wide.shape[1] - 1):
        with attnreport.capture(model, axes=axes, max_memory=limit) as recording:
            model(wide, MEMORY)
        runs.append(recording.run())
    dense, joined = (run.attentions[0] for run in runs)
    assert joined.weights.size < dense.weights.size
    exact = joined.reduced
    assert np.allclose(exact.columns, dense.weights.sum(1), atol=1e-5)
    assert np.array_equal(exact.largest, -np.sort(-dense.weights, axis=-1)[..., :8])
    assert joined.residual < 1e-6
    assert joined.points.weights.shape[1] == wide.shape[1]
    assert any("neighbouring positions were joined" in note for note in runs[1].provenance.notes)


def test_the_file_keeps_points(tmp_path):
    run = captured(Deformable(), axes=AXES)
    run.save(tmp_path / "run.safetensors")
    before, after = run.attentions[0], Run.load(tmp_path / "run.safetensors").attentions[0]
    assert after.kind == "deformable"
    for name in ("locations", "weights", "levels"):
        assert np.array_equal(getattr(after.points, name), getattr(before.points, name))
    assert after.points.sizes == SIZES


def test_points_that_do_not_fit_are_refused():
    locations, weights = np.zeros((1, 2, 3, 2), np.float32), np.zeros((1, 2, 3), np.float32)
    levels = np.zeros(3, np.int32)
    with pytest.raises(InvalidRun, match="expected locations"):
        Points(locations[:, :1], weights, levels, SIZES)
    with pytest.raises(InvalidRun, match="none of the 2 maps"):
        Points(locations, weights, levels + 2, SIZES)
    with pytest.raises(InvalidRun, match=r"on 19 cells do not fit weights \(1, 2, 4\)"):
        Points(locations, weights, levels, SIZES).check("attention 0", (1, 2, 4))


class Sees(nn.Module):
    """Transformers' own function, called with values that tell each cell's share apart."""

    def __init__(self):
        super().__init__()
        self.attention = modeling_deformable_detr.MultiScaleDeformableAttention()

    def forward(self, values, locations, weights):
        starts = torch.tensor([0, 15])
        sizes = torch.tensor(SIZES)
        return self.attention(
            values, sizes, list(SIZES), starts, locations, weights.softmax(-1), 64
        )


def test_it_is_the_linear_map_that_transformers_applies():
    torch.manual_seed(0)
    # One number for each cell: the output of a query is then its row of the map.
    values = torch.eye(CELLS).view(1, CELLS, 1, CELLS).expand(-1, -1, HEADS, -1).contiguous()
    locations = torch.rand(1, QUERIES, HEADS, len(SIZES), POINTS, 2) * 1.4 - 0.2
    scores = torch.randn(1, QUERIES, HEADS, len(SIZES) * POINTS)
    model = Sees()
    with attnreport.capture(model) as recording:
        output = model(values, locations, scores)
    rows = output.view(QUERIES, HEADS, CELLS).transpose(0, 1)
    assert np.abs(recording.run().attentions[0].weights - rows.numpy()).max() < 1e-6


def detector():
    torch.manual_seed(0)
    backbone = transformers.ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8, 8, 8],
        depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.DeformableDetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        num_queries=5,
    )
    return transformers.DeformableDetrModel(config).eval()


def test_a_detector_is_captured_whole():
    model, picture = detector(), torch.randn(1, 3, 64, 96)
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(picture)
    run = recording.run()
    assert not run.missed
    assert [each.kind for each in run.attentions] == [
        "deformable",
        "self",
        "deformable",
        "self",
        "deformable",
    ]
    assert all(each.residual < 1e-5 for each in run.attentions)
    encoder, own, cross = run.attentions[:3]
    cells = sum(height * width for height, width in encoder.points.sizes)
    assert encoder.weights.shape == (2, cells, cells)
    assert encoder.queries == encoder.keys == cross.keys
    assert cross.queries == own.queries != cross.keys
    assert math.isclose(cross.points.weights.sum(), 2 * 5, rel_tol=1e-5)
