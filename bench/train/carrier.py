"""What the transfer of batches needs of a device, and a CUDA device that does it."""

from __future__ import annotations

from typing import Protocol

import torch

from bench.measure.clocks import Mark, Queue


class Event(Protocol):
    """A point in a queue."""

    def synchronize(self) -> None:
        """Block the host until the device has come to it."""


class Carrier(Protocol):
    """A device's operations. Only ``Event.synchronize`` lets the host wait."""

    def locked(self, size: int) -> torch.Tensor:
        """So many bytes of page-locked host memory."""

    def there(self, size: int) -> torch.Tensor:
        """So many bytes of the device's memory; what was queued for computing before may still use them."""

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Queue a copy from either side to the device, behind the other copies."""

    def record(self, queue: Queue) -> Event:
        """A point behind everything that is in the queue now."""

    def hold(self, queue: Queue, event: Event) -> None:
        """Let what is put into the queue from now on wait for the event."""

    def mark(self, queue: Queue) -> Mark:
        """As ``record``, for the clock."""


class CudaCarrier:
    """A CUDA device: a stream of its own for the copies, the current stream for computing.

    The transfer gives no memory back while something is under way in it, so the caching allocator, which knows only
    the stream that a tensor was made on, need not be told of the second one (``Tensor.record_stream``).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._copies = torch.cuda.Stream(device)

    def locked(self, size: int) -> torch.Tensor:
        """Page-locked memory; only from there is a copy asynchronous."""
        return torch.empty(size, dtype=torch.uint8, pin_memory=True)

    def there(self, size: int) -> torch.Tensor:
        """Device memory, of the computing stream's pool."""
        return torch.empty(size, dtype=torch.uint8, device=self._device)

    def copy(self, source: torch.Tensor, target: torch.Tensor) -> None:
        """Queue a copy."""
        with torch.cuda.stream(self._copies):
            target.copy_(source, non_blocking=True)

    def record(self, queue: Queue) -> torch.cuda.Event:
        """A new event; a host that waits for it sleeps, so that the wait is not counted as work of the processor."""
        event = torch.cuda.Event(blocking=True)
        event.record(self._stream(queue))
        return event

    def hold(self, queue: Queue, event: Event) -> None:
        """``cudaStreamWaitEvent``."""
        assert isinstance(event, torch.cuda.Event)
        self._stream(queue).wait_event(event)

    def mark(self, queue: Queue) -> torch.cuda.Event:
        """A new event that notes the time."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(self._stream(queue))
        return event

    def _stream(self, queue: Queue) -> torch.cuda.Stream:
        return self._copies if queue == "copies" else torch.cuda.current_stream(self._device)
