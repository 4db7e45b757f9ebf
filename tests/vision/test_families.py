"""Every family: what is lit in a position's box changes that position, and is covered on the page.

The reference is the model itself. A spot is lit inside the box of one position and the picture goes
through the real processor once more: the queries and keys that change most must be those whose
boxes hold the spot, in every layer and stage, whatever the model merges, shifts, cuts or shuffles.
"""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
from families import FAMILIES, save
from PIL import Image
from planted import Lit, check_page

from attnreport.build import build_run
from attnreport.sources import Request

SIZES = {"square": (96, 96), "tall": (60, 131), "wide": (203, 77), "odd": (97, 53)}
# What float32 weights differ by where nothing changed.
NOISE = 2e-6
FEW = 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A function that saves a family once and returns its folder."""
    folders = {}

    def folder_of(name):
        if name not in folders:
            folders[name] = save(name, tmp_path_factory.mktemp(name))
        return folders[name]

    return folder_of


def run_of(folder, name, path, image):
    image.save(path)
    return build_run(Request(str(folder), str(path), prompt=FAMILIES[name].prompt))


def boxed(axis):
    return [place for place, position in enumerate(axis) if position.box]


def textured(size):
    """A dark picture in which no two places are alike."""
    noise = np.random.default_rng(0).integers(0, 60, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def lit(image, box):
    """Return the picture with the middle of a box lit, and that middle."""
    x0, y0, x1, y1 = box
    across, down = max(1, (x1 - x0) / 4), max(1, (y1 - y0) / 4)
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    changed = image.copy()
    changed.paste("white", (*(max(0, int(side)) for side in (x - across, y - down)),
                            *(int(np.ceil(side)) for side in (x + across, y + down))))  # fmt: skip
    return changed, (x, y)


def changes(before, after):
    """How much the content of each query and of each key changed, told by the weights alone.

    log w = q·k less a number for each row. One key changes one column; all others keep what they
    had, once each row's median is taken away. One query changes one row at all keys. So what
    changed is what changed at most of its partners.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        difference = np.log(after.weights.astype(float)) - np.log(before.weights)
    difference[~np.isfinite(difference)] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # rows of padding look at nothing
        difference -= np.nanmedian(difference, axis=2, keepdims=True)
        sides = [np.nanmedian(np.abs(difference), axis=axis).mean(axis=0) for axis in (2, 1)]
    partners = [np.isfinite(difference[0]).sum(axis=axis) for axis in (1, 0)]
    # With few partners, in the corner of a shifted window, one changed partner looks like itself.
    return [
        np.where(count < FEW, 0, np.nan_to_num(side))
        for side, count in zip(sides, partners, strict=True)
    ]


def holds(box, point, slack, cell=None):
    """Tell whether a box holds a point; cells of convolutions that overlap are a little off.

    ``cell`` is the size of a whole one, where the picture's edge may have cut this one.
    """
    (x0, y0, x1, y1), (x, y) = box, point
    across, down = (slack * side for side in cell or (x1 - x0, y1 - y0))
    return x0 - across <= x <= x1 + across and y0 - down <= y <= y1 + down


def cell_of(axis):
    """How wide and high a position is that no edge has cut."""
    x0, y0, x1, y1 = np.array([position.box for position in axis if position.box]).T
    return (x1 - x0).max(), (y1 - y0).max()


def check_places(before, after, spot, slack):
    """Whatever changed most must hold the spot; return how many sides were looked at."""
    checked = 0
    for old, new in zip(before.attentions, after.attentions, strict=True):
        scores = changes(old, new)
        for axis, score in zip((old.queries, old.keys), scores, strict=True):
            places = boxed(axis)
            if len(places) < 2 or score.max() < NOISE:
                continue
            most = max(places, key=lambda place, score=score: score[place])
            assert holds(axis.positions[most].box, spot, slack, cell_of(axis)), (
                old.name,
                axis.labels[most],
                axis.positions[most].box,
                spot,
            )
            checked += 1
    return checked


