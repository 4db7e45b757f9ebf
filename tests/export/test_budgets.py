"""A report stays below its size, says what that cost, and its largest weights stay right."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from runs import small_run, softmax

from attnreport import Attention, Axis, Position, Report, Run
from attnreport.charts import picture
from attnreport.errors import OutputError
from attnreport.joining import blocks, joined_axis
from attnreport.page.grouping import groups_of
from attnreport.page.joining import joined_run
from attnreport.page.pack import PLANS, characters, pack
from attnreport.page.refining import refined, refinement
from attnreport.picture import Picture

LEVELS = [64, 96, 128, 255]


def with_holes(shape, seed):
    weights = softmax(shape, seed)
    weights[0, 3, 2:] = np.nan
    weights[0, 4, 0] = np.inf
    return weights


CASES = {
    "skewed": softmax((2, 40, 60), 1),
    "causal": softmax((2, 40, 40), 2, causal=True),
    "few keys": softmax((1, 9, 5), 3),
    "all equal": np.full((1, 4, 100), 0.01, np.float32),
    "one sure": np.eye(20, dtype=np.float32)[None],
    "not finite": with_holes((1, 12, 30), 4),
    "one cell": np.ones((1, 1, 1), np.float32),
}


@pytest.mark.parametrize("levels", LEVELS)
@pytest.mark.parametrize("weights", CASES.values(), ids=CASES)
def test_the_eight_largest_of_every_row_come_back(weights, levels):
    for head in weights:
        codes = picture.encode(head, levels)
        read, sure = refined(codes, levels, refinement(head, codes, levels))
        assert np.abs(read - head)[sure].max() <= 1e-6
        for row, told, marks in zip(head, read, sure, strict=True):
            finite = np.sort(row[np.isfinite(row)])[::-1]
            assert marks.sum() == min(8, len(finite))
            np.testing.assert_allclose(np.sort(told[marks])[::-1], finite[:8], atol=1e-6)
            assert not marks.all() or len(row) <= 8
            # Nothing that was only coded is told as larger than what was told closely.
            rest = told[~marks & np.isfinite(row)]
            assert rest.max(initial=0) <= told[marks].min(initial=1)
        half = 0.5 / (levels - 1) + 1e-6
        finite = np.isfinite(head)
        assert np.abs(np.sqrt(read[finite]) - np.sqrt(head[finite])).max() <= half
        assert np.isnan(read[~finite]).all()


def test_a_refinement_that_ends_early_is_an_error():
    weights = softmax((1, 10, 30), 0)[0]
    codes = picture.encode(weights, 64)
    content = refinement(weights, codes, 64)
    with pytest.raises(ValueError, match="ends too early"):
        refined(codes, 64, content[:-2])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("sampled", [500_000, 1])
def test_the_estimate_is_near_the_size(plan, causal, sampled, monkeypatch):
    # As of a run so large that hardly any of its rows are asked.
    monkeypatch.setattr("attnreport.page.pack._SAMPLED_WEIGHTS", sampled)
    run = small_run(layers=2, heads=4, queries=160, causal=causal)
    allowed = characters(run, plan)
    from attnreport.page.pack import _packed  # noqa: PLC0415 - what the estimate is an estimate of

    size = _packed(run, plan, "").characters
    assert 0.75 * size < allowed < 1.3 * size


def test_pack_takes_the_finest_that_fits():
    run = small_run(layers=2, heads=4, queries=192)
    rooms = [10_000_000, 190_000, 175_000, 150_000, 125_000]
    found = [pack(run, room) for room in rooms]
    assert all(
        packed.characters <= room for packed, room in zip(found, rooms, strict=True) if packed
    )
    sizes = [packed.levels for packed in found if packed]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == 255
    assert sizes[-1] == 64
    assert pack(run, 1000) is None


def large():
    return small_run(layers=4, heads=8, queries=192)


def notes(html):
    return html[html.index('class="notes"') :]


def test_each_reduction_is_said_in_the_page_and_by_the_report():
    whole = Report(large())
    assert len(whole.html().encode()) <= 16_000_000
    before = len(whole.html().encode())
    for size in (1_320_000, 1_200_000, 850_000):
        report = Report(large(), max_size=size)
        now = len(report.html().encode())
        assert now <= size
        assert now < before
        before = now
        assert report.reductions
        for reduction in report.reductions:
            assert reduction in notes(report.html())
    assert any(
        "2 neighbouring positions of a kind were joined" in said for said in report.reductions
    )
    assert '"joined":2' in report.html()


def test_a_report_that_holds_all_has_no_reductions(run_of):
    report = Report(run_of())
    assert report.reductions == ()
    assert "No weight was rounded, pooled or left out" in notes(report.html())


def test_an_impossible_size_says_the_smallest(run_of):
    with pytest.raises(OutputError, match=r"takes at least \d+ bytes, more than the 1000 allowed"):
        Report(run_of(), max_size=1000).html()
    with pytest.raises(OutputError) as raised:
        Report(large(), max_size=1000).html()
    smallest = int(str(raised.value).split("at least ")[1].split(" ")[0])
    assert len(Report(large(), max_size=smallest).html().encode()) <= smallest
    with pytest.raises(OutputError, match=f"at least {smallest} bytes"):
        Report(large(), max_size=smallest - 1).html()


def test_nothing_is_written_where_the_size_is_impossible(run_of, tmp_path):
    with pytest.raises(OutputError):
        Report(run_of(), max_size=1000).save(tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("block", [2, 3, 7])
def test_joined_weights_are_sums_over_keys_and_means_over_queries(block):
    run = small_run(layers=1, heads=2, queries=40, keys=18)
    joined = joined_run(run, block).attentions[0]
    weights = run.attentions[0].weights.astype(np.float64)

    def place(index):  # [CLS] stays alone
        return slice(max(0, 1 + (index - 1) * block), 1 + index * block)

    for row in range(joined.weights.shape[1]):
        for column in range(joined.weights.shape[2]):
            cell = weights[:, place(row), place(column)]
            expected = cell.sum(axis=2).mean(axis=1)
            np.testing.assert_allclose(joined.weights[:, row, column], expected, rtol=1e-5)
    np.testing.assert_allclose(joined.weights.sum(axis=2), 1, rtol=1e-5)
    assert joined.queries.labels[:2] == ("[CLS]", f"t1…t{block}")


def test_joining_keeps_what_is_not_a_number_and_what_saw_nothing():
    weights = softmax((1, 20, 20), 0)
    weights[0, 3] = 0
    weights[0, 7, 5] = np.nan
    axis = Axis.numbered("text", 20)
    run = Run((Attention(weights, "a", 0, "self", axis, axis),))
    joined = joined_run(run, 2).attentions[0]
    assert np.isnan(joined.weights[0, 3, 2])
    assert np.isnan(joined.weights).sum() == 1
    assert joined.weights[0, 1].sum() == pytest.approx(0.5)
    assert not joined.normalised


def test_a_joined_position_covers_its_members():
    text = "abcdefghijklmnopqrst"
    positions = tuple(
        Position(letter, span=(index, index + 1), box=(index, 0, index + 1, 1))
        for index, letter in enumerate(text)
    )
    joined = joined_axis(Axis("text", positions, text), blocks(len(text), 3))
    assert joined.labels[:2] == ("a…c", "d…f")
    assert joined.labels[-1] == "s…t"
    assert joined.positions[1].span == (3, 6)
    assert joined.positions[1].box == (3, 0, 6, 1)
    assert joined.text == text


def test_a_short_sequence_is_never_joined():
    axis = Axis.numbered("text", 16)
    assert joined_axis(axis, groups_of(axis, 2)) is axis


def refined_run():
    return small_run(layers=2, heads=8, queries=256)


def test_the_page_reads_the_largest_weights_as_they_are(page_of):
    run = refined_run()
    report = Report(run, max_size=1_150_000)
    page = page_of(report.html())
    document = json.loads(page.text_content("#document"))
    assert document["refined"]
    assert not document["exact"]
    assert f"A code of {document['levels']} steps".lower() in page.text_content("body").lower()
    weights = run.attentions[1].weights[2]
    page.evaluate("location.hash = '#layer=1&head=2&query=7&key=0'")
    expect(page.locator("#shown-title")).to_have_text("Layer 1, head 2")
    expect(page.locator("#readout-title")).to_contain_text("t7")
    bars = page.locator("#readout-top li .weight").all_inner_texts()
    largest = np.sort(weights[7])[::-1]
    assert bars[:8] == [f"{weight:.4f}" for weight in largest[:8]]
    assert all("±" in text for text in bars[8:])


def test_joined_positions_fill_the_room_but_a_picture_keeps_to_what_opens_quickly(monkeypatch):
    run = small_run(layers=1, heads=2, queries=128)
    (attention,) = run.attentions
    shown = replace(attention.queries, picture=Picture.of(Image.new("RGB", (8, 8))))
    pictured = Run((replace(attention, queries=shown, keys=shown),))
    monkeypatch.setattr("attnreport.page.pack.EXACT_BYTES", 0)
    monkeypatch.setattr("attnreport.page.pack._QUICK_CHARACTERS", 25_000)
    assert pack(run, 10**6, joined=True).levels == 255
    assert pack(pictured, 10**6, joined=True).characters <= 25_000
    assert pack(pictured, 10**6).levels == 255


def test_a_texts_largest_weights_stay_close_until_the_limit_itself_forbids_it(monkeypatch):
    run = small_run(layers=1, heads=2, queries=256)
    for name in ("_CHARACTERS_ALWAYS", "_CHARACTERS_ALLOWED", "_CHARACTERS_PER_WEIGHT"):
        monkeypatch.setattr(f"attnreport.page.pack.{name}", 0)
    monkeypatch.setattr("attnreport.page.pack.EXACT_BYTES", 0)
    packed = pack(run, 10**6)
    assert (packed.levels, packed.refined) == (64, True)
    packed = pack(run, packed.characters - 1)
    assert (packed.levels, packed.refined) == (64, False)
