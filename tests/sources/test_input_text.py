import io
import os
import sys
import threading

import pytest

from attnreport.errors import InvalidInput
from attnreport.sources.text import MAX_BYTES, file_named, read_text


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_words_are_themselves():
    assert read_text("Thursday, 5 March") == ("Thursday, 5 March", ())


def test_words_longer_than_any_file_name():
    text = "word " * 2000
    assert read_text(text) == (text, ())


def test_a_zero_in_a_name_is_no_file():
    assert file_named("a\0b") is None


@pytest.mark.parametrize("given", ["notes.txt", "@notes.txt", "./notes.txt"])
def test_a_file_is_read_and_said(in_an_empty_folder, given):
    (in_an_empty_folder / "notes.txt").write_bytes("\ufeffdé\r\nb\n".encode())
    assert read_text(given) == ("dé\nb", ("INPUT was the file notes.txt",))


def test_only_one_line_end_is_taken_off(in_an_empty_folder):
    (in_an_empty_folder / "n").write_text("a\n\n")
    assert read_text("n")[0] == "a\n"


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a pipe\n")))
    assert read_text("-") == ("from a pipe", ("INPUT was standard input",))


def test_no_standard_input_at_all(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InvalidInput, match="there is no standard input"):
        read_text("-")


def test_a_named_pipe_is_read_as_a_file(in_an_empty_folder):
    os.mkfifo("pipe")
    writer = threading.Thread(target=lambda: (in_an_empty_folder / "pipe").write_text("hi"))
    writer.start()
    assert read_text("pipe")[0] == "hi"
    writer.join()


BAD = {
    "empty": ("", "INPUT is empty"),
    "spaces": (" \t ", "INPUT is empty"),
    "no such file": ("@nothing.txt", "INPUT @nothing.txt: no file nothing.txt"),
    "a folder": (".", "INPUT . is a folder, expected a text or a file"),
    "not UTF-8 in the shell": ("a\udcff", "INPUT is not UTF-8 text: character 1"),
    "endless": ("/dev/zero", f"INPUT /dev/zero is over {MAX_BYTES} bytes"),
    "binary": ("binary", "INPUT binary is not UTF-8 text: byte 1 is 0xff"),
    "zeros": ("zeros", "INPUT zeros holds zero bytes: it is a binary file"),
    "an empty file": ("empty", "INPUT is empty"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_words(in_an_empty_folder, case):
    (in_an_empty_folder / "binary").write_bytes(b"a\xff")
    (in_an_empty_folder / "zeros").write_bytes(b"a\0b")
    (in_an_empty_folder / "empty").write_bytes(b"\n")
    given, message = BAD[case]
    with pytest.raises(InvalidInput, match="^" + message.replace(".", r"\.")):
        read_text(given)


def test_an_unreadable_file(in_an_empty_folder, monkeypatch):
    (in_an_empty_folder / "secret").write_text("x")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    # A test that runs as root reads everything: the refusal itself has to be played.
    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(InvalidInput, match="INPUT secret cannot be read: Permission denied"):
        read_text("secret")
