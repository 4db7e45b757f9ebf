"""Kernels that get several sequences in one row, here with numpy: each looks at itself alone."""

import copy
import os

os.environ["HF_HUB_OFFLINE"] = "1"

import attention_reference as reference
import numpy as np
import pytest
import torch
import transformers
from transformers.integrations import flash_attention

import attnreport


def exact(
    query, key, *, scale=None, causal=False, window=(-1, -1), softcap=0.0, slopes=None, sinks=None
):
    """Weights of one sequence, ``(head, query, key)``, by loops; the queries are the last keys."""
    heads, length, width = query.shape
    total = key.shape[1]
    scale = width**-0.5 if scale is None else scale
    result = np.zeros((heads, length, total))
    for head in range(heads):
        keys = key[head // (heads // len(key))].double().numpy()
        for row in range(length):
            place = row + total - length
            away = np.arange(total) - place
            scores = keys @ query[head, row].double().numpy() * scale
            scores = softcap * np.tanh(scores / softcap) if softcap else scores
            scores = scores - (0 if slopes is None else float(slopes[head]) * np.abs(away))
            seen = (away <= 0) if causal else np.ones(total, bool)
            seen &= (window[0] < 0) | (away >= -window[0])
            seen &= (window[1] < 0) | (away <= window[1])
            raised = np.where(seen, np.exp(scores - scores.max()), 0)
            sink = 0 if sinks is None else np.exp(float(sinks[head]) - scores.max())
            result[head, row] = raised / (raised.sum() + sink)
    return result


def mixed(weights, value):
    """weights @ value, heads shared by groups; ``(position, head, width)``."""
    groups = len(weights) // len(value)
    values = value.double().numpy().repeat(groups, axis=0)
    return torch.from_numpy(weights @ values).transpose(0, 1).to(value.dtype)


def by_sequence(query, key, value, starts, **told):
    """What a kernel returns of ``(position, head, width)``, one sequence after the other."""
    output = torch.zeros(*query.shape[:2], value.shape[2], dtype=query.dtype)
    for first, last in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        own = [each[first:last].transpose(0, 1) for each in (query, key, value)]
        output[first:last] = mixed(exact(own[0], own[1], **told), own[2])
    return output


@torch.library.custom_op("attnreport_tests::varlen_forward", mutates_args=())
def varlen_forward(  # noqa: PLR0917 - in the order of flash-attn's
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    cu_seqlens_q: torch.Tensor,
    cu_seqlens_k: torch.Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float,
    softmax_scale: float,
    causal: bool,
    window_size_left: int = -1,
    window_size_right: int = -1,
    softcap: float = 0.0,
    alibi_slopes: torch.Tensor | None = None,
    block_table: torch.Tensor | None = None,
    s_aux: torch.Tensor | None = None,
    wrong: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Have the signature of flash-attn's operator, and compute with numpy."""
    window = (window_size_left, window_size_right)
    told = {"scale": softmax_scale, "causal": causal, "window": window, "softcap": softcap}
    told |= {"slopes": alibi_slopes, "sinks": s_aux}
    return wrong * by_sequence(q, k, v, cu_seqlens_q, **told), torch.zeros(len(q))


@torch.library.custom_op("attnreport_tests::forward", mutates_args=())
def dense_forward(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, softmax_scale: float, causal: bool
) -> torch.Tensor:
    """The same for a batch of sequences of one length, ``(batch, position, head, width)``."""
    told = {"scale": softmax_scale, "causal": causal}
    rows = []
    for own in zip(q, k, v, strict=True):
        heads = [each.transpose(0, 1) for each in own]
        rows.append(mixed(exact(heads[0], heads[1], **told), heads[2]))
    return torch.stack(rows)


class Attention(torch.nn.Module):
    """Project, attend through an operator, and keep the operands to be looked at."""

    def __init__(self, attend, heads=4, shared=2, width=8):
        super().__init__()
        torch.manual_seed(0)
        self.attend = attend
        self.shapes = [(heads, width), (shared, width), (shared, width)]
        self.projections = torch.nn.ModuleList(
            torch.nn.Linear(16, count * size) for count, size in self.shapes
        )

    def forward(self, hidden, *rest):
        self.operands = [
            project(hidden).unflatten(-1, shape)
            for project, shape in zip(self.projections, self.shapes, strict=True)
        ]
        return self.attend(*self.operands, *rest)


class Model(torch.nn.Module):
    """Embed ids and attend; with padding, take it out before and put it back after."""

    def __init__(self, attend, **sizes):
        super().__init__()
        self.table = torch.nn.Embedding(50, 16)
        self.attention = Attention(attend, **sizes)

    def forward(self, ids, starts, mask=None):
        hidden = self.table(ids)
        if mask is None:
            packed = hidden.flatten(0, 1)
            return self.attention(packed, starts)
        places = mask.flatten().nonzero().flatten()
        output = self.attention(hidden.flatten(0, 1)[places], starts)
        whole = output.new_zeros(mask.numel(), *output.shape[1:])
        whole[places] = output
        return whole.unflatten(0, mask.shape)


def kernel(*operands, starts=None, **told):
    lengths = (int(starts.diff().max()),) * 2
    settings = {"dropout_p": 0.0, "softmax_scale": 0.3, "causal": False} | told
    function = torch.ops.attnreport_tests.varlen_forward
    return function(*operands, starts, starts, *lengths, **settings)[0]


def attend(**told):
    return lambda q, k, v, starts: kernel(q, k, v, starts=starts, **told)


STARTS = torch.tensor([0, 3, 4, 9], dtype=torch.int32)
TOLD = {
    "all": {},
    "causal": {"causal": True},
    "a window": {"causal": True, "window_size_left": 1, "window_size_right": 0},
    "a window to both sides": {"window_size_left": 2, "window_size_right": 1},
    "softcap": {"softcap": 2.0},
    "slopes": {"alibi_slopes": torch.tensor([0.5, 0.25, 0.125, 0.1])},
    "sinks": {"causal": True, "s_aux": torch.tensor([0.5, -1.0, 2.0, 0.0])},
}


def expected_of(operands, first, last, told):
    query, key, _ = (each.detach()[first:last].transpose(0, 1) for each in operands)
    window = (told.get("window_size_left", -1), told.get("window_size_right", -1))
    names = {"softcap": "softcap", "alibi_slopes": "slopes", "s_aux": "sinks", "causal": "causal"}
    rest = {name: told[given] for given, name in names.items() if given in told}
    return exact(query, key, scale=0.3, window=window, **rest)


@pytest.mark.parametrize("told", TOLD.values(), ids=TOLD)
def test_packed_sequences_look_at_themselves_alone(told):
    model, ids = Model(attend(**told)), torch.randint(0, 50, (1, 9))
    run, _ = reference.record(model, ids, STARTS, axes=[(ids, "abcdefghi")])
    (attention,) = run.attentions
    expected = np.zeros((4, 9, 9))
    for first, last in zip(STARTS[:-1].tolist(), STARTS[1:].tolist(), strict=True):
        own = expected_of(model.attention.operands, first, last, told)
        expected[:, first:last, first:last] = own
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert attention.name == "attention" and "".join(attention.keys.labels) == "abcdefghi"
    assert "3 packed sequences" in run.ledger[0].reason
    if "s_aux" in told:
        assert np.abs(attention.sink - (1 - expected.sum(axis=-1))).max() < 2e-6


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("example", [0, 1])
def test_unpadded_examples_lie_where_they_were(side, example):
    lengths = [4, 6]
    mask = torch.zeros(2, 7, dtype=torch.bool)
    for row, length in enumerate(lengths):
        mask[row, slice(7 - length, 7) if side == "left" else slice(length)] = True
    starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    model, ids = Model(attend(causal=True)), torch.randint(0, 50, (2, 7))
    given = {"axes": [(ids, "abcdefg")], "example": example}
    run, _ = reference.record(model, ids, starts, mask, **given)
    (attention,) = run.attentions
    first, last = starts[example : example + 2].tolist()
    expected = expected_of(model.attention.operands, first, last, {"causal": True})
    real = [bool(x) for x in mask[example]]
    weights = attention.weights[..., [label in _seen(real) for label in attention.keys.labels]]
    assert np.abs(weights - expected).max() < 2e-6
    assert "".join(attention.queries.labels) == _seen(real)


def _seen(real):
    return "".join(label for label, there in zip("abcdefg", real, strict=True) if there)


def test_a_batch_without_packing():
    model = Attention(lambda q, k, v: torch.ops.attnreport_tests.forward(q, k, v, 0.3, True))
    hidden = torch.randn(2, 5, 16)
    run, _ = reference.record(model, hidden, example=1)
    query, key, _ = (each.detach()[1].transpose(0, 1) for each in model.operands)
    (attention,) = run.attentions
    expected = exact(query, key, scale=0.3, causal=True)
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"wrong": 1.5}, "what its arguments say is not what it returned"),
        ({"block_table": torch.zeros(1, 1)}, "called with block_table, which is not read"),
    ],
)
def test_what_is_not_understood_is_named(told, words):
    model, ids = Model(attend(**told)), torch.randint(0, 50, (1, 9))
    with pytest.raises(attnreport.AttentionNotFound, match=words):
        reference.record(model, ids, STARTS)


