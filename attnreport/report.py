"""The report: a Run in, one HTML file out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from attnreport.files import check_writable, replace_file
from attnreport.page import Rendered, in_notebook, render, still_png
from attnreport.run import Run

# Below what mail servers let through.
MAX_SIZE = 16_000_000


class Report:
    """Draw a Run as one self-contained interactive HTML page.

    Args:
        run: what to draw.
        layer: attention shown first, by its number; by default the last one that looks at a
            picture, or that relates two sequences, or else the first. One that looks at a picture
            is first shown over it.
        head: head shown first, by its number; by default the first that there is.
        max_size: how many bytes the page may take. Over it weights are told more coarsely, then
            neighbouring positions are joined; the page and ``reductions`` say so.

    Raises:
        InvalidInput: the run has no such layer or head.
    """

    def __init__(
        self,
        run: Run,
        *,
        layer: int | None = None,
        head: int | None = None,
        max_size: int = MAX_SIZE,
    ) -> None:
        self.run = run
        self.max_size = max_size
        self.layer = _first_shown(run) if layer is None else layer
        self._place = run.place(self.layer)
        self._shown = run.attentions[self._place]
        self.head = self._shown.head_numbers[0] if head is None else head
        self._head_place = self._shown.head_place(self.head)

    def html(self) -> str:
        """Return the page; the same run gives the same string.

        Raises:
            OutputError: even the smallest page of this run takes more than ``max_size``.
        """
        return self._rendered.html

    @property
    def reductions(self) -> tuple[str, ...]:
        """Return in words what the page lacks of the run; nothing where it has all."""
        return self._rendered.reductions

    @cached_property
    def _rendered(self) -> Rendered:
        return render(self.run, self._place, self._head_place, self.max_size)

    def save(self, path: str | Path, *, force: bool = False) -> int:
        """Write the page to ``path``, whole or not at all, and return its size in bytes.

        Raises:
            OutputError: the file exists and ``force`` is false, it cannot be written, or even the
                smallest page of this run takes more than ``max_size``.
        """
        target = Path(path)
        check_writable(target, force=force)
        content = self.html().encode()
        replace_file(target, content)
        return len(content)

    def _repr_html_(self) -> str:
        """Return the page for a notebook, in a frame that can reach nothing of the notebook."""
        return in_notebook(self.html(), self._shown, self._head_place)

    def _repr_png_(self) -> bytes:
        """Return the heatmap of the head shown first, where a notebook becomes a paper."""
        return still_png(self._shown, self._head_place)


def _first_shown(run: Run) -> int:
    pictured = [attention for attention in run.attentions if attention.keys.pictured]
    two = ("cross", "deformable")
    cross = [
        each
        for each in pictured or run.attentions
        if each.kind in two and each.queries != each.keys
    ]
    last = cross or pictured
    return last[-1].layer if last else run.attentions[0].layer
