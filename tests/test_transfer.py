"""Batches come to a slow device whole and in order, however late it is, and nothing stays under way."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.measure.clocks import DeviceTimeline
from bench.train.transfer import CudaDevice, Tensors, Transfer, _Slot, transfer_to
from loaders import cut
from tests.slow_device import SlowDevice

NOTHING = DeviceTimeline(None)


def made(count: int, size: int, channels: int = 3, channels_last: bool = False, seed: int = 0) -> list[Tensors]:
    """Batches of images, labels and draws; the last one may be smaller."""
    random = np.random.default_rng(seed)
    found: list[Tensors] = []
    for part in cut(np.arange(count), size):
        images = torch.from_numpy(random.integers(0, 256, (len(part), channels, 6, 5), dtype=np.uint8))
        if channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        draws = torch.from_numpy(random.integers(-4, 5, (3, len(part)), dtype=np.int32))
        found.append((images, torch.from_numpy(part), draws))
    return found


class Consumer:
    """Reads every batch in the queue of computing, and counts those that were sent and not read yet."""

    def __init__(self, device: SlowDevice, transfer: Transfer) -> None:
        self._device, self._transfer = device, transfer
        self.got: list[list[torch.Tensor]] = []
        self._on_it = self.most = 0
        self._lock = threading.Lock()

    def take(self, batch: Tensors, watch: DeviceTimeline = NOTHING, ask: bool = True) -> None:
        if ask:
            self._transfer.room()
        sent = self._transfer.send(batch, watch)
        with self._lock:
            self._on_it += 1
            self.most = max(self.most, self._on_it)
        with sent as there, watch.computing:
            self._device.compute(functools.partial(self._read, there))

    def _read(self, there: Tensors) -> None:
        self.got.append([tensor.clone() for tensor in there])
        with self._lock:
            self._on_it -= 1


def same(got: Sequence[Sequence[torch.Tensor]], wanted: Sequence[Tensors]) -> bool:
    return len(got) == len(wanted) and all(
        torch.equal(a, b) and a.dtype == b.dtype
        for have, want in zip(got, wanted, strict=True)
        for a, b in zip(have, want, strict=True)
    )


@settings(max_examples=30, deadline=None)
@given(
    count=st.integers(1, 70),
    size=st.integers(1, 16),
    in_flight=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    channels_last=st.booleans(),
    reserved=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_every_batch_arrives_whole_and_in_order(
    count: int, size: int, in_flight: int, channels: int, channels_last: bool, reserved: bool, seed: int
) -> None:
    batches = made(count, size, channels, channels_last, seed)
    with SlowDevice(seed, longest_s=0.0005) as device:
        transfer = Transfer(device, in_flight)
        if reserved:
            transfer.reserve([(tensor.shape, tensor.dtype) for tensor in batches[0]])
        kept = dict(device.sizes)
        consumer = Consumer(device, transfer)
        for epoch in range(2):  # the second one in the memory of the first
            for batch in batches:
                consumer.take(batch)
                assert consumer.got == [] or consumer.got[0][0].is_contiguous()
            transfer.drain()
            assert device.idle()
            assert same(consumer.got, batches * (epoch + 1))
        slots = min(in_flight, 2 * len(batches))
        assert consumer.most <= in_flight
        for side in device.sizes.values():
            assert len(side) == (in_flight if reserved else slots)
        if reserved:
            assert device.sizes == kept
        largest = sum(-(-tensor.nbytes // 256) * 256 for tensor in batches[0])
        assert sum(device.sizes["locked"]) <= in_flight * largest
        assert sum(device.sizes["there"]) <= 2 * in_flight * largest


def test_a_device_that_is_not_waited_for_gives_other_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: without the wait, memory is filled again too early."""
    batches = made(24, 4)
    with SlowDevice(longest_s=0.0) as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        device.gate.clear()
        monkeypatch.setattr(_Slot, "wait", lambda _: None)
        for batch in batches:
            consumer.take(batch)
        device.gate.set()
        transfer.drain()
        assert not same(consumer.got, batches)
        assert consumer.most == 6


