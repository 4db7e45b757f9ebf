"""Read deformable attention: weights that multiply values sampled between the cells of maps.

Sampling is bilinear, so that each point is a share of at most four cells: the weights of points,
spread over these, are the linear map that the layer applied, ``(head, query, cell)``. A point
outside its map gives nothing, and its weight is in no row. Knows ``grid_sample``, what joins the
samples of several maps, and the weighted sum over them; no model.

Source: Zhu et al. 2021, Deformable DETR, §4.1 https://arxiv.org/abs/2010.04159
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

from attnreport.points import Points
from attnreport.recording.apart import quietly
from attnreport.recording.following import (
    SCALING,
    Called,
    Followed,
    methods,
    start,
    state_of,
)
from attnreport.recording.found import Found, Mixed
from attnreport.recording.gradients import await_gradient, through_values
from attnreport.recording.layout import Layout
from attnreport.recording.memory import NO_WEIGHTS
from attnreport.recording.reducing import Floats, Reduction
from attnreport.recording.registry import name_of, recorder
from attnreport.recording.spreading import Maps
from attnreport.recording.watch import Watch
from attnreport.recording.weights import distance, mix, to_host

KIND = "deformable attention"
_CALL = "grid_sample"
_JOINING = methods("stack", "cat", "concat")
_KEEPING = methods("flatten", "contiguous", "view", "reshape")
_SUMMING = {torch.sum, torch.Tensor.sum}
# How far from 1 a row may be by rounding.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class Sample:
    """Hold one call of ``grid_sample``.

    Attributes:
        values: ``(row, width, y, x)``, the rows being examples times heads.
        grid: ``(row, query, point, 2)``: x and y from -1 to 1.
        corners: whether these are the centres of the outermost cells, instead of their edges.
    """

    values: torch.Tensor
    grid: torch.Tensor
    corners: bool


@dataclass(frozen=True, eq=False)
class Sampled:
    """Be what is known of sampled values, ``(row, width, query, point)``, of one map or several.

    Attributes:
        samples: one for each map, in the order of their points.
        reason: why they cannot be read; empty where they can.
    """

    samples: tuple[Sample, ...]
    reason: str = ""

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Follow them to their product with weights."""
        if call.function in _JOINING:
            parts = [state_of(watch, each) for each in call.args[0]]
            known = [each for each in parts if isinstance(each, Sampled)]
            if len(known) == len(parts):
                samples = tuple(sample for each in known for sample in each.samples)
                reason = next((each.reason for each in known if each.reason), "")
                start(watch, call.output, Sampled(samples, reason))
        elif call.function in _KEEPING:
            start(watch, call.output, self)
        elif call.function in SCALING:
            other = next(each for each in call.args if each is not tensor)
            weights = state_of(watch, other)
            if isinstance(weights, Followed):
                start(watch, call.output, Weighed(self, weights, other))


@dataclass(frozen=True, eq=False)
class Weighed:
    """Hold samples times weights before the sum over points."""

    sampled: Sampled
    followed: Followed
    weights: torch.Tensor

    def flow(self, watch: Watch, call: Called, tensor: torch.Tensor) -> None:
        """Only the sum over all points makes it attention."""
        last = call.argument(1, "dim", None) in (-1, tensor.dim() - 1)
        if call.function in _SUMMING and last and call.output.dim() == 3:
            _record(watch, self, call.output)
        else:
            self.followed.origin.lost = f"samples of a map, and that into {name_of(call.function)}"