def test_several_sequences_in_a_batch_of_another_size_are_named():
    model, ids = Model(attend()), torch.randint(0, 50, (2, 5))
    starts = torch.tensor([0, 4, 7, 10], dtype=torch.int32)
    with pytest.raises(attnreport.AttentionNotFound, match="3 sequences are packed, the batch has"):
        reference.record(model, ids, starts)


def test_dropout_cannot_be_checked_and_that_is_said():
    model, ids = Model(attend(dropout_p=0.1)), torch.randint(0, 50, (1, 9))
    run, _ = reference.record(model, ids, STARTS)
    assert run.attentions[0].residual is None
    assert "before dropout 0.1" in run.ledger[0].reason


def test_torchs_own_kernel_for_lengths_that_vary():
    varlen = pytest.importorskip("torch.nn.attention.varlen")

    def on_cpu(query, key, value, starts, *rest, **options):
        scale = rest[4] if len(rest) > 4 else options.get("scale")
        window = rest[5] if len(rest) > 5 else options.get("window_size")
        told = {"scale": scale, "window": tuple(window or (-1, -1))}
        output = by_sequence(query, key, value, starts, **told)
        return output, output.new_zeros(query.shape[1], len(query)), torch.zeros(2).to(torch.uint64)

    torch.library.register_kernel("torch_attn::_varlen_attn", "cpu", on_cpu)

    def call(q, k, v, starts):
        return varlen.varlen_attn(q, k, v, starts, starts, 5, 5, scale=0.3, window_size=(2, 0))

    model, ids = Model(call, shared=4), torch.randint(0, 50, (1, 9))
    run, _ = reference.record(model, ids, STARTS)
    told = {"window_size_left": 2, "window_size_right": 0}
    expected = expected_of(model.attention.operands, 4, 9, told)
    assert np.abs(run.attentions[0].weights[:, 4:, 4:] - expected).max() < 2e-6
    assert not run.attentions[0].weights[:, 4:, :4].any()


