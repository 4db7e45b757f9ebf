import pytest
import torch

from attnreport.errors import InvalidInput, InvalidOption, UnknownModel
from attnreport.sources import Request, open_source

GOOD = """
import torch
from attnreport import Axis, Call

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(256, 8)
        self.attend = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, ids):
        x = self.embed(ids)
        return self.attend(x, x, x)[0]

def factory():
    return Model()

def needs(one): return Model()
def fails(): raise ValueError("no\\nweights")
def leaves(): raise SystemExit("bye")
def wrong(): return 5
made = Model()
number = 3
"""
PREPARE = """
def prepare(text, *, model, target=None):
    assert isinstance(model, Model) and not model.training
    ids = torch.tensor([list(text.encode())])
    axis = Axis.of_labels("text", map(chr, ids[0].tolist()))
    return Call(args=(ids,), axes=((ids, axis),), notes=(f"target {target}",))
"""


@pytest.fixture
def model_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD + PREPARE)
    return path


def test_a_file_builds_a_model(model_file):
    source = open_source(Request(f"{model_file}:factory", "abc", target="t"))
    assert not source.model.training
    assert source.call.axes[0][1].labels == ("a", "b", "c")
    assert source.provenance.notes == ("target t",)
    assert source.model(*source.call.args).shape == (1, 3, 8)


def test_a_class_and_a_ready_model_do_as_well(model_file):
    for name in ("Model", "made"):
        assert open_source(Request(f"{model_file}:{name}", "abc")).model is not None


def test_a_package_beside_the_user_is_found(tmp_path, monkeypatch):
    package = tmp_path / "mypackage_of_models"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "sub.py").write_text(GOOD + PREPARE)
    monkeypatch.chdir(tmp_path)
    source = open_source(Request("mypackage_of_models.sub:factory", "abc"))
    assert source.provenance.model == "mypackage_of_models.sub:factory"


def test_a_file_finds_what_lies_beside_it(model_file):
    (model_file.parent / "beside_the_model.py").write_text("VALUE = 1")
    model_file.write_text("import beside_the_model\n" + GOOD + PREPARE)
    assert open_source(Request(f"{model_file}:factory", "abc")).model is not None


def test_the_same_seed_gives_the_same_model(model_file):
    def weight(seed):
        source = open_source(Request(f"{model_file}:factory", "abc", seed=seed))
        return source.model.embed.weight

    assert torch.equal(weight(3), weight(3))
    assert not torch.equal(weight(3), weight(4))


def test_dtype_is_left_alone_unless_asked_for(model_file):
    model_file.write_text(GOOD.replace("return Model()", "return Model().double()") + PREPARE)
    given = open_source(Request(f"{model_file}:factory", "abc"))
    asked = open_source(Request(f"{model_file}:factory", "abc", dtype="bfloat16"))
    assert given.model.embed.weight.dtype == torch.float64
    assert asked.model.embed.weight.dtype == torch.bfloat16


def test_a_path_is_handed_over_unread(model_file, tmp_path):
    model_file.write_text(
        GOOD
        + PREPARE.replace("prepare(text,", "prepare(path,").replace(
            "ids =", "text = path.read_bytes().decode('latin-1'); ids ="
        )
    )
    (tmp_path / "picture").write_bytes(b"\xff\0\x01")
    source = open_source(Request(f"{model_file}:factory", str(tmp_path / "picture")))
    assert len(source.call.axes[0][1]) == 4  # ÿ is two bytes of UTF-8
    assert source.provenance.input_text == "picture"
    with pytest.raises(InvalidInput, match="there is no such file, and this model reads one"):
        open_source(Request(f"{model_file}:factory", "nothing here"))


