"""Parts of a picture: frames beside each other, tiles and the whole over each other."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from planted import at_rest, covered_at, grid_axis, planted_run
from playwright.sync_api import expect

from attnreport import Axis, Position, Report, Run
from attnreport.cli import main
from attnreport.errors import InvalidInput, InvalidOption, InvalidRun
from attnreport.export import export
from attnreport.page.reading import read_head
from attnreport.picture import Part, Picture

WIDTH, HEIGHT, GAP = 90, 60, 6
GREYS = (20, 90, 160)


def video():
    """A class token, then three frames of 3 × 2 patches beside each other, each of its own grey."""
    sheet = Image.new("RGB", (3 * WIDTH + 2 * GAP, HEIGHT), "white")
    lefts = [nth * (WIDTH + GAP) for nth in range(3)]
    for left, grey in zip(lefts, GREYS, strict=True):
        sheet.paste((grey,) * 3, (left, 0, left + WIDTH, HEIGHT))
    parts = tuple(
        Part(f"frame {nth + 1}", (left, 0, left + WIDTH, HEIGHT)) for nth, left in enumerate(lefts)
    )
    positions = [Position("[CLS]", role="special")]
    for nth, left in enumerate(lefts):
        for row in range(2):
            for column in range(3):
                x, y = left + 30 * column, 30 * row
                label = f"frame {nth + 1} row {row} column {column}"
                positions.append(Position(label, box=(x, y, x + 30, y + 30), part=nth))
    return Axis("video", tuple(positions), picture=replace(Picture.of(sheet), parts=parts))


def tiles(columns=4, rows=2):
    """A word, then patches of tiles, and 2 × 1 patches of the whole, over one picture."""
    fine = grid_axis(120, 80, columns, rows, prefix=("word",))
    coarse = grid_axis(120, 80, 2, 1, prefix=())
    whole = (0, 0, 120, 80)
    picture = replace(fine.picture, parts=(Part("tiles", whole), Part("whole picture", whole)))
    positions = [fine.positions[0]]
    positions += [
        replace(each, part=0, label=f"tile 1 {each.label}") for each in fine.positions[1:]
    ]
    positions += [
        replace(each, part=1, label=f"whole picture {each.label}") for each in coarse.positions
    ]
    return Axis("picture", tuple(positions), picture=picture)


def looking(axis, **links):
    """A run in which position 0 gives these shares to positions by their label's number."""
    run = planted_run(axis, {})
    weights = run.attentions[0].weights.copy()
    weights[0, 0] = 0
    for place, share in links.items():
        weights[0, 0, int(place[1:])] = share
    return Run((replace(run.attentions[0], weights=weights),))


# Frame 1 row 0 column 1, frame 3 row 1 column 2; half of the rest goes to the class token.
VIDEO = {"p2": 0.25, "p18": 0.5, "p0": 0.25}
# Of the tiles row 1 column 2; of the whole the left half.
TILES = {"p7": 0.5, "p9": 0.3, "p0": 0.2}


def buttons(page):
    return page.locator("#part-buttons button").all_text_contents()


def test_every_frame_has_its_share_and_all_are_shown_first(page_of):
    page = page_of(looking(video(), **VIDEO))
    assert buttons(page) == [
        "all · 75.0 %",
        "frame 1 · 25.0 %",
        "frame 2 · 0.0 %",
        "frame 3 · 50.0 %",
    ]
    expect(page.locator("#part-buttons [aria-pressed=true]")).to_have_text("all · 75.0 %")


