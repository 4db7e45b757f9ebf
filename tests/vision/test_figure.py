"""`attnreport export --view overlay`: the picture and what a query looks at, as a figure."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from planted import grid_axis, planted_run

from attnreport import Axis, Report, Run
from attnreport.cli import main
from attnreport.errors import InvalidInput, InvalidOption
from attnreport.export import export
from attnreport.page.reading import read_head

COLUMNS, ROWS, WIDTH, HEIGHT = 4, 7, 90, 210


def planted():
    """Over a tall picture the class token looks at row 5 column 2, query 9 at row 1 column 0."""
    axis = grid_axis(WIDTH, HEIGHT, COLUMNS, ROWS)
    return planted_run(axis, {0: 1 + 5 * COLUMNS + 2, 9: 1 + COLUMNS}, share=0.75)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    planted().save(folder / "run.safetensors")
    Report(planted()).save(folder / "report.html")
    return folder


def covered(path):
    """Where a PNG's overlay is brightest, in pixels of the picture."""
    shown = np.asarray(Image.open(path).convert("RGB"), dtype=float)
    # Of the figure only the picture is dark nearly everywhere, and the brightest patch is in it.
    dark = shown.sum(axis=2) < 300
    rows, columns = np.nonzero(dark.mean(axis=1) > 0.4)[0], np.nonzero(dark.mean(axis=0) > 0.4)[0]
    inside = shown[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1, 0]
    y, x = np.nonzero(inside > 0.9 * inside[5:-5, 5:-5].max())
    return (x.mean() + 0.5) / inside.shape[1] * WIDTH, (y.mean() + 0.5) / inside.shape[0] * HEIGHT


@pytest.mark.parametrize("source", ["report.html", "run.safetensors"])
def test_the_figure_is_covered_where_the_query_looks(sources, source, tmp_path):
    export(sources / source, tmp_path / "f.png", view="overlay")
    middle = (2.5 * WIDTH / COLUMNS, 5.5 * HEIGHT / ROWS)
    assert covered(tmp_path / "f.png") == pytest.approx(middle, abs=1.5)


def test_the_figure_of_another_query(sources, tmp_path):
    made = export(sources / "report.html", tmp_path / "f.svg", view="overlay", query=9)
    assert made.shown.startswith("what r2 c0 looks at: 99.1% of its attention falls on the picture")
    text = (tmp_path / "f.svg").read_text(encoding="utf-8")
    assert "head 0: exact float32 weights; what r2 c0 looks at" in text
    # The chosen query has an outline, and the bar has the largest weight as its last mark.
    assert len(re.findall(r'fill-opacity="0"[^>]*stroke="#(?:fff|000)', text)) == 2
    assert re.findall(r">([\d.]+)</text>", text)[-1] == "0.75"


def test_without_a_class_token_it_is_the_mean(tmp_path):
    axis = grid_axis(WIDTH, HEIGHT, COLUMNS, ROWS, prefix=())
    run = planted_run(axis, dict.fromkeys(range(len(axis)), 13))
    run.save(tmp_path / "run.safetensors")
    made = export(tmp_path / "run.safetensors", tmp_path / "f.pdf", view="overlay")
    assert made.shown.startswith("what is looked at, mean over all queries: 100.0% of")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF-")


def test_patches_over_each_other_are_said_to_mix(tmp_path):
    even = grid_axis(WIDTH, HEIGHT, COLUMNS, ROWS)
    for axis, mixed in ((even, False), (replace(even, positions=even.positions * 2), True)):
        planted_run(axis, {0: 3}).save(tmp_path / "run.safetensors")
        source, target = tmp_path / "run.safetensors", tmp_path / "f.svg"
        made = export(source, target, view="overlay", force=True)
        assert ("patches lie over each other, so colours mix" in made.shown) == mixed


