import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest
import torch
import transformers

import attnreport
from attnreport import Axis, Position

CONFIG = transformers.BertConfig(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    pad_token_id=0,
)


def build(implementation):
    torch.manual_seed(0)
    return transformers.BertModel._from_config(
        copy.deepcopy(CONFIG), attn_implementation=implementation
    ).eval()


def axis_of(pads, *, left=False):
    real = tuple(Position(letter, span=(i, i + 1)) for i, letter in enumerate("abcd"))
    padding = (Position("[PAD]", role="special"),) * pads
    return Axis("text", padding + real if left else real + padding, "abcd")


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("left", [False, True])
def test_padding_leaves_the_axes_and_is_said(implementation, left):
    model = build(implementation)
    ids = torch.randint(3, 99, (2, 7))
    mask = torch.ones_like(ids)
    padded = slice(0, 3) if left else slice(4, 7)
    ids[1, padded], mask[1, padded] = 0, 0
    call = {"input_ids": ids, "attention_mask": mask}
    with torch.no_grad():
        with attnreport.capture(model, axes=[(ids, axis_of(3, left=left))], example=1) as recording:
            model(**call)
        expected = build("eager")(**call, output_attentions=True).attentions
    run = recording.run()
    real = slice(3, 7) if left else slice(0, 4)
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert attention.weights.shape == (4, 4, 4)
        assert np.abs(attention.weights - weights[1, :, real, real].numpy()).max() < 1e-6
        assert attention.queries == attention.keys == axis_of(0)
    assert [note for note in run.provenance.notes if "3 padding positions of 'text'" in note]


def test_padding_that_is_looked_at_stays_and_is_said():
    model, ids = build("sdpa"), torch.randint(3, 99, (1, 7))
    with torch.no_grad(), attnreport.capture(model, axes=[(ids, axis_of(3))]) as recording:
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    run = recording.run()
    assert run.attentions[0].weights.shape == (4, 7, 7)
    assert run.attentions[0].keys == axis_of(3)
    assert [note for note in run.provenance.notes if "is shown" in note]


def test_a_last_token_that_nobody_sees_is_no_padding():
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=99, n_embd=32, n_layer=1, n_head=2, bos_token_id=1, eos_token_id=2
    )
    model, ids = transformers.GPT2Model(config).eval(), torch.randint(3, 99, (1, 4))
    with torch.no_grad(), attnreport.capture(model, axes=[(ids, "abcd")]) as recording:
        model(input_ids=ids)
    assert recording.run().attentions[0].keys.labels == tuple("abcd")


def test_in_cross_attention_each_side_loses_its_own():
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=99, d_model=32, num_layers=1, num_heads=4, d_kv=8, d_ff=64
    )
    model = transformers.T5Model(config).eval()
    source, target = torch.randint(3, 99, (1, 6)), torch.randint(3, 99, (1, 4))
    mask, target_mask = torch.ones_like(source), torch.ones_like(target)
    mask[:, 4:], target_mask[:, 3:] = 0, 0
    axes = [(source, [*"abcd", "<pad>", "<pad>"]), (target, [*"xyz", "<pad>"])]
    with torch.no_grad(), attnreport.capture(model, axes=axes) as recording:
        model(
            input_ids=source,
            attention_mask=mask,
            decoder_input_ids=target,
            decoder_attention_mask=target_mask,
        )
    shapes = [a.weights.shape for a in recording.run().attentions]
    assert shapes == [(4, 4, 4), (4, 3, 3), (4, 3, 4)]