@pytest.mark.parametrize("in_flight", [1, 3])
def test_the_host_goes_on_while_copies_wait_until_every_slot_is_taken(in_flight: int) -> None:
    batches = made(4 * (in_flight + 1), 4)
    with SlowDevice() as device:
        transfer = Transfer(device, in_flight)
        consumer = Consumer(device, transfer)
        device.gate.clear()
        for batch in batches[:in_flight]:
            consumer.take(batch)
        blocked = threading.Thread(target=consumer.take, args=(batches[in_flight],))
        blocked.start()
        blocked.join(0.05)
        assert blocked.is_alive()
        assert consumer.got == []
        device.gate.set()
        blocked.join(20)
        transfer.drain()
        assert same(consumer.got, batches)


def test_what_lies_there_already_is_passed_on() -> None:
    _, labels, draws = made(4, 4)[0]
    there = torch.empty(4, 3, 6, 5, dtype=torch.uint8, device="meta")
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        with transfer.send((there, labels, draws), NOTHING) as found:
            transfer.drain()
            assert found[0] is there
            assert same([found[1:]], [(labels, draws)])
        before = device.copies
        with transfer.send((there, there), NOTHING) as (one, two):
            assert one is two is there
        assert device.copies == before


def test_a_larger_batch_gets_larger_memory() -> None:
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        batches = made(3, 3) + made(40, 20, seed=1) + made(5, 5, channels=1, seed=2)
        for batch in batches:
            consumer.take(batch)
        transfer.drain()
        assert same(consumer.got, batches)
        assert len(device.sizes["locked"]) == 3  # the first slot's twice


def test_memory_from_inference_mode_serves_training() -> None:
    batches = made(8, 2, channels_last=True)
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        with torch.inference_mode():
            consumer.take(batches[0])
        for batch in batches[1:]:
            consumer.take(batch)
        transfer.drain()
        assert same(consumer.got, batches)


def test_sending_waits_for_room_by_itself() -> None:
    batches = made(24, 4)
    with SlowDevice(longest_s=0.005) as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        for batch in batches:
            consumer.take(batch, ask=False)
        transfer.drain()
        assert same(consumer.got, batches)


