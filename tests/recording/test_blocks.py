"""Attention in chunks and blocks lies on the real positions, against the matrix itself.

What a layer returns is linear in its values. So each column of its attention matrix comes out of
the model's own layer when all values but those of one position are zero: a reference that knows
nothing of chunks, blocks or global tokens.
"""

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import attnreport

LENGTH, WIDTH, HEADS = 21, 16, 2
EACH = WIDTH // HEADS
SMALL = {
    "vocab_size": 50,
    "hidden_size": WIDTH,
    "num_attention_heads": HEADS,
    "intermediate_size": 16,
}


class Chosen(nn.Module):
    """Stand in for the projection of the values: ones where they are wanted, else zeros."""

    def __init__(self):
        super().__init__()
        self.first = 0

    def forward(self, hidden):
        """Channel c of each head is 1 at position first + c; of summaries there are none."""
        # Longformer has positions first, and nothing else has more of them than examples.
        sequence = 0 if hidden.shape[0] > hidden.shape[1] else 1
        values = torch.zeros(hidden.shape[1 - sequence], hidden.shape[sequence], HEADS, EACH)
        count = hidden.shape[sequence]
        if count >= LENGTH:
            for channel in range(min(EACH, count - self.first)):
                values[:, self.first + channel, :, channel] = 1
        values = values.flatten(2)
        return values.transpose(0, 1) if sequence == 0 else values


def matrix_of(model, call, layer, projections, heads_of):
    """Return ``(example, head, position, position)`` of one layer, by its own computation."""
    chosen = Chosen()
    kept = {name: getattr(layer, name) for name in projections}
    outputs = []

    def keep(module, arguments, output):
        outputs.append(heads_of(output[0] if isinstance(output, tuple) else output))

    for name in projections:
        setattr(layer, name, chosen)
    hook = layer.register_forward_hook(keep)
    try:
        columns = []
        for first in range(0, LENGTH, EACH):
            chosen.first = first
            call(model)
            columns.append(outputs.pop())
    finally:
        hook.remove()
        for name, module in kept.items():
            setattr(layer, name, module)
    matrix = torch.cat(columns, dim=-1).permute(0, 2, 1, 3)
    return matrix[..., :LENGTH, :LENGTH]


def in_heads(output):
    return output.reshape(*output.shape[:2], HEADS, EACH)


def check(model, call, layers, projections, *, heads_of=in_heads, example=1):
    """Hold each of these layers, given by their paths, against the reference."""
    model.eval()
    with torch.no_grad():
        plain = call(model)[0]
        with attnreport.capture(model, example=example) as recording:
            output = call(model)[0]
        run = recording.run()
        assert torch.equal(plain, output)
        found = {attention.name: attention for attention in run.attentions}
        for name in layers:
            layer = model.get_submodule(name)
            expected = matrix_of(model, call, layer, projections, heads_of)[example].numpy()
            attention = found[name]
            assert attention.weights.shape == (HEADS, LENGTH, LENGTH)
            assert np.abs(attention.weights - expected).max() < 2e-6
            assert attention.residual < 1e-5
            assert attention.kind == "self"
            lost = np.where(expected.any(-1), 1 - expected.sum(-1), 0)
            if attention.sink is None:
                assert np.abs(lost).max() < 1e-3
            else:
                assert np.abs(attention.sink - lost).max() < 1e-5
        assert all(entry.captured for entry in recording.ledger)
    return run


def ids(length=LENGTH):
    torch.manual_seed(3)
    return torch.randint(3, 50, (2, length))


def some_padding():
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    mask[0, -3:] = 0
    return mask


@pytest.mark.parametrize("tokens", [[], [0], [0, 11]], ids=["local", "one", "two"])
def test_longformer_with_global_tokens(tokens):
    config = transformers.LongformerConfig(
        **SMALL, num_hidden_layers=2, attention_window=[4, 8], max_position_embeddings=64
    )
    torch.manual_seed(0)
    model = transformers.LongformerModel(config, add_pooling_layer=False)
    chosen = torch.zeros(2, LENGTH, dtype=torch.long)
    chosen[:, tokens] = 1
    if len(tokens) > 1:
        # Examples need not have as many.
        chosen[0, 11] = 0
    given = {"attention_mask": some_padding()}
    if tokens:
        given["global_attention_mask"] = chosen

    def call(model):
        return model(ids(), **given)

    layers = [f"encoder.layer.{layer}.attention.self" for layer in range(2)]
    check(model, call, layers, ["value", "value_global"])
    check(model, call, layers[:1], ["value", "value_global"], example=0)


