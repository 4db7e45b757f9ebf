"""When each number of a model's features of a sound was: asked of the feature extractor itself.

An extractor cuts a sound into frames, pads it, or hands over its bare samples. A click at a known
time goes through it, and what moves with the clicks is time: the frames' number in a second, and
where the first one lies. What does not lie along a straight line has no boxes: nothing is guessed
from a count. Knows no model family.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attnreport.sources.vision_boxes import UnknownGeometry

# Samples to features, ``(1, …)``.
Extract = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_CLICKS = np.linspace(0.06, 0.94, 9)
_LOUD, _SOFT = 0.5, 1e-4
_PROBE_SECONDS = 8
# Frames by which the middle of a click's echo may miss its line: windows end between frames.
_TOLERANCE = 0.75
_LEAST_SAMPLES = 64


@dataclass(frozen=True)
class Frames:
    """Say how features lie in time.

    Attributes:
        shape: of the features, ``(1, …)``.
        time: the dimension along which time runs.
        bins: the dimension of what is told at each time; None where it is one number.
        per_second: frames in a second.
        zero: which frame lies around the beginning of the sound; in between, a fraction.
    """

    shape: tuple[int, ...]
    time: int
    bins: int | None
    per_second: float
    zero: float

    def edges(self) -> NDArray[np.float64]:
        """Return ``(frame + 1,)``: where frames begin, and the last one ends, in seconds."""
        frames = np.arange(self.shape[self.time] + 1, dtype=np.float64)
        return (frames - 0.5 - self.zero) / self.per_second

    def arranged(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return features as ``(frame, bin)``; the bins of bare samples are one."""
        kept = [self.time, *([] if self.bins is None else [self.bins])]
        order = [*kept, *(each for each in range(features.ndim) if each not in kept)]
        return features.transpose(order).reshape(self.shape[self.time], -1)


def frames_of(extract: Extract, length: int, rate: int) -> Frames:
    """Return how an extractor cuts a sound of so many samples into frames.

    How many frames make a second is asked with a sound of some seconds, and then held against two
    clicks in one of the real length. Where the first frame lies is known to a quarter of a frame.

    Raises:
        UnknownGeometry: what it makes does not move with time.
    """
    asked = _PROBE_SECONDS * rate
    places, echoes = _clicked(extract, asked, _CLICKS)
    wide = [each for each in range(1, echoes[0].ndim) if echoes[0].shape[each] > 1]
    if not 0 < len(wide) < 3:
        raise UnknownGeometry(f"its features have shape {echoes[0].shape}, not one sound")
    lines = {each: _line(places, echoes, each) for each in wide}
    known = {each: line for each, line in lines.items() if line is not None}
    if not known:
        raise UnknownGeometry("its features do not move evenly with time")
    time = max(known, key=lambda each: known[each][0])
    slope, zero = known[time]
    places, echoes = _clicked(extract, length, _CLICKS[[0, -1]])
    found = [_middle(echo, time) for echo in echoes]
    if np.abs(slope * places + zero - found).max() > 2 * _TOLERANCE:
        raise UnknownGeometry("its frames lie elsewhere in a sound of this length")
    bins = next((each for each in wide if each != time), None)
    return Frames(echoes[0].shape, time, bins, slope * rate, zero)


def _line(
    places: NDArray[np.int64], echoes: list[NDArray[np.float32]], dimension: int
) -> tuple[float, float] | None:
    """Return frames a sample, and the place of sample 0, or None where echoes make no line."""
    middles = np.array([_middle(echo, dimension) for echo in echoes])
    slope = float(np.polyfit(places, middles, 1)[0])
    if not 0 < slope < 1 + 1e-6 or np.ptp(middles) < len(places):
        return None
    slope = 1 / round(1 / slope)  # a frame begins at a sample
    offsets = middles - slope * places
    return (slope, float(offsets.mean())) if np.ptp(offsets) <= 2 * _TOLERANCE else None


def _clicked(
    extract: Extract, length: int, shares: NDArray[np.float64]
) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Return where clicks were put, at shares of what is heard, and what each one changed."""
    # Not silence, which some would divide by.
    ground = np.random.default_rng(0).normal(0, _SOFT, length).astype(np.float32)
    quiet, reach = extract(ground), length
    while not _echo(extract, ground, quiet, int(_CLICKS[-1] * reach)).any():
        reach //= 2  # it cuts off the rest
        if reach < _LEAST_SAMPLES:
            raise UnknownGeometry("a click leaves nothing in its features")
    places = np.rint(shares * reach).astype(np.int64)
    return places, [_echo(extract, ground, quiet, int(place)) for place in places]


def _echo(
    extract: Extract, ground: NDArray[np.float32], quiet: NDArray[np.float32], place: int
) -> NDArray[np.float32]:
    """Return how much each feature differs where there is one click."""
    samples = ground.copy()
    samples[place] += _LOUD
    clicked = extract(samples)
    if clicked.shape != quiet.shape or not np.isfinite(clicked - quiet).all():
        raise UnknownGeometry("its features of a click cannot be compared with those of silence")
    echo: NDArray[np.float32] = np.abs(clicked - quiet)
    return echo


def _middle(echo: NDArray[np.float32], dimension: int) -> float:
    """Return the middle along one dimension of what is at least half as loud as the loudest."""
    profile = echo.sum(axis=tuple(each for each in range(echo.ndim) if each != dimension))
    places = np.flatnonzero((profile >= profile.max() / 2) & (profile > 0))
    if not len(places):
        raise UnknownGeometry("a click leaves nothing in its features")
    return float(np.average(places, weights=profile[places]))
