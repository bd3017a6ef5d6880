"""What is made of NVML's answers: of whole devices, old ones, MIG slices, and devices that stop answering."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pynvml
import pytest
import torch

from bench.measure.gpu.nvml import QUESTIONS, GpuSampler, summarise
from bench.measure.gpu.nvml_device import UnclearDeviceError, find
from tests.fake_nvml import GIB, GPU, SLICE, SLICES, UUID, FakeNvml, counting, fake_cuda

CUDA = torch.device("cuda")
WHOLE = f"GPU-{UUID}"
MIG = [f"MIG-{uuid}" for uuid in SLICES]
CUT = {**GPU, "MigMode": [1, 1], "UtilizationRates": pynvml.NVMLError_NotSupported}
"""A device in MIG mode."""


@pytest.fixture(autouse=True)
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("cuda") is None:
        fake_cuda(monkeypatch, UUID)


def report_of(sampler: GpuSampler) -> dict[str, Any]:
    found = sampler.result()
    assert found is not None
    return found


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.002)
    assert what()


def threads() -> int:
    return sum(thread.name == "nvml" for thread in threading.enumerate())


def test_samples_become_means_peaks_and_shares() -> None:
    keys = ("seconds", "utilisation_pct", "power_w", "sm_clock_mhz", "temperature_c", "memory_bytes", "throttling")
    samples = [
        (0.0, 10.0, 100.0, 1000.0, 40.0, 5.0, 0x00),
        (0.1, 90.0, 300.0, 1500.0, 60.0, 9.0, 0x04 | 0x01),
        (0.2, 50.0, 200.0, 2000.0, 50.0, 7.0, 0x04 | 0x20),
        (0.3, 50.0, 200.0, 1500.0, 50.0, 7.0, 0x02),
    ]
    assert summarise([{"memory_clock_mhz": 2000.0, **dict(zip(keys, each, strict=True))} for each in samples]) == {
        "samples": 4,
        "utilisation_pct": pytest.approx((50 + 70 + 50) / 3),
        "power_w": pytest.approx((200 + 250 + 200) / 3),
        "peak_power_w": 300.0,
        "sm_clock_mhz": pytest.approx((1250 + 1750 + 1750) / 3),
        "min_sm_clock_mhz": 1000.0,
        "memory_clock_mhz": pytest.approx(2000.0),
        "max_temperature_c": 60.0,
        "peak_memory_bytes": 9,
        "throttled": {"power cap": 0.5, "thermal (software)": 0.25},  # neither idleness nor the user's own limit
    }


def test_means_are_over_time_and_not_over_samples() -> None:
    """Samples that crowd together do not count more than one that stands for a second."""
    powers = {0.0: 0.0, 0.001: 0.0, 0.002: 0.0, 0.003: 100.0, 1.003: 100.0}
    found = summarise([{"seconds": seconds, "power_w": watts} for seconds, watts in powers.items()])
    assert found["power_w"] == pytest.approx((0.001 * 50 + 1 * 100) / 1.003)


def test_what_is_not_told_is_none() -> None:
    nothing = {"seconds": 0.0, **dict.fromkeys(QUESTIONS)}
    for samples in ([], [nothing, nothing]):
        found = summarise(samples)
        assert (found.pop("samples"), found.pop("throttled")) == (len(samples), {})
        assert set(found.values()) == {None}
    found = summarise([nothing, {**nothing, "power_w": 50.0}])
    assert (found["power_w"], found["utilisation_pct"]) == (50.0, None)


def test_a_device_is_sampled_from_a_thread_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(monkeypatch, {WHOLE: {**GPU, "TotalEnergyConsumption": counting(7000, 9500)}})
    with GpuSampler(CUDA, 0.005) as sampler:
        before = sampler.energy_j()
        wait_until(lambda: report_of(sampler)["samples"] > 3)
        after = sampler.energy_j()
        assert (threads(), nvml.started) == (1, 1)
    assert (threads(), nvml.started) == (0, 0)
    assert (before, after) == (7.0, 9.5)
    found = report_of(sampler)
    assert found["utilisation_pct"] == pytest.approx(50)
    assert found["power_w"] == pytest.approx(200)
    assert found["throttled"] == {"power cap": 1.0}
    assert (found["energy_source"], found["mig"], found["trouble"]) == ("counter", False, None)
    assert found["process_bytes"] == GIB  # this process's alone
    assert found["interval_s"] == 0.005
    assert 0 < found["cost_s"] < 10


def test_without_a_counter_energy_is_sampled_power(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch)
    with GpuSampler(CUDA, 60) as sampler:
        start, before = time.perf_counter(), sampler.energy_j()
        time.sleep(0.01)
        after, seconds = sampler.energy_j(), time.perf_counter() - start
    assert before is not None
    assert after is not None
    assert 0.01 * 200 <= after - before <= seconds * 200
    assert report_of(sampler)["energy_source"] == "sampled power"


def test_a_slice_tells_its_memory_and_nothing_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch, {MIG[0]: SLICE}, slices={"GPU-x": [MIG[0]]})
    fake_cuda(monkeypatch, SLICES[0])
    with GpuSampler(CUDA, 60) as sampler:
        assert sampler.energy_j() is None
    found = report_of(sampler)
    assert found["mig"] is True
    assert found["peak_memory_bytes"] == 5 * GIB
    for unknown in ("utilisation_pct", "power_w", "peak_power_w", "sm_clock_mhz", "max_temperature_c", "energy_source"):
        assert found[unknown] is None, unknown
    assert (found["throttled"], found["trouble"]) == ({}, None)


def test_a_run_goes_on_without_nvml_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    for devices, init, words in (
        (None, pynvml.NVMLError_LibraryNotFound, "NVML: NVML Shared Library Not Found"),
        (None, pynvml.NVMLError_DriverNotLoaded, "NVML: Driver Not Loaded"),
        (None, pynvml.NVMLError_LibRmVersionMismatch, "NVML: RM has detected an NVML/RM version mismatch."),
        ({}, None, "NVML: Not Found"),
    ):
        nvml = FakeNvml(monkeypatch, devices, init=init)
        with GpuSampler(CUDA, 60) as sampler:
            assert sampler.energy_j() is None
        found = report_of(sampler)
        assert (found["samples"], found["trouble"], found["power_w"], found["mig"]) == (0, words, None, None)
        assert (threads(), nvml.started) == (0, 0), words


def test_a_device_that_is_lost_in_the_middle_ends_the_sampling_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = counting(200_000, 200_000, 200_000, pynvml.NVMLError_GpuIsLost)
    nvml = FakeNvml(monkeypatch, {WHOLE: {**GPU, "PowerUsage": lost}})
    with GpuSampler(CUDA, 0.005) as sampler:
        wait_until(lambda: report_of(sampler)["trouble"] is not None)
        asked = nvml.asked
        assert sampler.energy_j() is None
    assert nvml.asked == asked
    found = report_of(sampler)
    assert (found["trouble"], found["samples"]) == ("NVML: GPU is lost", 3)
    assert found["power_w"] == pytest.approx(200)
    assert nvml.started == 0


def test_a_device_lost_between_two_epochs_leaves_their_energy_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch, {WHOLE: {**GPU, "TotalEnergyConsumption": counting(1000, pynvml.NVMLError_GpuIsLost)}})
    with GpuSampler(CUDA, 60) as sampler:
        assert [sampler.energy_j() for _ in range(3)] == [1.0, None, None]
    assert report_of(sampler)["trouble"] == "NVML: GPU is lost"


def test_a_run_that_fails_ends_the_thread_and_keeps_its_own_error(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(monkeypatch)
    with pytest.raises(RuntimeError, match="of the run"), GpuSampler(CUDA, 60) as sampler:
        raise RuntimeError("of the run")
    assert (threads(), nvml.started) == (0, 0)
    assert report_of(sampler)["samples"] >= 1


def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    for answers in ([GPU["UtilizationRates"], ZeroDivisionError], [ZeroDivisionError]):  # in the thread; at the start
        nvml = FakeNvml(monkeypatch, {WHOLE: {**GPU, "UtilizationRates": counting(*answers)}})
        with pytest.raises(ZeroDivisionError), GpuSampler(CUDA, 0.001) as sampler:
            wait_until(lambda: threads() == 0)
        assert (threads(), nvml.started) == (0, 0)
        if len(answers) > 1:
            with pytest.raises(ZeroDivisionError):
                sampler.result()


def test_without_cuda_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(monkeypatch)
    with GpuSampler(torch.device("cpu"), 0.001) as sampler:
        assert sampler.energy_j() is None
        assert threads() == 0
    assert sampler.result() is None
    assert nvml.asked == 0


def test_a_process_that_another_container_counts_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[Any] = [[], GPU["ComputeRunningProcesses"][:1], pynvml.NVMLError_NotSupported]
    for processes in answers:
        FakeNvml(monkeypatch, {WHOLE: {**GPU, "ComputeRunningProcesses": processes}})
        with GpuSampler(CUDA, 60) as sampler:
            pass
        assert report_of(sampler)["process_bytes"] is None


def found_by(monkeypatch: pytest.MonkeyPatch, uuid: str, visible: str) -> tuple[str, bool]:
    fake_cuda(monkeypatch, uuid)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    return find(CUDA)


def test_a_device_is_found_by_its_uuid_whatever_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch, {"GPU-other": GPU, WHOLE: GPU})
    for uuid in (UUID, WHOLE):
        for visible in ("", "1", "1,0", WHOLE, "GPU-8932"):
            assert found_by(monkeypatch, uuid, visible) == (WHOLE, False), (uuid, visible)


def test_a_slice_is_found_by_its_own_uuid_or_by_what_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    old = f"MIG-GPU-{UUID}/2/0"
    devices = {WHOLE: CUT, **dict.fromkeys((*MIG, old), SLICE)}
    FakeNvml(monkeypatch, devices, slices={WHOLE: MIG})
    for uuid in (SLICES[1], MIG[1]):
        assert found_by(monkeypatch, uuid, MIG[1]) == (MIG[1], True)
    for visible in (MIG[1], f"{MIG[1]},{MIG[0]}", MIG[1][:12], old):
        assert found_by(monkeypatch, UUID, visible) == (old if visible == old else MIG[1], True), visible


def test_an_only_slice_needs_no_name_and_one_of_two_does(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = {WHOLE: CUT, **dict.fromkeys(MIG, SLICE)}
    FakeNvml(monkeypatch, devices, slices={WHOLE: MIG[:1]})
    assert found_by(monkeypatch, UUID, "0") == (MIG[0], True)
    nvml = FakeNvml(monkeypatch, devices, slices={WHOLE: MIG})
    with pytest.raises(UnclearDeviceError, match=r"2 MIG slices.*CUDA_VISIBLE_DEVICES"):
        found_by(monkeypatch, UUID, "0")
    with GpuSampler(CUDA, 60) as sampler:
        pass
    assert "CUDA_VISIBLE_DEVICES" in report_of(sampler)["trouble"]
    assert nvml.started == 0


@pytest.mark.cuda
def test_a_real_device_tells_of_its_work() -> None:
    with GpuSampler(CUDA, interval=0.02) as sampler:
        start, before = time.perf_counter(), sampler.energy_j()
        a = torch.randn(4096, 4096, device=CUDA)
        while time.perf_counter() - start < 2:
            a = torch.nn.functional.normalize(a @ a)
            torch.cuda.synchronize()  # else a thousand products would still wait to be computed
        after, seconds = sampler.energy_j(), time.perf_counter() - start
    found = report_of(sampler)
    assert found["trouble"] is None
    assert found["samples"] > 10
    assert found["cost_s"] < 0.5 * seconds
    assert found["peak_memory_bytes"] > a.nbytes
    if before is not None and after is not None:  # a MIG slice does not tell
        assert 0 < after - before < 1500 * seconds
