"""Make a run's pictures as small as their share of the page, and say how they are shown.

Boxes count the source picture's pixels whatever the page shows of it, so nothing else changes.
Knows nothing of weights.
"""

from __future__ import annotations

from dataclasses import replace

from attnreport.attention import Attention
from attnreport.axis import Axis
from attnreport.page.overlays import pictures
from attnreport.picture import Picture
from attnreport.run import Run

# All pictures of a page together take at most this part of what is left beside its library.
PICTURE_SHARE = 1 / 4
_IN_BASE64 = 4 / 3  # characters per byte


def shrunk_run(run: Run, room: int) -> Run:
    """Return the run with pictures that keep within their share of ``room`` bytes."""
    found = pictures(run)
    if not found:
        return run
    each = int(max(room, 0) * PICTURE_SHARE / _IN_BASE64 / len(found))
    smaller = {picture: picture.within(each) for picture in found}
    if all(picture is kept for picture, kept in smaller.items()):
        return run
    axes = {axis: _with(axis, smaller) for axis in run.axes}
    return replace(run, attentions=tuple(_on(attention, axes) for attention in run.attentions))


def picture_words(run: Run) -> tuple[str, ...]:
    """Return in words how the pictures differ from those that the model was given."""
    return tuple(words for picture in pictures(run) if (words := _words(picture)))


def _words(picture: Picture) -> str:
    size, kept = (picture.width, picture.height), picture.kept_size
    jpeg = picture.media_type == "image/jpeg"
    if size != kept and picture.scales is None:
        stored = " and stored as JPEG" if jpeg else ""
        return (
            f"The picture was scaled from {size[0]} × {size[1]} to {kept[0]} × {kept[1]} pixels"
            f"{stored} on the way into this page; boxes count pixels of the original."
        )
    return "The picture was stored as JPEG, so that pixels differ a little." if jpeg else ""


def _on(attention: Attention, axes: dict[Axis, Axis]) -> Attention:
    return replace(attention, queries=axes[attention.queries], keys=axes[attention.keys])


def _with(axis: Axis, smaller: dict[Picture, Picture]) -> Axis:
    if axis.picture is None:
        return axis
    return replace(axis, picture=smaller.get(axis.picture, axis.picture))
