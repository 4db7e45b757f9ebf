"""Maximum flow through a small network of pipes with fractional capacities.

This is Dinitz's algorithm (1970): lay out the nodes by how few open pipes lead to them, fill every
shortest way to the end, and start over until no way is left. It knows nothing of attention.
"""

from __future__ import annotations

# A pipe this little open is shut: rounding would otherwise open thousands of ways for nothing.
_SHUT = 1e-12


class Pipes:
    """Hold nodes and pipes between them; the flow can be asked for between any two nodes.

    A pipe is stored twice, under an even number as it was laid and under the next odd one in the
    other direction, where it opens as far as flow goes through it.
    """

    def __init__(self) -> None:
        self._out: list[list[int]] = []
        self._end: list[int] = []
        self._capacity: list[float] = []

    def add_nodes(self, count: int) -> list[int]:
        """Add ``count`` nodes and return their numbers."""
        first = len(self._out)
        self._out.extend([] for _ in range(count))
        return list(range(first, first + count))

    def add(self, start: int, end: int, capacity: float) -> None:
        """Lay a pipe from ``start`` to ``end``."""
        self._out[start].append(len(self._end))
        self._out[end].append(len(self._end) + 1)
        self._end += [end, start]
        self._capacity += [capacity, 0.0]

    def flow(self, start: int, end: int) -> float:
        """Return the most that can flow from ``start`` to ``end``, another node."""
        room = self._capacity.copy()
        total = 0.0
        while levels := self._levels(start, end, room):
            total += self._fill(start, end, room, levels)
        return total

    def _levels(self, start: int, end: int, room: list[float]) -> list[int]:
        """Return every node's distance from the start, -1 beyond reach; empty if the end is."""
        levels = [-1] * len(self._out)
        levels[start] = 0
        front = [start]
        while front and levels[end] < 0:
            reached = []
            for node in front:
                for pipe in self._out[node]:
                    other = self._end[pipe]
                    if room[pipe] > _SHUT and levels[other] < 0:
                        levels[other] = levels[node] + 1
                        reached.append(other)
            front = reached
        return levels if levels[end] >= 0 else []

    def _fill(self, start: int, end: int, room: list[float], levels: list[int]) -> float:
        """Fill every way that goes one level further with each pipe; return what went through."""
        tried = [0] * len(self._out)  # pipes before this one are known to lead nowhere
        way: list[int] = []
        total = 0.0
        node = start
        while True:
            if node == end:
                total += self._send(way, room)
                way, node = [], start
                continue
            pipe = self._next(node, room, levels, tried)
            if pipe is not None:
                way.append(pipe)
                node = self._end[pipe]
            elif not way:
                return total
            else:
                node = self._end[way.pop() ^ 1]
                tried[node] += 1

    def _next(
        self, node: int, room: list[float], levels: list[int], tried: list[int]
    ) -> int | None:
        """Return an open pipe one level further, or None."""
        pipes = self._out[node]
        while tried[node] < len(pipes):
            pipe = pipes[tried[node]]
            if room[pipe] > _SHUT and levels[self._end[pipe]] == levels[node] + 1:
                return pipe
            tried[node] += 1
        return None

    def _send(self, way: list[int], room: list[float]) -> float:
        """Send as much along the way as its narrowest pipe lets through, and return it."""
        amount = min(room[pipe] for pipe in way)
        for pipe in way:
            room[pipe] -= amount
            room[pipe ^ 1] += amount
        return amount