def test_led_encoder():
    config = transformers.LEDConfig(
        vocab_size=50,
        d_model=WIDTH,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        attention_window=4,
        max_encoder_position_embeddings=64,
    )
    torch.manual_seed(0)
    model = transformers.LEDModel(config)
    chosen = torch.zeros(2, LENGTH, dtype=torch.long)
    chosen[:, 0] = 1

    def call(model):
        return model(ids(), global_attention_mask=chosen, decoder_input_ids=ids(4))

    name = "encoder.layers.0.self_attn.longformer_self_attn"
    run = check(model, call, [name], ["value", "value_global"])
    assert {a.weights.shape[1:] for a in run.attentions} == {(21, 21), (4, 4), (4, 21)}


@pytest.mark.parametrize("masked", [False, True])
def test_big_bird(masked):
    config = transformers.BigBirdConfig(
        **SMALL,
        num_hidden_layers=2,
        block_size=2,
        num_random_blocks=1,
        max_position_embeddings=64,
        attention_type="block_sparse",
        sep_token_id=2,
    )
    torch.manual_seed(0)
    model = transformers.BigBirdModel(config, add_pooling_layer=False)

    def call(model):
        return model(ids(), attention_mask=some_padding() if masked else None)

    layers = [f"encoder.layer.{layer}.attention.self" for layer in range(2)]
    check(model, call, layers, ["value"])


@pytest.mark.parametrize("kind", ["local", "transient-global"])
def test_longt5(kind):
    config = transformers.LongT5Config(
        vocab_size=50,
        d_model=WIDTH,
        d_kv=EACH,
        d_ff=16,
        num_heads=HEADS,
        num_layers=2,
        local_radius=3,
        global_block_size=4,
        encoder_attention_type=kind,
    )
    torch.manual_seed(0)
    model = transformers.LongT5EncoderModel(config)
    inner = "LocalSelfAttention" if kind == "local" else "TransientGlobalSelfAttention"
    layers = [f"encoder.block.{layer}.layer.0.{inner}" for layer in range(2)]
    for name in layers:
        # Without a projection of the output, what comes out are the heads.
        model.get_submodule(name).o = nn.Identity()
    run = check(model, lambda model: model(ids()), layers, ["v"])
    assert all((a.sink is None) == (kind == "local") for a in run.attentions)


class Blocks(nn.Module):
    """Attend inside blocks, in a shape that grouped queries could have too."""

    def __init__(self, *, scrambled):
        super().__init__()
        self.scrambled = scrambled

    def forward(self, hidden):
        pieces = hidden.view(len(hidden), 3, 7, HEADS, EACH).permute(0, 3, 1, 2, 4)
        if self.scrambled:
            pieces = pieces.sort(dim=3).values
        mixed = (pieces @ pieces.mT).softmax(-1) @ pieces
        return mixed.permute(0, 2, 3, 1, 4).reshape(hidden.shape)


def test_pegasus_x():
    config = transformers.PegasusXConfig(
        vocab_size=50,
        d_model=WIDTH,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        block_size=8,
        num_global_tokens=4,
    )
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    ids = torch.randint(3, 50, (1, LENGTH))
    local = []
    for layer in model.encoder.layers:
        layer.self_attn.register_forward_hook(lambda _, __, out: local.append(out[2]["local"][0]))
    with torch.no_grad(), attnreport.capture(model, layers=["encoder.*"]) as recording:
        model(input_ids=ids, decoder_input_ids=ids[:, :3])
    laid = [a for a in recording.run().attentions if a.weights.shape[1:] == (LENGTH, LENGTH)]
    # Every second layer has half a block of padding before the first position.
    for attention, probabilities, ahead in zip(laid, local, (0, 4), strict=True):
        expected = np.zeros((HEADS, LENGTH, LENGTH))
        for row in range(LENGTH):
            block, place = divmod(row + ahead, 8)
            for column in range(8):
                key = block * 8 + column - ahead
                if 0 <= key < LENGTH:
                    expected[:, row, key] = probabilities[:, block, place, 4 + column]
        assert np.abs(attention.weights - expected).max() < 2e-6
        assert attention.residual < 1e-5
        # The global tokens are no positions: what a row gives them is the sink's share.
        assert np.abs(attention.sink - (1 - expected.sum(axis=-1))).max() < 2e-6


@pytest.mark.parametrize("scrambled", [False, True])
def test_blocks_are_never_taken_for_heads(scrambled):
    model = nn.Sequential(nn.Embedding(50, WIDTH), Blocks(scrambled=scrambled))
    with torch.no_grad(), attnreport.capture(model, example=1) as recording:
        model(ids())
    (entry,) = recording.ledger
    if scrambled:
        assert not entry.captured
        assert "heads from the blocks" in entry.reason
        return
    (attention,) = recording.run().attentions
    hidden = model[0](ids())[1].detach().double().view(3, 7, HEADS, EACH)
    expected = np.zeros((HEADS, LENGTH, LENGTH))
    for block in range(3):
        for head in range(HEADS):
            own = hidden[block, :, head]
            part = slice(7 * block, 7 * block + 7)
            expected[head, part, part] = (own @ own.T).softmax(-1).numpy()
    assert np.abs(attention.weights - expected).max() < 2e-6
