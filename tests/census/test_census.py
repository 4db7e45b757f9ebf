"""A sample of the census that fits into every run of the tests; census.py runs the whole."""

import census
import pytest

pytestmark = pytest.mark.filterwarnings("ignore")

SAMPLE = [
    "albert",
    "bart",
    "bert",
    "blip-2",
    "bloom",
    "deberta-v2",
    "decision_transformer",
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
    "opt",
    "phi",
    "qwen2_5_vl",
    "qwen3",
    "roberta",
    "t5",
    "time_series_transformer",
    "vit",
    "wav2vec2",
    "whisper",
    "xlm",
    "xlnet",
]


@pytest.mark.parametrize("name", SAMPLE)
def test_every_attention_of_an_architecture_is_found(name):
    row = census.examine(name)
    assert row.status == "ok"
    assert row.identical
    assert row.found > 0
    assert row.held == row.eager > 0
    assert row.unchecked == 0
    assert row.missed == ""
