"""Import what is optional, and say in one line what is wrong with it where that fails.

A package can be missing, or be there and not load: torch and torchvision of different builds are
the usual pair. Knows no package.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from attnreport.errors import BrokenExtra, MissingExtra


@contextmanager
def importing(package: str, needed_for: str, extra: str) -> Iterator[None]:
    """Let the body import from ``package``, for what ``needed_for`` says.

    Raises:
        MissingExtra: the package is not installed.
        BrokenExtra: it is installed, and it or something that it imports does not load.
    """
    try:
        yield
    except (ImportError, OSError, RuntimeError) as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise MissingExtra(needed_for, extra) from error
        raise BrokenExtra(needed_for, package, _first(error)) from error


def _first(error: BaseException) -> BaseException:
    """Return the error that all others came from."""
    earlier = error.__cause__ or error.__context__
    return error if earlier is None else _first(earlier)
