"""The report: a Run in, one HTML file out."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from attnreport.attention import Attention
from attnreport.files import check_writable, replace_file
from attnreport.page import (
    MeasuredRun,
    Opening,
    Rendered,
    asked_for,
    in_notebook,
    measured_for,
    opening,
    render,
    still_png,
)
from attnreport.run import Run

# Below what mail servers let through.
MAX_SIZE = 16_000_000


class Report:
    """Draw a Run as one self-contained interactive HTML page.

    Args:
        run: what to draw.
        layer: attention shown first, by its number. By default the last one that looks at a
            picture, which is then shown over it, or else the one with the first of the heads worth
            a look, of those that relate two sequences where there are any.
        head: head shown first, by its number; where neither is asked for the one worth a look, or
            else the first that there is.
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
        self._asked = None if layer is None and head is None else _asked(run, layer, head)

    @property
    def layer(self) -> int:
        """Return the number of the attention shown first; to choose one, the run is measured."""
        return self._shown.layer

    @property
    def head(self) -> int:
        """Return the number of the head shown first; to choose one, the run is measured."""
        return self._shown.head_numbers[self._opening.place[1]]

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
    def _measured(self) -> MeasuredRun:
        return measured_for(self.run, self.max_size)

    @cached_property
    def _opening(self) -> Opening:
        return self._asked or opening(self.run, self._measured.notable)

    @property
    def _shown(self) -> Attention:
        return self.run.attentions[self._opening.place[0]]

    @cached_property
    def _rendered(self) -> Rendered:
        return render(self._measured, self._opening, self.max_size)

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
        return in_notebook(self.html(), self._shown, self._opening.place[1])

    def _repr_png_(self) -> bytes:
        """Return the heatmap of the head shown first, where a notebook becomes a paper."""
        return still_png(self._shown, self._opening.place[1])


def _asked(run: Run, layer: int | None, head: int | None) -> Opening:
    """Return the opening with what was asked for, where the run has it."""
    at = opening(run, ()).place[0] if layer is None else run.place(layer)
    return asked_for((at, 0 if head is None else run.attentions[at].head_place(head)))
