"""The measures once more, as loops over plain floats, straight from their definitions.

Nothing here shares a line or a method with the package: no array operations, no common helpers.
"""

from __future__ import annotations

import math


def _mean(values):
    return sum(values) / len(values) if values else math.nan


def _rows(attention, head):
    """Pairs of query and row, for the rows that count; a sigmoid row is divided by its sum."""
    kept = []
    for query in range(len(attention.queries)):
        row = [float(weight) for weight in attention.weights[head, query]]
        sink = 0.0 if attention.sink is None else float(attention.sink[head, query])
        if all(map(math.isfinite, [sink, *row])) and sink + math.fsum(row) > 0:
            if not attention.normalised:
                total = math.fsum(row)
                row = [weight / total for weight in row]
            kept.append((query, row))
    return kept


def _per_head(function):
    def scores(attention):
        return [function(attention, head) for head in range(len(attention.weights))]

    return scores


def _needs_self(function):
    def scores(attention, head):
        if attention.kind != "self" or attention.queries.labels != attention.keys.labels:
            return math.nan
        return function(attention, head)

    return scores


def _sort(position):
    if position.box is not None:
        return "image"
    return "special" if position.role == "special" else "text"


@_per_head
def entropy(attention, head):
    visible = {query: set() for query in range(len(attention.queries))}
    for other in range(len(attention.weights)):
        for query, row in _rows(attention, other):
            visible[query] |= {key for key, weight in enumerate(row) if weight > 0}
    values = []
    for query, row in _rows(attention, head):
        if len(visible[query]) > 1 and any(row):
            shares = [weight / math.fsum(row) for weight in row if weight > 0]
            bits = -math.fsum(share * math.log2(share) for share in shares)
            values.append(bits / math.log2(len(visible[query])))
    if not values and any(any(row) for _, row in _rows(attention, head)):
        return 0.0
    return _mean(values)


@_per_head
def vertical(attention, head):
    rows = [row for _, row in _rows(attention, head)]
    if not rows:
        return math.nan
    columns = [math.fsum(column) for column in zip(*rows, strict=True)]
    return max(columns) / math.fsum(columns)


def _weighted(attention, head, cost):
    above, below = [], []
    for query, row in _rows(attention, head):
        for key, weight in enumerate(row):
            value = cost(query, key)
            if value is not None:
                above.append(weight * value)
                below.append(weight)
    return math.fsum(above) / math.fsum(below) if math.fsum(below) else math.nan


@_per_head
@_needs_self
def distance(attention, head):
    return _weighted(attention, head, lambda query, key: abs(query - key))


@_per_head
def box_distance(attention, head):
    queries = [position.box for position in attention.queries]
    keys = [position.box for position in attention.keys]
    boxes = [box for box in queries + keys if box]
    if not boxes:
        return math.nan
    left, top, right, bottom = (
        pick(box[side] for box in boxes) for side, pick in enumerate((min, min, max, max))
    )

    def cost(query, key):
        if not (queries[query] and keys[key]):
            return None
        (a, b, c, d), (e, f, g, h) = queries[query], keys[key]
        apart = complex((a + c) / 2, (b + d) / 2) - complex((e + g) / 2, (f + h) / 2)
        return abs(apart) / abs(complex(right - left, bottom - top))

    return _weighted(attention, head, cost)


@_per_head
def diagonality(attention, head):
    down, across = len(attention.queries) - 1, len(attention.keys) - 1
    if not (down and across):
        return math.nan
    return 1 - _weighted(attention, head, lambda q, k: abs(q * across - k * down) / (down * across))


def _neighbour(offset):
    @_per_head
    @_needs_self
    def score(attention, head):
        return _mean(
            [
                row[query + offset]
                for query, row in _rows(attention, head)
                if 0 <= query + offset < len(row)
            ]
        )

    return score


@_per_head
def first_token(attention, head):
    own = attention.kind == "self" and attention.queries.labels == attention.keys.labels
    return _mean([row[0] for query, row in _rows(attention, head) if query or not own])


def _share(sort):
    @_per_head
    def score(attention, head):
        keys = [key for key, position in enumerate(attention.keys) if _sort(position) == sort]
        if not keys:
            return math.nan
        return _mean([sum(row[key] for key in keys) for _, row in _rows(attention, head)])

    return score


