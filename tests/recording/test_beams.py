"""Of a search, of samples and of proposed tokens, what was returned is shown."""

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers
from test_generation import DECODERS, SMALL, build
from torch.nn.attention.flex_attention import flex_attention
from transformers.modeling_utils import AttentionInterface

import attnreport

TINY = SMALL | {"decoder_start_token_id": 0, "d_model": 32}
BLOOM = transformers.BloomConfig(**SMALL, hidden_size=32, n_layer=2, n_head=4)
ENCODER_DECODERS = {
    "T5": transformers.T5Config(**TINY, num_layers=2, num_heads=4, d_kv=8, d_ff=64),
    "BART": transformers.BartConfig(
        **TINY,
        forced_eos_token_id=None,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
    ),
}
BEAMS = {"num_beams": 3, "max_new_tokens": 6}
# Many ids end a sequence, and short ones are preferred: some end early.
ENDING = BEAMS | {"num_return_sequences": 2, "length_penalty": -1.0}
ENDING |= {"eos_token_id": list(range(3, 99, 2))}
SAMPLES = {"do_sample": True, "num_return_sequences": 3, "max_new_tokens": 5}


def prompts(batch=2, length=5):
    torch.manual_seed(1)
    return torch.randint(30, 99, (batch, length))


def generate(model, ids, example, **options):
    """Return run, ledger and what ``generate`` returned, the same as without a capture."""
    settings = {"do_sample": False, "attention_mask": torch.ones_like(ids)} | options
    torch.manual_seed(3)
    plain = model.generate(ids, **settings)
    torch.manual_seed(3)
    with attnreport.capture(model, example=example) as recording:
        output = model.generate(ids, **settings)
    assert type(plain) is type(output)
    if isinstance(plain, torch.Tensor):
        assert torch.equal(plain, output)
    return recording, output


def lengths(model, ids, **options):
    """How many positions each returned sequence has before it is filled up, by its beams."""
    settings = {"attention_mask": torch.ones_like(ids), "return_dict_in_generate": True} | options
    output = model.generate(ids, **settings)
    filled = (output.beam_indices < 0).sum(dim=1)
    return [output.sequences.shape[1] - int(count) for count in filled]


def eager(config, ids, sequence):
    """What eager attention returns for the returned sequence, in the order of execution."""
    model = build(config, "eager")
    with torch.no_grad():
        if not config.is_encoder_decoder:
            return model(sequence[:, :-1], output_attentions=True).attentions
        out = model(ids, decoder_input_ids=sequence[:, :-1], output_attentions=True)
    pairs = zip(out.decoder_attentions, out.cross_attentions, strict=True)
    return [*out.encoder_attentions, *(each for pair in pairs for each in pair)]


def agrees(run, expected):
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert attention.weights.shape == weights[0].shape
        assert np.abs(attention.weights - weights[0].numpy()).max() < 2e-6
        assert attention.residual < 1e-5


