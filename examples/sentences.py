"""Write the text that ``demo:text`` is trained on: plain sentences, and things said twice.

The facts in the sentences come from vega-datasets; its rows are split, so that held-out sentences
speak of airports and cars that training never named. It knows nothing of models.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Callable, Iterator
from functools import cache

from vega_datasets import local_data


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_NAMES = _words("Ada Grace Alan Emmy Marie Carl Sophie Leonhard Rosa Ivan Maya Noor Yuki Omar Lena")
_THINGS = _words("book letter lamp clock map chair violin basket coat key ladder mirror kettle")
_PLACES = _words("garden kitchen station library harbour market school forest castle office museum")
_LOOKS = _words("old small green heavy bright broken quiet golden empty warm strange blue")
_DEEDS = _words("found lost carried painted sold repaired borrowed forgot hid cleaned")
_TIMES = ("In the morning", "At noon", "Late at night", "On Sunday", "After the rain", "In winter")

# Blocks of characters of one to four bytes: whatever is typed, the model has seen its kind.
_BLOCKS = ((0x20, 0x7F), (0x20, 0x7F), (0xC0, 0x180), (0x391, 0x3CA), (0x410, 0x450),
           (0x4E00, 0x5200), (0x1F600, 0x1F640))  # fmt: skip

Row = dict[str, str]


def text(rng: random.Random, length: int, *, test: bool) -> bytes:
    """Return ``length`` bytes of sentences, cut where they end."""
    written = bytearray()
    while len(written) < length:
        sentence = rng.choice(_SENTENCES)(rng, test)
        written += sentence.encode() + rng.choice((b" ", b" ", b" ", b"\n"))
    return bytes(written[:length])


def sequence(rng: random.Random, length: int, *, test: bool) -> bytes:
    """Return ``length`` bytes to learn from: sentences, repetitions, or sentences with both."""
    kind = rng.randrange(4)
    if kind == 0:
        return text(rng, length, test=test)
    if kind == 1:
        period = rng.randint(8, length // 2)
        return (noise(rng, period) * (length // period + 1))[:length]
    if kind == 2:
        period = rng.randint(30, length // 2)
        return (text(rng, period, test=test) * (length // period + 1))[:length]
    repeated = noise(rng, rng.randint(8, length // 4))
    parts = (text(rng, rng.randint(8, length // 3), test=test) for _ in range(length))
    return _joined(parts, repeated, length)


def noise(rng: random.Random, length: int) -> bytes:
    """Return ``length`` random bytes: any, or those of random characters of one block."""
    if rng.random() < 0.5:
        return rng.randbytes(length)
    first, end = rng.choice(_BLOCKS)
    return "".join(chr(rng.randrange(first, end)) for _ in range(length)).encode()[:length]


def _joined(parts: Iterator[bytes], between: bytes, length: int) -> bytes:
    written = bytearray()
    while len(written) < length:
        written += next(parts) + between
    return bytes(written[:length])


def _flight(rng: random.Random, test: bool) -> str:
    start, end = rng.sample(_airports(test), 2)
    who = rng.choice(_NAMES)
    return (
        f"{who} flew from {start['city']} ({start['iata']}) to {end['city']} ({end['iata']}). "
        f"{end['city']} is in {end['state']}."
    )


def _airport(rng: random.Random, test: bool) -> str:
    row = rng.choice(_airports(test))
    return f"The airport {row['name']}, code {row['iata']}, is near {row['city']}, {row['state']}."


def _car(rng: random.Random, test: bool) -> str:
    row = rng.choice(_cars(test))
    name = row["Name"].title()
    return (
        f"The {name} of {row['Year'][:4]} comes from {row['Origin']} and has {row['Cylinders']} "
        f"cylinders. {rng.choice(_NAMES)} bought a {name}."
    )


def _weather(rng: random.Random, test: bool) -> str:
    row = rng.choice(_days(test))
    return f"On {row['date']} Seattle had {row['weather']} and {row['temp_max']} degrees at most."


def _story(rng: random.Random, test: bool) -> str:
    del test
    first, second = rng.sample(_NAMES, 2)
    look, thing, place = rng.choice(_LOOKS), rng.choice(_THINGS), rng.choice(_PLACES)
    return (
        f"{rng.choice(_TIMES)} {first} {rng.choice(_DEEDS)} the {look} {thing} in the {place}. "
        f"Then {first} gave the {thing} to {second}, and {second} {rng.choice(_DEEDS)} it."
    )


_SENTENCES: tuple[Callable[[random.Random, bool], str], ...] = (
    _flight, _airport, _car, _weather, _story, _story, _story,
)  # fmt: skip


@cache
def _airports(test: bool) -> list[Row]:
    return _split(_csv(local_data.airports.filepath), test)


@cache
def _days(test: bool) -> list[Row]:
    return _split(_csv(local_data.seattle_weather.filepath), test)


@cache
def _cars(test: bool) -> list[Row]:
    with open(local_data.cars.filepath, encoding="utf-8") as file:  # noqa: PTH123 - a str from elsewhere
        rows = [{key: str(value) for key, value in row.items()} for row in json.load(file)]
    return _split(rows, test)


def _csv(path: str) -> list[Row]:
    with open(path, encoding="utf-8", newline="") as file:  # noqa: PTH123 - a str from elsewhere
        return list(csv.DictReader(file))


def _split(rows: list[Row], test: bool) -> list[Row]:
    """Return every tenth row for tests, the others for training."""
    return [row for index, row in enumerate(rows) if (index % 10 == 0) == test]