BAD_MODELS = {
    "missing": (GOOD, r"has no 'missing'; it has Axis, Call, Model, factory"),
    "needs": (GOOD, r"needs\(\) raised TypeError: needs\(\) missing 1 required"),
    "fails": (GOOD, r"fails\(\) raised ValueError: no weights$"),
    "leaves": (GOOD, r"leaves\(\) raised SystemExit: bye"),
    "wrong": (GOOD, r"wrong\(\) returned int, expected a torch.nn.Module"),
    "number": (GOOD, r"'number' is not a function that returns a model"),
    "factory": ("def factory(:", r"importing it raised SyntaxError: .*line 1"),
    "other": ("import nothing_of_that_name", r"importing it raised ModuleNotFoundError"),
    "exits": ("raise SystemExit", r"importing it raised SystemExit"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_a_model_that_cannot_be_built(model_file, name):
    text, message = BAD_MODELS[name]
    model_file.write_text(text)
    with pytest.raises(UnknownModel, match=message) as caught:
        open_source(Request(f"{model_file}:{name}", "abc"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("model", ["nowhere.py:factory", "no_package_of_this_name.sub:factory"])
def test_a_module_that_is_not_there(model):
    with pytest.raises(UnknownModel, match=r"no such Python file|No module named"):
        open_source(Request(model, "abc"))


def test_without_prepare_the_signature_is_shown(model_file):
    model_file.write_text(GOOD)
    with pytest.raises(
        InvalidInput, match=r"no function 'prepare' beside 'factory'.*def prepare\("
    ):
        open_source(Request(f"{model_file}:factory", "abc"))


BAD_PREPARES = {
    "something else": ("def prepare(text): return {}", "prepare returned dict, expected an attn"),
    "an error": ("def prepare(text): raise KeyError(text)", "prepare raised KeyError: 'abc'"),
    "a short axis": (
        "def prepare(text): i = torch.ones(1, 5).long(); "
        "return Call((i,), axes=((i, Axis.numbered('text', 3)),))",
        r"axis 'text' has 3 positions, but the tensor it describes has shape \(1, 5\)",
    ),
}


@pytest.mark.parametrize("case", BAD_PREPARES)
def test_a_prepare_that_does_not_prepare(model_file, case):
    text, message = BAD_PREPARES[case]
    model_file.write_text(GOOD + text)
    with pytest.raises(InvalidInput, match=message):
        open_source(Request(f"{model_file}:factory", "abc"))


@pytest.mark.parametrize("option", [{"pair": "x"}, {"truncate": True}])
def test_an_option_that_prepare_does_not_take(model_file, option):
    with pytest.raises(InvalidOption, match=f"--{next(iter(option))}: the prepare of MODEL"):
        open_source(Request(f"{model_file}:factory", "abc", **option))


def test_input_is_needed(model_file):
    with pytest.raises(InvalidInput, match="needs an INPUT"):
        open_source(Request(f"{model_file}:factory"))


@pytest.mark.parametrize("device", ["nonsense", "cuda:99", "cuda", "meta", "", "cpu:7:8"])
def test_a_device_that_is_not_there(model_file, device):
    if device == "cuda" and torch.cuda.is_available():
        device = "cuda:98"
    with pytest.raises(InvalidOption, match=f"--device {device} cannot be used.*usable: cpu"):
        open_source(Request(f"{model_file}:factory", "abc", device=device))


def test_nonfinite_parameters_are_noted(model_file):
    broken = (
        "def factory():\n    m = Model(); m.embed.weight.data[0, :3] = float('nan'); return m\n"
    )
    model_file.write_text(GOOD + broken + PREPARE)
    source = open_source(Request(f"{model_file}:factory", "abc"))
    assert source.provenance.notes[0] == (
        "3 parameters of the model are NaN or infinite, the first in embed.weight"
    )


def test_the_digest_follows_the_tensors(model_file):
    def digest(text):
        return open_source(Request(f"{model_file}:factory", text)).provenance.input_digest

    assert digest("abc") == digest("abc")
    assert digest("abc") != digest("abd")


def test_the_date_comes_from_the_environment(model_file, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    source = open_source(Request(f"{model_file}:factory", "abc"))
    assert source.provenance.created == "1970-01-02"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(InvalidOption, match="SOURCE_DATE_EPOCH is 'yesterday'"):
        open_source(Request(f"{model_file}:factory", "abc"))
