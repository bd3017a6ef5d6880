"""Brings batches to a device while it computes: page-locked memory, a queue for the copies, and events between."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple

import torch

from bench.measure.clocks import DeviceTimeline
from bench.train.carrier import Carrier, Event

Tensors = tuple[torch.Tensor, ...]

_ALIGNMENT = 256
"""Bytes; what begins at such an address is read in the widest words."""


class _Kind(NamedTuple):
    """What decides how many bytes a tensor has and how they lie; ``last``: its channels come last in memory."""

    shape: torch.Size
    dtype: torch.dtype
    last: bool

    @property
    def size(self) -> int:
        return -(-math.prod(self.shape) * self.dtype.itemsize // _ALIGNMENT) * _ALIGNMENT

    def view(self, memory: torch.Tensor, start: int) -> torch.Tensor:
        """Such a tensor in a stretch of bytes."""
        flat = memory[start : start + math.prod(self.shape) * self.dtype.itemsize].view(self.dtype)
        if not self.last:
            return flat.view(self.shape)
        count, channels, height, width = self.shape
        return flat.view(count, height, width, channels).permute(0, 3, 1, 2)


def _kind(tensor: torch.Tensor) -> _Kind:
    last = tensor.dim() == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=torch.channels_last)
    return _Kind(tensor.shape, tensor.dtype, last)


class _Slot:
    """Memory for one batch on both sides.

    Attributes:
        found: the tensors, where computing finds them.
        busy: behind it, nothing is under way in this memory and nobody reads it.
        lent: the batch has been sent and not yet computed with.
    """

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._locked = self._there = torch.empty(0, dtype=torch.uint8)
        self._kinds: list[_Kind] = []
        self._loaded: list[torch.Tensor] = []
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.found: list[torch.Tensor] = []
        self.busy: Event | None = None
        self.lent = False

    def wait(self) -> None:
        """Block until the former batch needs its memory no more."""
        if self.busy is not None:
            self.busy.synchronize()
            self.busy = None

    def load(self, tensors: Sequence[torch.Tensor]) -> None:
        """Copy a batch into the page-locked memory."""
        self.wait()
        self.arrange([_kind(tensor) for tensor in tensors])
        for place, tensor in zip(self._loaded, tensors, strict=True):
            place.copy_(tensor)

    def launch(self, watch: DeviceTimeline) -> None:
        """Queue the copies of what was loaded."""
        try:
            with watch.copying:
                for source, target in self._copies:
                    self._carrier.copy(source, target)
        finally:
            self.busy = self._carrier.record("copies")  # after an error too: something may be under way

    def arrange(self, kinds: list[_Kind]) -> None:
        """Find places for tensors; takes more memory only for more bytes than ever before."""
        if kinds == self._kinds:
            return
        starts = [0, *itertools.accumulate(kind.size for kind in kinds)]
        # Behind the bytes as they came lie the images whose channels came last, in the order that computing is given.
        turned = list(itertools.accumulate((kind.size * kind.last for kind in kinds), initial=starts[-1]))
        # Memory outlives a pass in inference mode, where tensors are made that cannot be written to later.
        with torch.inference_mode(False):
            if starts[-1] > self._locked.numel():
                self._locked = self._carrier.locked(starts[-1])
            if turned[-1] > self._there.numel():
                self._there = self._carrier.there(turned[-1])
                self._carrier.hold("copies", self._carrier.record("computing"))
            self._loaded = [kind.view(self._locked, start) for kind, start in zip(kinds, starts, strict=False)]
            self._copies = [(self._locked[: starts[-1]], self._there[: starts[-1]])]
            self.found = []
            for kind, start, behind in zip(kinds, starts, turned, strict=False):
                arrived = kind.view(self._there, start)
                if kind.last:
                    ordered = kind._replace(last=False).view(self._there, behind)
                    self._copies.append((arrived, ordered))
                    arrived = ordered
                self.found.append(arrived)
        self._kinds = kinds


class _Arrival:
    """A batch on its way: inside the context computing waits for it, afterwards its memory goes back."""

    def __init__(self, carrier: Carrier, slot: _Slot, tensors: Tensors) -> None:
        self._carrier, self._slot, self._tensors = carrier, slot, tensors

    def __enter__(self) -> Tensors:
        if self._slot.busy is not None:
            self._carrier.hold("computing", self._slot.busy)
        return self._tensors

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._slot.busy = self._carrier.record("computing")  # behind the copy, which computing has waited for
        self._slot.lent = False


class Staging:
    """The way to a device beside the host: slots that take turns, each with memory on both sides.

    The host copies a batch into a slot's page-locked memory, the queue of the copies brings it over, and computing
    waits for that on the device. The host waits only where it comes to a slot whose batch is still computed with.
    No thread is started and nothing is read ahead: fetching, sending and computing stay intervals of the host that
    follow each other, while the device works on what the last ones left it.
    """

    def __init__(self, carrier: Carrier, in_flight: int) -> None:
        """Allocate nothing yet.

        Args:
            carrier: the device.
            in_flight: slots: how many batches may be on their way or in use at once.
        """
        self._carrier = carrier
        self._slots = [_Slot(carrier) for _ in range(in_flight)]
        self._turn = 0

    def reserve(self, batch: Sequence[tuple[Sequence[int], torch.dtype]]) -> None:
        """Allocate every slot, with room for images in either memory order."""
        self.drain()
        for slot in self._slots:
            slot.arrange([_Kind(torch.Size(shape), dtype, len(shape) == 4) for shape, dtype in batch])

    def room(self) -> None:
        """Wait until the next slot is free, that is, until the device has computed with its batch."""
        self._slots[self._turn].wait()

    def send(self, tensors: Tensors, watch: DeviceTimeline) -> AbstractContextManager[Tensors]:
        """Put what lies on the host into the next slot and on its way; what lies on the device is passed on.

        Raises:
            RuntimeError: every slot is on its way to somebody who has not computed with it yet.
        """
        going = [tensor for tensor in tensors if tensor.is_cpu]
        if not going:
            return contextlib.nullcontext(tuple(tensor.contiguous() for tensor in tensors))
        slot = self._slots[self._turn]
        if slot.lent:
            raise RuntimeError(f"more than {len(self._slots)} batches were sent before they were used")
        slot.load(going)
        slot.launch(watch)
        slot.lent = True
        self._turn = (self._turn + 1) % len(self._slots)
        found = iter(slot.found)
        there = tuple(next(found) if tensor.is_cpu else tensor.contiguous() for tensor in tensors)
        return _Arrival(self._carrier, slot, there)

    def drain(self) -> None:
        """Wait for every copy and every use; all slots are free then, even where waiting brought an error."""
        with contextlib.ExitStack() as waits:
            for slot in self._slots:
                if slot.busy is not None:
                    waits.callback(slot.busy.synchronize)
                slot.busy, slot.lent = None, False

    def timeline(self) -> DeviceTimeline:
        """A timeline of both queues."""
        return DeviceTimeline(self._carrier.mark)
