"""A Run holds what capture found or says what is wrong with it; its file gives the same back."""

from __future__ import annotations

import dataclasses
import json
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import small_run, softmax, words

from attnreport import Attention, Axis, LedgerEntry, Position, Provenance, Run
from attnreport.errors import InvalidInput, InvalidRun, OutputError

ROWS, COLUMNS = words("target", 2), words("source", 3)


def attention(weights=None, **fields):
    """One attention of 1 head, 2 queries and 3 keys, with something of it changed."""
    weights = softmax((1, 2, 3), 0) if weights is None else weights
    fields = {"name": "decoder.0", "layer": 0, "kind": "cross", **fields}
    return Attention(weights, **{"queries": ROWS, "keys": COLUMNS, **fields})


def weights_of(*rows):
    return np.array([rows], np.float32)


HALF = (0.5, 0.5, 0)
BAD_ATTENTIONS = [
    (
        {"weights": np.zeros((1, 2, 3))},
        "expected float32 weights (head, query, key), got float64 (1, 2, 3)",
    ),
    (
        {"weights": np.zeros((2, 3), np.float32)},
        "expected float32 weights (head, query, key), got float32 (2, 3)",
    ),
    ({"weights": np.zeros((0, 2, 3), np.float32)}, "no heads"),
    ({"queries": COLUMNS}, "2 query positions, but axis 'source' has 3"),
    ({"keys": ROWS}, "3 key positions, but axis 'target' has 2"),
    (
        {"sink": np.zeros((1, 3), np.float32)},
        "expected a sink of shape (1, 2), got (1, 3)",
    ),
    (
        {"weights": weights_of(HALF, (1.5, -0.5, 0))},
        "expected weights in [0, 1], got 1.5 at head 0, query 1, key 0",
    ),
    (
        {"weights": weights_of((0.5, 0.75, -0.25), HALF)},
        "expected weights in [0, 1], got -0.25 at head 0, query 0, key 2",
    ),
    (
        {"weights": weights_of(HALF, (0.5, 0.25, 0))},
        "expected rows that sum to 1 or 0, got 0.75 at head 0, query 1",
    ),
    (
        {"weights": weights_of(HALF, HALF), "sink": np.array([[0, 0.5]], np.float32)},
        "expected rows that sum to 1 or 0, got 1.5 at head 0, query 1",
    ),
]


@pytest.mark.parametrize(("fields", "message"), BAD_ATTENTIONS)
def test_bad_attention_is_refused_with_what_and_where(fields, message):
    with pytest.raises(InvalidRun) as raised:
        attention(**fields)
    assert str(raised.value) == f"attention 0 (decoder.0): {message}"


def test_unnamed_attention_is_called_so():
    with pytest.raises(InvalidRun, match=r"^attention 4 \(unnamed\): no heads$"):
        attention(np.zeros((0, 2, 3), np.float32), name="", layer=4)


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": weights_of(HALF, (0, 0, 0))},  # everything was masked
        {"weights": weights_of(HALF, (0.25, 0.25, 0)), "sink": np.array([[0, 0.5]], np.float32)},
        {"weights": weights_of((0.9, 0.9, 0.9), (0.1, 0, 0)), "normalised": False},
        {"weights": weights_of((np.nan, 0.5, 0.5), (np.inf, 0, 0))},
        {"weights": weights_of((0.5, 0.51, 0), HALF), "dtype": "float16"},
        {"weights": np.zeros((1, 2, 0), np.float32), "keys": Axis("source", ())},
    ],
)
def test_true_attention_is_accepted(fields):
    assert attention(**fields).heads == 1


def test_sum_that_float32_allows_not_is_allowed_in_float16():
    weights = weights_of((0.5, 0.51, 0), HALF)
    with pytest.raises(InvalidRun, match="sum to 1"):
        attention(weights)
    assert attention(weights.copy(), dtype="float16").dtype == "float16"


