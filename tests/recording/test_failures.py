"""Whatever goes wrong, the model, torch and the user's own exception stay what they were."""

import contextlib
import gc
import math
import threading
import weakref

import attention_reference as reference
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.generation import GenerationMixin
from transformers.modeling_utils import AttentionInterface

import attnreport
from attnreport.errors import InvalidInput
from attnreport.recording import operands, sdpa
from attnreport.recording.registry import recorder, recorder_of


def state(model):
    """Return everything global or of the model that a capture could leave changed."""
    return (
        torch.overrides.has_torch_function,
        torch._C._len_torch_function_stack(),
        torch.is_grad_enabled(),
        torch.is_autocast_enabled(),
        torch.get_rng_state().tolist(),
        torch.compiler.is_compiling(),
        torch.backends.mha.get_fastpath_enabled(),
        nn.MultiheadAttention.forward,
        nn.modules.module._global_forward_hooks.copy(),
        AttentionInterface.get_interface,
        GenerationMixin.generate,
        [(type(m), m.training, dict(m._forward_hooks), set(vars(m))) for m in model.modules()],
        [id(p) for p in model.parameters()],
    )


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, hidden):
        hidden = self.project(hidden)
        return F.scaled_dot_product_attention(hidden, hidden, hidden)


class UserError(Exception):
    pass


