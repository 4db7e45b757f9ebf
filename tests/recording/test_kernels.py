"""Attention functions that compute where torch cannot be watched, here with numpy."""

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import attention_reference as reference
import numpy as np
import pytest
import torch
import transformers
from transformers.masking_utils import AttentionMaskInterface, eager_mask
from transformers.modeling_utils import AttentionInterface

import attnreport


def by_numpy(  # noqa: PLR0917 - in the order of the interface
    module, query, key, value, attention_mask, scaling=None, dropout=0.0, **options
):
    """Attend to one row after the other, so that torch sees nothing but the result."""
    batch, heads, length, _ = query.shape
    output = np.zeros((batch, length, heads, value.shape[-1]))
    sinks = options.get("s_aux")
    for example in range(batch):
        group = heads // key.shape[1]
        for head in range(heads):
            q = query[example, head].double().numpy()
            k, v = (x[example, head // group].double().numpy() for x in (key, value))
            for row in range(length):
                scores = k @ q[row] * scaling
                if options.get("softcap") is not None:
                    scores = np.tanh(scores / options["softcap"]) * options["softcap"]
                if attention_mask is not None:
                    scores = scores + attention_mask[example, 0, row].double().numpy()
                if sinks is not None:
                    scores = np.append(scores, float(sinks[head]))
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                output[example, row, head] = weights[: len(v)] @ v
    return torch.from_numpy(output).to(value.dtype), None


SMALL = {
    "vocab_size": 99,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "head_dim": 8,
}
MODELS = {
    "grouped queries": transformers.LlamaConfig(**SMALL),
    "softcap and window": transformers.Gemma2Config(
        **SMALL, attn_logit_softcapping=2.0, sliding_window=4, query_pre_attn_scalar=8
    ),
    "sinks": transformers.GptOssConfig(**SMALL, num_local_experts=2, num_experts_per_tok=1),
}


@pytest.fixture(autouse=True)
def registered():
    AttentionInterface.register("by_numpy", by_numpy)
    AttentionMaskInterface.register("by_numpy", eager_mask)
    yield
    AttentionInterface._global_mapping.pop("by_numpy")
    AttentionMaskInterface._global_mapping.pop("by_numpy")


def build(config, implementation):
    torch.manual_seed(0)
    return transformers.AutoModel.from_config(
        copy.deepcopy(config), attn_implementation=implementation
    ).eval()


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS.keys())
def test_weights_are_computed_from_what_the_kernel_got(config):
    model, eager = build(config, "by_numpy"), build(config, "eager")
    ids = torch.randint(3, 99, (2, 7))
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    before = AttentionInterface.get_interface
    with torch.no_grad():
        plain = model(**call)[0]
        with attnreport.capture(model, axes=[(ids, "abcdefg")], example=1) as recording:
            output = model(**call)[0]
        expected = eager(**call, output_attentions=True).attentions
    assert torch.equal(plain, output)
    assert AttentionInterface.get_interface is before
    run = recording.run()
    assert len(run.attentions) == 2
    for layer, (attention, weights) in enumerate(zip(run.attentions, expected, strict=True)):
        assert np.abs(attention.weights - weights[1].numpy()).max() < 2e-6
        assert attention.residual < 1e-5
        assert attention.name == f"layers.{layer}.self_attn"
        assert "".join(attention.keys.labels) == "abcdefg"
        assert (attention.sink is None) == (config.model_type != "gpt_oss")
    assert {entry.call for entry in run.ledger} == {"by_numpy"}
    assert "what its kernel was called with" in run.ledger[0].reason


class OverTable(torch.nn.Module):
    """Look at keys that come from where torch cannot be watched either."""

    def forward(self, hidden):
        keys = torch.from_numpy(np.ones((1, 1, 3, 4), np.float32))
        attend = AttentionInterface().get_interface("by_numpy", None)
        return attend(self, hidden.unsqueeze(1), keys, keys, None, scaling=0.5)[0]


def test_queries_are_known_where_nothing_is_known_of_the_keys():
    hidden = torch.randn(1, 2, 4)
    model = OverTable()
    with attnreport.capture(model, axes=[(hidden, "ab")]) as recording:
        model(hidden)
    (attention,) = recording.run().attentions
    assert attention.queries.labels == ("a", "b")
    assert attention.kind == "cross"


class Module(torch.nn.Module):
    """Call an attention function as a model of transformers does, with flash attention's mask."""

    is_causal = True

    def __init__(self, **options):
        super().__init__()
        self.options = options

    def forward(self, query, key, value, mask):
        attend = AttentionInterface().get_interface("rules", None)
        return attend(self, query, key, value, mask, scaling=0.5, **self.options)[0]


@pytest.mark.parametrize("options", [{}, {"sliding_window": 3}, {"is_causal": False}])
@pytest.mark.parametrize("length", [6, 2])
def test_rules_instead_of_a_mask(options, length):
    query, keys = torch.randn(1, 2, length, 4), torch.randn(1, 2, 6, 4)
    padding = torch.tensor([[0, 1, 1, 1, 1, 1]])
    window, causal = options.get("sliding_window", 9), options.get("is_causal", True)
    allowed = torch.zeros(length, 6, dtype=torch.bool)
    for row in range(length):
        for column in range(1, 6):
            place = row + 6 - length
            near = abs(place - column) < window
            allowed[row, column] = near and (column <= place or not causal) and place > 0
    exact = reference.weights_of(query[0], keys[0], scale=0.5, mask=allowed)

    def rules(module, query, key, value, mask, **kwargs):
        return torch.from_numpy(exact @ value[0].double().numpy())[None].transpose(
            1, 2
        ).float(), None

    AttentionInterface.register("rules", rules)
    run, _ = reference.record(Module(**options), query, keys, keys.clone(), padding)
    AttentionInterface._global_mapping.pop("rules")
    assert np.abs(run.attentions[0].weights - exact).max() < 2e-6
    assert run.attentions[0].residual < 1e-5


def test_a_function_that_takes_something_else_is_said():
    def other(module, query, key, value, mask, **kwargs):
        return torch.from_numpy(query.numpy() * 2), None

    AttentionInterface.register("rules", other)
    with pytest.raises(attnreport.AttentionNotFound, match="other: its arguments are not"):
        reference.record(Module(), *torch.randn(3, 5, 4), None)
    AttentionInterface._global_mapping.pop("rules")
