"""The steps of a generation become the matrix that one forward over the whole text has."""

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers
from caches import with_cache

import attnreport

SMALL = {"vocab_size": 99, "bos_token_id": 1, "eos_token_id": None, "pad_token_id": 0}
PLAIN = SMALL | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
}
PROMPT, NEW = 5, 4


def build(config, implementation="sdpa"):
    torch.manual_seed(0)
    auto = (
        transformers.AutoModelForSeq2SeqLM
        if config.is_encoder_decoder
        else transformers.AutoModelForCausalLM
    )
    return auto.from_config(copy.deepcopy(config), attn_implementation=implementation).eval()


def generate(model, **options):
    torch.manual_seed(1)
    ids = torch.randint(3, 99, (1, PROMPT))
    settings = {"max_new_tokens": NEW, "do_sample": False, "min_new_tokens": NEW} | options
    plain = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    with attnreport.capture(model, axes=[(ids, "abcde")]) as recording:
        output = model.generate(ids, attention_mask=torch.ones_like(ids), **settings)
    assert torch.equal(plain, output)
    return recording.run(), ids, output


DECODERS = {
    "Llama": transformers.LlamaConfig(**PLAIN),
    "GPT-2": transformers.GPT2Config(**SMALL, n_embd=32, n_layer=2, n_head=4),
    "Mistral with a window": transformers.MistralConfig(**PLAIN, sliding_window=4),
}


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("config", DECODERS.values(), ids=DECODERS.keys())
def test_steps_become_one_matrix(config, cache, implementation):
    model = build(config, implementation)
    run, _, output = generate(model, cache_implementation=cache)
    with torch.no_grad():
        expected = build(config, "eager")(output[:, :-1], output_attentions=True).attentions
    assert len(run.attentions) == len(expected) == 2
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert attention.weights.shape == (4, PROMPT + NEW - 1, PROMPT + NEW - 1)
        assert np.abs(attention.weights - weights[0].numpy()).max() < 2e-6
        assert attention.kind == "self"
        assert attention.residual < 1e-5
        assert attention.queries == attention.keys
        assert attention.keys.labels == (*"abcde", "5", "6", "7")
        assert [p.role for p in attention.keys] == ["input"] * PROMPT + ["generated"] * (NEW - 1)
    assert f"{NEW} calls put together: {PROMPT} positions" in run.ledger[0].reason


@pytest.mark.parametrize("kind", ["T5", "BART"])
def test_an_encoder_decoder_generates_its_target(kind):
    if kind == "T5":
        config = transformers.T5Config(
            **SMALL | {"decoder_start_token_id": 0},
            d_model=32,
            num_layers=2,
            num_heads=4,
            d_kv=8,
            d_ff=64,
        )
    else:
        config = transformers.BartConfig(
            **SMALL | {"decoder_start_token_id": 0, "forced_eos_token_id": None},
            d_model=32,
            encoder_layers=2,
            decoder_layers=2,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
        )
    run, ids, output = generate(build(config))
    with torch.no_grad():
        eager = build(config, "eager")(
            ids, decoder_input_ids=output[:, :-1], output_attentions=True
        )
    expected = list(eager.encoder_attentions)
    for pair in zip(eager.decoder_attentions, eager.cross_attentions, strict=True):
        expected += pair
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert attention.weights.shape == weights[0].shape
        assert np.abs(attention.weights - weights[0].numpy()).max() < 2e-6
    names = [(a.kind, a.queries.name, a.keys.name) for a in run.attentions]
    assert set(names[:2]) == {("self", "tokens", "tokens")}
    assert names[2] == ("self", names[2][1], names[2][1]) and names[2][1] != "tokens"
    assert names[3] == ("cross", names[2][1], "tokens")
    assert "".join(run.attentions[3].keys.labels) == "abcde"
    assert [p.role for p in run.attentions[3].queries] == ["input"] + ["generated"] * (NEW - 1)


