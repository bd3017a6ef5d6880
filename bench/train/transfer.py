"""Brings batches to a device while it computes: page-locked memory, a queue for the copies, and events between."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from bench.measure.clocks import DeviceTimeline, Mark, Queue

Tensors = tuple[torch.Tensor, ...]

_ALIGNMENT = 256
"""Bytes; what begins at such an address is read in the widest words."""


class Event(Protocol):
    """A point in a queue of the device."""

    def synchronize(self) -> None:
        """Block the host until the device has reached it."""


class Device(Protocol):
    """What the transfer needs of a device: memory on both sides, a queue for the copies, one for computing."""

    def locked(self, size: int) -> torch.Tensor:
        """So many bytes of page-locked host memory; only from there is a copy asynchronous."""

    def there(self, size: int) -> torch.Tensor:
        """So many bytes of the computing stream's pool; what was queued for computing before may still use them."""

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Queue a copy from either side to the device, behind the other copies."""

    def record(self, queue: Queue) -> Event:
        """A point behind everything that is in the queue now."""

    def hold(self, queue: Queue, event: Any) -> None:
        """Let what is put into the queue from now on wait for one of the device's events."""

    def mark(self, queue: Queue) -> Mark:
        """As ``record``, for the clock."""


class CudaDevice:
    """A CUDA device: a stream of its own for the copies, the current stream for computing.

    Only ``Event.synchronize`` lets the host wait. No memory is freed while something is under way in it, so the caching
    allocator need not be told of the second stream (``Tensor.record_stream``).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)

    def locked(self, size: int) -> torch.Tensor:
        """Page-locked memory of the CUDA driver."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def there(self, size: int) -> torch.Tensor:
        """Memory of PyTorch's allocator."""
        return torch.empty(size, dtype=torch.uint8, device=self._device)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Queue a copy in the copies' stream."""
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)

    def record(self, queue: Queue) -> Event:
        """A point behind everything that is in the queue now; a host that waits for it sleeps instead of spinning."""
        event = torch.cuda.Event(blocking=True)
        event.record(self._stream(queue))
        return event

    def hold(self, queue: Queue, event: Event) -> None:
        """Let what is put into the queue from now on wait for the event (``cudaStreamWaitEvent``)."""
        assert isinstance(event, torch.cuda.Event)
        self._stream(queue).wait_event(event)

    def mark(self, queue: Queue) -> Mark:
        """As ``record``, for the clock."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream(queue))
        return event

    def _stream(self, queue: Queue) -> torch.cuda.Stream:
        return self._copies if queue == "copies" else torch.cuda.current_stream(self._device)


class _Kind(NamedTuple):
    """What decides how many bytes a tensor has and how they lie."""

    shape: torch.Size
    dtype: torch.dtype
    last: bool  # its channels come last in memory

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
    """Memory for one batch on both sides."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._locked = self._there = torch.empty(0, dtype=torch.uint8)
        self._kinds: list[_Kind] = []
        self._loaded: list[torch.Tensor] = []
        self._copies: list[tuple[torch.Tensor, torch.Tensor]] = []
        self.arrived: list[torch.Tensor] = []  # on the device
        self.busy: Event | None = None  # behind it, nothing is under way in this memory and nobody reads it
        self.lent = False  # sent and not yet computed with

    def wait(self) -> None:
        """Block until the former batch needs its memory no more."""
        if self.busy is not None:
            self.busy.synchronize()
            self.busy = None

    def send(self, tensors: Sequence[torch.Tensor], watch: DeviceTimeline) -> None:
        """Copy a batch into the page-locked memory, and queue its copies to the device."""
        self.wait()
        self.arrange([_kind(tensor) for tensor in tensors])
        # By NumPy, on this thread alone: PyTorch would share so short a copy among threads that then go on spinning for
        # a while, on the cores that decode.
        for memory, tensor in zip(self._loaded, tensors, strict=True):
            np.copyto(memory.numpy(), tensor.numpy())
        try:
            with watch.copying:
                for source, target in self._copies:
                    self._device.copy(source, target)
        finally:
            self.busy = self._device.record("copies")  # after an error too: something may be under way

    def arrange(self, kinds: list[_Kind]) -> None:
        """Find memory for tensors; takes more memory only for more bytes than ever before."""
        if kinds == self._kinds:
            return
        starts = [0, *itertools.accumulate(kind.size for kind in kinds)]
        # Behind the bytes as they came lie the images whose channels came last, in the order that computing is given.
        turned = list(itertools.accumulate((kind.size * kind.last for kind in kinds), initial=starts[-1]))
        # Memory outlives a pass in inference mode, where tensors are made that cannot be written to later.
        with torch.inference_mode(False):
            if starts[-1] > self._locked.numel():
                self._locked = self._device.locked(starts[-1])
            if turned[-1] > self._there.numel():
                self._there = self._device.there(turned[-1])
                self._device.hold("copies", self._device.record("computing"))
            self._loaded = [kind.view(self._locked, start) for kind, start in zip(kinds, starts, strict=False)]
            self._copies = [(self._locked[: starts[-1]], self._there[: starts[-1]])]
            self.arrived = []
            for kind, start, behind in zip(kinds, starts, turned, strict=False):
                tensor = kind.view(self._there, start)
                if kind.last:
                    ordered = kind._replace(last=False).view(self._there, behind)
                    self._copies.append((tensor, ordered))
                    tensor = ordered
                self.arrived.append(tensor)
        self._kinds = kinds


