"""Hear of calls of functions that torch does not know, while captures run in the calling thread.

A function of a class is wrapped as long as any capture wants it, and is put back as it was. Knows
neither which function nor what is done with what is heard.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attnreport.recording.watch import Watch


class Hearing:
    """Wrap one function of one class.

    Args:
        owner: returns the class, or None where nobody has imported it.
        name: of the function.
        wrap: makes the function that stands there meanwhile, from the one that was there; it asks
            ``watches`` who hears.
    """

    def __init__(
        self, owner: Callable[[], Any], name: str, wrap: Callable[[Any, Hearing], Any]
    ) -> None:
        self._owner, self._name, self._wrap = owner, name, wrap
        self._lock = threading.Lock()
        self._watches: list[Watch] = []
        self._original: Any = None

    def watches(self) -> list[Watch]:
        """Return the captures of the calling thread, the outermost first."""
        own = threading.get_ident()
        return [watch for watch in tuple(self._watches) if watch.thread == own]

    @contextlib.contextmanager
    def by(self, watch: Watch) -> Iterator[None]:
        """Let this watch hear too; may be entered many times."""
        owner = self._owner()
        if owner is None:
            yield
            return
        with self._lock:
            if not self._watches:
                self._original = getattr(owner, self._name)
                setattr(owner, self._name, self._wrap(self._original, self))
            self._watches.append(watch)
        try:
            yield
        finally:
            with self._lock:
                self._watches.remove(watch)
                if not self._watches:
                    setattr(owner, self._name, self._original)