def test_the_users_exception_is_what_the_user_sees():
    class Broken(nn.Module):
        def forward(self, hidden):
            raise UserError("mine")

    model = nn.Sequential(Layer(), Broken())
    before = state(model)
    with pytest.raises(UserError, match="mine"), attnreport.capture(model) as recording:
        model(torch.ones(1, 1, 3, 4))
    assert state(model) == before
    # What was seen until then is still there to be read.
    assert len(recording.run().attentions) == 1


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError("boom"), KeyError("boom")])
def test_a_recorder_that_fails_costs_the_user_nothing(monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    model, hidden = nn.Sequential(Layer(), Layer()), torch.randn(1, 1, 3, 4)
    expected = model(hidden)
    before = state(model)
    monkeypatch.setattr(operands, "attend", fail)
    with attnreport.capture(model) as recording:
        output = model(hidden)
    assert torch.equal(output, expected)
    assert state(model) == before
    assert [(entry.name, entry.captured) for entry in recording.ledger] == [
        ("0", False),
        ("1", False),
    ]
    with pytest.raises(attnreport.AttentionNotFound, match=r"could not be read: .*boom"):
        recording.run()


def test_following_that_fails_costs_the_user_nothing(monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("lost\nthe thread")

    monkeypatch.setattr("attnreport.recording.watch.strongest", fail)
    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    expected = model(hidden)
    with attnreport.capture(model) as recording:
        assert torch.equal(model(hidden), expected)
    assert all("\n" not in entry.reason for entry in recording.ledger)
    assert any("lost the thread" in entry.reason for entry in recording.ledger)


OURS = [
    "apart.quietly",
    "assemble.padding_of",
    "following.follow",
    "found.Found.settle",
    "generating._begin",
    "generating._end",
    "generating._sources",
    "generation.Generation.called",
    "generation.Generation.layout",
    "gradients.await_gradient",
    "handwritten.begin",
    "kernels._begin",
    "kernels._record",
    "layout.Layout.pick",
    "memory.Memory.take",
    "naming.Names.current",
    "product.record",
    "projection.Projections.begin",
    "sdpa.Found",
    "selection.Selection.rows_of",
    "streams.Streams.assign",
    "streams.Streams.entering",
    "streams.Streams.tag",
    "watch.reading_of",
    "watch.remember",
    "watch.without_modes",
    "watch.Watch.keep",
]


@pytest.mark.parametrize("place", OURS)
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_an_error_anywhere_of_ours_leaves_all_as_it_was(place, implementation, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("ours")

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        pad_token_id=0,
    )
    model = LlamaForCausalLM._from_config(config, attn_implementation=implementation).eval()
    ids = torch.randint(3, 30, (1, 4))

    def run():
        made = model.generate(ids, max_new_tokens=2, num_beams=2, do_sample=False)
        number = model(ids).logits.sum()
        number.backward()
        return made, number, model.lm_head.weight.grad.clone()

    plain = run()
    model.zero_grad()
    before = state(model)
    monkeypatch.setattr(f"attnreport.recording.{place}", fail)
    with attnreport.capture(model, gradients=True, values=True) as recording:
        output = run()
    assert all(map(torch.equal, plain, output))
    assert state(model) == before
    with contextlib.suppress(attnreport.AttentionNotFound, RuntimeError):
        # What our own code cannot put together may fail here, where it costs the model nothing.
        recording.run()


def test_an_interrupt_goes_through(monkeypatch):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    before = state(model)
    monkeypatch.setattr(operands, "attend", interrupt)
    with pytest.raises(KeyboardInterrupt), attnreport.capture(model):
        model(hidden)
    assert state(model) == before


def test_a_model_without_attention():
    model = nn.Linear(3, 3)
    with attnreport.capture(model) as recording:
        model(torch.ones(3))
    assert recording.ledger == ()
    with pytest.raises(attnreport.AttentionNotFound, match="from Linear: no torch function") as e:
        recording.run()
    assert "\n" not in str(e.value)


class LinearAttention(nn.Module):
    """Attention of which there are no weights."""

    def __init__(self):
        super().__init__()
        self.project = nn.Linear(4, 4)

    def forward(self, hidden):
        query = self.project(hidden).relu()
        return query @ (query.mT @ hidden)


def test_a_module_called_attention_that_gave_nothing_is_said():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = LinearAttention()

    model = nn.Sequential(LinearAttention(), Layer(), Unused(), nn.Identity())
    model[2].forward = lambda hidden: hidden
    run, _ = reference.record(model, torch.randn(1, 1, 3, 4))
    assert [(entry.name, entry.call) for entry in run.missed] == [("0", "LinearAttention")]


class Tied(nn.Module):
    """Two attentions with one set of parameters, of which only one runs."""

    def __init__(self, make, which):
        super().__init__()
        self.first_attention, self.second_attention = make(), make()
        self.which = which
        for mine, other in zip(
            self.first_attention.modules(), self.second_attention.modules(), strict=True
        ):
            for name in mine._parameters:
                other._parameters[name] = mine._parameters[name]

    def forward(self, hidden):
        return getattr(self, self.which)(hidden)


class GivesWeights(LinearAttention):
    """Attention with its one projection."""

    def forward(self, hidden):
        query = self.project(hidden)
        return (query @ query.mT).softmax(-1) @ hidden


@pytest.mark.parametrize("which", ["first_attention", "second_attention"])
def test_of_modules_with_the_same_parameters_the_one_that_ran_is_named(which):
    model, hidden = Tied(LinearAttention, which), torch.randn(1, 3, 4)
    with attnreport.capture(model) as recording:
        model(hidden)
    assert [entry.name for entry in recording.ledger] == [which]
    run, _ = reference.record(Tied(GivesWeights, which), hidden)
    assert [attention.name for attention in run.attentions] == [which]
    assert not run.missed


def fused_layer():
    return nn.TransformerEncoderLayer(4, 2, 8, batch_first=True).eval()


@pytest.mark.parametrize("which", ["first_attention", "second_attention"])
def test_a_fused_layer_with_the_parameters_of_another_is_named_itself(which):
    with torch.no_grad():
        run, _ = reference.record(Tied(fused_layer, which).eval(), torch.randn(1, 3, 4))
    assert run.attentions[0].name.startswith(which)
    assert not run.missed


def test_another_model_in_the_block_is_not_this_one():
    model, other = Layer(), Layer()
    hidden = torch.randn(1, 1, 3, 4)
    with attnreport.capture(model) as recording:
        model(hidden)
        other(hidden)
    assert len(recording.run().attentions) == 1
    assert recording.run().missed[0].call == "outside the model"


def test_nested_captures_see_their_own_models():
    model, other = nn.Sequential(Layer()), Layer()
    hidden = torch.randn(1, 1, 3, 4)
    with attnreport.capture(model) as outer, attnreport.capture(other) as inner:
        model(hidden)
        other(hidden)
        other(hidden)
    assert [a.name for a in outer.run().attentions] == ["0"]
    assert [a.name for a in inner.run().attentions] == ["", ""]


def test_nested_captures_of_one_model_see_it_both():
    model = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).eval()
    hidden = torch.randn(1, 3, 8)
    with torch.no_grad():
        expected = model(hidden)
        with attnreport.capture(model) as outer, attnreport.capture(model) as inner:
            assert torch.equal(model(hidden), expected)
    assert len(outer.run().attentions) == len(inner.run().attentions) == 1


def test_another_thread_is_not_watched_and_not_changed():
    model, hidden = (
        nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).eval(),
        torch.randn(1, 3, 8),
    )
    expected, seen = model(hidden), []
    with attnreport.capture(model) as recording:
        thread = threading.Thread(target=lambda: seen.append(model(hidden)))
        thread.start()
        thread.join()
    assert torch.equal(seen[0], expected)
    with pytest.raises(attnreport.AttentionNotFound, match="same thread"):
        recording.run()


