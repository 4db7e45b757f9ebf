"""Write dates the way people do, and know which characters of ISO 8601 come from which.

The training data of ``demo:translate``, with the gold alignment that its cross-attention is
measured against. It knows nothing of models.
"""

from __future__ import annotations

import datetime
import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

FIRST, LAST = datetime.date(1000, 1, 1), datetime.date(2999, 12, 31)
# What POSIX strptime's %y means: 69-99 are 1969-1999, 00-68 are 2000-2068.
FIRST_SHORT, LAST_SHORT = datetime.date(1969, 1, 1), datetime.date(2068, 12, 31)


def _words(text: str) -> list[str]:
    return text.split()


_ENGLISH_MONTHS = _words(
    "January February March April May June July August September October November December"
)
_GERMAN_MONTHS = _words(
    "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
)
_ENGLISH_DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
_GERMAN_DAYS = _words("Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag")


@dataclass(frozen=True)
class Example:
    """Hold one date as written, its translation, and where each digit of it comes from.

    Attributes:
        source: the date as written.
        target: ``YYYY-MM-DD``.
        sure: pairs ``(target, source)`` of characters of which one is the other.
        possible: ``sure``, and pairs of which one follows from the other: a month's digits from
            the letters of its name, a padding zero from the lone digit, a century from the two
            digits of a short year (Och & Ney 2003, §2.2).
    """

    source: str
    target: str
    sure: frozenset[tuple[int, int]]
    possible: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class _Piece:
    """A stretch of the source; ``field`` is the first target index of what it says, if any."""

    text: str
    field: int | None = None


_YEAR, _MONTH, _DAY = 0, 5, 8


def held_out(date: datetime.date) -> bool:
    """Tell whether a date is one of the tenth that training never sees, in any format."""
    return date.toordinal() * 2654435761 % 2**32 < 2**32 // 10


def draw(rng: random.Random, *, test: bool) -> Example:
    """Return a random date in a random format, from the held-out dates or from the others."""
    short = rng.random() < 0.25
    first, last = (FIRST_SHORT, LAST_SHORT) if short else (FIRST, LAST)
    while True:
        date = datetime.date.fromordinal(rng.randint(first.toordinal(), last.toordinal()))
        if held_out(date) == test:
            break
    pieces = rng.choice(_FORMATS)(rng, date, short)
    before, after = rng.choice(("", "", "", "", "", " ")), rng.choice(("", "", "", "", " ", "."))
    return align([_Piece(before), *_in_some_case(rng, pieces), _Piece(after)], date)


def align(pieces: list[_Piece], date: datetime.date) -> Example:
    """Return the example that the pieces spell, with its gold alignment."""
    target = date.isoformat()
    sure: set[tuple[int, int]] = set()
    possible: set[tuple[int, int]] = set()
    at = 0
    for piece in pieces:
        copied, told = _links(piece, at)
        sure |= copied
        possible |= copied | told
        at += len(piece.text)
    source = "".join(piece.text for piece in pieces)
    return Example(source, target, frozenset(sure), frozenset(possible))


def _links(piece: _Piece, at: int) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Return the target digits that are copied from a piece at ``at``, and those it only tells."""
    if piece.field is None:
        return set(), set()
    cells = range(piece.field, piece.field + (4 if piece.field == _YEAR else 2))
    places = range(at, at + len(piece.text))
    if not piece.text.isdigit():
        return set(), set(product(cells, places))
    # "5" is the last digit of "05", "21" the last two of "2021".
    own = len(cells) - len(places)
    return set(zip(cells[own:], places, strict=True)), set(product(cells[:own], places))


def _in_some_case(rng: random.Random, pieces: list[_Piece]) -> list[_Piece]:
    change = rng.choice((str, str, str, str.lower, str.upper))
    return [_Piece(change(piece.text), piece.field) for piece in pieces]


def _year(date: datetime.date, short: bool) -> _Piece:
    return _Piece(f"{date.year % 100:02}" if short else f"{date.year}", _YEAR)


def _number(rng: random.Random, value: int, field: int) -> _Piece:
    return _Piece(rng.choice((f"{value}", f"{value:02}")), field)


def _name(rng: random.Random, names: list[str], date: datetime.date, dot: str) -> list[_Piece]:
    """Return the month's name, whole or cut to three letters, with or without a dot after it."""
    name = names[date.month - 1]
    if rng.random() < 0.6:
        return [_Piece(name, _MONTH)]
    short = name[:4] if name == "September" and rng.random() < 0.5 else name[:3]
    return [_Piece(short, _MONTH), _Piece(rng.choice(("", dot)))]


