"""Where a run says it comes from."""

import copy

import attention_reference as reference
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport
from attnreport.recording.origin import model_digest


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.project = torch.nn.Linear(4, 4)
        self.register_buffer("places", torch.arange(3))

    def forward(self, hidden):
        hidden = self.project(hidden)
        return F.scaled_dot_product_attention(hidden, hidden, hidden)


def test_empty_fields_are_filled_and_given_ones_stay(monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    with attnreport.capture(model) as recording:
        model(hidden)
    found = recording.run().provenance
    assert found.model == "Layer"
    assert found.model_digest == model_digest(model)[0]
    assert set(found.versions) >= {"attnreport", "python", "torch", "numpy"}
    assert (found.dtype, found.device) == ("float32", "cpu")
    assert found.created == "2023-11-14T22:13:20Z"
    given = attnreport.run.Provenance(model="mine", dtype="x", versions={"a": "1"}, notes=("n",))
    found = recording.run(given).provenance
    assert (found.model, found.dtype, found.versions) == ("mine", "x", {"a": "1"})
    assert found.notes == ("n",)


def test_no_clock_so_that_the_same_input_gives_the_same_bytes(monkeypatch):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    runs = [reference.record(model, hidden)[0] for _ in range(2)]
    assert runs[0].provenance.created == ""
    assert runs[0].to_bytes() == runs[1].to_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
def test_the_digest_is_of_names_shapes_precisions_and_bytes(dtype):
    model = Layer().to(dtype)
    digest, skipped = model_digest(model)
    assert digest.startswith("sha256:")
    assert skipped == 0
    assert model_digest(copy.deepcopy(model)) == (digest, 0)
    with torch.no_grad():
        model.project.weight[0, 0] += 1
    assert model_digest(model)[0] != digest
    changed = Layer().to(dtype)
    changed.places += 1
    assert model_digest(changed)[0] != digest


def test_tensors_without_data_are_skipped_and_counted():
    assert model_digest(Layer().to("meta"))[1] == 3
    sparse = Layer()
    sparse.places = torch.eye(3).to_sparse()
    assert model_digest(sparse)[1] == 1


def test_a_model_without_parameters():
    run, _ = reference.record(
        lambda x: F.scaled_dot_product_attention(x, x, x), torch.ones(1, 2, 3, 4)
    )
    assert run.provenance.dtype == ""
    assert run.provenance.device == ""
