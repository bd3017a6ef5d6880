"""What is made of NVML's answers; asking a real device needs one."""

from __future__ import annotations

import time

import pytest
import torch

from bench.measure.nvml import GpuSampler, Look, summarise

NOTHING = Look(0.0, None, None, None, None, None, None, None)


def test_looks_become_means_peaks_and_shares() -> None:
    looks = [
        Look(0.0, 10.0, 100.0, 1000.0, 2000.0, 40.0, 5, 0x00),
        Look(0.1, 90.0, 300.0, 1500.0, 2000.0, 60.0, 9, 0x04 | 0x01),
        Look(0.2, 50.0, 200.0, 2000.0, 2000.0, 50.0, 7, 0x04 | 0x20),
        Look(0.3, 50.0, 200.0, 1500.0, 2000.0, 50.0, 7, 0x02),
    ]
    assert summarise(looks) == {
        "samples": 4,
        "utilisation_pct": 50.0,
        "power_w": 200.0,
        "peak_power_w": 300.0,
        "sm_clock_mhz": 1500.0,
        "min_sm_clock_mhz": 1000.0,
        "memory_clock_mhz": 2000.0,
        "max_temperature_c": 60.0,
        "peak_memory_bytes": 9,
        "throttled": {"power cap": 0.5, "thermal (software)": 0.25},  # neither idleness nor the user's own limit
    }


@pytest.mark.parametrize("looks", [[], [NOTHING, NOTHING]], ids=["none", "empty"])
def test_what_is_not_told_is_none(looks: list[Look]) -> None:
    found = summarise(looks)
    assert found.pop("samples") == len(looks)
    assert found.pop("throttled") == {}
    assert set(found.values()) == {None}


def test_a_look_that_lacks_something_does_not_spoil_the_rest() -> None:
    found = summarise([NOTHING, NOTHING._replace(power_w=50.0)])
    assert (found["power_w"], found["utilisation_pct"]) == (50.0, None)


def test_without_cuda_nothing_is_asked() -> None:
    with GpuSampler(torch.device("cpu"), interval=0.001) as sampler:
        time.sleep(0.01)
        assert sampler.energy_j() is None
    assert sampler.result() is None


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_real_device_tells_of_its_work() -> None:
    device = torch.device("cuda")
    with GpuSampler(device, interval=0.02) as sampler:
        before = sampler.energy_j()
        a = torch.randn(4096, 4096, device=device)
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            a = torch.nn.functional.normalize(a @ a)
        torch.cuda.synchronize()
        after = sampler.energy_j()
    found = sampler.result()
    assert found is not None
    assert found["samples"] > 10
    assert found["peak_memory_bytes"] > a.nbytes
    if before is not None and after is not None:  # a MIG slice does not tell
        assert 0 < after - before < 2000
