"""What the page's overlay needs of a Run: its pictures, each once, and where positions lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attnreport.attention import Attention
from attnreport.axis import SEEN, Axis
from attnreport.charts import (
    first_part,
    look_of,
    overlay_palette,
    part_names,
    picture_url,
    still_overlay,
)
from attnreport.page.vega import svg
from attnreport.picture import Picture
from attnreport.run import Run


@dataclass(frozen=True)
class StillOverlay:
    """Hold an overlay that needs no script, as SVG, and what it shows in words."""

    picture: str
    words: str


def still_overlays(attention: Attention, head: int) -> tuple[StillOverlay, ...]:
    """Return the still overlay of one head; nothing where its keys lie in no picture."""
    look = look_of(attention, head)
    return () if look is None else (StillOverlay(svg(still_overlay(look)), look.words),)


def pictures(run: Run) -> tuple[Picture, ...]:
    """Return every different picture that positions have boxes in, in order of first use."""
    found = (axis.picture for axis in run.axes if axis.pictured)
    return tuple(dict.fromkeys(picture for picture in found if picture is not None))


def overlays(run: Run, still: Picture | None) -> dict[str, Any]:
    """Return the part of the page's document that the overlay reads.

    ``pictures`` are the pictures, without ``url`` for the one that the still overlay carries, so
    that it stands in the page once, with ``scales`` where they show a sound, and with ``parts``
    where they have some; ``places`` has, for each axis, which picture it is on, the box of each
    position, which of several parts each is of, and which of these is shown first (-1 for all), or
    null where it is on none; ``seen`` says what these are, in words.
    """
    shown = pictures(run)
    return {
        "pictures": [
            {
                "url": None if picture == still else picture_url(picture),
                "width": picture.width,
                "height": picture.height,
                **({} if picture.scales is None else {"scales": picture.scales}),
                **({"parts": picture.parts} if picture.parts else {}),
            }
            for picture in shown
        ],
        "places": [
            {
                "picture": shown.index(axis.picture),
                "boxes": [position.box and _rounded(position.box) for position in axis],
                **_parts(axis),
            }
            if axis.picture is not None and axis.pictured
            else None
            for axis in run.axes
        ],
        "seen": seen_words(run),
        "overlayPalette": "".join(colour.removeprefix("#") for colour in overlay_palette()),
    }


def _parts(axis: Axis) -> dict[str, Any]:
    """Return of which part each position is, -1 for none, where there are several."""
    if not part_names(axis):
        return {}
    parts = [-1 if position.part is None else position.part for position in axis]
    first = first_part(axis)
    return {"parts": parts, "first": -1 if first is None else first}


def seen_words(run: Run) -> tuple[str, str, str]:
    """Return what a run looks at, what a position of it is, and several of these, in words."""
    found = {axis.seen for axis in run.axes if axis.pictured}
    return found.pop() if len(found) == 1 else SEEN


def _rounded(box: tuple[float, float, float, float]) -> list[float]:
    # A ten-thousandth of a pixel is far below what a screen shows, and half the characters.
    return [round(side, 4) for side in box]
