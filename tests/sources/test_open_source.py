import re
from importlib.metadata import EntryPoint

import numpy as np
import pytest
import torch

from attnreport import Attention, Axis, Run, sources
from attnreport.errors import InvalidInput, InvalidRun, UnknownModel
from attnreport.sources import Request, load_saved_run, open_source


@pytest.fixture
def saved(tmp_path):
    axis = Axis.numbered("text", 2)
    weights = np.full((1, 2, 2), 0.5, np.float32)
    run = Run((Attention(weights, "layer", 0, "self", axis, axis),))
    run.save(tmp_path / "run.safetensors")
    return tmp_path / "run.safetensors"


@pytest.mark.parametrize(
    "model", ["", "no such thing", "./nothing", "a/b/c", "a:b:c", ":", "x" * 999]
)
def test_a_model_that_names_nothing_says_what_was_tried(model):
    expected = re.escape(
        "names nothing that can be opened; tried demo:NAME, timm:NAME, a folder with a "
        "checkpoint, a saved run (.safetensors), a program of torch.export (.pt2), "
        "package.module:factory, file.py:factory, "
        "a hub id owner/name"
    )
    with pytest.raises(UnknownModel, match=expected):
        sources._opener(model)


def test_a_saved_run_comes_back(saved):
    run = load_saved_run(Request(str(saved)))
    assert run.attentions[0].weights.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]


def test_a_saved_run_holds_its_own_input(saved):
    with pytest.raises(InvalidInput, match="holds its own input; leave INPUT out"):
        load_saved_run(Request(str(saved), "text"))


@pytest.mark.parametrize("model", ["demo:text", "owner/name", "a.py:factory"])
def test_other_models_are_no_saved_run(model):
    assert load_saved_run(Request(model)) is None


def test_a_damaged_run(saved):
    saved.write_bytes(saved.read_bytes()[:-5])
    with pytest.raises(InvalidRun, match="cannot be read as a saved run"):
        load_saved_run(Request(str(saved)))


def test_a_missing_run(tmp_path):
    with pytest.raises(UnknownModel, match="there is no such file"):
        load_saved_run(Request(str(tmp_path / "none.safetensors")))


def test_a_folder_may_end_like_a_run(tmp_path):
    (tmp_path / "a.safetensors").mkdir()
    assert load_saved_run(Request(str(tmp_path / "a.safetensors"))) is None


def test_an_unknown_demo_lists_the_known_ones():
    with pytest.raises(UnknownModel, match=r"no such demo; there are text, translate"):
        open_source(Request("demo:nothing", "x"))


def test_another_package_brings_a_source(monkeypatch):
    entry = EntryPoint("mine", f"{__name__}:opened_by_another_package", sources.GROUP)
    monkeypatch.setattr(sources, "entry_points", lambda group: [entry])
    assert open_source(Request("mine:this:that", "x")) == ("another", "mine:this:that")


def opened_by_another_package(request):
    return "another", request.model


def test_two_sources_of_one_name_are_refused(monkeypatch):
    entry = EntryPoint("demo", "elsewhere:open_source", sources.GROUP)
    monkeypatch.setattr(sources, "entry_points", lambda group: [entry])
    with pytest.raises(UnknownModel, match="two installed sources are called 'demo'"):
        open_source(Request("demo:text", "x"))


def test_a_demo_is_ready_to_be_called():
    source = open_source(Request("demo:translate", "5 March 2021", target="2021-03-05"))
    assert not source.model.training
    source.model(*source.call.args, **source.call.kwargs)
    assert [len(axis) for _, axis in source.call.axes] == [
        tensor.shape[1] for tensor, _ in source.call.axes
    ]
    assert source.provenance.model == "demo:translate"
    assert source.provenance.input_text == "5 March 2021"
    assert source.provenance.seed == 0
    assert source.provenance.input_digest.startswith("sha256:")
    assert torch.is_tensor(source.call.axes[0][0])