def test_nonfinite_weights_are_counted_and_kept():
    held = attention(weights_of((np.nan, 0.5, 0.5), (np.inf, 0, -np.inf)))
    assert held.nonfinite == 3
    assert np.isnan(held.weights[0, 0, 0])
    assert held.weights[0, 1, 2] == -np.inf


def test_arrays_cannot_be_written():
    sink = np.zeros((1, 2), np.float32)
    held = attention(sink=sink)
    for array in (held.weights, held.sink):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        held.weights = sink


@pytest.mark.parametrize(
    ("dtype", "residual", "checked"),
    [
        ("float32", 1e-6, True),
        ("float32", 1e-4, False),
        ("float16", 1e-3, True),
        ("bfloat16", 1e-2, True),
        ("bfloat16", 1e-1, False),
        ("float32", None, False),
        ("float32", float("nan"), False),
    ],
)
def test_residual_is_judged_by_precision(dtype, residual, checked):
    assert attention(dtype=dtype, residual=residual).checked is checked


def test_run_without_attention_is_refused():
    with pytest.raises(InvalidRun) as raised:
        Run(())
    assert str(raised.value) == "a run must hold at least one attention, got none"


def test_layer_out_of_order_is_refused():
    with pytest.raises(InvalidRun) as raised:
        Run((attention(layer=2), attention(layer=2)))
    assert str(raised.value) == "attention 1 says it is layer 2, after 2"


def test_numbers_that_a_selection_left_are_found_by_name():
    run = Run((attention(layer=2), attention(layer=7)))
    assert [run.place(2), run.place(7)] == [0, 1]
    with pytest.raises(InvalidInput) as raised:
        run.place(1)
    assert str(raised.value) == "no layer 1: the run has layers 2, 7"
    assert run.attentions[0].head_numbers == (0,)
    some = attention(softmax((3, 2, 3), 0), layer=7, head_numbers=(5, 3, 4))
    assert some.head_place(4) == 2
    with pytest.raises(InvalidInput) as raised:
        some.head_place(0)
    assert str(raised.value) == "no head 0: layer 7 has heads 5, 3 to 4"


@pytest.mark.parametrize("numbers", [(0,), (0, 0), (-1, 0)])
def test_numbers_that_do_not_tell_heads_apart_are_refused(numbers):
    weights = softmax((2, 3, 3), 0)
    axis = words("text", 3)
    with pytest.raises(InvalidRun, match="expected a number from 0 for each of 2 heads, got"):
        Attention(weights, "attention", 0, "self", axis, axis, head_numbers=numbers)


def test_ledger_of_a_layer_not_held_is_refused():
    with pytest.raises(InvalidRun) as raised:
        Run((attention(),), (LedgerEntry("decoder.1", "sdpa", 1),))
    assert str(raised.value) == "ledger entry 'decoder.1' names layer 1, not held"


def test_axes_are_listed_once_in_order_of_first_use():
    both = small_run(layers=1, keys=4).attentions[0]
    rows = both.queries
    own = Attention(softmax((2, 5, 5), 1), "decoder.self", 0, "self", rows, rows)
    run = Run((own, replace(both, layer=1)))
    assert [axis.name for axis in run.axes] == ["target", "source"]


def test_missed_entries_are_those_without_a_layer():
    missed = LedgerEntry("decoder.1", "flash_attn", reason="no recorder")
    run = Run((attention(),), (LedgerEntry("decoder.0", "sdpa", 0), missed))
    assert run.missed == (missed,)