class Recycled(SlowDevice):
    """Its memory was somebody's before, who is still to read it: so does PyTorch's allocator give it out."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def there(self, size: int) -> torch.Tensor:
        memory = super().there(size)

        def late() -> None:
            time.sleep(0.02)
            self.seen.append(memory.clone())

        self.compute(late)
        return memory


def test_new_memory_is_not_written_before_its_last_owner_is_done() -> None:
    batches = made(8, 4)
    with Recycled() as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        for batch in batches:
            consumer.take(batch)
        transfer.drain()
        assert same(consumer.got, batches)
        assert len(device.seen) == 2
        assert all((memory == 0xDD).all() for memory in device.seen)


def test_more_than_there_are_slots_is_refused() -> None:
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        batch = made(2, 2)[0]
        transfer.send(batch, NOTHING)
        transfer.send(batch, NOTHING)
        with pytest.raises(RuntimeError, match="more than 2 batches were sent before they were used"):
            transfer.send(batch, NOTHING)
        transfer.drain()  # nobody came for them: they are free all the same
        assert device.idle()
        transfer.send(batch, NOTHING)
        transfer.drain()


def free(transfer: Transfer) -> bool:
    return all(slot.busy is None and not slot.lent for slot in transfer._slots)


def test_an_error_of_the_reader_or_the_network_leaves_nothing_under_way() -> None:
    batches = made(20, 4)
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)

        def reading() -> Iterator[Tensors]:
            yield from batches[:3]
            raise OSError("the disk is gone")

        with pytest.raises(OSError, match="the disk is gone"):
            for batch in reading():
                consumer.take(batch)
        transfer.drain()
        assert free(transfer)
        assert device.idle()
        with pytest.raises(ZeroDivisionError), transfer.send(batches[0], NOTHING):
            raise ZeroDivisionError
        transfer.drain()
        assert free(transfer)
        assert device.idle()
        for batch in batches[3:]:
            consumer.take(batch)
        transfer.drain()
        assert same(consumer.got, batches)


def test_a_copy_that_is_refused_leaves_nothing_under_way() -> None:
    batches = made(20, 4, channels_last=True)  # two copies each
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        device.fail_at = 5
        with pytest.raises(RuntimeError, match="the copy was refused"):
            for batch in batches:
                consumer.take(batch)
        transfer.drain()
        assert free(transfer)
        assert device.idle()
        assert same(consumer.got, batches[:2])
        for batch in batches[2:]:
            consumer.take(batch)
        transfer.drain()
        assert same(consumer.got, batches)


def test_a_copy_that_breaks_on_the_device_is_told_and_leaves_nothing_under_way() -> None:
    batches = made(40, 4)
    with SlowDevice() as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        device.break_at = 2
        with pytest.raises(RuntimeError, match="the copy broke"):
            for batch in batches:
                consumer.take(batch)
        with pytest.raises(RuntimeError, match="the copy broke"):
            transfer.drain()
        assert free(transfer)
        assert same(consumer.got, batches[:2])


def test_the_clock_of_two_queues() -> None:
    """Copies overlap with computing, computing does not overlap with itself, and idling is what is left."""
    batches = made(40, 4)
    with SlowDevice(longest_s=0.003) as device:
        transfer = Transfer(device, 2)
        consumer = Consumer(device, transfer)
        watch = transfer.timeline()
        started = time.perf_counter()
        watch.begin()
        for batch in batches:
            consumer.take(batch, watch)
        transfer.drain()
        wall = time.perf_counter() - started
        found = {key: value or 0.0 for key, value in watch.seconds().items()}
    assert 0 < found["device_copy_s"] <= wall
    assert 0 < found["device_compute_s"] <= wall
    assert found["device_idle_s"] >= 0
    assert found["device_compute_s"] + found["device_idle_s"] <= wall


@pytest.mark.cuda
@pytest.mark.parametrize("broken", [None, "hold", "wait"])
def test_cuda_batches_arrive_whole_and_would_not_without_the_waits(
    broken: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies take a millisecond; computing begins at once, or is twenty times as late."""
    if broken == "hold":
        monkeypatch.setattr(CudaDevice, "hold", lambda *_: None)
    if broken == "wait":
        monkeypatch.setattr(_Slot, "wait", lambda _: None)
    cuda = torch.device("cuda")
    batches = [(torch.full((32 * 2**20,), number, dtype=torch.uint8),) for number in range(1, 9)]
    way = transfer_to(cuda, 2)
    way.reserve([(batches[0][0].shape, torch.uint8)])
    got = [torch.zeros_like(batch[0], device=cuda) for batch in batches]
    torch.cuda.synchronize()
    for number, (batch, place) in enumerate(zip(batches, got, strict=True)):
        way.room()
        with way.send(batch, NOTHING) as (there,):
            if number % 3 == 2:
                torch.cuda._sleep(40_000_000)
            place.copy_(there)
    way.drain()
    torch.cuda.synchronize()
    arrived = [torch.equal(place.cpu(), batch[0]) for place, batch in zip(got, batches, strict=True)]
    assert all(arrived) == (broken is None)


def test_the_way_to_the_processor_is_none() -> None:
    way = transfer_to(torch.device("cpu"), 2)
    images, labels, draws = made(4, 4, channels_last=True)[0]
    way.reserve([])
    way.room()
    with way.send((images, labels, draws), way.timeline()) as there:
        assert same([there], [(images, labels, draws)])
        assert there[0].is_contiguous()
        assert there[1] is labels
    way.drain()
    assert set(way.timeline().seconds().values()) == {None}
