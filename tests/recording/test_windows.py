"""Windows are put back on the positions they were cut from, shifted and padded ones too."""

import math

import attention_reference as reference
import numpy as np
import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so
from transformers.models.hiera import modeling_hiera

import attnreport
from attnreport.recording import windows

SIDE, WIDTH, HEADS = 6, 8, 2


class Windows(nn.Module):
    """Attend inside windows of a picture, as Swin does (Liu et al. 2021)."""

    def __init__(self, window, shift, fused, *, channels_first=False):
        super().__init__()
        torch.manual_seed(0)
        self.window, self.shift, self.fused = window, shift, fused
        self.channels_first = channels_first
        self.embed = nn.Conv2d(3, WIDTH, 2, 2)
        self.norm = nn.LayerNorm(WIDTH)
        self.project = nn.Linear(WIDTH, 3 * WIDTH)

    def forward(self, picture):
        hidden = self.embed(picture)
        if self.channels_first:
            hidden = hidden.permute(0, 2, 3, 1)
        else:
            hidden = hidden.flatten(2).transpose(1, 2)
            hidden = self.norm(hidden).view(-1, SIDE, SIDE, WIDTH)
        extra = -SIDE % self.window
        hidden = F.pad(hidden, (0, 0, 0, extra, 0, extra))
        if self.shift:
            hidden = torch.roll(hidden, (-self.shift, -self.shift), (1, 2))
        count = (SIDE + extra) // self.window
        hidden = hidden.view(-1, count, self.window, count, self.window, WIDTH)
        hidden = hidden.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, self.window**2, WIDTH)
        query, key, value = (
            x.view(len(hidden), -1, HEADS, WIDTH // HEADS).transpose(1, 2)
            for x in self.project(hidden).chunk(3, -1)
        )
        if self.fused:
            return F.scaled_dot_product_attention(query, key, value)
        return (query @ key.mT / math.sqrt(WIDTH // HEADS)).softmax(-1) @ value

    def expected(self, picture, example):
        """Return the weights by asking for every pair whether it is in one window."""
        hidden = self.embed(picture)[example].flatten(1).T
        if not self.channels_first:
            hidden = self.norm(hidden)
        extra = -SIDE % self.window
        side = SIDE + extra
        padded = torch.zeros(side, side, WIDTH)
        padded[:SIDE, :SIDE] = hidden.view(SIDE, SIDE, WIDTH)
        query, key, _ = (
            x.reshape(side * side, HEADS, -1).transpose(0, 1)
            for x in self.project(padded).chunk(3, -1)
        )
        place = [((x - self.shift) % side) // self.window for x in range(side)]
        window = [place[p // side] * side + place[p % side] for p in range(side * side)]
        mask = torch.tensor(window)[:, None] == torch.tensor(window)
        weights = reference.weights_of(query, key, mask=mask)
        real = [p for p in range(side * side) if p // side < SIDE and p % side < SIDE]
        return weights[:, real][:, :, real]


@pytest.mark.parametrize("channels_first", [False, True])
@pytest.mark.parametrize("fused", [True, False], ids=["sdpa", "by hand"])
@pytest.mark.parametrize(("window", "shift"), [(3, 0), (3, 1), (2, 1), (4, 0), (4, 2)])
def test_windows_lie_on_the_picture(window, shift, fused, channels_first):
    model = Windows(window, shift, fused, channels_first=channels_first)
    picture = torch.randn(2, 3, 2 * SIDE, 2 * SIDE)
    labels = [f"{row},{column}" for row in range(SIDE) for column in range(SIDE)]
    with torch.no_grad():
        run, _ = reference.record(model, picture, axes=[(picture, labels)], example=1)
        expected = model.expected(picture, 1)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert attention.queries.labels == attention.keys.labels == tuple(labels)
    assert attention.kind == "self"
    assert (attention.sink is None) == (window != 4)
    assert "windows" in run.ledger[0].reason


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_swin_has_the_values_that_its_own_windows_have(implementation):
    config = transformers.SwinConfig(
        image_size=32, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4
    )
    models = []
    for way in (implementation, "eager"):
        torch.manual_seed(0)
        models.append(transformers.SwinModel._from_config(config, attn_implementation=way).eval())
    picture = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        plain = models[0](picture)[0]
        with attnreport.capture(models[0], example=1) as recording:
            output = models[0](picture)[0]
        windows = models[1](picture, output_attentions=True).attentions
    run = recording.run()
    assert torch.equal(plain, output)
    assert [a.weights.shape for a in run.attentions] == [(2, 64, 64)] * 2 + [(4, 16, 16)] * 2
    assert max(a.residual for a in run.attentions) < 1e-5
    # Eager returns those of the last block of each stage, which is the shifted one.
    for attention, expected in zip(run.attentions[1::2], windows, strict=True):
        own = expected[len(expected) // 2 :].transpose(0, 1).flatten(1).sort().values
        whole = torch.from_numpy(attention.weights.copy()).flatten(1).sort().values
        assert torch.allclose(whole[:, -own.shape[1] :], own, atol=2e-6)
        assert not whole[:, : -own.shape[1]].any()


class Scrambled(Windows):
    """Sort what is in a window first: nothing tells then where it was."""

    def forward(self, picture):
        hidden = self.embed(picture).flatten(2).transpose(1, 2)
        hidden = hidden.reshape(-1, 9, WIDTH).sort(dim=1).values
        heads = hidden.view(len(hidden), 9, HEADS, -1).transpose(1, 2)
        return F.scaled_dot_product_attention(heads, heads, heads)


@pytest.mark.parametrize("fused", [True, False], ids=["sdpa", "by hand"])
@pytest.mark.parametrize(("window", "shift"), [(3, 0), (3, 1), (4, 1)])
def test_windows_that_take_half_of_the_memory_are_joined(fused, window, shift):
    model, picture = Windows(window, shift, fused), torch.randn(1, 3, 2 * SIDE, 2 * SIDE)
    (whole,) = reference.record(model, picture)[0].attentions
    run, _ = reference.record(model, picture, max_memory=2 * whole.weights.nbytes - 1)
    (found,) = run.attentions
    (entry,) = run.ledger
    assert found.weights.shape == (HEADS, SIDE**2 // 2, SIDE**2 // 2)
    pairs = whole.weights.reshape(HEADS, SIDE**2 // 2, 2, SIDE**2 // 2, 2)
    assert np.abs(found.weights - pairs.mean(2).sum(-1)).max() < 1e-6
    exact = found.reduced
    largest = np.sort(whole.weights, axis=-1)[..., ::-1][..., : exact.largest.shape[-1]]
    assert np.array_equal(exact.largest, largest)
    assert np.abs(exact.columns - whole.weights.sum(1)).max() < 1e-5
    assert found.residual == whole.residual
    assert (whole.sink is None) == (exact.sink is None)
    if whole.sink is not None:
        assert np.abs(exact.sink - whole.sink).max() < 1e-6
    assert "every 2 neighbouring positions are joined" in entry.reason
    said = "the share of what is no position of the sequence is the sink's"
    assert (said in entry.reason) == (whole.sink is not None)
    (note,) = run.provenance.notes
    assert "by themselves take more than half" in note
    assert "All weights" not in note


def test_windows_of_too_many_positions_are_said_where_heads_are_selected(monkeypatch):
    monkeypatch.setattr(windows, "_MOST", SIDE**4 - 1)
    with pytest.raises(attnreport.AttentionNotFound, match="36 positions, which are too many for"):
        reference.record(Windows(3, 1, True), torch.randn(1, 3, 2 * SIDE, 2 * SIDE), heads=[0])


def test_what_cannot_be_put_back_is_said():
    picture = torch.randn(1, 3, 2 * SIDE, 2 * SIDE)
    with pytest.raises(attnreport.AttentionNotFound, match="could not be put back"):
        reference.record(Scrambled(3, 0, True), picture)


class Shared(Windows):
    """Ask the same few questions in every window, as GC ViT's global queries do."""

    def forward(self, picture):
        hidden = self.embed(picture).flatten(2).transpose(1, 2)
        asked = hidden.mean(1, keepdim=True).expand(-1, self.window**2, -1)
        hidden = hidden.view(-1, 2, 3, 2, 3, WIDTH).permute(0, 1, 3, 2, 4, 5).flatten(3, 4)
        windows = hidden.flatten(0, 2)
        query, key, value = (
            x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for x in (asked.repeat(4, 1, 1), windows, windows)
        )
        if self.fused:
            return F.scaled_dot_product_attention(query, key, value)
        return (query @ key.mT).softmax(-1) @ value


@pytest.mark.parametrize("fused", [True, False])
def test_queries_that_are_not_cut_from_the_windows_are_said(fused):
    model, picture = Shared(3, 0, fused), torch.randn(1, 3, 2 * SIDE, 2 * SIDE)
    with pytest.raises(attnreport.AttentionNotFound, match="its queries are not cut from it"):
        reference.record(model, picture)


def seen_by(attention):
    """What the values of an attention are and what goes into its last projection, as it runs."""
    seen = {}
    attention.qkv.register_forward_hook(lambda _, __, output: seen.update(qkv=output.detach()))
    attention.proj.register_forward_pre_hook(lambda _, given: seen.update(mixed=given[0].detach()))
    return seen


@pytest.mark.parametrize("heads", [1, 2])
def test_queries_that_are_pooled_in_windows_lie_on_the_next_stage(heads):
    """Hiera (Ryali et al. 2023): where a stage begins a query is the largest of four positions'."""
    torch.manual_seed(0)
    config = transformers.HieraConfig(
        embed_dim=8, depths=[1, 2, 1, 1], num_heads=[heads] * 4, image_size=[128, 128]
    )
    model, picture = transformers.HieraModel(config).eval(), torch.randn(1, 3, 128, 128)
    seen = seen_by(model.encoder.stages[1].layers[0].attn)
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(picture)
    run = recording.run()
    assert not run.missed
    pooled, later = run.attentions[1:3]
    assert pooled.name == "encoder.stages.1.layers.0.attn"
    assert pooled.weights.shape == (heads, 256, 1024)
    assert pooled.residual < 1e-5
    assert pooled.queries == later.queries == later.keys
    assert "each query is pooled from several positions" in run.ledger[1].reason
    # The model has its patches in another order, in which four that are pooled lie far apart.
    order = torch.arange(1024.0).view(1, 1024, 1)
    order = modeling_hiera.unroll(order, (32, 32), (1, 1), [[2, 2]] * 3).flatten().long()
    first = order.view(4, 256).amin(dim=0)
    values = torch.empty(1024, heads, 16 // heads)
    values[order] = seen["qkv"][0].unflatten(-1, (3, heads, -1))[:, 2]
    mixed = np.einsum("hqk,khw->qhw", pooled.weights, values.numpy())
    expected = seen["mixed"][0][first.argsort()]
    assert np.abs(mixed.reshape(256, -1) - expected.numpy()).max() < 1e-5


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_queries_that_are_pooled_in_rows_and_columns_lie_on_the_next_stage(implementation):
    """SAM 2 (Ravi et al. 2024): the same in windows of a picture."""
    torch.manual_seed(0)
    config = transformers.Sam2HieraDetConfig(
        hidden_size=8,
        num_attention_heads=1,
        image_size=[128, 128],
        blocks_per_stage=[1, 2, 1, 1],
        embed_dim_per_stage=[8, 16, 32, 64],
        num_attention_heads_per_stage=[1, 2, 2, 2],
        window_size_per_stage=[8, 4, 4, 4],
        window_positional_embedding_background_size=[4, 4],
        global_attention_blocks=[],
    )
    model = transformers.Sam2HieraDetModel._from_config(config, attn_implementation=implementation)
    model, picture = model.eval(), torch.randn(1, 3, 128, 128)
    seen = seen_by(model.blocks[1].attn)
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(picture)
    pooled = next(a for a in recording.run().attentions if a.name == "blocks.1.attn")
    # 32 × 32 patches in windows of 8 × 8, each pooled to 4 × 4.
    assert pooled.weights.shape == (2, 256, 1024)
    assert pooled.residual < 1e-5

    def laid(windows):
        rows = windows.unflatten(0, (4, 4)).transpose(1, 2)
        return rows.flatten(2, 3).flatten(0, 1).flatten(0, 1)

    values = laid(seen["qkv"]).unflatten(-1, (3, 2, -1))[:, 2]
    mixed = np.einsum("hqk,khw->qhw", pooled.weights, values.numpy())
    assert np.abs(mixed.reshape(256, -1) - laid(seen["mixed"]).numpy()).max() < 1e-5
