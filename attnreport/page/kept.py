"""Keep in the user's cache what is the same for every report and takes seconds to make."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

import platformdirs

from attnreport.errors import OutputError
from attnreport.files import replace_file


def kept(name: str, depends_on: Iterable[bytes], make: Callable[[], str]) -> str:
    """Return what ``make`` makes, from the cache where it was made before.

    Args:
        name: what the file is called, before the digest and with its ending, e.g. ``"vega.js"``.
        depends_on: everything that the content follows from: with another version of a library
            or of our own code it is another file.
        make: called where nothing is kept, or what is kept cannot be read.
    """
    digest = hashlib.sha256()
    for part in depends_on:
        digest.update(hashlib.sha256(part).digest())
    stem, _, ending = name.partition(".")
    path = platformdirs.user_cache_path("attnreport") / f"{stem}-{digest.hexdigest()[:16]}.{ending}"
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        content = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content.encode())
    except (OSError, OutputError):
        return content  # a home that cannot be written costs seconds a report, not the report
    return content
