"""Read a file up to a bound, write one whole or not at all. Knows nothing of what is in it."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from attnreport.errors import InvalidInput, OutputError


def read_bounded(path: Path, most: int, expected: str) -> bytes:
    """Return the bytes of INPUT, which may be anything that has a path: an endless device too.

    Raises:
        InvalidInput: it cannot be read, is empty where ``expected`` was, or is over ``most`` bytes.
    """
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise InvalidInput(f"INPUT {path} cannot be read: {error.strerror}") from error
    if not content:
        raise InvalidInput(f"INPUT {path} is empty, expected {expected}")
    if len(content) > most:
        raise InvalidInput(f"INPUT {path} is over {most >> 20} MiB; give a smaller one")
    return content


def check_writable(path: Path, *, force: bool = False) -> None:
    """Raise ``OutputError`` now where ``replace_file`` would fail after minutes of work.

    An existing file is refused unless ``force`` is true; a folder always is.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected the name of a file to write")
    if path.exists() and not path.is_file():
        raise OutputError(f"{path} is a device or a pipe, expected the name of a file to write")
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; --force replaces it")
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist; make it first")
    if not os.access(path.parent, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputError(f"no permission to write {path}")


def replace_file(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` so that at every moment the old or the new file is whole.

    The bytes go to a temporary file beside it, reach the disk, and take its name in one step: a
    kill in the middle leaves what was there before. A link stays a link: what it points to is
    replaced.
    """
    path = path.resolve()
    mode = _mode_for(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(mode)
        Path(temporary).replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}") from error
    finally:
        # After a success the name is gone already; after Ctrl-C or an error it must go now.
        Path(temporary).unlink(missing_ok=True)


def _mode_for(path: Path) -> int:
    """Return the permissions a plain ``open`` would have left: the file's own, or the umask's."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
