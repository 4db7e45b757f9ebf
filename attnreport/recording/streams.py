"""Which sequence the positions of a tensor belong to: data flow, from the inputs on.

A stream is one sequence: the source, the target, the patches of a picture. It is born where an
input enters the model and every result of a torch function belongs to the stream of what it was
computed from. Nothing here looks at module names or at lengths: two different sequences of the
same length stay two. This module knows nothing of attention.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any

import torch

from attnreport.axis import Axis
from attnreport.pixels import Pixels


class Rank(IntEnum):
    """Say which stream wins where two meet in one operation."""

    LEARNED = 1  # parameters and buffers only: latents, object queries, position tables
    AUXILIARY = 2  # an integer or boolean input that was not looked up: a mask
    MADE = 3  # ids that the model wrote itself
    FLOATS = 4  # an input of floats: a picture, but also a mask, or a cache from before
    IDS = 5  # ids that were looked up
    DESCRIBED = 6  # an input that an axis was given for: the user said it is a sequence


class Stream:
    """Be one sequence that flows through the model.

    Attributes:
        rank: which of two streams wins where they meet.
        axis: what its positions stand for, where somebody said so.
        batch: how many examples the input held; None where its shape does not tell, until
            positions.py finds it out.
        length: how many positions the input held; None where its shape does not tell.
        pictured: whether it is a picture, whose positions are followed by their regions.
    """

    def __init__(
        self,
        rank: Rank,
        axis: Axis | None = None,
        batch: int | None = None,
        length: int | None = None,
        *,
        pictured: bool = False,
    ) -> None:
        self.pictured = pictured
        self.rank = rank
        self.axis = axis
        self.batch = batch
        self.length = length
        self._shaped = batch is not None
        self._masks: Stream | None = None
        self._parts: dict[tuple[int, int], Stream] = {}
        # Of a part: what it is one example of.
        self.whole: Stream = self
        # Of masks: the sequence whose positions they are about.
        self.about: Stream = self

    def masks(self) -> Stream:
        """Return the stream of what only says of its positions yes or no.

        A mask has positions of what it was made from and goes into what other sequences are:
        there it gives way to them.
        """
        if self.rank is Rank.LEARNED or self.about is not self:
            return self
        if self._masks is None:
            self._masks = Stream(
                Rank.AUXILIARY, self.axis, self.batch, self.length, pictured=self.pictured
            )
            self._masks.about = self
        return self._masks

    def part(self, place: tuple[int, int]) -> Stream:
        """Return one of several examples of it that are sequences of their own, always the same.

        Nobody said what its positions stand for.
        """
        if place not in self._parts:
            self._parts[place] = Stream(self.rank, pictured=self.pictured)
            self._parts[place].whole = self.whole
        return self._parts[place]

    @property
    def of_pictures(self) -> bool:
        """Tell whether it is a picture or a sound: its shape tells the batch, and it is no text."""
        return self.pictured or (self.rank is Rank.FLOATS and self._shaped)


class Tag:
    """Hold what is known of one tensor while it lives."""

    # Most tensors have no more than a stream: what is not known is said once, for all of them.
    # Whether the model was given it.
    entered = False
    # How it came from another tensor, for steps.py.
    step: Any = None
    # Which dimension a projection or convolution put its features on, for channels.py.
    features: int | None = None
    # Whether a matrix of the model has made it; ``features`` is only known of some of these.
    projected = False
    # Which part of an attention it is the output of; it is nothing to this module either.
    part: Any = None
    # What following.py follows; it is nothing to this module.
    weights: Any = None
    # Whether several modules have this parameter: then its path does not tell which of them ran.
    shared = False

    def __init__(
        self, tensor: torch.Tensor, stream: Stream | None, executed: str | None = None
    ) -> None:
        self.ref = weakref.ref(tensor)
        self.stream = stream
        # The path of the module a parameter belongs to.
        self.executed = executed

    @property
    def learned(self) -> bool:
        """Tell whether the tensor is a parameter, or was made of parameters alone."""
        return self.stream is not None and self.stream.rank is Rank.LEARNED

    def hold(self, tensor: torch.Tensor, weights: Any) -> None:
        """Keep something beside the tensor for as long as it lives, and no longer."""
        self.weights = weights
        # A weak reference to the tag: the tag holds this one, and a circle would live on.
        own = weakref.ref(self)

        def forget(_: Any) -> None:
            tag = own()
            if tag is not None:
                tag.weights = None

        self.ref = weakref.ref(tensor, forget)


class Streams:
    """Follow streams through torch functions, by the identity of tensors.

    Args:
        axes: pairs of an input tensor and its axis.
        modules: those of the model, each with its path; their parameters and buffers are no inputs.
    """

    def __init__(
        self,
        axes: Sequence[tuple[torch.Tensor, Axis | Pixels]],
        modules: Iterable[tuple[str, torch.nn.Module]],
    ) -> None:
        # Keyed by id: a dead tensor's id may be used again, so a tag is believed only while its
        # own tensor lives.
        self._tags: dict[int, Tag] = {}
        self._looked_up: dict[int, Stream] = {}
        # A model has more parameters than a call may use: theirs are made when they are met.
        self._own: dict[int, tuple[torch.Tensor, str]] = {}
        self._shared: set[int] = set()
        for path, tensor in _tensors_of(modules):
            if id(tensor) in self._own:
                self._shared.add(id(tensor))
            else:
                self._own[id(tensor)] = tensor, path
        for tensor, axis in axes:
            batch = tensor.shape[0] if tensor.dim() > 1 else None
            if isinstance(axis, Pixels):
                batch = batch if tensor.dim() > 3 else None
                stream = Stream(Rank.DESCRIBED, None, batch, pictured=True)
            else:
                stream = Stream(Rank.DESCRIBED, axis, batch, len(axis))
            self._tags[id(tensor)] = Tag(tensor, stream)
            self._tags[id(tensor)].entered = True

    def tag(self, tensor: torch.Tensor) -> Tag | None:
        """Return what is known of a tensor, or None if it was never seen."""
        tag = self._tags.get(id(tensor))
        if tag is not None and tag.ref() is tensor:
            return tag
        path = self.owner(tensor)
        if path is None:
            return None
        tag = self._tags[id(tensor)] = Tag(tensor, Stream(Rank.LEARNED), executed=path)
        tag.shared = self.is_shared(tensor)
        return tag

    def owner(self, tensor: torch.Tensor) -> str | None:
        """Return the path of the first module that has a tensor; None where it is no parameter."""
        own = self._own.get(id(tensor))
        return None if own is None else own[1]

    def is_shared(self, tensor: torch.Tensor) -> bool:
        """Tell whether several modules have a parameter."""
        return id(tensor) in self._shared

    def of(self, tensor: torch.Tensor) -> Stream | None:
        """Return the stream of a tensor, or None."""
        tag = self.tag(tensor)
        return tag.stream if tag is not None else None

    def assign(self, tensor: torch.Tensor, stream: Stream | None) -> Tag:
        """Say which stream a tensor belongs to from now on."""
        old = self.tag(tensor)
        tag = self._tags[id(tensor)] = Tag(tensor, stream)
        if old is not None:
            # Whose it is said to be changes nothing in where it came from.
            tag.entered, tag.step, tag.part = old.entered, old.step, old.part
        return tag

    def follow(self, tensor: torch.Tensor, stream: Stream | None) -> None:
        """Say which stream a result belongs to, unless it has one that counts more.

        A view of a parameter, or a tensor that was written to, may be known already.
        """
        if tensor.dtype is torch.bool and stream is not None:
            stream = stream.masks()
        tag = self.tag(tensor)
        if tag is None:
            self._tags[id(tensor)] = Tag(tensor, stream)
        elif stream is not None and (tag.stream is None or tag.stream.rank < stream.rank):
            self.assign(tensor, stream)

    def renew(self, tensor: torch.Tensor) -> None:
        """Give a tensor that was written to a tag of its own; the old one stays what it was."""
        old = self.tag(tensor)
        if old is not None:
            new = self._tags[id(tensor)] = Tag(tensor, old.stream, old.executed)
            new.entered, new.step, new.part = old.entered, old.step, old.part
            if old.weights is not None:
                new.hold(tensor, old.weights)

    def entering(self, tensor: torch.Tensor) -> Tag:
        """Return the tag of a tensor that may never have been seen: then it is an input."""
        tag = self.tag(tensor)
        if tag is not None:
            return tag
        tag = self.assign(tensor, _of_input(tensor))
        tag.entered = True
        return tag

    def look_up(self, ids: torch.Tensor, table: torch.Tensor) -> Stream:
        """Return the stream of embedded ids: from here on they are a sequence, not just numbers."""
        stream = self.of(ids)
        # Positions that were counted over a mask are those of the sequence itself.
        stream = None if stream is None else stream.about
        if stream is None or stream.rank is Rank.LEARNED:
            # The model made these ids: positions, or what it generated so far. One table, one
            # stream, so that each step of a generation goes on with the last one's.
            stream = self._looked_up.setdefault(id(table), Stream(Rank.MADE))
            self.assign(ids, stream)
        elif stream.rank is Rank.AUXILIARY:
            stream.rank = Rank.IDS
        return stream


def strongest(tags: Iterable[Tag]) -> Stream | None:
    """Return the stream of the highest rank, the first among equals."""
    best: Stream | None = None
    for tag in tags:
        stream = tag.stream
        if stream is not None and (best is None or stream.rank > best.rank):
            best = stream
    return best


def _of_input(tensor: torch.Tensor) -> Stream | None:
    # A number is no sequence.
    if tensor.dim() == 0:
        return None
    # One that the model's own list lacks: it was fetched from where weights are offloaded to.
    if isinstance(tensor, torch.nn.Parameter):
        return Stream(Rank.LEARNED)
    floats = tensor.is_floating_point()
    if tensor.is_nested:
        # Every example has a length of its own.
        return Stream(Rank.FLOATS if floats else Rank.AUXILIARY, batch=tensor.shape[0])
    # Ids are (batch, position), pictures (batch, channel, …); three dimensions of floats may be
    # (batch, position, width) or (position, batch, width), and nothing tells which.
    batch = tensor.shape[0] if tensor.dim() > 1 and not (floats and tensor.dim() < 4) else None
    length = tensor.shape[1] if tensor.dim() == 2 and not floats else None
    return Stream(Rank.FLOATS if floats else Rank.AUXILIARY, batch=batch, length=length)


def _tensors_of(
    modules: Iterable[tuple[str, torch.nn.Module]],
) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield every parameter and buffer with the path of its module, shared ones once for each."""
    for path, module in modules:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                yield path, tensor