def test_steps_after_a_cache_that_was_there_before():
    model = build(DECODERS["Llama"])
    ids = torch.randint(3, 99, (1, 7))
    with torch.no_grad():
        cache = model(ids[:, :4], use_cache=True).past_key_values
        with attnreport.capture(model) as recording:
            for place in range(4, 7):
                model(ids[:, place : place + 1], **with_cache(model, cache))
        expected = build(DECODERS["Llama"], "eager")(ids, output_attentions=True).attentions
    for attention, weights in zip(recording.run().attentions, expected, strict=True):
        assert np.abs(attention.weights - weights[0, :, 4:].numpy()).max() < 2e-6
        assert attention.queries.labels == ("4", "5", "6")


def test_two_calls_of_a_model_are_not_put_together():
    model = build(DECODERS["Llama"])
    ids = torch.randint(3, 99, (1, 7))
    with attnreport.capture(model) as recording:
        model(ids)
        model(ids)
    run = recording.run()
    assert [a.weights.shape for a in run.attentions] == [(4, 7, 7)] * 4
    assert [entry.reason for entry in run.ledger] == ["", "", *["call 2 of this module"] * 2]


def test_without_a_cache_every_step_is_a_call_of_its_own():
    run, _, _ = generate(build(DECODERS["Llama"]), use_cache=False)
    assert [a.weights.shape[1] for a in run.attentions[::2]] == [5, 6, 7, 8]


def test_the_assistant_of_a_generation_is_another_model():
    model = build(DECODERS["Llama"])
    torch.manual_seed(5)
    assistant = transformers.AutoModelForCausalLM.from_config(DECODERS["Llama"]).eval()
    ids = torch.randint(3, 99, (1, PROMPT))
    settings = {"max_new_tokens": NEW, "do_sample": False, "assistant_model": assistant}
    with torch.no_grad():
        plain = model.generate(ids, **settings)
        with attnreport.capture(model) as recording:
            output = model.generate(ids, **settings)
        expected = build(DECODERS["Llama"], "eager")(ids, output_attentions=True).attentions
    assert torch.equal(plain, output)
    run = recording.run()
    for layer, own in enumerate(expected):
        first = next(a for a in run.attentions if a.name == f"model.layers.{layer}.self_attn")
        rows = first.weights[:, :PROMPT, :PROMPT]
        assert np.abs(rows - own[0].numpy()).max() < 2e-6
    assert {a.name for a in run.attentions} == {f"model.layers.{x}.self_attn" for x in range(2)}
    outside = [entry for entry in recording.ledger if entry.call == "outside the model"]
    assert len(outside) == 1
    assert "outside the model's modules" in outside[0].reason


class Rounded(transformers.cache_utils.QuantizedLayer):
    """Keep keys and values in eight bits, as a backend of transformers' quantised cache does."""

    def _quantize(self, tensor, axis):
        size = tensor.abs().max() / 127
        return (tensor / size).round().to(torch.int8), size

    def _dequantize(self, kept):
        codes, size = kept
        return codes.float() * size


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}], ids=["greedy", "beams"])
def test_steps_from_a_quantised_cache(options):
    model, ids = build(DECODERS["Llama"]), torch.randint(3, 99, (1, PROMPT))
    settings = {"max_new_tokens": 8, "do_sample": False, "attention_mask": torch.ones_like(ids)}
    settings |= options

    def cache():
        return transformers.Cache(layers=[Rounded(residual_length=3) for _ in range(2)])

    with attnreport.capture(model) as recording:
        output = model.generate(ids, **with_cache(model, cache()), **settings)
    told = {"output_attentions": True, "return_dict_in_generate": True}
    eager = build(DECODERS["Llama"], "eager")
    steps = eager.generate(ids, **with_cache(eager, cache()), **settings, **told)
    assert torch.equal(output, steps.sequences)
    rows = [0] * 8 if not options else steps.beam_indices[0].tolist()
    for layer, attention in enumerate(recording.run().attentions):
        expected = np.zeros((4, PROMPT + 7, PROMPT + 7), np.float32)
        for step, row in enumerate(rows):
            weights = steps.attentions[step][layer][row].numpy()
            end = PROMPT + step
            expected[:, end - weights.shape[1] : end, :end] = weights
        assert np.abs(attention.weights - expected).max() < 2e-6
        assert attention.residual < 1e-5
    exact = eager(output[:, :-1], output_attentions=True).attentions[0][0].detach().numpy()
    assert np.abs(expected - exact).max() > 1e-5
