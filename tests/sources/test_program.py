"""Programs of torch.export as MODEL: what they were made with, and arrays of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

import attnreport
from attnreport.build import build_run
from attnreport.errors import InvalidInput, InvalidOption, UnknownModel
from attnreport.sources import Request


class Reader(nn.Module):
    """Attend over embedded ids, scaled by a number, some of them padding."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(10, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)

    def forward(self, ids, scale, *, padding):
        return self.layer(self.words(ids) * scale, src_key_padding_mask=padding)


IDS = torch.tensor([[1, 2, 3, 4]])
OTHER = torch.tensor([[5, 6, 7, 8]])
PADDING = torch.tensor([[False, False, False, True]])


@pytest.fixture(scope="module")
def model():
    return Reader().eval()


@pytest.fixture(scope="module")
def program(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "reader.pt2"
    exported = torch.export.export(model, (IDS, 0.5), {"padding": PADDING})
    torch.export.save(exported, path)
    return path


def weights_of(model, ids):
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(ids, 0.5, padding=PADDING)
    return recording.run().attentions[0].weights


def test_without_input_it_runs_on_what_it_was_made_with(model, program):
    run = build_run(Request(str(program), allow_pickle=True))
    (attention,) = run.attentions
    assert attention.name == "layer.self_attn"
    assert attention.residual < 1e-5
    np.testing.assert_allclose(attention.weights, weights_of(model, IDS), atol=1e-6)
    assert run.provenance.input_text == "those that it was exported with"
    assert any("ids, scale, padding are those" in note for note in run.provenance.notes)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("mark", ["", "@"])
def test_arrays_by_the_names_of_its_arguments(model, program, tmp_path, suffix, mark):
    path = tmp_path / f"arrays{suffix}"
    if suffix == ".npz":
        # Files of arrays have integers of their own width.
        np.savez(path, ids=OTHER.numpy().astype(np.int32), padding=PADDING.numpy())
    else:
        safetensors.torch.save_file({"ids": OTHER, "padding": PADDING}, path)
    run = build_run(Request(str(program), f"{mark}{path}", allow_pickle=True))
    np.testing.assert_allclose(run.attentions[0].weights, weights_of(model, OTHER), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"allow_pickle": False}, UnknownModel, "--allow-pickle opens it if you trust"),
        ({"text": "some words"}, InvalidInput, "no file of arrays; give an .npz or .safetensors"),
        ({"dtype": "float16"}, InvalidOption, "has its precision written in it"),
        ({"pair": "more"}, InvalidOption, "--pair: the program .* takes arrays and no text"),
    ],
)
def test_what_a_program_cannot_follow_is_said(program, options, error, message):
    with pytest.raises(error, match=message):
        build_run(Request(str(program), **{"allow_pickle": True} | options))


def test_a_file_that_is_no_program_or_not_there_is_said(tmp_path, program):
    with pytest.raises(UnknownModel, match="there is no such file"):
        build_run(Request(str(tmp_path / "none.pt2"), allow_pickle=True))
    wrong = tmp_path / "wrong.pt2"
    wrong.write_text("no archive")
    with pytest.raises(UnknownModel, match="a zip archive"):
        build_run(Request(str(wrong), allow_pickle=True))
    np.savez(tmp_path / "half.npz", ids=OTHER.numpy())
    with pytest.raises(
        InvalidInput, match=r"no array 'padding', only ids; give .* ids, scale, pad"
    ):
        build_run(Request(str(program), str(tmp_path / "half.npz"), allow_pickle=True))
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match=r"bad\.npz cannot be read"):
        build_run(Request(str(program), str(tmp_path / "bad.npz"), allow_pickle=True))
    np.savez(tmp_path / "long.npz", ids=OTHER[:, :2].numpy(), padding=PADDING.numpy())
    with pytest.raises(InvalidInput, match="cannot be called with this INPUT"):
        build_run(Request(str(program), str(tmp_path / "long.npz"), allow_pickle=True))
