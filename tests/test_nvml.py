"""What is made of NVML's answers: of whole devices, old ones, MIG slices, and devices that fall silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pynvml
import pytest
import torch

from bench.measure.gpu.nvml import GpuSampler, Look, summarise
from bench.measure.gpu.nvml_device import UnclearDeviceError, find
from tests.fake_nvml import GPU, SLICES, UUID, FakeNvml, a_slice, counting

NOTHING = Look(0.0, None, None, None, None, None, None, None)
CUDA = torch.device("cuda")
MIG = tuple(f"MIG-{uuid}" for uuid in SLICES)
CUT = {**GPU, "MigMode": [1, 1], "UtilizationRates": pynvml.NVMLError_NotSupported}
"""A device in MIG mode."""


def a_sampler(nvml: FakeNvml, uuid: str = UUID, interval: float = 0.005) -> GpuSampler:
    return GpuSampler(CUDA, interval, nvml, lambda _: uuid)


def wait_until(what: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not what() and time.monotonic() < end:
        time.sleep(0.002)
    assert what()


def threads() -> int:
    return sum(thread.name == "nvml" for thread in threading.enumerate())


# Looks


def test_looks_become_means_peaks_and_shares() -> None:
    looks = [
        Look(0.0, 10.0, 100.0, 1000.0, 2000.0, 40.0, 5, 0x00),
        Look(0.1, 90.0, 300.0, 1500.0, 2000.0, 60.0, 9, 0x04 | 0x01),
        Look(0.2, 50.0, 200.0, 2000.0, 2000.0, 50.0, 7, 0x04 | 0x20),
        Look(0.3, 50.0, 200.0, 1500.0, 2000.0, 50.0, 7, 0x02),
    ]
    assert summarise(looks) == {
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


def test_means_are_over_time_and_not_over_looks() -> None:
    """Looks that crowd together do not count more than one that stands for a second."""
    seconds = (0.0, 0.001, 0.002, 0.003, 1.003)
    looks = [
        NOTHING._replace(seconds=s, power_w=w) for s, w in zip(seconds, (0.0, 0.0, 0.0, 100.0, 100.0), strict=True)
    ]
    assert summarise(looks)["power_w"] == pytest.approx((0.001 * 50 + 1 * 100) / 1.003)


@pytest.mark.parametrize("looks", [[], [NOTHING, NOTHING]], ids=["none", "empty"])
def test_what_is_not_told_is_none(looks: list[Look]) -> None:
    found = summarise(looks)
    assert found.pop("samples") == len(looks)
    assert found.pop("throttled") == {}
    assert set(found.values()) == {None}


def test_a_look_that_lacks_something_does_not_spoil_the_rest() -> None:
    found = summarise([NOTHING, NOTHING._replace(power_w=50.0)])
    assert (found["power_w"], found["utilisation_pct"]) == (50.0, None)


# The sampler


def test_a_device_is_looked_at_from_a_thread_and_left() -> None:
    nvml = FakeNvml({f"GPU-{UUID}": {**GPU, "TotalEnergyConsumption": counting(7000, 9500)}})
    with a_sampler(nvml) as sampler:
        before = sampler.energy_j()
        wait_until(lambda: sampler.result()["samples"] > 3)  # type: ignore[index]
        after = sampler.energy_j()
        assert (threads(), nvml.started) == (1, 1)
    assert (threads(), nvml.started) == (0, 0)
    assert (before, after) == (7.0, 9.5)
    found = sampler.result()
    assert found is not None
    assert found["utilisation_pct"] == pytest.approx(50)
    assert found["power_w"] == pytest.approx(200)
    assert found["throttled"] == {"power cap": 1.0}
    assert (found["energy_source"], found["mig"], found["trouble"]) == ("counter", False, None)
    assert found["process_bytes"] == 2**30  # this process's alone
    assert found["interval_s"] == 0.005
    assert 0 < found["cost_s"] < 10


def test_without_a_counter_the_record_says_that_power_was_sampled() -> None:
    with a_sampler(FakeNvml()) as sampler:
        start, before = time.perf_counter(), sampler.energy_j()
        time.sleep(0.05)
        after, seconds = sampler.energy_j(), time.perf_counter() - start
    assert before is not None
    assert after is not None
    assert 0.05 * 200 <= after - before <= seconds * 200
    found = sampler.result()
    assert found is not None
    assert found["energy_source"] == "sampled power"


def test_a_slice_tells_its_memory_and_nothing_it_does_not_know() -> None:
    nvml = FakeNvml({MIG[0]: a_slice()}, slices={"GPU-x": [MIG[0]]})
    with a_sampler(nvml, SLICES[0]) as sampler:
        assert sampler.energy_j() is None
    found = sampler.result()
    assert found is not None
    assert found["mig"] is True
    assert found["peak_memory_bytes"] == 5 * 2**30
    for unknown in ("utilisation_pct", "power_w", "peak_power_w", "sm_clock_mhz", "max_temperature_c", "energy_source"):
        assert found[unknown] is None, unknown
    assert (found["throttled"], found["trouble"]) == ({}, None)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (pynvml.NVMLError_LibraryNotFound, "NVML: NVML Shared Library Not Found"),
        (pynvml.NVMLError_DriverNotLoaded, "NVML: Driver Not Loaded"),
        (pynvml.NVMLError_LibRmVersionMismatch, "NVML: RM has detected an NVML/RM version mismatch."),
    ],
)
def test_a_run_goes_on_without_nvml_and_says_why(error: type[Exception], words: str) -> None:
    nvml = FakeNvml(init=error)
    with a_sampler(nvml) as sampler:
        assert sampler.energy_j() is None
    found = sampler.result()
    assert found is not None
    assert (found["samples"], found["trouble"], found["power_w"], found["mig"]) == (0, words, None, None)
    assert (threads(), nvml.started) == (0, 0)


def test_a_device_that_is_not_there_is_told_and_nvml_left() -> None:
    nvml = FakeNvml({})
    with a_sampler(nvml) as sampler:
        pass
    assert sampler.result()["trouble"] == "NVML: Not Found"  # type: ignore[index]
    assert nvml.started == 0


def test_a_device_that_is_lost_in_the_middle_ends_the_looking_and_not_the_run() -> None:
    lost = counting(200_000, 200_000, 200_000, pynvml.NVMLError_GpuIsLost)
    nvml = FakeNvml({f"GPU-{UUID}": {**GPU, "PowerUsage": lost}})
    with a_sampler(nvml) as sampler:
        wait_until(lambda: sampler.result()["trouble"] is not None)  # type: ignore[index]
        assert sampler.energy_j() is None
        wait_until(lambda: threads() == 0)
    found = sampler.result()
    assert found is not None
    assert (found["trouble"], found["samples"]) == ("NVML: GPU is lost", 3)
    assert found["power_w"] == pytest.approx(200)
    assert nvml.started == 0


def test_a_device_lost_between_two_epochs_leaves_their_energy_unknown() -> None:
    nvml = FakeNvml({f"GPU-{UUID}": {**GPU, "TotalEnergyConsumption": counting(1000, pynvml.NVMLError_GpuIsLost)}})
    with a_sampler(nvml, interval=60.0) as sampler:
        assert [sampler.energy_j() for _ in range(3)] == [1.0, None, None]
    assert sampler.result()["trouble"] == "NVML: GPU is lost"  # type: ignore[index]


def test_a_run_that_fails_ends_the_thread_and_keeps_its_own_error() -> None:
    nvml = FakeNvml()
    with pytest.raises(RuntimeError, match="of the run"), a_sampler(nvml) as sampler:
        raise RuntimeError("of the run")
    assert (threads(), nvml.started) == (0, 0)
    assert sampler.result()["samples"] >= 1  # type: ignore[index]


def test_a_fault_of_the_program_in_the_thread_is_not_hidden() -> None:
    faulty = counting(GPU["UtilizationRates"], ZeroDivisionError)
    nvml = FakeNvml({f"GPU-{UUID}": {**GPU, "UtilizationRates": faulty}})
    sampler = a_sampler(nvml, interval=0.001)
    with pytest.raises(ZeroDivisionError), sampler:
        wait_until(lambda: threads() == 0)
    with pytest.raises(ZeroDivisionError):
        sampler.result()
    assert nvml.started == 0


def test_a_fault_of_the_program_at_the_start_leaves_nvml() -> None:
    nvml = FakeNvml({f"GPU-{UUID}": {**GPU, "UtilizationRates": ZeroDivisionError}})
    with pytest.raises(ZeroDivisionError), a_sampler(nvml):
        raise AssertionError("never reached")
    assert (threads(), nvml.started) == (0, 0)


def test_without_cuda_nothing_is_asked() -> None:
    nvml = FakeNvml()
    with GpuSampler(torch.device("cpu"), 0.001, nvml) as sampler:
        time.sleep(0.01)
        assert sampler.energy_j() is None
    assert sampler.result() is None
    assert nvml.asked == []


def test_a_process_that_another_container_counts_is_unknown() -> None:
    for there in ([], [type("Process", (), {"pid": 1, "usedGpuMemory": 7})()], pynvml.NVMLError_NotSupported):
        with a_sampler(FakeNvml({f"GPU-{UUID}": {**GPU, "ComputeRunningProcesses": there}})) as sampler:
            pass
        assert sampler.result()["process_bytes"] is None  # type: ignore[index]


# Which device


@pytest.mark.parametrize("given", [UUID, f"GPU-{UUID}"])
@pytest.mark.parametrize("visible", ["", "1", "1,0", f"GPU-{UUID}", "GPU-8932"])
def test_a_device_is_found_by_its_uuid_whatever_is_visible(given: str, visible: str) -> None:
    nvml = FakeNvml({"GPU-other": GPU, f"GPU-{UUID}": GPU})
    assert find(nvml, given, visible) == (f"GPU-{UUID}", False)


@pytest.mark.parametrize("given", [SLICES[1], MIG[1]])
def test_a_slice_is_found_by_its_own_uuid(given: str) -> None:
    nvml = FakeNvml({"GPU-x": CUT, **{name: a_slice() for name in MIG}}, slices={"GPU-x": list(MIG)})
    assert find(nvml, given, MIG[1]) == (MIG[1], True)


@pytest.mark.parametrize("visible", [MIG[1], f"{MIG[1]},{MIG[0]}", MIG[1][:12], f"MIG-GPU-{UUID}/2/0"])
def test_a_slice_known_by_its_device_is_the_one_that_is_visible(visible: str) -> None:
    old = f"MIG-GPU-{UUID}/2/0"
    devices: dict[str, Any] = {f"GPU-{UUID}": CUT, **{name: a_slice() for name in MIG}, old: a_slice()}
    nvml = FakeNvml(devices, slices={f"GPU-{UUID}": list(MIG)})
    wanted = old if visible == old else MIG[1]
    assert find(nvml, UUID, visible) == (wanted, True)


def test_an_only_slice_needs_no_name_and_one_of_two_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    devices: dict[str, Any] = {f"GPU-{UUID}": CUT, **{name: a_slice() for name in MIG}}
    assert find(FakeNvml(devices, slices={f"GPU-{UUID}": [MIG[0]]}), UUID) == (MIG[0], True)
    two = FakeNvml(devices, slices={f"GPU-{UUID}": list(MIG)})
    with pytest.raises(UnclearDeviceError, match=r"2 MIG slices.*CUDA_VISIBLE_DEVICES"):
        find(two, UUID)
    with a_sampler(two) as sampler:
        pass
    assert "CUDA_VISIBLE_DEVICES" in sampler.result()["trouble"]  # type: ignore[index]
    assert two.started == 0


def test_the_functions_that_are_used_are_the_module_s() -> None:
    """A name that NVML's module lacks would be found on a device only."""
    from bench.measure.gpu.nvml_device import Nvml

    names = [name for name in vars(Nvml) if name.startswith("nvml")]
    assert len(names) > 20
    assert [name for name in names if not callable(getattr(pynvml, name, None))] == []


@pytest.mark.cuda
def test_a_real_device_tells_of_its_work() -> None:
    with GpuSampler(CUDA, interval=0.02) as sampler:
        start, before = time.perf_counter(), sampler.energy_j()
        a = torch.randn(4096, 4096, device=CUDA)
        while time.perf_counter() - start < 2:
            a = torch.nn.functional.normalize(a @ a)
            torch.cuda.synchronize()  # else a thousand products would still wait to be computed
        after, seconds = sampler.energy_j(), time.perf_counter() - start
    found = sampler.result()
    assert found is not None
    assert found["trouble"] is None
    assert found["samples"] > 10
    assert found["cost_s"] < 0.5 * seconds
    assert found["peak_memory_bytes"] > a.nbytes
    if before is not None and after is not None:  # a MIG slice does not tell
        assert 0 < after - before < 1500 * seconds