def full_run():
    """A run in which every field of every class says something."""
    text = "naïve 猫 👩‍👧"
    rows = Axis(
        "target",
        (Position("naïve", span=(0, 5)), Position("猫", span=(6, 7), role="generated")),
        text,
    )
    columns = Axis("picture", (Position("patch", box=(0, 0.5, 16, 15.25)), *ROWS.positions))
    weights = np.array([[[0.25, 0.25, 0.25], [np.nan, np.inf, 0]]], np.float32)
    held = Attention(
        weights,
        "decoder.0",
        0,
        "cross",
        rows,
        columns,
        dtype="bfloat16",
        residual=0.125,
        sink=np.array([[0.25, 0]], np.float32),
    )
    loose = replace(held, layer=1, sink=None, residual=None, normalised=False, dtype="float32")
    ledger = (LedgerEntry("decoder.0", "sdpa", 0), LedgerEntry("x", "flash", reason="no recorder"))
    provenance = Provenance(
        model="demo:translate",
        model_digest="sha256:aa",
        input_text=text,
        input_digest="sha256:bb",
        versions={"torch": "2.13.0", "numpy": "2.4"},
        dtype="bfloat16",
        device="cpu",
        seed=7,
        command="attnreport build demo:translate",
        created="2021-03-05",
        notes=("cut to 512 tokens",),
    )
    return Run((held, loose), ledger, provenance)