@pytest.mark.parametrize("nth", range(3))
def test_one_frame_is_shown_alone_and_is_that_frame(page_of, nth):
    """Read from the screen: nothing but its own grey; and where something is looked at, there."""
    page = page_of(looking(video(), **VIDEO), fragment="#opacity=0")
    page.get_by_role("button", name=f"frame {nth + 1}").click()
    page.wait_for_function(f"location.hash.includes('part={nth}')")
    shown = at_rest(page)
    height, width, _ = shown.shape
    assert width / height == pytest.approx(WIDTH / HEIGHT, rel=0.01)
    inner = shown[height // 10 : -height // 10, width // 10 : -width // 10]
    assert np.abs(inner - GREYS[nth]).max() < 3


@pytest.mark.parametrize(("nth", "middle"), [(0, (45, 15)), (2, (75, 45))])
def test_in_a_frame_is_covered_what_is_looked_at_in_it(page_of, nth, middle):
    page = page_of(looking(video(), **VIDEO), fragment=f"#part={nth}")
    assert covered_at(page, (WIDTH, HEIGHT)) == pytest.approx(middle, abs=1.5)
    share = {0: "25.0", 2: "50.0"}[nth]
    expect(page.locator("#overlay-words")).to_contain_text(
        f"75.0 % falls on the picture, 25.0 % on special positions. Shown here is frame {nth + 1},"
        f" with {share} %."
    )


@pytest.mark.parametrize("mode", ["contours", "beside", "heads"])
def test_a_frame_stands_alone_in_every_mode(page_of, mode):
    page = page_of(looking(video(), **VIDEO), fragment=f"#part=2&mode={mode}&head=0")
    images = page.locator("#overlay-live svg image").all()
    sizes = [image.bounding_box() for image in images]
    assert all(box["width"] / box["height"] == pytest.approx(1.5, rel=0.01) for box in sizes)


def test_a_click_in_a_frame_chooses_its_patch(page_of):
    page = page_of(looking(video(), **VIDEO), fragment="#part=2")
    page.locator("#overlay-live").scroll_into_view_if_needed()
    box = page.locator("#overlay-live svg image").first.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 45 / 90, box["y"] + box["height"] * 45 / 60)
    page.wait_for_function("location.hash.includes('query=17')")
    expect(page.locator("#overlay-words")).to_contain_text("“frame 3 row 1 column 1”")


def test_comma_and_full_stop_lead_from_part_to_part(page_of):
    page = page_of(looking(video(), **VIDEO))
    page.locator("#overlay-live").focus()
    for press, wanted in ((".", "part=0"), (".", "part=1"), (",", "part=0"), (",", "part=all")):
        page.keyboard.press(press)
        page.wait_for_function(f"location.hash.includes('{wanted}')")
    page.keyboard.press(",")
    page.wait_for_function("location.hash.includes('part=2')")


def test_a_button_that_was_pressed_keeps_the_focus(page_of):
    page = page_of(looking(video(), **VIDEO))
    page.get_by_role("button", name="frame 3").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash.includes('part=2')")
    expect(page.get_by_role("button", name="frame 3")).to_be_focused()


def test_who_looks_at_a_key_is_told_part_by_part(page_of):
    axis = video()
    weights = np.full((1, 19, 19), 1 / 19, np.float32)
    weights[0, :, 0] = 0
    weights[0, 1:7, 0], weights[0, 13, 0] = 0.1, 0.2
    run = Run((replace(planted_run(axis, {}).attentions[0], weights=weights, normalised=False),))
    page = page_of(run, fragment="#look=from&key=0")
    assert buttons(page) == [
        "all · 100.0 %",
        "frame 1 · 75.0 %",
        "frame 2 · 0.0 %",
        "frame 3 · 25.0 %",
    ]


def test_of_tiles_and_the_whole_the_tiles_are_shown_first(page_of):
    page = page_of(looking(tiles(), **TILES))
    assert buttons(page) == ["all · 80.0 %", "tiles · 50.0 %", "whole picture · 30.0 %"]
    words = page.locator("#overlay-words")
    expect(words).to_contain_text("Shown here is tiles, with 50.0 %.")
    expect(words).not_to_contain_text("colours mix")
    assert covered_at(page, (120, 80)) == pytest.approx((75, 60), abs=1.5)
    page.get_by_role("button", name="whole picture").click()
    expect(words).to_contain_text("Shown here is whole picture, with 30.0 %.")
    assert covered_at(page, (120, 80)) == pytest.approx((30, 40), abs=1.5)
    page.get_by_role("button", name="all").click()
    expect(words).to_contain_text("colours mix")


def test_shares_of_rounded_weights_are_told_as_such(page_of):
    run = looking(tiles(24, 24), p7=0.5, p577=0.3, p0=0.2)  # more than a report carries exactly
    name, share = buttons(page_of(run))[1].removesuffix(" %").split(" · ≈ ")
    assert name == "tiles" and float(share) == pytest.approx(50, abs=0.5)


def test_tiles_alone_are_a_grid_and_can_be_interpolated(page_of):
    page = page_of(looking(tiles(), **TILES), fragment="#patches=smooth")
    expect(page.locator("#overlay-words")).to_contain_text("values are interpolated")
    page.get_by_role("button", name="all").click()
    expect(page.locator("#overlay-words")).to_contain_text("nothing is interpolated")


