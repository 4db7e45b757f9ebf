import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn

import attnreport

WIDTH, HEADS, LENGTH = 16, 4, 6


def padding():
    mask = torch.zeros(3, LENGTH, dtype=torch.bool)
    mask[1, 4:] = True
    return mask


OPTIONS = {
    "plain": ({}, {}),
    "positions first": ({"batch_first": False}, {}),
    "no bias": ({"bias": False}, {}),
    "odd heads": ({"num_heads": 1}, {}),
    "padding": ({}, {"key_padding_mask": padding()}),
    "mask": ({}, {"attn_mask": torch.rand(LENGTH, LENGTH) > 0.8}),
    "float mask": ({}, {"attn_mask": torch.randn(LENGTH, LENGTH)}),
    "mask per head": ({}, {"attn_mask": torch.randn(3 * HEADS, LENGTH, LENGTH)}),
    "both": ({}, {"key_padding_mask": padding(), "attn_mask": torch.rand(LENGTH, LENGTH) > 0.8}),
}


@pytest.mark.parametrize(("build", "call"), OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("asked", [True, False], ids=["weights asked for", "not asked for"])
@pytest.mark.parametrize("mode", ["eval", "no_grad", "train"])
def test_every_head_is_what_torch_itself_returns(build, call, asked, mode):
    torch.manual_seed(1)
    layer = nn.MultiheadAttention(WIDTH, **({"num_heads": HEADS, "batch_first": True} | build))
    layer.train(mode == "train")
    lead = (3, LENGTH) if layer.batch_first else (LENGTH, 3)
    source = torch.randn(*lead, WIDTH)
    model = reference.Calls(lambda x: layer(x, x, x, need_weights=asked, **call)[0])
    model.layer = layer
    with torch.set_grad_enabled(mode != "no_grad"):
        run, _ = reference.record(model, source, example=1)
    expected = layer(source, source, source, average_attn_weights=False, **call)[1]
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected[1].detach().numpy()).max() < 1e-6
    assert attention.residual < 1e-5
    assert attention.name == "layer"
    assert attention.kind == "self"


def test_keys_of_another_width_and_learned_keys():
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(
        WIDTH, HEADS, kdim=8, vdim=12, add_bias_kv=True, add_zero_attn=True
    ).eval()
    query, key, value = torch.randn(5, 2, WIDTH), torch.randn(7, 2, 8), torch.randn(7, 2, 12)
    run, _ = reference.record(layer, query, key, value)
    expected = layer(query, key, value, average_attn_weights=False)[1][0].detach().numpy()
    (attention,) = run.attentions
    assert attention.weights.shape == (HEADS, 5, 7)
    assert np.abs(attention.weights - expected[..., :7]).max() < 1e-6
    assert np.abs(attention.sink - expected[..., 7:].sum(-1)).max() < 1e-6
    assert attention.residual < 1e-5
    assert "sink" in run.ledger[0].reason


def test_without_a_batch():
    layer = nn.MultiheadAttention(WIDTH, HEADS).eval()
    source = torch.randn(LENGTH, WIDTH)
    run, _ = reference.record(layer, source, source, source)
    expected = layer(source, source, source, average_attn_weights=False)[1].detach().numpy()
    assert np.abs(run.attentions[0].weights - expected).max() < 1e-6


def test_dropout_in_training_shows_the_weights_before_it():
    layer = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.4, batch_first=True)
    source = torch.randn(2, LENGTH, WIDTH)
    run, _ = reference.record(layer, source, source, source)
    expected = layer.eval()(source, source, source, average_attn_weights=False)[1]
    assert np.abs(run.attentions[0].weights - expected[0].detach().numpy()).max() < 1e-6
    assert run.attentions[0].residual is None
    assert "before dropout 0.4" in run.ledger[0].reason


def encoder(*, norm_first, layers=2):
    torch.manual_seed(2)
    layer = nn.TransformerEncoderLayer(
        WIDTH, HEADS, 32, dropout=0.1, batch_first=True, norm_first=norm_first
    )
    return nn.TransformerEncoder(layer, layers, enable_nested_tensor=not norm_first).eval()


def hooked_weights(model, source, **options):
    """Return what each layer's own attention says, from the path torch takes when it is asked."""
    seen = []

    def ask(module, args, kwargs):
        return args, kwargs | {"need_weights": True, "average_attn_weights": False}

    hooks = [
        hook
        for layer in model.layers
        for hook in (
            layer.self_attn.register_forward_pre_hook(ask, with_kwargs=True),
            layer.self_attn.register_forward_hook(lambda m, a, o: seen.append(o[1].detach())),
        )
    ]
    with torch.no_grad():
        model(source, **options)
    for hook in hooks:
        hook.remove()
    return seen


@pytest.mark.parametrize("norm_first", [False, True], ids=["norm last", "norm first"])
@pytest.mark.parametrize("gradients", [False, True], ids=["fused", "not fused"])
def test_encoder(norm_first, gradients):
    model, source = encoder(norm_first=norm_first), torch.randn(2, LENGTH, WIDTH)
    with torch.set_grad_enabled(gradients):
        run, _ = reference.record(model, source, example=1)
    expected = hooked_weights(model, source)
    calls = {entry.call for entry in run.ledger}
    assert calls == {
        "multi_head_attention_forward" if gradients else "_transformer_encoder_layer_fwd"
    }
    assert [a.name for a in run.attentions] == ["layers.0.self_attn", "layers.1.self_attn"]
    for attention, weights in zip(run.attentions, expected, strict=True):
        assert np.abs(attention.weights - weights[1].numpy()).max() < 2e-6
        assert attention.residual < 1e-5


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("norm_first", [False, True], ids=["nested", "mask"])
def test_encoder_with_padding_stays_on_the_fused_path(norm_first):
    model, source = encoder(norm_first=norm_first), torch.randn(3, LENGTH, WIDTH)
    call = reference.Calls(lambda x: model(x, src_key_padding_mask=padding()))
    call.encoder = model
    with torch.no_grad():
        run, _ = reference.record(call, source, example=1)
    expected = hooked_weights(model, source, src_key_padding_mask=padding())
    assert {entry.call for entry in run.ledger} == {"_transformer_encoder_layer_fwd"}
    for attention, weights in zip(run.attentions, expected, strict=True):
        # A nested tensor has no padded positions: neither as queries nor as keys.
        shown = attention.weights[:, :4, :4]
        assert np.abs(shown - weights[1, :, :4, :4].numpy()).max() < 2e-6
        assert attention.residual < 1e-5


def test_transformer_tells_its_three_attentions_apart():
    torch.manual_seed(0)
    model = nn.Transformer(WIDTH, HEADS, 2, 1, 32, batch_first=True).eval()
    source, target = torch.randn(2, LENGTH, WIDTH), torch.randn(2, LENGTH, WIDTH)
    with torch.no_grad():
        run, _ = reference.record(model, source, target)
    assert [(a.kind, a.queries.name, a.keys.name) for a in run.attentions] == [
        ("self", "source", "source"),
        ("self", "source", "source"),
        ("self", "target", "target"),
        ("cross", "target", "source"),
    ]
    assert max(a.residual for a in run.attentions) < 1e-5


def test_an_example_that_is_not_there_is_said():
    layer = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
    source = torch.randn(2, LENGTH, WIDTH)
    with pytest.raises(attnreport.AttentionNotFound, match=r"example 5 .* the batch has 2"):
        reference.record(layer, source, source, source, example=5)
