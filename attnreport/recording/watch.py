"""The mode that sees every torch function of the user's own call, and hands each to its recorder.

The function runs first, untouched, and what it returned is what the model gets. Whatever goes
wrong in here afterwards becomes a line of the ledger. This module knows no way of computing
attention: that is what the recorders are for.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.autograd.graph import GradientEdge
from torch.nn import functional as F  # noqa: N812 - everybody calls it so
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from attnreport.axis import Axis
from attnreport.errors import one_line
from attnreport.pixels import Pixels
from attnreport.recording import following
from attnreport.recording.apart import quietly, without_modes
from attnreport.recording.found import Found, Mixed
from attnreport.recording.generation import Generation
from attnreport.recording.layout import Layout, layout_of
from attnreport.recording.marking import several
from attnreport.recording.memory import Memory
from attnreport.recording.moves import remember
from attnreport.recording.naming import Names
from attnreport.recording.operands import Operands
from attnreport.recording.places import Pieces
from attnreport.recording.projection import Projections
from attnreport.recording.region_axes import RegionAxes
from attnreport.recording.region_rules import follow as follow_regions
from attnreport.recording.regions import Regions
from attnreport.recording.registry import Recorder, name_of, reading_of
from attnreport.recording.selection import Selection, Skipped, Turns, skip
from attnreport.recording.streams import Stream, Streams, strongest
from attnreport.run import LedgerEntry

# What a function may return tensors in.
_WITH_TENSORS = (torch.Tensor, tuple, list)


class Watch(TorchFunctionMode):
    """Watch one model in one thread.

    Args:
        model: the model whose attention is wanted.
        axes: pairs of an input tensor and what its positions stand for.
        example: which example of the batch is kept.
        gradients: whether gradients at the weights are wanted.
        values: whether ``Found.value_norms`` are wanted.
        selection: which layers and heads are kept.
        max_memory: how many bytes of weights are kept at most; None for all.

    Attributes:
        may_keep: whether anything of this model can be wanted. Where nothing can, nobody asks what
            tensors came from: only for weights, and for which modules run, has the ledger a line.
        region_axes: makes the axes of what was followed from a picture or a sound.
        found: what recorders found, in order; ``LedgerEntry`` where there is only a reason.
        laid: modules whose attention was laid on its sequence, in pieces.
        returned: what the call that is being recorded returned to the model.
        generation: the one that runs now.
    """

    def __init__(  # noqa: PLR0913 - what is kept has defaults
        self,
        model: torch.nn.Module,
        axes: Sequence[tuple[torch.Tensor, Axis | Pixels]],
        example: int,
        *,
        gradients: bool = False,
        values: bool = False,
        selection: Selection | None = None,
        max_memory: int | None = None,
    ) -> None:
        super().__init__()
        self.names = Names(model)
        self.streams = Streams(axes, self.names.modules())
        self.regions = Regions(axes, model)
        self.region_axes = RegionAxes(self.regions)
        self.example = example
        self.gradients = gradients
        self.selection = selection or Selection()
        self.memory = Memory(max_memory)
        self.projections = Projections(self._learned, self.memory.grow) if values else None
        self.may_keep = self.selection.may_want(self.names.paths())
        follows_all = self.projections is not None or self.regions.active
        self._follows_all = self.may_keep and follows_all
        self._turns = Turns()
        self.hooks: list[RemovableHandle] = []
        self.edges: list[GradientEdge] = []
        self.laid: set[str] = set()
        self.over = False
        self.thread = threading.get_ident()
        self.found: list[Found | LedgerEntry] = []
        self.origins: list[following.Origin] = []
        self.outside = 0
        self.returned: Any = None
        self.generation: Generation | None = None

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function, then look at what it did."""
        kwargs = kwargs or {}
        if torch.compiler.is_compiling():
            # The compiler follows this method too, to put it into what it compiles: show it
            # nothing. What it made calls torch functions again where it runs them one by one.
            return func(*args, **kwargs)
        if func is F.dropout and kwargs.get("inplace") is not False:
            self.attempt(func, following.before_dropout_in_place, args, kwargs)
        output = func(*args, **kwargs)
        if isinstance(output, _WITH_TENSORS) or func is torch.Tensor.__setitem__:
            self.attempt(func, Watch._look, func, args, kwargs, output)
        return output

    def attempt(self, function: Any, action: Callable[..., None], *arguments: Any) -> None:
        """Do something beside the call; our failure must not become the user's."""
        try:
            if torch._C._len_torch_function_stack():
                # Somebody else watches too: what we ask of tensors is not theirs to see.
                with without_modes():
                    action(self, *arguments)
            else:
                action(self, *arguments)
        except Exception as error:
            self._failed(function, error)

    def _look(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        if function is torch.Tensor.__setitem__:
            # It returns nothing; what it wrote to is what came of it.
            output = args[0]
        elif isinstance(output, torch.Size):
            return
        plain, record = reading_of(function)
        if self.may_keep:
            weights = self._follow(plain, args, kwargs, output)
        else:
            weights = self._glance(args, kwargs)
        if weights is None:
            return
        if record is not None or weights or self._follows_all:
            call = following.Called(plain, args, kwargs, output, function)
            self._record(call, record, followed=weights)

    def _record(self, call: following.Called, record: Recorder | None, *, followed: bool) -> None:
        if record is not None:
            # A backward pass may compute a checkpointed forward again: it was seen already.
            if torch._C._current_graph_task_id() == -1:
                self.returned = call.output
                record(self, call.output, *call.args, **call.kwargs)
        elif followed:
            self.returned = call.output
            following.follow(self, call)
        # The model may let go of it: memory that is used again at once is still in the cache.
        self.returned = None
        if self.projections is not None:
            self.projections.follow(call)
        if self.regions.active:
            follow_regions(self.regions, call)

    def _follow(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> bool | None:
        """Keep what the results came from; tell whether weights are among the arguments.

        None where it is no computation of the model's.
        """
        tags = [self.streams.entering(tensor) for tensor in following.tensors_in(args, kwargs)]
        if not tags and self.names.current() is None:
            # Made for the model in the user's own lines: an input, once the model takes it.
            return None
        weights, flowing = False, []
        for tag in tags:
            weights = weights or tag.weights is not None
            if tag.executed is None:
                flowing.append(tag)
            else:
                self._executed(tag.executed, shared=tag.shared)
        # A parameter speaks only where nothing else does: it weighs what flows, it is not the flow.
        stream = strongest(flowing or tags)
        for tensor in several(output):
            if isinstance(tensor, torch.Tensor):
                self.streams.follow(tensor, stream)
        remember(self.streams, function, args, kwargs, output)
        return weights

    def _glance(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Hear which modules run; tell whether weights are among the arguments."""
        weights = False
        for tensor in following.tensors_in(args, kwargs):
            path = self.streams.owner(tensor)
            if path is not None:
                self._executed(path, shared=self.streams.is_shared(tensor))
            elif (tag := self.streams.tag(tensor)) is not None and tag.weights is not None:
                weights = True
        return weights

    def _executed(self, path: str, *, shared: bool) -> None:
        """Hear that a parameter of this module was used, or one that it shares with others."""
        current = self.names.current() if shared else None
        self.names.executed.add(current or path)

    def release(self) -> None:
        """Take every hook off the user's tensors, and let go of their graph."""
        self.over = True
        self.edges.clear()
        self.memory.release()
        for hook in self.hooks:
            hook.remove()

    def wanted(
        self,
        call: str,
        owner: torch.Tensor | None = None,
        *,
        part: bool = False,
        sure: bool = True,
        loop: object = None,
    ) -> str | None:
        """Return the path of the module that attends now, or None where it is not to be read.

        Args:
            call: what it computes with, for the ledger.
            owner: a parameter of that module, where the call itself runs in the one around it.
            part: whether the module may compute one attention by several such calls.
            sure: whether it can be read for certain.
            loop: what several calls have in common that are rows of one attention.
        """
        name = self.names.current()
        if name is None:
            self.outside += 1
            return None
        tag = None if owner is None else self.streams.tag(owner)
        if tag is not None and tag.executed is not None and not tag.shared:
            name = tag.executed
        if self.generation is not None:
            self.generation.called(name)
        if self.selection.layers is None:
            return name
        if not self.may_keep:
            # No number is asked for, nor told.
            self.found.append(Skipped(name, call))
            return None
        at = self.names.position(name) if part else None
        together = loop if self.generation is None else self.generation
        number, new = self._turns.number(name, together, at)
        if self.selection.wants(name, number):
            return name
        sure = sure and (new or together is not None)
        skip(self.found, Skipped(name, call), new=new, sure=sure)
        return None

    @contextlib.contextmanager
    def during(self, generation: Generation) -> Iterator[None]:
        """Know that a generation runs; one may run inside another."""
        before = self.generation, self.example
        self.generation, self.example = generation, generation.example
        try:
            yield
        finally:
            self.generation, self.example = before

    def layout(self, shape: Sequence[int], stream: Stream | None) -> Layout | str:
        """Return where the wanted example is; arguments as in ``layout_of``."""
        if self.generation is None:
            return layout_of(shape, stream, self.example)
        return self.generation.layout(shape, stream)

    def may_be_tiles(self, shape: Sequence[int]) -> bool:
        """Tell whether ``(…, query, width)`` may be tiles of a picture instead of examples."""
        return self.regions.active and len(shape) > 2 and shape[0] > 1

    def may_wait(self, operands: Operands) -> bool:
        """Tell whether the weights of one attention need not be computed at once."""
        on_host = operands.query.device.type == "cpu"
        return on_host and self._wants_all() and self.memory.may_wait(operands)

    def reduces(self, shape: Sequence[int]) -> bool:
        """Tell whether weights ``(head, query, key)`` are reduced at once: then none is copied."""
        return self._wants_all() and self.memory.reduces(shape)

    def _wants_all(self) -> bool:
        """Tell whether nothing but weights is wanted, and all of them.

        Some of them, what keys send, or what was generated have to be read off whole weights.
        """
        some = self.selection.heads is not None or self.selection.queries is not None
        return not some and self.generation is None and self.projections is None

    def settle(self) -> None:
        """Compute the weights that waited; what goes wrong becomes a line of the ledger."""
        for found in self.memory.waiting():
            try:
                with without_modes(), quietly(torch.empty(0)):
                    found.settle()
            except Exception as error:
                self.memory.give_back(found)
                entry = LedgerEntry(found.name, found.call, None, _words(error))
                self.found = [entry if each is found else each for each in self.found]

    def keep(self, found: Found) -> None:
        """Take what a recorder found, or the heads of it that are selected."""
        found.generation = self.generation
        found.reasons += self._turns.doubts(self.generation)
        if self.generation is not None:
            found.step = self.generation.step(found.name)
        count = found.shape[0] // found.copies
        heads = self.selection.heads_of(count)
        if heads is not None and not heads:
            reason = f"it has {count} heads, of which none was selected"
            self.found.append(LedgerEntry(found.name, found.call, None, reason))
            return
        if heads is not None:
            words = ", ".join(map(str, heads))
            found.reasons.append(f"heads {words} of {count} were selected")
            found.choose_heads(heads)
        length = found.shape[1]
        # A single row may be a step of a generation: which one is known when all are put together.
        # So it is of a part: its rows are cut when it is whole.
        single = length < 2 or found.partial is not None
        rows = None if single else self.selection.rows_of(range(length))
        if rows is not None and found.rows is None:
            found.rows, found.length = rows, length
            found.weights = found.cut(found.weights)
            found.sink = None if found.sink is None else found.sink[:, rows]
        self.found.append(found)
        self.memory.take(found)

    def take_back(self, found: Found) -> None:
        """Forget what was kept: it was a part of what came later."""
        self.found = [each for each in self.found if each is not found]
        self.memory.give_back(found)

    def attended(self, found: Found, mixed: Mixed) -> None:
        """Hear what each head returned, before the model goes on with it."""
        if found.copies > 1:
            found.unweighed = "the values of several beams or samples are not followed"
        elif self.projections is not None:
            self.projections.begin(found, mixed)

    def attended_in_windows(self, found: Found, windows: torch.Tensor, pieces: Pieces) -> None:
        """Hear the same of heads inside windows: nothing to do.

        Args:
            found: what was kept of it.
            windows: ``(…, query, width)``, before the model goes on with them.
            pieces: which of its leading places are the example's, and which head each is of.
        """

    def projected(
        self, found: Found, output: torch.Tensor, part: Callable[[int], torch.Tensor]
    ) -> None:
        """Hear the same where heads were projected and added up inside the call: nothing to do.

        Args:
            found: what was kept of it.
            output: ``(query, width)`` of the example, a view of what the model goes on with.
            part: what a head added to it.
        """

    def _learned(self, tensor: torch.Tensor) -> bool:
        """Tell whether a tensor is a parameter, or was made of parameters alone."""
        tag = self.streams.tag(tensor)
        return tag is not None and tag.learned

    def miss(self, call: str, reason: str) -> None:
        """Write down why an attention that was seen gave nothing."""
        name = self.names.current()
        if name is None:
            self.outside += 1
        else:
            self.found.append(LedgerEntry(name, call, None, reason))
            self._turns.take_back(self.generation)

    def _failed(self, function: Any, error: Exception) -> None:
        name = ""
        with contextlib.suppress(Exception):  # where it is may be what could not be told
            name = self.names.current() or ""
        self.found.append(LedgerEntry(name, name_of(function), None, _words(error)))


def _words(error: Exception) -> str:
    return f"could not be read: {one_line(error)}"