class Transfer:
    """Brings batches to where the network is: by slots that take turns, each with memory on both sides.

    The host copies a batch into a slot's page-locked memory, the queue of the copies brings it over, and computing
    waits for that on the device. The host waits only where it comes to a slot whose batch is still computed with.
    No thread is started and nothing is read ahead: fetching, sending and computing stay intervals of the host that
    follow each other, while the device works on what the last ones left it.
    """

    def __init__(self, device: Device | None, in_flight: int = 0) -> None:
        """Allocate no memory yet. Where the network is on the host, ``device`` is None and batches are passed on."""
        self._device = device
        self._slots = [] if device is None else [_Slot(device) for _ in range(in_flight)]
        self._turn = 0

    def reserve(self, batch: Sequence[tuple[Sequence[int], torch.dtype]]) -> None:
        """Allocate every slot for batches of these shapes and types, with room for images in either memory order."""
        self.drain()
        for slot in self._slots:
            slot.arrange([_Kind(torch.Size(shape), dtype, len(shape) == 4) for shape, dtype in batch])

    def room(self) -> None:
        """Wait until the device has computed with the next slot's batch; that counts as computing."""
        if self._slots:
            self._slots[self._turn].wait()

    def send(self, tensors: Tensors, watch: DeviceTimeline) -> AbstractContextManager[Tensors]:
        """Put what lies on the host into the next slot and on its way; what is there already is passed on.

        What computes with the tensors belongs into the context: the memory is used again for a later batch. Images come
        out in ``[B, C, H, W]`` order: decoders give channels-last memory, and changing that is a loader's cost.

        Raises:
            RuntimeError: every slot is on its way to somebody who has not computed with it yet.
        """
        going = [tensor for tensor in tensors if tensor.is_cpu]
        if self._device is None or not going:
            return contextlib.nullcontext(tuple(tensor.contiguous() for tensor in tensors))
        slot = self._slots[self._turn]
        if slot.lent:
            raise RuntimeError(f"more than {len(self._slots)} batches were sent before they were used")
        slot.send(going, watch)
        slot.lent = True
        self._turn = (self._turn + 1) % len(self._slots)
        arrived = iter(slot.arrived)
        there = tuple(next(arrived) if tensor.is_cpu else tensor.contiguous() for tensor in tensors)
        return self._computing(self._device, slot, there)

    @contextlib.contextmanager
    def _computing(self, device: Device, slot: _Slot, tensors: Tensors) -> Iterator[Tensors]:
        """Let computing wait for a batch on its way; afterwards its memory is free for the next one."""
        if slot.busy is not None:
            device.hold("computing", slot.busy)
        try:
            yield tensors
        finally:
            slot.busy = device.record("computing")  # behind the copy, which computing has waited for
            slot.lent = False

    def drain(self) -> None:
        """Wait for every copy and every use; all slots are free then, even where waiting brought an error."""
        with contextlib.ExitStack() as waits:
            for slot in self._slots:
                if slot.busy is not None:
                    waits.callback(slot.busy.synchronize)
                slot.busy, slot.lent = None, False

    def timeline(self) -> DeviceTimeline:
        """A timeline of both queues; one that notes nothing where there is no device beside the host."""
        return DeviceTimeline(None if self._device is None else self._device.mark)


def transfer_to(device: torch.device, in_flight: int) -> Transfer:
    """The transfer to a device, with so many batches on it at once."""
    return Transfer(CudaDevice(device), in_flight) if device.type == "cuda" else Transfer(None)