@recorder(F.grid_sample)
def grid_sample(  # noqa: PLR0913, PLR0917 - torch's own signature
    watch: Watch,
    output: torch.Tensor,
    values: torch.Tensor,
    grid: torch.Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> None:
    """Follow what was sampled of a map, ``(row, width, query, point)``."""
    if values.dim() != 4:
        return
    plain = mode == "bilinear" and padding_mode == "zeros"
    reason = "" if plain else f"its samples are {mode} with {padding_mode} outside of the maps"
    start(watch, output, Sampled((Sample(values, grid, bool(align_corners)),), reason))


def _record(watch: Watch, weighed: Weighed, output: torch.Tensor) -> None:
    """Keep one attention, or say why not; ``output`` is ``(row, width, query)``."""
    samples = weighed.sampled.samples
    weighed.followed.origin.used = True
    # The result has the positions of those who look, whatever the maps are of.
    watch.streams.assign(output, watch.streams.of(samples[0].grid))
    name = watch.wanted(_CALL, part=True)
    if name is None:
        return
    rows, _, queries = output.shape
    points = sum(sample.grid.shape[2] for sample in samples)
    cells = sum(sample.values[0, 0].numel() for sample in samples)
    layout: Layout | str = weighed.sampled.reason
    if not layout and weighed.weights.shape != (rows, 1, queries, points):
        layout = "its weights are not (row, 1, query, point)"
    layout = layout or watch.layout((rows, queries, cells), watch.streams.of(samples[0].values))
    if isinstance(layout, str):
        watch.miss(_CALL, f"{KIND}: {layout}")
    else:
        _keep(watch, name, weighed, layout, output)


def _keep(watch: Watch, name: str, weighed: Weighed, layout: Layout, output: torch.Tensor) -> None:
    samples, clean = weighed.sampled.samples, weighed.followed.clean
    queries = watch.selection.rows_of(range(output.shape[2])) if output.shape[2] > 1 else None
    rows = slice(None) if queries is None else queries
    with quietly(output):
        maps = Maps(
            [(sample.values.shape[2], sample.values.shape[3]) for sample in samples],
            [_grid(layout.pick(each.grid.flatten(2))) for each in samples],
            [sample.corners for sample in samples],
        ).of(rows)
        used = layout.pick(weighed.weights)[:, rows]
        shown = used if clean is None else layout.pick(clean)[:, rows]
        values = torch.cat([layout.pick(sample.values.flatten(2).mT) for sample in samples], dim=1)
        heads = layout.pick(output.mT)
        given = _Given(maps, used, values, heads[:, rows])
        large = queries is None and watch.memory.too_large(maps.shape)
        weights, reduction, residual = _reduced(given) if large else _whole(given, shown)
        points = maps.told(shown)
    found = Found(
        name=name,
        call=_CALL,
        weights=weights,
        reduction=reduction,
        queries=watch.streams.of(samples[0].grid),
        keys=watch.streams.of(samples[0].values),
        dtype=str(output.dtype).removeprefix("torch."),
        residual=residual if clean is None else None,
        reasons=[_words(points), *layout.reasons, *weighed.followed.reasons],
        copies=layout.copies,
        query_axis=watch.region_axes.along(
            samples[0].grid, lambda each: layout.pick(each.flatten(2))
        ),
        key_axis=watch.region_axes.of_parts(
            [sample.values for sample in samples], lambda each: layout.pick(each.flatten(2).mT)
        ),
        points=points,
        rows=queries,
        length=None if queries is None else output.shape[2],
        unweighed="its values are sampled between the cells",
    )
    _judge(found)
    watch.keep(found)
    if watch.projections is None and not large and queries is None:
        spread = torch.from_numpy(weights)
        watch.attended(found, Mixed(heads, watch.returned, values, spread, samples[0].values))
    if clean is None:
        await_gradient(watch, found, output, lambda g: through_values(layout.pick(g.mT), values))


def _grid(flat: torch.Tensor) -> torch.Tensor:
    """Return ``(head, query, point, 2)``."""
    return flat.reshape(*flat.shape[:2], -1, 2)


@dataclass(frozen=True, eq=False)
class _Given:
    """Hold what one example of an attention got and returned.

    Attributes:
        maps: where its points are.
        weights: ``(head, query, point)`` that multiplied the samples.
        values: ``(head, cell, width)``.
        heads: what was returned, ``(head, query, width)``.
    """

    maps: Maps
    weights: torch.Tensor
    values: torch.Tensor
    heads: torch.Tensor


def _whole(given: _Given, shown: torch.Tensor) -> tuple[Floats, None, float | None]:
    """Return the cells' weights, ``(head, query, cell)``, and their residual."""
    spread = given.maps.spread(given.weights)
    residual = distance(mix(spread, given.values), given.heads)
    spread = spread if shown is given.weights else given.maps.spread(shown)
    return to_host(spread, ours=True), None, residual


def _reduced(given: _Given) -> tuple[Floats, Reduction, float | None]:
    """Return the same of more weights than may be kept, of which some rows are there at a time."""
    mixed = torch.empty_like(given.heads, dtype=torch.float32)

    def part(heads: slice, rows: slice) -> torch.Tensor:
        spread = given.maps.of(rows).spread(given.weights[:, rows])[heads].float().cpu()
        mixed[heads, rows] = mix(spread, given.values[heads].cpu()).to(mixed.device)
        return spread.contiguous()

    reduction = Reduction.computed(given.maps.shape, part)
    return NO_WEIGHTS, reduction, distance(mixed, given.heads)


def _words(points: Points) -> str:
    _, _, count = points.weights.shape
    maps = len(points.sizes)
    return (
        f"{KIND}: each query has {count} points on {maps} map{'s' if maps > 1 else ''}; the weight "
        "of each is spread over the four cells around it, as its value is"
    )


def _judge(found: Found) -> None:
    """Say it where weight fell on no cell: those rows sum to less than 1."""
    sums = found.weights.sum(axis=-1) if found.reduction is None else found.reduction.row_sums
    if sums.size and np.any(sums < 1 - _ROUNDING):
        found.normalised = False
        outside = float(1 - sums.mean(dtype=np.float64))
        found.reasons.append(
            f"{outside:.1%} of all weight is on points outside the maps, where nothing is read: "
            "rows sum to less than 1"
        )