def shone(name, run, size, slack):
    """Two runs, on a picture and on the same with a spot, and what the spot reached.

    ``run`` makes one of a picture.
    """
    dark = run(textured(size))
    first = next(each for each in dark.attentions if len(boxed(each.queries)) > 1)
    places = boxed(first.queries)
    # Convolutions that overlap light neighbours too, which by chance may change more: then it
    # shines elsewhere.
    for share in (0.6, 0.5, 0.7):
        place = places[round(share * len(places))]
        image, spot = lit(textured(size), first.queries.positions[place].box)
        bright = run(image)
        same = next(each for each in bright.attentions if each.layer == first.layer)
        told = int(changes(first, same)[0].argmax())
        if told == place:
            break
    assert told == place, (name, size)
    return dark, bright, Lit(name, first.queries, told, spot, max(slack, 0.05))


@pytest.fixture(scope="module")
def lit_runs(saved, tmp_path_factory):
    """A function that runs a family on a picture without and with a spot, once for every size."""
    kept, path = {}, tmp_path_factory.mktemp("lit") / "in.png"

    def runs_of(name, size):
        if (name, size) not in kept:
            run = partial(run_of, saved(name), name, path)
            kept[name, size] = shone(name, run, size, FAMILIES[name].slack)
        return kept[name, size]

    return runs_of


@pytest.mark.parametrize("name", FAMILIES)
def test_what_shines_in_a_box_changes_its_position(lit_runs, name):
    family = FAMILIES[name]
    for size in SIZES.values():
        dark, bright, found = lit_runs(name, size)
        assert check_places(dark, bright, found.spot, family.slack) >= family.sides


def test_on_the_page_each_family_is_covered_where_its_spot_is(lit_runs, either_page_of):
    check_page(
        either_page_of, [lit_runs(name, size)[2] for name in FAMILIES for size in SIZES.values()]
    )


def test_sams_mask_tokens_look_at_the_patches_of_its_tower(lit_runs):
    """What is laid over the picture for the tower is so for the decoder: one axis."""
    run = lit_runs("sam_with_decoder", SIZES["wide"])[0]
    last = run.attentions[-1]
    tower = run.attentions[1].keys
    assert last.keys.labels == tower.labels and boxed(last.keys) == boxed(tower) != []
    for place in boxed(tower):
        box = last.keys.positions[place].box
        assert box == pytest.approx(tower.positions[place].box, abs=1e-9)
    assert last.queries.labels == ("[iou_token 0]", *(f"[mask {nth}]" for nth in range(4)))


def test_a_spot_anywhere_lies_in_the_box_of_what_it_changes(saved, tmp_path):
    """Here no box says where to light: the spot lies where it lies."""
    for name in FAMILIES:
        axis, place, spot = planted_axis(saved(name), name, tmp_path / "in.png", SIZES["odd"])
        x0, y0, x1, y1 = axis.positions[place].box
        # A spot of 6 pixels may lie on an edge, and what is beyond it may be masked.
        near = (x0 - 3, y0 - 3, x1 + 3, y1 + 3)
        assert holds(near, spot, max(FAMILIES[name].slack, 0.05)), (name, near, spot)


def planted_axis(folder, name, path, size):
    """The family's first axis with boxes, and which position a spot at a known place changes."""
    plain = run_of(folder, name, path, textured(size))
    first = next(each for each in plain.attentions if len(boxed(each.queries)) > 1)
    for x, y in ((0.56, 0.41), (0.4, 0.6), (0.7, 0.3), (0.3, 0.3)):
        spot = x * size[0], y * size[1]
        image, _ = lit(textured(size), (spot[0] - 6, spot[1] - 6, spot[0] + 6, spot[1] + 6))
        bright = run_of(folder, name, path, image)
        same = next(each for each in bright.attentions if each.layer == first.layer)
        scores = changes(first, same)[0]
        # A model that masks most of the picture may not see the spot at all.
        if scores.max() > NOISE:
            return first.queries, int(scores.argmax()), spot
    raise AssertionError(f"{name} sees no spot anywhere")