LLAMA = transformers.LlamaConfig(
    vocab_size=99,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=64,
    pad_token_id=0,
)


def by_flash(query, key, value, attention_mask=None, **told):
    """Do what transformers' own function does, by numpy: unpad, or unpack, or neither."""
    batch, length = query.shape[:2]
    # Tensors that no torch function is seen of.
    flat = [torch.from_numpy(x.numpy().copy()).flatten(0, 1) for x in (query, key, value)]
    starts = torch.arange(0, batch * length + 1, length)
    places = torch.arange(batch * length)
    positions = told.get("position_ids")
    if attention_mask is not None:
        places = attention_mask.flatten().nonzero().flatten()
        starts = torch.tensor([0, *attention_mask.sum(dim=1).cumsum(0).tolist()])
    elif told.get("cu_seq_lens_q") is not None:
        starts = told["cu_seq_lens_q"]
    elif positions is not None and bool((positions.diff() != 1).any()):
        starts = torch.tensor([*(positions[0] == 0).nonzero().flatten().tolist(), length])
    rules = {"causal": told["is_causal"], "scale": told["softmax_scale"]}
    output = torch.zeros_like(flat[0])
    output[places] = by_sequence(*(each[places] for each in flat), starts, **rules)
    return output.unflatten(0, (batch, length))


@pytest.fixture
def llama(monkeypatch):
    """A model that calls transformers' own flash_attention_forward, with a kernel by numpy."""
    monkeypatch.setattr(flash_attention, "_flash_attention_forward", by_flash)
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(copy.deepcopy(LLAMA)).eval()
    eager = transformers.AutoModel.from_config(copy.deepcopy(LLAMA), attn_implementation="eager")
    eager.load_state_dict(model.state_dict())
    model.config._attn_implementation = "flash_attention_2"
    return model, eager.eval()


PACKED = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13]])
POSITIONS = torch.tensor([[0, 1, 2, 0, 0, 1, 2, 3, 4]])


def block_diagonal(eager, layer):
    expected = np.zeros((4, 9, 9))
    for first, last in ((0, 3), (3, 4), (4, 9)):
        own = eager(PACKED[:, first:last], output_attentions=True).attentions[layer]
        expected[:, first:last, first:last] = own[0].numpy()
    return expected


@pytest.mark.parametrize("told", ["positions", "starts"])
def test_transformers_integration_of_packed_sequences(llama, told):
    model, eager = llama
    options = {"position_ids": POSITIONS, "use_cache": False}
    if told == "starts":
        options |= {"cu_seq_lens_q": STARTS, "cu_seq_lens_k": STARTS}
        options |= {"max_length_q": 5, "max_length_k": 5}
    with torch.no_grad():
        plain = model(PACKED, **options)[0]
        with attnreport.capture(model) as recording:
            output = model(PACKED, **options)[0]
        run = recording.run()
        for layer, attention in enumerate(run.attentions):
            assert np.abs(attention.weights - block_diagonal(eager, layer)).max() < 2e-6
            assert attention.residual < 1e-5
    assert torch.equal(plain, output)
    assert len(run.attentions) == 2
    assert "3 packed sequences" in run.ledger[0].reason


@pytest.mark.parametrize("example", [0, 1])
def test_transformers_integration_of_padded_sequences(llama, example):
    model, eager = llama
    ids = torch.randint(3, 99, (2, 7))
    mask = torch.ones_like(ids)
    mask[0, 5:] = 0
    with torch.no_grad():
        with attnreport.capture(model, example=example) as recording:
            model(ids, attention_mask=mask, use_cache=False)
        length = int(mask[example].sum())
        own = eager(ids[example : example + 1, :length], output_attentions=True).attentions
    for attention, expected in zip(recording.run().attentions, own, strict=True):
        assert np.abs(attention.weights[:, :length, :length] - expected[0].numpy()).max() < 2e-6
        assert not attention.weights[:, length:].any()
        assert attention.residual < 1e-5