@pytest.mark.parametrize("options", [BEAMS, ENDING], ids=["one each", "two each, ending early"])
@pytest.mark.parametrize(
    ("config", "implementation"),
    [
        *((DECODERS[name], way) for name in ("Llama", "GPT-2") for way in ("sdpa", "eager")),
        *((config, way) for config in ENCODER_DECODERS.values() for way in ("sdpa", "eager")),
        (BLOOM, "eager"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.model_type,
)
def test_the_returned_beam_is_followed(config, implementation, options):
    model, ids = build(config, implementation), prompts()
    each = options.get("num_return_sequences", 1)
    known = lengths(model, ids, **options)
    for example, length in enumerate(known):
        recording, output = generate(model, ids, example, **options)
        sequence, source = output[example : example + 1, :length], ids[example // each]
        agrees(recording.run(), eager(config, source[None], sequence))
        assert "of 3 beams the one that was returned" in recording.ledger[-1].reason
    assert min(known) < output.shape[1] or options is BEAMS


@pytest.mark.parametrize("options", [{"cache_implementation": "static"}, {"early_stopping": True}])
def test_a_search_with_other_options(options):
    model, ids = build(DECODERS["Llama"]), prompts()
    recording, output = generate(model, ids, 1, **BEAMS, **options)
    agrees(recording.run(), eager(DECODERS["Llama"], ids, output[1:]))


def test_a_window_and_a_search():
    model, ids = build(DECODERS["Mistral with a window"]), prompts()
    recording, output = generate(model, ids, 1, **BEAMS)
    agrees(recording.run(), eager(DECODERS["Mistral with a window"], ids, output[1:]))


def test_prompt_and_generated_tokens_are_marked():
    recording, _ = generate(build(DECODERS["Llama"]), prompts(), 0, **BEAMS)
    keys = recording.run().attentions[0].keys
    assert [position.role for position in keys] == ["input"] * 5 + ["generated"] * 5


def test_the_caller_gets_what_he_asked_for():
    model, ids = build(DECODERS["Llama"]), prompts()
    _, output = generate(model, ids, 0, **BEAMS, return_dict_in_generate=True, output_scores=True)
    assert len(output.scores) == 6 and output.sequences.shape == (2, 11)
    config = transformers.GenerationConfig(**BEAMS, pad_token_id=0)
    with attnreport.capture(model) as recording:
        output = model.generate(ids, config, attention_mask=torch.ones_like(ids))
    assert isinstance(output, torch.Tensor)
    agrees(recording.run(), eager(DECODERS["Llama"], ids, output[:1]))


@pytest.mark.parametrize("config", [DECODERS["Llama"], ENCODER_DECODERS["T5"]], ids=["Llama", "T5"])
def test_one_of_several_samples_is_followed(config):
    model, ids = build(config), prompts()
    for example in range(6):
        recording, output = generate(model, ids, example, **SAMPLES)
        source, sequence = ids[example // 3], output[example : example + 1]
        agrees(recording.run(), eager(config, source[None], sequence))
        assert "of 3 samples the one that was returned" in recording.ledger[-1].reason


def test_heads_and_queries_of_a_beam_can_be_selected():
    model, ids = build(DECODERS["Llama"]), prompts()
    with attnreport.capture(model, example=1, heads=[3, 1], queries=[2, 7]) as recording:
        output = model.generate(ids, attention_mask=torch.ones_like(ids), **BEAMS)
    expected = eager(DECODERS["Llama"], ids, output[1:])
    for attention, weights in zip(recording.run().attentions, expected, strict=True):
        own = weights[0].numpy()[[3, 1]][:, [2, 7]]
        assert np.abs(attention.weights - own).max() < 2e-6


def test_an_example_that_is_not_there_is_said():
    recording, _ = generate(build(DECODERS["Llama"]), prompts(), 2, **BEAMS)
    with pytest.raises(attnreport.AttentionNotFound, match="example 2 was asked for, the batch"):
        recording.run()


def test_without_a_cache_every_step_is_the_beams_own():
    model, ids = build(DECODERS["Llama"]), prompts()
    recording, output = generate(model, ids, 0, **BEAMS, use_cache=False)
    run = recording.run()
    assert [a.weights.shape[1] for a in run.attentions[::2]] == [5, 6, 7, 8, 9, 10]
    for step, attention in enumerate(run.attentions[::2]):
        expected = eager(DECODERS["Llama"], ids, output[:1, : 6 + step])[0][0].numpy()
        assert np.abs(attention.weights - expected).max() < 2e-6


def test_beams_of_which_none_was_returned_are_named():
    model, ids = build(DECODERS["Llama"]), prompts()
    calls = []

    def fails(*_):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("no more")
        return list(range(99))

    with (
        attnreport.capture(model) as recording,
        pytest.raises(RuntimeError, match="no more"),
    ):
        model.generate(ids[:1], prefix_allowed_tokens_fn=fails, **BEAMS)
    with pytest.raises(attnreport.AttentionNotFound, match="not known which one was returned"):
        recording.run()


def test_joined_positions_of_several_beams_are_named():
    model, ids = build(DECODERS["Llama"]), prompts(1, 80)
    settings = BEAMS | {"attention_mask": torch.ones_like(ids)}
    with attnreport.capture(model, max_memory=100_000) as recording:
        model.generate(ids, **settings)
    assert any("3 beams take more memory" in entry.reason for entry in recording.ledger)


def test_values_of_beams_are_not_weighed_and_that_is_said():
    model, ids = build(DECODERS["Llama"]), prompts()
    with attnreport.capture(model, values=True) as recording:
        model.generate(ids, attention_mask=torch.ones_like(ids), **BEAMS)
    assert all(attention.value_norms is None for attention in recording.run().attentions)
    assert "the values of several beams or samples are not" in recording.ledger[0].reason


def perturbed(model):
    """A model that often but not always proposes what the other one would say."""
    other = copy.deepcopy(model)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return other


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_accepted_tokens_are_put_together(implementation):
    model = build(DECODERS["Llama"], implementation)
    ids = torch.tensor([[5, 6, 7, 5, 6, 7, 5, 6]])
    for way in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": perturbed(model)}):
        recording, output = generate(model, ids, 0, max_new_tokens=12, **way)
        run = recording.run()
        agrees(run, eager(DECODERS["Llama"], ids, output))
        assert "proposed and taken back" in recording.ledger[0].reason
        roles = [position.role for position in run.attentions[0].keys]
        assert roles == ["input"] * 8 + ["generated"] * 11


def test_an_encoder_decoder_with_an_assistant():
    config = ENCODER_DECODERS["T5"]
    model, ids = build(config), prompts(1, 8)
    recording, output = generate(model, ids, 0, max_new_tokens=8, assistant_model=perturbed(model))
    agrees(recording.run(), eager(config, ids, output))
    assert [p.role for p in recording.run().attentions[2].keys].count("input") == 1


def test_steps_that_are_not_the_returned_sequence_stay_apart():
    model = build(DECODERS["Mistral with a window"])
    ids = torch.tensor([[5, 6, 7, 5, 6, 7, 5, 6]])
    recording, _ = generate(model, ids, 0, max_new_tokens=6, prompt_lookup_num_tokens=3)
    assert all("put together" not in entry.reason for entry in recording.ledger)
    assert any("call 2 of this module" in entry.reason for entry in recording.ledger)


def test_generate_is_put_back():
    mixin = transformers.generation.utils.GenerationMixin
    before = mixin.generate
    model = build(DECODERS["Llama"])
    with attnreport.capture(model), attnreport.capture(model):
        assert mixin.generate is not before
    assert mixin.generate is before


def tilted(  # noqa: PLR0917 - in the order of the interface
    module, query, key, value, attention_mask, scaling=None, **_
):
    """Attend by flex_attention, each head and each example in its own way."""
    past = key.shape[2] - query.shape[2]

    def score_mod(score, b, h, q, k):
        return torch.where(k <= q + past, score + 0.1 * h * (k + b // 3), -torch.inf)

    groups = query.shape[1] // key.shape[1]
    key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
    mixed = flex_attention(query, key, value, score_mod=score_mod, scale=scaling)
    return mixed.transpose(1, 2), None


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_the_functions_of_flex_attention_get_the_beams_own_place():
    AttentionInterface.register("tilted", tilted)
    try:
        model, ids = build(DECODERS["Llama"], "tilted"), prompts()
        recording, output = generate(model, ids, 1, **BEAMS)
        run = recording.run()
        rows = torch.cat([output[:1]] * 3 + [output[1:]])[:, :-1]
        with torch.no_grad(), attnreport.capture(model, example=3) as plain:
            model(rows)
    finally:
        AttentionInterface._global_mapping.pop("tilted")
    for attention, expected in zip(run.attentions, plain.run().attentions, strict=True):
        assert np.abs(attention.weights - expected.weights).max() < 2e-6
        assert attention.residual < 1e-5