def test_captures_in_threads_see_their_own_models():
    models = [nn.Sequential(*(Layer() for _ in range(count))) for count in (1, 2, 3)]
    found, barrier = {}, threading.Barrier(3)

    def work(place):
        with attnreport.capture(models[place]) as recording:
            barrier.wait()
            for _ in range(20):
                models[place](torch.randn(1, 1, 3, 4))
            barrier.wait()
        found[place] = len(recording.run().attentions)

    threads = [threading.Thread(target=work, args=(place,)) for place in range(3)]
    before = torch.overrides.has_torch_function
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {0: 20, 1: 40, 2: 60}
    assert torch.overrides.has_torch_function is before


def test_a_checkpointed_forward_is_seen_once():
    layer = Layer()

    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, hidden):
            return torch.utils.checkpoint.checkpoint(self.layer, hidden, use_reentrant=False)

    model, hidden = Checkpointed(), torch.randn(1, 1, 3, 4)
    model(hidden).sum().backward()
    expected = layer.project.weight.grad.clone()
    layer.zero_grad()
    with attnreport.capture(model) as recording:
        model(hidden).sum().backward()
    assert torch.equal(layer.project.weight.grad, expected)
    assert [a.name for a in recording.run().attentions] == ["layer"]


def test_gradients_autocast_and_inference_mode_are_the_users():
    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    for context in (
        torch.no_grad,
        torch.inference_mode,
        lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    ):
        with context():
            run, output = reference.record(model, hidden)
        assert run.attentions[0].dtype == str(output.dtype).removeprefix("torch.")
        assert run.attentions[0].checked


def test_other_modes_stay_on_the_stack():
    class Counts(torch.overrides.TorchFunctionMode):
        seen = 0

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.seen += func is torch.nn.functional.linear
            return func(*args, **(kwargs or {}))

    model = nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).eval()
    hidden = torch.randn(1, 3, 8)
    with torch.no_grad(), Counts() as plain:
        expected = model(hidden)
    with torch.no_grad(), Counts() as watched, attnreport.capture(model) as recording:
        output = model(hidden)
    # The user's mode keeps the fused path closed, with us and without us.
    assert torch.equal(output, expected)
    assert watched.seen == plain.seen > 0
    assert recording.run().ledger[0].call == "multi_head_attention_forward"


def test_a_counter_of_operations_counts_the_models_only():
    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    counts = []
    for watch in (False, True):
        with FlopCounterMode(display=False) as counter:
            if watch:
                with attnreport.capture(model):
                    model(hidden)
            else:
                model(hidden)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_nothing_is_kept_of_the_model_and_its_tensors():
    model, hidden = Layer(), torch.randn(1, 1, 3, 4)
    with attnreport.capture(model) as recording:
        output = model(hidden)
    run = recording.run()
    alive = [weakref.ref(x) for x in (output, hidden, model)]
    del output, hidden, model, recording
    gc.collect()
    assert [ref() for ref in alive] == [None, None, None]
    assert run.attentions[0].weights.shape == (1, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((lambda x: x,), "expected a torch.nn.Module, got function"),
        ((nn.Linear(1, 1), {"example": -1}), "expected example to be 0 or more, got -1"),
        ((nn.Linear(1, 1), {"axes": [([1], "a")]}), r"axes\[0\]: expected a tensor"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    model, *options = arguments
    with pytest.raises(InvalidInput, match=message), attnreport.capture(model, **dict(*options)):
        pass


def test_a_torch_function_has_one_recorder():
    assert recorder_of(F.scaled_dot_product_attention) is sdpa.scaled_dot_product_attention
    with pytest.raises(ValueError, match=r"is read by .*sdpa"):
        recorder(F.scaled_dot_product_attention)(lambda *args: None)


def test_a_torchscript_model_says_that_it_cannot_be_watched():
    with pytest.warns((DeprecationWarning, FutureWarning)):  # which one depends on torch
        model = torch.jit.trace(Layer(), torch.randn(1, 1, 3, 4))
    with attnreport.capture(model) as recording:
        model(torch.randn(1, 1, 3, 4))
    with pytest.raises(attnreport.AttentionNotFound, match="TorchScript"):
        recording.run()


def test_a_compiled_model_runs_as_written_and_says_so():
    model = Layer()
    compiled = torch.compile(model, backend="eager")
    hidden = torch.randn(1, 1, 3, 4)
    with attnreport.capture(compiled) as recording:
        output = compiled(hidden)
    assert torch.equal(output, model(hidden))
    run = recording.run()
    assert len(run.attentions) == 1
    assert math.isfinite(run.attentions[0].residual)
    assert any("compiled" in note for note in run.provenance.notes)
