"""A sample of the census that fits into every run of the tests; census.py runs the whole."""

import beside
import census
import pytest
import timm

pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLE = [
    "albert",
    "bart",
    "bert",
    "blip-2",
    "bloom",
    "deberta-v2",
    "decision_transformer",
    "deformable_detr",
    "detr",
    "dinov2",
    "distilbert",
    "electra",
    "falcon",
    "gemma2",
    "gpt2",
    "gpt_neox",
    "gpt_oss",
    "llama",
    "lxmert",
    "marian",
    "mistral",
    "musicgen",
    "opt",
    "phi",
    "qwen2_5_vl",
    "qwen3",
    "roberta",
    "siglip2",
    "speecht5",
    "t5",
    "time_series_transformer",
    "vit",
    "wav2vec2",
    "whisper",
    "xlm",
    "xlnet",
]


BESIDE = [
    *(f"torch:{name}" for name in beside.MODULES),
    "timm:deit_tiny_patch16_224",
    "timm:convit_tiny",
    "timm:levit_128s",
    "timm:mobilevit_xxs",
]


@pytest.mark.parametrize("name", BESIDE)
def test_what_is_no_architecture_of_transformers_is_found_too(name):
    row = census.examine(name)
    assert (row.status, row.identical) == ("ok", True)
    assert row.found > 0
    assert (row.unchecked, row.missed) == (0, "")


def test_one_model_of_each_family_of_timm_is_named():
    found = [name.removeprefix("timm:") for name in beside.names() if name.startswith("timm:")]
    families = [family for family in timm.list_modules() if timm.list_models(module=family)]
    assert len(found) == len(families) > 80
    for name, family in zip(found, sorted(families), strict=True):
        assert name in timm.list_models(module=family)


@pytest.mark.parametrize("name", SAMPLE)
def test_every_attention_of_an_architecture_is_found(name):
    row = census.examine(name)
    assert row.status == "ok"
    assert row.identical
    assert row.found > 0
    assert row.held == row.eager > 0
    assert row.unchecked == 0
    assert row.missed == ""
