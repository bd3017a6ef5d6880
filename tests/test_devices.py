"""What the doctor and a record tell of CUDA devices: whole ones, slices, and such as NVML is silent about."""

from __future__ import annotations

import resource

import pynvml
import pytest
import torch

from bench.measure import environment
from bench.measure.gpu import devices
from bench.measure.gpu.devices import Fact, facts
from loaders.formats.gpu_mmap.device import HostAccess
from tests.fake_nvml import GIB, GPU, SLICE, SLICES, UUID, FakeNvml, fake_cuda

USUAL = HostAccess(pageable=False, registration=True, same_address=True, read_only=False)


@pytest.fixture(autouse=True)
def cuda(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("cuda") is None:
        fake_cuda(monkeypatch, UUID)
        monkeypatch.setattr(devices, "host_access", lambda _: USUAL)


def told() -> dict[str, Fact]:
    return {fact.what: fact for fact in facts()}


def test_a_device_is_told_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    nvml = FakeNvml(monkeypatch, {f"GPU-{UUID}": {**GPU, "TotalEnergyConsumption": 7}})
    found = told()
    assert list(found) == ["cuda", "cuda 0", "cuda 0 NVML", "cuda 0 host memory", "locked memory"]
    assert found["cuda"].detail.startswith("1 device, driver 550.54.15 for CUDA 12.4, PyTorch for CUDA ")
    assert found["cuda 0"].detail == f"Some GPU, UUID {UUID}, compute capability 9.0, 75.0 of 80.0 GiB free"
    nvml_says = "power limit 700 W, energy counter, PCIe 1 x16 now and 5 x16 at most, MIG off"
    assert found["cuda 0 NVML"].detail == nvml_says
    assert found["cuda 0 host memory"].detail == "pageable 0, registration 1, same address 1, read only 0"
    assert all(fact.there for fact in found.values())
    assert nvml.started == 0


def test_several_devices_are_told_apart_by_their_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    FakeNvml(monkeypatch, {"GPU-a": GPU, "GPU-b": {**GPU, "PowerManagementLimit": 250_000}})
    fake_cuda(monkeypatch, "b", "a")
    found = told()
    assert found["cuda"].detail.startswith("2 devices, ")
    assert "power limit 250 W, energy from sampled power" in found["cuda 0 NVML"].detail
    assert "power limit 700 W" in found["cuda 1 NVML"].detail


def test_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    names = [f"MIG-{name}" for name in SLICES]
    FakeNvml(
        monkeypatch,
        {f"GPU-{UUID}": {**GPU, "MigMode": [1, 1]}, **dict.fromkeys(names, SLICE)},
        slices={f"GPU-{UUID}": names},
    )
    for uuid, words in (
        (SLICES[1], f"power limit unknown, energy unknown, PCIe unknown, MIG slice MIG-{SLICES[1]}"),
        (UUID, "2 MIG slices, and it is unclear which is used; name it in CUDA_VISIBLE_DEVICES"),
    ):
        fake_cuda(monkeypatch, uuid)
        fact = told()["cuda 0 NVML"]
        assert words in fact.detail
        assert fact.there == (uuid != UUID)


def test_an_nvml_that_is_silent_is_told_and_cuda_still_works(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch, init=pynvml.NVMLError_LibraryNotFound)
    found = told()
    assert found["cuda"].there
    assert "driver unknown" in found["cuda"].detail
    words = "NVML Shared Library Not Found; runs go on without power, energy, clocks and utilisation"
    assert found["cuda 0 NVML"] == ("cuda 0 NVML", False, words)


def test_a_device_that_cannot_be_used_or_reads_no_memory_of_the_host_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch)

    def busy(device: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCompile with …")

    monkeypatch.setattr(torch.cuda, "mem_get_info", busy)
    monkeypatch.setattr(devices, "host_access", lambda _: USUAL._replace(registration=False))
    found = told()
    words = "CUDA cannot use it: CUDA error: CUDA-capable device(s) is/are busy or unavailable"
    assert found["cuda 0"] == ("cuda 0", False, words)
    assert not found["cuda 0 host memory"].there
    words = "the device cannot read this machine's memory (pageable 0, registration 0, "
    assert found["cuda 0 host memory"].detail.startswith(words)


def test_without_a_device_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch, init=AssertionError)
    fake_cuda(monkeypatch)
    found = told()
    assert list(found) == ["cuda"]
    assert not found["cuda"].there
    assert found["cuda"].detail.startswith("no CUDA device (PyTorch is ")


def test_the_limit_of_locked_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    FakeNvml(monkeypatch)
    for limit, words in ((resource.RLIM_INFINITY, "unlimited (ulimit -l)"), (8_388_608, "8.4 MB (ulimit -l)")):
        limits = {resource.RLIMIT_MEMLOCK: (limit, limit)}
        monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
        assert told()["locked memory"].detail == words


def test_the_environment_of_a_run_does_without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    mig = f"MIG-{UUID}"
    for devices_, slices, init, driver, limit in (
        (None, None, None, "550.54.15", 700.0),
        ({mig: SLICE}, {"GPU-x": [mig]}, None, "550.54.15", None),
        ({}, None, None, "550.54.15", None),
        (None, None, pynvml.NVMLError_LibraryNotFound, None, None),
    ):
        nvml = FakeNvml(monkeypatch, devices_, slices=slices, init=init)
        found = environment.gpu(torch.device("cuda"))
        assert found is not None
        assert (found["name"], found["memory_bytes"], found["capability"]) == ("Some GPU", 80 * GIB, "9.0")
        assert (found["driver"], found["power_limit_w"]) == (driver, limit)
        assert UUID not in str(found)  # a record names no single device
        assert nvml.started == 0


@pytest.mark.cuda
def test_a_real_device_is_told() -> None:
    found = told()
    assert torch.cuda.get_device_name(0) in found["cuda 0"].detail
    assert found["cuda 0 host memory"].detail.count(",") >= 3
    assert found["cuda 0 NVML"].there
