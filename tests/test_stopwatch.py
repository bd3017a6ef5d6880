"""Intervals bound what they enclose, and quantiles are those of the waits."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bench.measure.stopwatch import DeviceTimeline, HostTimeline, Interval, stopwatch_cost


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


def test_the_cpu_has_no_timeline_of_its_own() -> None:
    device = DeviceTimeline(torch.device("cpu"))
    device.mark("copy")
    device.mark("end")
    assert device.seconds() == {"device_copy_s": None, "device_compute_s": None, "device_idle_s": None}


@pytest.mark.cuda
def test_the_device_s_parts_are_within_the_host_s_time() -> None:
    cuda = torch.device("cuda")
    device = DeviceTimeline(cuda)
    matrix = torch.rand(2048, 2048)
    torch.cuda.synchronize()
    before = time.perf_counter()
    for _ in range(3):
        device.mark("copy")
        there = matrix.to(cuda)
        device.mark("compute")
        for _ in range(20):
            there = there @ there
        device.mark("end")
        torch.cuda.synchronize()
        time.sleep(0.02)
    device.mark("end")
    torch.cuda.synchronize()
    found = {key: value or 0.0 for key, value in device.seconds().items()}
    assert sum(found.values()) <= time.perf_counter() - before
    assert found["device_copy_s"] > 0
    assert found["device_compute_s"] > 0
    assert found["device_idle_s"] >= 0.06


def test_the_stopwatch_s_own_cost_is_measured() -> None:
    cost = stopwatch_cost(torch.device("cpu"), steps=100)
    assert 0 < cost < 1  # seconds a step; how small it is, every record says
