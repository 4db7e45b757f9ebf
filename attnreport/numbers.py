"""Numbers of layers and heads in words. Knows nothing of what they count."""

from __future__ import annotations

from collections.abc import Iterable


def ranges_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Return first and last of each stretch of numbers that follow each other."""
    ranges: list[tuple[int, int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def in_words(numbers: Iterable[int]) -> str:
    """Return e.g. ``"0 to 11"``, or ``"3, 7 to 9"``."""
    return ", ".join(
        str(first) if first == last else f"{first} to {last}" for first, last in ranges_of(numbers)
    )
