"""Operators of somebody's own, and functions of TorchScript: nothing inside them can be watched."""

import math
import warnings

import attention_reference as reference
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

import attnreport

BATCH, HEADS, LENGTH, WIDTH = 2, 4, 6, 8


@torch.library.custom_op("attnreport_tests::mix", mutates_args=())
def mix(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True).clone()


@torch.library.custom_op("attnreport_tests::causal_mix", mutates_args=())
def causal_mix(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    heads = (x.transpose(1, 2) for x in (query, key, value))
    return F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).contiguous()


@torch.library.custom_op("attnreport_tests::scaled", mutates_args=())
def scaled(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, scale: float) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, scale=scale).clone()


@torch.library.custom_op("attnreport_tests::cubed", mutates_args=())
def cubed(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return (q @ k.mT).pow(3).softmax(-1) @ v


@torch.library.custom_op("attnreport_tests::secret_attention", mutates_args=())
def secret(hidden: torch.Tensor) -> torch.Tensor:
    return (hidden @ hidden.mT).softmax(-1) @ hidden


def operands(key_heads=HEADS):
    torch.manual_seed(0)
    query = torch.randn(BATCH, HEADS, LENGTH, WIDTH)
    return query, *torch.randn(2, BATCH, key_heads, LENGTH, WIDTH)


@pytest.mark.parametrize("key_heads", [HEADS, 2])
@pytest.mark.parametrize("example", [0, 1])
def test_an_operator_that_names_its_operands_is_read_by_the_formula(key_heads, example):
    query, key, value = operands(key_heads)
    run, _ = reference.record(mix, query, key, value, example=example)
    (attention,) = run.attentions
    expected = reference.weights_of(query[example], key[example])
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert run.ledger[0].call == "attnreport_tests::mix"


def test_its_heads_may_stand_behind_the_positions_and_it_may_be_causal():
    query, key, value = operands()
    turned = [x.transpose(1, 2).contiguous() for x in (query, key, value)]
    run, _ = reference.record(causal_mix, *turned, example=1)
    expected = reference.weights_of(query[1], key[1], causal=True)
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6


def test_its_scale_is_read():
    query, key, value = operands()
    run, _ = reference.record(lambda *given: scaled(*given, 0.3), query, key, value)
    expected = reference.weights_of(query[0], key[0], scale=0.3)
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6


@pytest.mark.parametrize(
    ("operator", "name"), [(cubed, "cubed"), (lambda q, k, v: secret(q), "secret_attention")]
)
def test_what_no_formula_gives_is_named(operator, name):
    with pytest.raises(attnreport.AttentionNotFound) as raised:
        reference.record(operator, *operands())
    assert f"attnreport_tests::{name}" in str(raised.value)
    assert "no formula that is known" in str(raised.value)


KERNELS = [
    torch.ops.aten._scaled_dot_product_attention_math,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten.scaled_dot_product_attention.default,
    torch.ops.aten.scaled_dot_product_attention,
]


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_kernels_of_aten_that_are_called_by_themselves(kernel, causal):
    query, key, value = operands()

    def function(*given):
        output = kernel(*given, is_causal=causal)
        return output[0] if isinstance(output, tuple) else output

    run, _ = reference.record(function, query, key, value, example=1)
    expected = reference.weights_of(query[1], key[1], causal=causal)
    assert np.abs(run.attentions[0].weights - expected).max() < 2e-6
    assert run.attentions[0].residual < 1e-5


def _scripted(function):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit.script is deprecated, and used all the same
        return torch.jit.script(function)


def _attend(query, key, value):
    return torch.matmul(torch.softmax(torch.matmul(query, key.transpose(-1, -2)), -1), value)


def _double(hidden):
    return hidden * 2


scripted_attend, scripted_double = _scripted(_attend), _scripted(_double)


def helper(hidden):
    return [scripted_attend(each, each, each) for each in hidden]


class Scripted(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.project, self.part = nn.Linear(WIDTH, WIDTH), part

    def forward(self, hidden):
        hidden = self.project(scripted_double(hidden))
        if self.part == "helper":
            return torch.stack(helper(hidden))
        if self.part == "own":
            return scripted_attend(hidden, hidden, hidden)
        return hidden


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.project = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden):
        hidden = self.project(scripted_double(hidden))
        return (hidden @ hidden.mT / math.sqrt(WIDTH)).softmax(-1) @ hidden


@pytest.mark.parametrize("part", ["own", "helper"])
def test_functions_of_torchscript_that_attend_are_named(part):
    with pytest.raises(attnreport.AttentionNotFound, match=r"scripted_attend.*TorchScript"):
        reference.record(Scripted(part), torch.randn(1, LENGTH, WIDTH))


def test_other_functions_of_torchscript_are_not():
    run, _ = reference.record(Plain(), torch.randn(1, LENGTH, WIDTH))
    assert len(run.attentions) == 1
    assert not run.missed
