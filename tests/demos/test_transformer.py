"""The shared transformer: cached decoding, rotary positions, and the weights file."""

import math

import pytest
import torch
from safetensors import safe_open

from attnreport.demos import text, translate
from attnreport.demos.transformer import Cache, rotate, save_weights


@pytest.fixture(scope="module")
def byte_model():
    return text.factory()


@pytest.fixture(scope="module")
def translator():
    return translate.factory()


@torch.no_grad()
@pytest.mark.parametrize("first", [1, 2, 17])
def test_cached_bytes_give_the_logits_of_the_full_forward(byte_model, first):
    ids = torch.tensor([text.encode("Ada gave Noor the key, and Noor lost the kéy.")])
    whole = byte_model(ids)

    cache = Cache()
    steps = [byte_model(ids[:, :first], cache)]
    steps += [byte_model(ids[:, at : at + 1], cache) for at in range(first, ids.shape[1])]

    assert cache.length == ids.shape[1]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cached_translation_gives_the_logits_of_the_full_forward(translator):
    source = torch.tensor([translate.encode_source("Freitag, 5. März 2021")])
    target = torch.tensor([translate.encode_target("2021-03-05")])
    whole = translator(source, target)

    mask, cache = translate.visible(source), Cache()
    memory = translator.encoder(source, mask)
    steps = [
        translator.decoder(target[:, at : at + 1], memory, mask, cache)
        for at in range(target.shape[1])
    ]

    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-5, rtol=0)


@torch.no_grad()
def test_generated_bytes_are_the_likeliest_of_the_full_forward(byte_model):
    start = torch.tensor([text.encode("In the morning Ada found the ")])
    ids = byte_model.generate(start, 30)

    assert ids.shape == (1, start.shape[1] + 30)
    expected = byte_model(ids)[0, start.shape[1] - 1 : -1].argmax(dim=-1)
    assert ids[0, start.shape[1] :].tolist() == expected.tolist()


@torch.no_grad()
def test_padding_does_not_change_a_translation(translator):
    source = torch.tensor([translate.encode_source("3/5/21")])
    padded = torch.nn.functional.pad(source, (0, 20), value=translate.PAD)
    target = torch.tensor([translate.encode_target("2021-03-05")])

    torch.testing.assert_close(
        translator(padded, target), translator(source, target), atol=1e-5, rtol=0
    )


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_lower_precision_runs_and_agrees(dtype):
    for demo in (translate, text):
        lower, higher = demo.factory().to(dtype), demo.factory()
        call = demo.prepare("5. März 2021", model=higher)
        expected = higher(*call.args).softmax(dim=-1)
        assert (lower(*call.args).float().softmax(dim=-1) - expected).abs().max() < 0.1


def test_rotary_scores_depend_on_the_distance_alone():
    query, key = torch.randn(2, 1, 1, 1, 8, generator=torch.Generator().manual_seed(0))

    def score(at, other):
        return (rotate(query, at) * rotate(key, other)).sum().item()

    assert score(5, 2) == pytest.approx(score(105, 102), abs=1e-4)
    assert score(5, 2) != pytest.approx(score(5, 3), abs=1e-2)


def test_rotation_is_that_of_complex_numbers():
    x = torch.randn(1, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    turned = rotate(x, 2)[0, 0]

    for row, position in enumerate((2, 3, 4)):
        for pair, rate in enumerate((1.0, 0.01)):
            number = complex(x[0, 0, row, pair], x[0, 0, row, pair + 2])
            number *= complex(math.cos(position * rate), math.sin(position * rate))
            assert turned[row, pair].item() == pytest.approx(number.real, abs=1e-5)
            assert turned[row, pair + 2].item() == pytest.approx(number.imag, abs=1e-5)


@pytest.mark.parametrize("demo", [text, translate])
def test_shipped_weights_are_small_and_finite(demo):
    assert demo.WEIGHTS.stat().st_size < 1_000_000
    with safe_open(demo.WEIGHTS, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 - not a dict
            assert torch.isfinite(file.get_tensor(name)).all(), name


@pytest.mark.parametrize("demo", [text, translate])
def test_factory_returns_a_model_that_only_evaluates(demo):
    model = demo.factory()
    assert not any(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_saving_what_was_loaded_changes_nothing(tmp_path, translator):
    size = save_weights(translator, tmp_path / "again.safetensors")

    assert size == (tmp_path / "again.safetensors").stat().st_size
    assert (tmp_path / "again.safetensors").read_bytes() == translate.WEIGHTS.read_bytes()


def test_module_names_read_as_paths(translator, byte_model):
    names = {name for name, _ in translator.named_modules()}
    assert {"encoder.layers.0.self_attention", "decoder.layers.1.cross_attention"} <= names
    assert "layers.0.self_attention" in {name for name, _ in byte_model.named_modules()}
