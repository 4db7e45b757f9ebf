"""One head comes out of a report or a run as it went in; what is not a report is one error."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import zlib

import numpy as np
import pytest
from PIL import Image
from runs import small_run, softmax

from attnreport import Attention, Axis, Report, Run
from attnreport.cli import main
from attnreport.errors import InvalidInput, InvalidOption, OutputError
from attnreport.export import export
from attnreport.page.reading import read_head


@pytest.fixture(scope="module")
def small():
    return small_run(layers=2, heads=3, queries=4, keys=6)


@pytest.fixture(scope="module")
def large():
    return small_run(layers=2, heads=8, queries=256)


@pytest.fixture(scope="module")
def reports(small, large, tmp_path_factory):
    """The two runs' files, and the large one's coarser report."""
    folder = tmp_path_factory.mktemp("reports")
    Report(small).save(folder / "small.html")
    Report(large).save(folder / "large.html")
    finest = (folder / "large.html").stat().st_size
    Report(large, max_size=int(0.92 * finest)).save(folder / "coarse.html")
    Report(large, max_size=int(0.72 * finest)).save(folder / "joined.html")
    small.save(folder / "small.safetensors")
    return folder


def test_exact_weights_come_back_bit_by_bit(small, reports):
    for layer in range(2):
        for head in range(3):
            found = read_head(reports / "small.html", layer, head)
            np.testing.assert_array_equal(found.weights, small.attentions[layer].weights[head])
            assert found.attention.queries.labels == small.attentions[layer].queries.labels
            assert found.attention.keys.labels == small.attentions[layer].keys.labels
            assert found.precision == "exact float32 weights"


@pytest.mark.parametrize("name", ["large.html", "coarse.html"])
def test_coded_weights_come_back_within_what_is_said(name, large, reports):
    found = read_head(reports / name, 1, 5)
    weights = large.attentions[1].weights[5]
    said = float(re.search(r"± (0\.\d+)", found.precision)[1])
    assert np.abs(np.sqrt(found.weights) - np.sqrt(weights)).max() <= said + 1e-4
    if name == "coarse.html":
        assert found.sure.sum(axis=1).tolist() == [8] * 256
        assert np.abs(found.weights - weights)[found.sure].max() <= 1.1e-6
        assert "largest weights of each row to ± 0.000001" in found.precision


def test_joined_positions_are_said(reports):
    found = read_head(reports / "joined.html", 0, 0)
    assert found.joined > 1
    assert f"every {found.joined} neighbouring positions of a kind joined" in found.precision
    assert len(found.attention.queries) == 1 + -(-255 // found.joined)  # [CLS] stays alone


def test_the_head_that_the_report_opens_with_is_the_default(small, reports):
    found = read_head(reports / "small.html")
    assert found.attention.layer == Report(small).layer
    assert found.head == 0


@pytest.mark.parametrize("source", ["small.html", "small.safetensors"])
def test_csv_holds_the_labels_and_the_weights(source, small, reports, tmp_path):
    export(reports / source, tmp_path / "w.csv", layer=1, head=2)
    content = (tmp_path / "w.csv").read_bytes()
    assert content.count(b"\r\n") == 5
    header, *rows = csv.reader(io.StringIO(content.decode(), newline=""))
    assert tuple(header[1:]) == small.attentions[1].keys.labels
    assert tuple(row[0] for row in rows) == small.attentions[1].queries.labels
    numbers = np.array([row[1:] for row in rows], np.float32)
    np.testing.assert_array_equal(numbers, small.attentions[1].weights[2])


LABELS = ["=1+1", "+x", "-x", "@x", "a,b", 'a"b', "a\nb", " =1", "\tx", "字"]


def test_csv_quotes_labels_and_makes_no_formulas(tmp_path):
    axis = Axis.of_labels("text", LABELS)
    run = Run((Attention(softmax((1, 10, 10), 0), "a", 0, "self", axis, axis),))
    run.save(tmp_path / "run.safetensors")
    export(tmp_path / "run.safetensors", tmp_path / "w.csv")
    text = (tmp_path / "w.csv").read_bytes().decode()
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    expected = ["'=1+1", "'+x", "'-x", "'@x", "a,b", 'a"b', "a\nb", " =1", "'\tx", "字"]
    assert header == ["", *expected]
    assert [row[0] for row in rows] == expected


def test_npz_holds_no_pickles(small, reports, tmp_path):
    export(reports / "small.html", tmp_path / "w.npz", layer=0, head=1)
    with np.load(tmp_path / "w.npz", allow_pickle=False) as arrays:
        np.testing.assert_array_equal(arrays["weights"], small.attentions[0].weights[1])
        assert arrays["queries"].tolist() == list(small.attentions[0].queries.labels)
        assert arrays["sure"].all()
        assert arrays["precision"] == "exact float32 weights"
        assert (arrays["layer"], arrays["head"]) == (0, 1)


def test_svg_has_text_as_text_and_says_how_exact(small, reports, tmp_path):
    export(reports / "small.html", tmp_path / "f.svg", layer=0, head=1)
    text = (tmp_path / "f.svg").read_text(encoding="utf-8")
    for label in small.attentions[0].keys.labels:
        assert f">{label}</text>" in text
    assert "exact float32 weights" in text
    assert "layer 0 (encoder.layer.0.attention), head 1" in text


def test_png_is_large_on_white_and_says_how_exact(reports, tmp_path):
    export(reports / "small.html", tmp_path / "f.png")
    image = Image.open(tmp_path / "f.png")
    assert "exact float32 weights" in image.text["Description"]
    assert image.size[0] > 3 * 6 * 30
    assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)


def test_pdf_is_one_page_of_vectors(reports, tmp_path):
    export(reports / "small.html", tmp_path / "f.pdf")
    content = (tmp_path / "f.pdf").read_bytes()
    assert content.startswith(b"%PDF-")
    assert b"%%EOF" in content[-32:]
    assert b"/FontFile" in content or b"/Font" in content


def test_command_says_what_it_wrote(reports, tmp_path, capsys):
    target = str(tmp_path / "f.csv")
    words = ["export", str(reports / "small.html"), "--layer", "1", "--head", "2", "-o", target]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{target}: ")
    assert out.endswith("layer 1, head 2, exact float32 weights\n")
    assert err == ""
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def script(document, layer):
    return (
        f'<!doctype html><script type="application/json" id="document">{json.dumps(document)}'
        f'</script><script type="application/json" id="layer-0">{json.dumps(layer)}</script>'
    )


SAFE = str.maketrans("&<>`", ",./:")


def parts(labels=3, *, codes=b"", **changes):
    axis = {"name": "text", "labels": ["x"] * labels}
    document = {
        "axes": [axis],
        "layers": [{"name": "a", "queries": 0, "keys": 0, "heads": 1}],
        "shown": {"layer": 0, "head": 0},
        "exact": False,
        "levels": 64,
        **changes,
    }
    content = codes or bytes(labels * (labels + 1))
    return document, {"heads": [base64.b85encode(zlib.compress(content)).decode().translate(SAFE)]}


def with_layer(**changes):
    document, layer = parts()
    return script({**document, "layers": [{**document["layers"][0], **changes}]}, layer)


HOSTILE = {
    "empty": "",
    "not ours": "<!doctype html><p>hello",
    "no layer": script(*parts()).split('<script type="application/json" id="layer-0">')[0],
    "truncated": script(*parts())[:-60],
    "not json": script(*parts()).replace('{"axes"', '{"axes'),
    "not an object": '<script type="application/json" id="document">[]</script>',
    "bomb": script(*parts(codes=bytes(50_000_000))),
    "too little": script(*parts(codes=bytes(3))),
    "high codes": script(*parts(codes=b"\xff" * 12)),
    "levels": script(*parts(levels=0)),
    "not base85": script(parts()[0], {"heads": ["&amp;"]}),
    "other characters": script(parts()[0], {"heads": ["\u00e4\u00f6"]}),
    "over four bytes": script(parts()[0], {"heads": ["~~~~~"]}),
    "filter": script(*parts(codes=bytes([2, 1, 1, 1] * 3))),
    "two filters": script(*parts(codes=bytes([4, 1, 1, 1] + [0] * 8))),
    "not deflate": script(parts()[0], {"heads": ["AAAA"]}),
    "heads missing": script(parts()[0], {"heads": []}),
    "huge": script(*parts(40_000, codes=b"1")),
    "axis": with_layer(queries=7),
    "negative axis": with_layer(keys=-1),
    "many heads": with_layer(heads=2**70),
    "short refinement": script(parts(12)[0], {**parts(12)[1], "largest": ["AA=="]}),
    "no refinement": script(parts(12)[0], {**parts(12)[1], "largest": []}),
    "exact": script(parts(exact=True)[0], {"heads": [], "exact": "AAAA"}),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_report_is_one_line_and_exit_code_2(text, tmp_path, capsys):
    (tmp_path / "report.html").write_text(text, encoding="utf-8")
    assert main(["export", str(tmp_path / "report.html"), "-o", str(tmp_path / "f.csv")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "report" in err
    assert not (tmp_path / "f.csv").exists()


def test_the_parts_these_are_made_of_are_a_report(tmp_path):
    # Else every one of them would be refused for something else than what it is about.
    (tmp_path / "report.html").write_text(script(*parts()), encoding="utf-8")
    assert read_head(tmp_path / "report.html").weights.shape == (3, 3)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"layer": 2}, "no layer 2: the report has layers 0 to 1"),
        ({"layer": 0, "head": 3}, "no head 3: layer 0 has heads 0 to 2"),
    ],
)
def test_layer_or_head_out_of_range_is_refused(place, message, reports, tmp_path):
    with pytest.raises(InvalidInput, match=message):
        export(reports / "small.html", tmp_path / "f.csv", **place)


def test_binary_and_missing_files_are_refused(tmp_path):
    (tmp_path / "binary.html").write_bytes(bytes(range(256)))
    with pytest.raises(InvalidInput, match="not UTF-8"):
        export(tmp_path / "binary.html", tmp_path / "f.csv")
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        export(tmp_path / "missing.html", tmp_path / "f.csv")


def test_a_form_that_there_is_not_is_refused(reports, tmp_path):
    with pytest.raises(InvalidOption, match=r"should end in one of \.svg, \.png, \.pdf"):
        export(reports / "small.html", tmp_path / "f.gif")


def test_an_existing_file_is_refused_without_force(reports, tmp_path):
    (tmp_path / "f.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        export(reports / "small.html", tmp_path / "f.csv")
    export(reports / "small.html", tmp_path / "f.csv", force=True)
    assert (tmp_path / "f.csv").read_text() != "mine"


def test_build_prints_one_json_object(tmp_path, capsys, reports):
    run, output = str(reports / "small.safetensors"), tmp_path / "r.html"
    assert main(["build", run, "-o", str(output), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {
        "path": str(output),
        "bytes": output.stat().st_size,
        "attentions": 2,
        "heads": 6,
        "missed": 0,
        "reductions": [],
    }


def test_build_keeps_below_its_largest_size(tmp_path, capsys, large):
    large.save(tmp_path / "run.safetensors")
    output = tmp_path / "r.html"
    words = ["build", str(tmp_path / "run.safetensors"), "-o", str(output), "--max-size"]
    assert main([*words, "1.75MB", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["bytes"] == output.stat().st_size <= 1_750_000
    assert printed["reductions"]
    assert main([*words, "1kB", "--force"]) == 2
    assert "takes at least" in capsys.readouterr().err
    for wrong in ("", "much", "-1", "1TB", "1e9"):
        assert main([*words, wrong, "--force"]) == 2
        assert "expected a size such as 16MB" in capsys.readouterr().err
