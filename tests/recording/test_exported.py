"""Programs of torch.export: other names for the same steps."""

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so


class Attend(nn.Module):
    def __init__(self, fused):
        super().__init__()
        self.project = nn.Linear(8, 24)
        self.fused = fused

    def forward(self, hidden):
        query, key, value = (
            x.unflatten(-1, (2, 4)).transpose(1, 2) for x in self.project(hidden).chunk(3, -1)
        )
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            weights = F.dropout((query @ key.mT).softmax(-1), 0.1, self.training)
            mixed = weights.contiguous() @ value
        return mixed.transpose(1, 2).flatten(2)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("decomposed", [False, True])
def test_an_exported_program_gives_what_its_model_gives(decomposed):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True)
    model = nn.Sequential(Attend(True), Attend(False), layer).eval()
    hidden = torch.randn(1, 5, 8)
    exported = torch.export.export(model, (hidden,))
    program = (exported.run_decompositions() if decomposed else exported).module()
    expected, _ = reference.record(model, hidden, axes=[(hidden, "abcde")])
    run, _ = reference.record(program, hidden, axes=[(hidden, "abcde")])
    assert [a.name for a in run.attentions] == ["0", "1", "2.self_attn"]
    assert [a.name for a in expected.attentions] == ["0", "1", "2.self_attn"]
    for found, original in zip(run.attentions, expected.attentions, strict=True):
        assert np.abs(found.weights - original.weights).max() < 1e-6
        assert found.residual < 1e-5
        assert found.kind == "self"
        assert "".join(found.keys.labels) == "abcde"