def test_a_picture_in_one_has_no_buttons(page_of):
    page = page_of(planted_run(grid_axis(120, 80, 6, 4), {0: 3}))
    expect(page.locator("#overlay-parts")).to_be_hidden()
    page.locator("#overlay-live").focus()
    page.keyboard.press(".")
    assert "part=" not in page.url


def test_without_scripts_the_tiles_are_told_from_the_whole(page_of):
    page = page_of(looking(tiles(), **TILES), java_script_enabled=False, ready=False)
    still = page.locator("#overlay-still")
    # Nothing is waited for: a page without scripts is whole at once, and tells no frame.
    assert (
        "80.0% of its attention falls on the picture, 50.0% on tiles, 30.0% on whole picture; "
        "shown here is tiles; full colour stands for 0.5000"
    ) in " ".join(still.inner_text().split())
    assert still.locator("svg path[fill-opacity]").count() >= 8


def test_a_figure_shows_the_part_that_is_asked_for(tmp_path, capsys):
    Report(looking(video(), **VIDEO)).save(tmp_path / "r.html")
    looking(video(), **VIDEO).save(tmp_path / "r.safetensors")
    for source in ("r.html", "r.safetensors"):
        words = ["export", str(tmp_path / source), "--view", "overlay", "--part", "frame 3"]
        assert main([*words, "--force", "-o", str(tmp_path / "f.png")]) == 0
        assert "50.0% on frame 3; shown here is frame 3; full colour" in capsys.readouterr().out
        figure = np.asarray(Image.open(tmp_path / "f.png").convert("L"), dtype=int)
        greys = {grey: int((figure == grey).sum()) for grey in GREYS}
        assert greys[160] > 1000 > max(greys[20], greys[90])


def test_a_part_that_there_is_not_is_refused(tmp_path):
    looking(tiles(), **TILES).save(tmp_path / "tiles.safetensors")
    planted_run(grid_axis(90, 60, 3, 2), {0: 1}).save(tmp_path / "one.safetensors")
    target = tmp_path / "f.png"
    with pytest.raises(InvalidInput, match="has tiles, whole picture, all"):
        export(tmp_path / "tiles.safetensors", target, view="overlay", part="tile 1")
    with pytest.raises(InvalidInput, match="has no parts"):
        export(tmp_path / "one.safetensors", target, view="overlay", part="all")
    with pytest.raises(InvalidOption, match="a part is for the overlay"):
        export(tmp_path / "tiles.safetensors", target, part="tiles")


def test_parts_come_back_from_a_run_and_from_a_report(tmp_path):
    run = looking(tiles(), **TILES)
    run.save(tmp_path / "run.safetensors")
    assert Run.load(tmp_path / "run.safetensors").attentions[0].keys == run.attentions[0].keys
    Report(run).save(tmp_path / "r.html")
    keys = read_head(tmp_path / "r.html", None, None).attention.keys
    assert keys.picture.parts == run.attentions[0].keys.picture.parts
    assert [each.part for each in keys] == [each.part for each in run.attentions[0].keys]


def test_a_part_that_lies_nowhere_is_refused():
    picture = Picture.of(Image.new("RGB", (10, 10)))
    with pytest.raises(InvalidRun, match="'frame 1' has box"):
        replace(picture, parts=(Part("frame 1", (0, 0, 11, 10)),))
    with pytest.raises(InvalidRun, match="has the name ''"):
        Part("", (0, 0, 1, 1))
    with pytest.raises(InvalidRun, match="is of part 0, but the picture has 0"):
        Axis("picture", (Position("a", box=(0, 0, 1, 1), part=0),), picture=picture)


def test_a_frame_is_taken_out_as_it_is_shown(page_of, saved):
    page = page_of(looking(video(), **VIDEO), fragment="#part=2&opacity=0")
    for button in ("#take-png", "#take-svg"):
        _, content = saved(page, button)
        if button == "#take-svg":
            assert b"data:image/svg+xml;base64," in content
            continue
        shown = np.asarray(Image.open(io.BytesIO(content)).convert("L"), dtype=int)
        counts = {grey: int((np.abs(shown - grey) < 2).sum()) for grey in GREYS}
        assert counts[160] > shown.size / 3 and max(counts[20], counts[90]) < shown.size / 100