def assert_same(one, other):
    assert one.provenance == other.provenance
    assert one.ledger == other.ledger
    assert one.axes == other.axes
    assert len(one.attentions) == len(other.attentions)
    for a, b in zip(one.attentions, other.attentions, strict=True):
        for name in (field.name for field in dataclasses.fields(Attention)):
            if name in ("weights", "sink"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            else:
                assert getattr(a, name) == getattr(b, name), name


@pytest.mark.parametrize("make", [full_run, small_run, lambda: small_run(keys=7, causal=False)])
def test_file_gives_the_same_run_back(make, tmp_path):
    make().save(tmp_path / "run.safetensors")
    loaded = Run.load(tmp_path / "run.safetensors")
    assert_same(loaded, make())
    assert not loaded.attentions[0].weights.flags.writeable


def test_same_run_gives_the_same_file():
    assert full_run().to_bytes() == full_run().to_bytes()


def test_file_is_plain_safetensors_that_others_can_read():
    arrays = safetensors.numpy.load(full_run().to_bytes())
    assert sorted(arrays) == ["attention.0.sink", "attention.0.weights", "attention.1.weights"]
    np.testing.assert_array_equal(arrays["attention.0.weights"], full_run().attentions[0].weights)


def test_save_names_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*absent.*: No such file or directory"):
        small_run().save(tmp_path / "absent" / "run.safetensors")


def file_with(path, change, arrays=None):
    """Write a small run whose JSON document ``change`` has altered."""
    original = small_run(layers=1).to_bytes()
    (length,) = struct.unpack("<Q", original[:8])
    document = json.loads(json.loads(original[8 : 8 + length])["__metadata__"]["attnreport"])
    document = change(document) or document
    if arrays is None:
        arrays = safetensors.numpy.load(original)
    path.write_bytes(safetensors.numpy.save(arrays, {"attnreport": json.dumps(document)}))
    return path


WEIGHTS = {"attention.0.weights": softmax((3, 5, 5), 0)}
BAD_DOCUMENTS = [
    (
        lambda document: document.update(schema=6),
        WEIGHTS,
        "the run has schema 6, this attnreport reads up to 5; upgrade attnreport to open it",
    ),
    (
        # A newer schema is named as such even where nothing else of it can be understood.
        lambda document: {"schema": 9, "layers": "elsewhere"},
        WEIGHTS,
        "the run has schema 9, this attnreport reads up to 5; upgrade attnreport to open it",
    ),
    (
        lambda document: document.pop("schema") and None,
        WEIGHTS,
        "the run's document is damaged: Object missing required field `schema`",
    ),
    (
        lambda document: document["attentions"][0].update(kind="sideways"),
        WEIGHTS,
        "the run's document is damaged: Invalid enum value 'sideways' - at `$.attentions[0].kind`",
    ),
    (
        lambda document: document["attentions"][0].update(queries=3),
        WEIGHTS,
        "attention 0 names axis 3, the file has 1",
    ),
    (
        lambda document: document["attentions"][0].update(keys=-1),
        WEIGHTS,
        "attention 0 names axis -1, the file has 1",
    ),
    (
        lambda document: document["attentions"][0].update(has_sink=True),
        WEIGHTS,
        "attention 0: the array attention.0.sink is missing",
    ),
    (lambda document: None, {}, "attention 0: the array attention.0.weights is missing"),
    (
        lambda document: document.update(attentions=[]),
        WEIGHTS,
        "a run must hold at least one attention, got none",
    ),
    (
        lambda document: document["axes"][0]["positions"].pop() and None,
        WEIGHTS,
        "attention 0 (encoder.layer.0.attention): 5 query positions, but axis 'text' has 4",
    ),
    (
        lambda document: document["axes"][0]["positions"][1].update(label=""),
        WEIGHTS,
        "a position's label is empty; name the token instead, e.g. '␣'",
    ),
    (
        lambda document: None,
        {"attention.0.weights": softmax((3, 5, 5), 0).astype(np.float64)},
        "expected the array attention.0.weights as F32, got F64",
    ),
    (
        lambda document: None,
        {"attention.0.weights": softmax((3, 5, 5), 0) / 2},
        "attention 0 (encoder.layer.0.attention): expected rows that sum to 1 or 0, got 0.5 "
        "at head 0, query 0",
    ),
]


@pytest.mark.parametrize(("change", "arrays", "message"), BAD_DOCUMENTS)
def test_bad_document_is_refused_with_file_and_place(change, arrays, message, tmp_path):
    path = file_with(tmp_path / "run.safetensors", change, arrays)
    with pytest.raises(InvalidRun) as raised:
        Run.load(path)
    assert str(raised.value) == f"{path}: {message}"


def test_a_run_of_the_first_schema_is_read(tmp_path):
    def first(document):
        document["schema"] = 1
        del document["attentions"][0]["reduced"]

    loaded = Run.load(file_with(tmp_path / "run.safetensors", first))
    assert loaded.attentions[0].reduced is None


def test_unchanged_document_is_read(tmp_path):
    assert (
        Run.load(file_with(tmp_path / "run.safetensors", lambda _: None)).attentions[0].heads == 3
    )


def test_foreign_safetensors_file_is_named_so(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors.numpy.save(WEIGHTS))
    with pytest.raises(InvalidRun) as raised:
        Run.load(path)
    assert str(raised.value) == f"{path}: a safetensors file, but not a saved attnreport run"


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<html>", b"\xff" * 16, None])
def test_what_is_no_such_file_is_refused(content, tmp_path):
    path = tmp_path / "run.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidRun) as raised:
        Run.load(path)
    assert str(raised.value).startswith(f"{path} cannot be read as a saved run: ")
    assert "\n" not in str(raised.value)


def test_folder_is_refused(tmp_path):
    with pytest.raises(InvalidRun, match="cannot be read as a saved run"):
        Run.load(tmp_path)


def test_half_a_file_is_refused(tmp_path):
    whole = full_run().to_bytes()
    path = tmp_path / "run.safetensors"
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InvalidRun):
            Run.load(path)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_file_is_refused_or_read_but_never_breaks(tmp_path_factory, data):
    content = bytearray(small_run(layers=1).to_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(content)
    try:
        assert isinstance(Run.load(path), Run)
    except InvalidRun as error:
        assert str(path) in str(error)  # either is right; a crash is not


@pytest.mark.parametrize("dtype", ["BF16", "F8_E4M3", "I64", "BOOL"])
def test_array_of_a_foreign_type_is_refused(dtype, tmp_path):
    original = small_run(layers=1, heads=1, queries=2).to_bytes()
    (length,) = struct.unpack("<Q", original[:8])
    header = json.loads(original[8 : 8 + length])
    sizes = {"BF16": 2, "F8_E4M3": 1, "I64": 8, "BOOL": 1}
    size = 4 * sizes[dtype]
    header["attention.0.weights"] |= {"dtype": dtype, "data_offsets": [0, size]}
    text = json.dumps(header).encode()
    path = tmp_path / "run.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(size))
    with pytest.raises(InvalidRun) as raised:
        Run.load(path)
    assert str(raised.value) == (
        f"{path}: expected the array attention.0.weights as F32, got {dtype}"
    )
