"""Intervals bound what they enclose, and quantiles are those of the waits."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.clocks import DeviceTimeline, HostTimeline, Interval, Queue, stopwatch_cost


def test_an_interval_lies_between_the_clocks_inside_and_outside_it() -> None:
    interval = Interval()
    inside = outside = 0
    for _ in range(50):
        before = time.perf_counter_ns()
        with interval:
            begin = time.perf_counter_ns()
            sum(range(1000))
            end = time.perf_counter_ns()
        after = time.perf_counter_ns()
        assert end - begin <= interval.last <= after - before
        inside += end - begin
        outside += after - before
    assert inside <= interval.total <= outside
    assert interval.seconds == interval.total / 1e9


def test_an_interval_counts_what_ended_in_an_error() -> None:
    interval = Interval()
    with pytest.raises(KeyError), interval:
        time.sleep(0.01)
        raise KeyError
    assert interval.last >= 10_000_000
    assert interval.total == interval.last


def test_parts_of_an_epoch_add_up_to_its_wall_time() -> None:
    host = HostTimeline()
    with host.wall:
        for part in (host.fetch, host.transfer, host.compute, host.other):
            with part:
                time.sleep(0.02)
    parts = host.fetch.total + host.transfer.total + host.compute.total + host.other.total
    assert 80_000_000 <= parts <= host.wall.total
    assert host.gap == (host.wall.total - parts) / host.wall.total


def test_time_that_no_part_holds_is_a_gap() -> None:
    host = HostTimeline()
    with host.wall:
        with host.compute:
            time.sleep(0.01)
        time.sleep(0.02)
    assert host.gap > 0.01
    host.fetch.total = host.wall.total  # counted twice is as wrong as not counted
    assert host.gap == pytest.approx(host.compute.total / host.wall.total)
    assert HostTimeline().gap == 0


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=40))
def test_quantiles_of_the_waits(waits: list[int]) -> None:
    host = HostTimeline()
    host.waits += waits
    found = host.wait_quantiles()
    assert found["max"] == pytest.approx(max(waits) / 1e9)
    assert found["p50"] == pytest.approx(float(np.median(waits)) / 1e9)
    assert list(found) == ["p50", "p95", "p99", "max"]
    assert sorted(found.values()) == list(found.values())


def test_nothing_waited_for_has_no_quantiles() -> None:
    assert HostTimeline().wait_quantiles() == {}


EMPTY = {"device_copy_s": None, "device_compute_s": None, "device_idle_s": None}


def test_the_cpu_has_no_timeline_of_its_own() -> None:
    device = DeviceTimeline(None)
    device.begin()
    with device.copying, device.gathering, device.computing:
        pass
    assert device.seconds() == EMPTY


class At:
    """A mark at a second of a made-up clock."""

    def __init__(self, second: float) -> None:
        self.second = second

    def elapsed_time(self, other: At, /) -> float:
        return 1e3 * (other.second - self.second)


class Clock:
    """What two queues are told, and when they come to it."""

    def __init__(self, **seconds: list[float]) -> None:
        self._seconds = {queue: iter(when) for queue, when in seconds.items()}

    def mark(self, queue: Queue) -> At:
        return At(next(self._seconds[queue]))


def test_copies_lie_beside_computing_and_idling_is_the_rest() -> None:
    clock = Clock(copies=[0.5, 1.5, 2.0, 4.0], computing=[0.0, 1.5, 4.5, 5.0, 9.0])
    device = DeviceTimeline(clock.mark)
    device.begin()
    for _ in range(2):
        with device.copying:
            pass
        with device.computing:
            pass
    assert device.seconds() == {"device_copy_s": 3.0, "device_compute_s": 7.0, "device_idle_s": 2.0}


def test_copying_that_the_computing_queue_does_is_no_idling() -> None:
    clock = Clock(computing=[0.0, 1.0, 3.0, 3.0, 5.0, 5.5, 6.0, 6.5, 8.0])
    device = DeviceTimeline(clock.mark)
    device.begin()
    for _ in range(2):
        with device.gathering:
            pass
        with device.computing:
            pass
    assert device.seconds() == {"device_copy_s": 2.5, "device_compute_s": 3.5, "device_idle_s": 2.0}


def test_the_clock_s_resolution_makes_no_negative_idling() -> None:
    device = DeviceTimeline(Clock(computing=[0.0, -1e-7, 1.0]).mark)
    device.begin()
    with device.computing:
        pass
    assert device.seconds()["device_idle_s"] == 0.0


def test_an_epoch_without_a_step_has_no_timeline() -> None:
    device = DeviceTimeline(Clock(computing=[0.0]).mark)
    assert device.seconds() == EMPTY
    device.begin()
    assert device.seconds() == EMPTY


def test_after_an_error_the_device_is_not_asked_for_its_time() -> None:
    device = DeviceTimeline(Clock(computing=[0.0, 1.0]).mark)  # another mark would be one too many
    device.begin()
    with pytest.raises(ZeroDivisionError), device.computing:
        raise ZeroDivisionError
    assert device.seconds() == EMPTY


@pytest.mark.cuda
def test_the_device_s_parts_are_within_the_host_s_time() -> None:
    from bench.train.transfer import transfer_to

    cuda = torch.device("cuda")
    way = transfer_to(cuda, 2)
    device = way.timeline()
    matrix = torch.rand(2048, 2048)
    there = torch.rand(2048, 2048, device=cuda)
    torch.cuda.synchronize()
    before = time.perf_counter()
    device.begin()
    for _ in range(3):
        with way.send((matrix,), device) as (found,), device.computing:
            for _ in range(20):
                there = (there @ found) / 2048
        torch.cuda.synchronize()
        time.sleep(0.02)
    wall = time.perf_counter() - before
    way.drain()
    found_s = {key: value or 0.0 for key, value in device.seconds().items()}
    assert found_s["device_compute_s"] + found_s["device_idle_s"] <= wall
    assert 0 < found_s["device_copy_s"] <= wall
    assert found_s["device_compute_s"] > 0
    assert found_s["device_idle_s"] >= 0.04  # the last pause is after the last step


def test_the_stopwatch_s_own_cost_is_measured() -> None:
    cost = stopwatch_cost(DeviceTimeline(None), steps=100)
    assert 0 < cost < 1  # seconds a step; how small it is, every record says