def test_a_report_gives_its_axes_back(tmp_path):
    """Of two pictures one stands in the page itself, the other in the document."""
    first = grid_axis(90, 61, 7, 3)
    second = replace(grid_axis(50, 80, 3, 5, prefix=("[CLS]", "[register]")), name="other")
    cross = planted_run(first, {0: 3}, keys=second).attentions[0]
    own = replace(planted_run(first, {0: 3}).attentions[0], layer=1)
    Report(Run((cross, own))).save(tmp_path / "report.html")
    for layer, attention in enumerate((cross, own)):
        found = read_head(tmp_path / "report.html", layer).attention
        for axis, back in ((attention.queries, found.queries), (attention.keys, found.keys)):
            assert back.picture == axis.picture
            for wanted, got in zip(axis, back, strict=True):
                assert (got.label, got.role) == (wanted.label, wanted.role)
                assert got.box == (wanted.box and pytest.approx(wanted.box, abs=5.1e-5))


def refused(source, tmp_path, *words):
    return main(["export", str(source), "-o", str(tmp_path / "f.png"), "--view", "overlay", *words])


def test_what_cannot_be_laid_is_one_line(sources, run_of, tmp_path, capsys):
    run_of().save(tmp_path / "text.safetensors")
    Report(run_of()).save(tmp_path / "text.html")
    for name in ("text.safetensors", "text.html"):
        assert refused(tmp_path / name, tmp_path) == 2
        message = capsys.readouterr().err
        assert message.count("\n") == 1
        assert "has no overlay: its keys, 'text', have no places in a picture" in message
    assert refused(sources / "report.html", tmp_path, "--query", "29") == 2
    assert "no query 29: layer 0 (layer) has queries 0 to 28" in capsys.readouterr().err
    assert not (tmp_path / "f.png").exists()


def test_overlays_are_figures_and_queries_are_for_overlays(sources, tmp_path):
    with pytest.raises(InvalidOption, match=r"should end in \.svg, \.png, \.pdf"):
        export(sources / "report.html", tmp_path / "f.csv", view="overlay")
    with pytest.raises(InvalidOption, match="add --view overlay"):
        export(sources / "report.html", tmp_path / "f.png", query=0)


def test_the_command_says_what_is_shown(sources, tmp_path, capsys):
    assert refused(sources / "report.html", tmp_path, "--query", "0", "--layer", "0") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("layer 0, head 0, exact float32 weights")
    assert second.startswith("  what [CLS] looks at: ")
    assert "full colour stands for 0.7500" in second


def url(content):
    return "data:image/png;base64," + base64.b64encode(content).decode()


def png(side):
    buffer = io.BytesIO()
    Image.new("1", (side, 2)).save(buffer, "PNG")
    return buffer.getvalue()


HOSTILE = {
    "role": lambda document: document["axes"][0].update(roles="x" * 29),
    "roles missing": lambda document: document["axes"][0].update(roles="s"),
    "boxes missing": lambda document: document["places"][0].update(boxes=[]),
    "no such picture": lambda document: document["places"][0].update(picture=7),
    "box outside": lambda document: document["places"][0]["boxes"].__setitem__(1, [0, 0, 999, 1]),
    "not base64": lambda document: document["pictures"][0].update(url="data:image/png;base64,%"),
    "no picture": lambda document: document["pictures"][0].update(url=url(b"<svg/>")),
    "half a picture": lambda document: document["pictures"][0].update(url=url(png(9)[:20])),
    "huge picture": lambda document: document["pictures"][0].update(url=url(png(30_000))),
    "empty picture": lambda document: document["pictures"][0].update(width=0),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_a_report_with_wrong_places_is_refused(change, sources, tmp_path):
    text = (sources / "report.html").read_text(encoding="utf-8")
    start = text.index('id="document">') + len('id="document">')
    end = text.index("</script>", start)
    document = json.loads(text[start:end])
    change(document)
    changed = text[:start] + json.dumps(document) + text[end:]
    (tmp_path / "r.html").write_text(changed, encoding="utf-8")
    with pytest.raises(InvalidInput, match="damaged report"):
        export(tmp_path / "r.html", tmp_path / "f.png", view="overlay")


def test_an_axis_without_its_picture_is_no_place_to_lay_it(tmp_path):
    axis = grid_axis(WIDTH, HEIGHT, COLUMNS, ROWS)
    planted_run(Axis(axis.name, axis.positions), {0: 3}).save(tmp_path / "run.safetensors")
    with pytest.raises(InvalidInput, match="have no places in a picture that was kept"):
        export(tmp_path / "run.safetensors", tmp_path / "f.png", view="overlay")
