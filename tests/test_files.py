"""A file is written whole or not at all, even when the writer is killed in the middle."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from attnreport.errors import OutputError
from attnreport.files import check_writable, replace_file

# Writes two contents by turns until it is killed; the first line printed says that it has begun.
_WRITER = """
import sys
from pathlib import Path
from attnreport.files import replace_file
path, size = Path(sys.argv[1]), int(sys.argv[2])
print("begun", flush=True)
while True:
    for letter in (b"a", b"b"):
        replace_file(path, letter * size)
"""


def test_new_file_holds_the_content_and_leaves_nothing_beside(tmp_path):
    replace_file(tmp_path / "report.html", b"content")
    assert (tmp_path / "report.html").read_bytes() == b"content"
    assert [child.name for child in tmp_path.iterdir()] == ["report.html"]


def test_old_file_is_replaced_whole(tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(b"a longer content than the new one")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.03, 0.07, 0.15])
def test_kill_in_the_middle_leaves_a_whole_file(tmp_path, delay):
    path, size = tmp_path / "report.html", 8 << 20
    path.write_bytes(b"a" * size)
    command = [sys.executable, "-c", _WRITER, str(path), str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
    content = path.read_bytes()
    assert len(content) == size
    assert len(set(content)) == 1


def test_interrupt_in_the_middle_leaves_the_old_file_and_nothing_beside(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["report.html"]


def test_full_disk_leaves_the_old_file_and_is_named(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError) as raised:
        replace_file(path, b"new")
    assert str(raised.value) == f"cannot write {path}: No space left on device"
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_new_file_has_the_permissions_that_open_gives(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        replace_file(tmp_path / "report.html", b"")
        assert os.umask(umask) == umask  # asking for the umask must not change it
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "report.html").stat().st_mode) == mode


def test_replaced_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")
    path.chmod(0o640)
    replace_file(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_link_leads_to_the_new_content(tmp_path):
    (tmp_path / "real.html").write_bytes(b"old")
    (tmp_path / "link.html").symlink_to("real.html")
    replace_file(tmp_path / "link.html", b"new")
    assert (tmp_path / "link.html").read_bytes() == b"new"


def test_missing_folder_is_named(tmp_path):
    path = tmp_path / "absent" / "report.html"
    with pytest.raises(OutputError) as raised:
        replace_file(path, b"")
    assert str(raised.value) == f"cannot write {path}: No such file or directory"
    with pytest.raises(OutputError) as raised:
        check_writable(path)
    assert str(raised.value) == f"the folder {path.parent} does not exist; make it first"


def test_folder_is_refused_even_with_force(tmp_path):
    with pytest.raises(OutputError) as raised:
        check_writable(tmp_path, force=True)
    assert str(raised.value) == f"{tmp_path} is a folder, expected the name of a file to write"


def test_existing_file_is_refused_without_force(tmp_path):
    path = tmp_path / "report.html"
    path.write_bytes(b"old")
    with pytest.raises(OutputError) as raised:
        check_writable(path)
    assert str(raised.value) == f"{path} exists already; --force replaces it"
    check_writable(path, force=True)


# Root may write anywhere, so the check runs as a user who may not: the test itself may be root.
_AS_NOBODY = """
import os, sys
from pathlib import Path
from attnreport.errors import OutputError
from attnreport.files import check_writable
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
try:
    check_writable(Path(sys.argv[1]), force=True)
except OutputError as error:
    print(error)
"""


@pytest.mark.parametrize("read_only", ["folder", "file"])
def test_place_that_may_not_be_written_is_named(read_only):
    # Not tmp_path: pytest's folders lie in one that other users cannot enter.
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "report.html"
        path.write_bytes(b"old")
        path.chmod(0o444 if read_only == "file" else 0o666)
        folder.chmod(0o777 if read_only == "file" else 0o555)
        result = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(path)],
            capture_output=True,
            text=True,
            check=True,
        )
        folder.chmod(0o755)
    assert result.stdout == f"no permission to write {path}\n"