def _weekday(rng: random.Random, names: list[str], short: int) -> list[_Piece]:
    """Return a weekday that has nothing to do with the date, so that it is never believed."""
    if rng.random() < 0.5:
        return []
    name = rng.choice(names)
    return [_Piece(rng.choice((name, name[:short], f"{name[:short]}.")) + rng.choice((", ", " ")))]


def _ordinal(rng: random.Random, day: int) -> list[_Piece]:
    ending = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return [
        _number(rng, day, _DAY) if rng.random() < 0.5 else _Piece(f"{day}", _DAY),
        _Piece(ending),
    ]


def _english_day_first(rng: random.Random, date: datetime.date, short: bool) -> list[_Piece]:
    """Thursday, 5 March 2021 · the 5th of March, 2021 · 5-Mar-21."""
    weekday = _weekday(rng, _ENGLISH_DAYS, 3)
    month = _name(rng, _ENGLISH_MONTHS, date, ".")
    style = rng.randrange(4)
    if style == 0:
        the, of = rng.choice(("", "the ")), rng.choice((" of ", " "))
        end = _Piece(rng.choice((" ", ", ")))
        return [
            *weekday,
            _Piece(the),
            *_ordinal(rng, date.day),
            _Piece(of),
            *month,
            end,
            _year(date, short),
        ]
    gap = "-" if style == 1 else " "
    day = _number(rng, date.day, _DAY)
    return [*weekday, day, _Piece(gap), *month, _Piece(gap), _year(date, short)]


def _english_month_first(rng: random.Random, date: datetime.date, short: bool) -> list[_Piece]:
    """March 5, 2021 · Fri Mar 5th 2021."""
    weekday = _weekday(rng, _ENGLISH_DAYS, 3)
    month = _name(rng, _ENGLISH_MONTHS, date, ".")
    day = rng.choice((_ordinal(rng, date.day), [_number(rng, date.day, _DAY)]))
    end = _Piece(rng.choice((" ", ", ")))
    return [*weekday, *month, _Piece(" "), *day, end, _year(date, short)]


def _german_name(rng: random.Random, date: datetime.date, short: bool) -> list[_Piece]:
    """Freitag, den 5. März 2021 · Fr 5. Mär. 21."""
    weekday = _weekday(rng, _GERMAN_DAYS, 2)
    names = [*_GERMAN_MONTHS]
    names[2] = rng.choice(("März", "März", "Maerz"))
    month = _name(rng, names, date, ".")
    article = _Piece(rng.choice(("", "", "den ", "der ")))
    day, dot = _number(rng, date.day, _DAY), _Piece(rng.choice((". ", ". ", ".", " ")))
    return [*weekday, article, day, dot, *month, _Piece(" "), _year(date, short)]


def _german_numbers(rng: random.Random, date: datetime.date, short: bool) -> list[_Piece]:
    """5.3.2021 · Fr., 05. 03. 21: day.month.year."""
    dot = _Piece(rng.choice((".", ".", ". ")))
    day, month = _number(rng, date.day, _DAY), _number(rng, date.month, _MONTH)
    weekday = _weekday(rng, _GERMAN_DAYS, 2)
    return [*weekday, day, dot, month, dot, _year(date, short)]


def _american_numbers(rng: random.Random, date: datetime.date, short: bool) -> list[_Piece]:
    """3/5/21 · Fri 03/05/2021: month/day/year."""
    day, month = _number(rng, date.day, _DAY), _number(rng, date.month, _MONTH)
    weekday = _weekday(rng, _ENGLISH_DAYS, 3)
    return [*weekday, month, _Piece("/"), day, _Piece("/"), _year(date, short)]


def _year_first(rng: random.Random, date: datetime.date, short: bool) -> list[_Piece]:
    """2021-03-05 · 2021/3/5 · 20210305 · 2021 March 5: a year in front has always four digits."""
    del short
    gap = _Piece(rng.choice(("-", "/", ".", "", " ")))
    if gap.text == " ":
        month_name = _name(rng, _ENGLISH_MONTHS, date, ".")
        return [_year(date, False), gap, *month_name, gap, _number(rng, date.day, _DAY)]
    if not gap.text:
        month, day = _Piece(f"{date.month:02}", _MONTH), _Piece(f"{date.day:02}", _DAY)
        return [_year(date, False), month, day]
    day, month = _number(rng, date.day, _DAY), _number(rng, date.month, _MONTH)
    return [_year(date, False), gap, month, gap, day]


_FORMATS: tuple[Callable[[random.Random, datetime.date, bool], list[_Piece]], ...] = (
    _english_day_first,
    _english_month_first,
    _german_name,
    _german_numbers,
    _american_numbers,
    _year_first,
)