@_per_head
def sink_share(attention, head):
    if attention.sink is None:
        return math.nan
    return _mean([float(attention.sink[head, query]) for query, _ in _rows(attention, head)])


def _repeats(pick):
    @_per_head
    @_needs_self
    def score(attention, head):
        words = [
            position.label if _sort(position) == "text" else None for position in attention.keys
        ]
        values = []
        for query, row in _rows(attention, head):
            before = [key for key in range(query) if words[key] and words[key] == words[query]]
            keys = pick(before, query)
            if keys:
                values.append(sum(row[key] for key in keys))
        return _mean(values)

    return score


def redundancy(attention):
    heads = range(len(attention.weights))
    usable = {head: dict(_rows(attention, head)) for head in heads}

    def similarity(one, two):
        values = []
        for query in usable[one].keys() & usable[two].keys():
            a, b = usable[one][query], usable[two][query]
            if not (any(a) and any(b)):
                continue
            dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
            values.append(dot / (math.hypot(*a) * math.hypot(*b)))
        return _mean(values)

    best = []
    for head in heads:
        found = [similarity(head, other) for other in heads if other != head]
        best.append(max((value for value in found if not math.isnan(value)), default=math.nan))
    return best


REFERENCES = {
    "entropy": entropy,
    "vertical": vertical,
    "distance": distance,
    "box_distance": box_distance,
    "diagonality": diagonality,
    "previous_token": _neighbour(-1),
    "next_token": _neighbour(1),
    "same_token": _neighbour(0),
    "first_token": first_token,
    "special_share": _share("special"),
    "text_share": _share("text"),
    "image_share": _share("image"),
    "sink_share": sink_share,
    "duplicate_token": _repeats(lambda before, query: before),
    "induction": _repeats(lambda before, query: [key + 1 for key in before if key + 1 < query]),
    "redundancy": redundancy,
}


def alignment_error_rate(attention, alignment):
    sure = set(alignment.sure)
    possible = sure | set(alignment.possible)
    rates = []
    for head in range(len(attention.weights)):
        links = set()
        for query, row in _rows(attention, head):
            if not any(row):
                continue
            key = row.index(max(row))
            ends = (attention.queries.positions[query], attention.keys.positions[key])
            if all(end.role != "special" for end in ends):
                links.add((query, key))
        below = len(links) + len(sure)
        hits = sum((link in sure) + (link in possible) for link in links)
        rates.append(1 - hits / below if below else math.nan)
    return rates


def chained(run):
    return [
        attention
        for attention in run.attentions
        if (attention.kind == "self") == (attention.queries == attention.keys)
    ]


def fused_row(attention, query, fusion, discard):
    """The heads of one row as one, without the lightest keys; None where nothing is left."""
    rows = [dict(_rows(attention, head)).get(query) for head in range(len(attention.weights))]
    rows = [row for row in rows if row is not None]
    if not rows:
        return None
    join = {"mean": _mean, "max": max, "min": min}[fusion]
    row = [join(column) for column in map(list, zip(*rows, strict=True))]
    seen = sorted((weight, key) for key, weight in enumerate(row) if weight > 0)
    for _, key in seen[: int(discard * len(seen) + 1e-9)]:
        row[key] = 0.0
    total = math.fsum(row)
    return [weight / total for weight in row] if total else None


def rollout_row(run, axis, query, *, residual=0.5, fusion="mean", discard=0.0):
    """Shares of one top position, ``{(axis name, position): share}``, by following it down."""
    steps = chained(run)

    def share(step, name, position):
        while step and steps[step - 1].queries.name != name:
            step -= 1
        if not step:
            return {(name, position): 1.0}
        attention = steps[step - 1]
        row = fused_row(attention, position, fusion, discard)
        sources = [(1.0 if row is None else residual, name, position)]
        if row is not None:
            sources += [
                ((1 - residual) * weight, attention.keys.name, key)
                for key, weight in enumerate(row)
                if weight
            ]
        total = {}
        for factor, source, place in sources:
            for end, part in remembered(step - 1, source, place).items():
                total[end] = total.get(end, 0.0) + factor * part
        return total

    memory = {}

    def remembered(*key):
        if key not in memory:
            memory[key] = share(*key)
        return memory[key]

    return remembered(len(steps), axis.name, query)
