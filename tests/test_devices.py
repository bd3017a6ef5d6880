"""What the doctor tells of CUDA devices: whole ones, slices, and such as NVML is silent about."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch

from bench.measure import environment
from bench.measure.gpu.devices import Fact, facts, locked_memory
from loaders.formats.gpu_mmap.device import HostAccess
from tests.fake_nvml import GPU, SLICES, UUID, FakeNvml, a_slice

GIB = 2**30
USUAL = HostAccess(pageable=False, registration=True, same_address=True, read_only=False)


class FakeCuda:
    """Devices as `torch.cuda` shows them."""

    def __init__(self, *devices: tuple[str, str]) -> None:
        """Args: name and UUID of each."""
        self._devices = devices

    def is_available(self) -> bool:
        return bool(self._devices)

    def device_count(self) -> int:
        return len(self._devices)

    def get_device_properties(self, device: int) -> Any:
        name, uuid = self._devices[device]
        return SimpleNamespace(name=name, uuid=uuid, major=9, minor=0, total_memory=80 * GIB)

    def mem_get_info(self, device: int) -> tuple[int, int]:
        return 75 * GIB, 80 * GIB


def told(cuda: FakeCuda, nvml: FakeNvml, access: HostAccess = USUAL) -> dict[str, Fact]:
    return {fact.what: fact for fact in facts(cuda, nvml, lambda _: access)}


def test_a_device_is_told_in_full() -> None:
    nvml = FakeNvml({f"GPU-{UUID}": {**GPU, "TotalEnergyConsumption": 7}})
    found = told(FakeCuda(("Some GPU", UUID)), nvml)
    assert list(found) == ["cuda", "cuda 0", "cuda 0 NVML", "cuda 0 host memory", "locked memory"]
    assert found["cuda"].detail.startswith("1 device, driver 550.54.15 for CUDA 12.4, PyTorch for CUDA ")
    assert found["cuda 0"] == (
        "cuda 0",
        True,
        f"Some GPU, UUID {UUID}, compute capability 9.0, 75.0 of 80.0 GiB free",
    )
    assert found["cuda 0 NVML"].detail == (
        "power limit 700 W, energy counter, PCIe 1 x16 now and 5 x16 at most, MIG off"
    )
    assert found["cuda 0 host memory"].detail == "pageable 0, registration 1, same address 1, read only 0"
    assert all(fact.there for fact in found.values())
    assert nvml.started == 0


def test_several_devices_are_told_apart_by_their_uuids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")
    weak = {**GPU, "PowerManagementLimit": 250_000}
    nvml = FakeNvml({"GPU-a": GPU, "GPU-b": weak})
    found = told(FakeCuda(("Second", "b"), ("First", "a")), nvml)
    assert found["cuda"].detail.startswith("2 devices, ")
    assert "power limit 250 W, energy from sampled power" in found["cuda 0 NVML"].detail
    assert "power limit 700 W" in found["cuda 1 NVML"].detail


@pytest.mark.parametrize(
    ("uuid", "words"),
    [
        (SLICES[1], f"power limit not told, energy not told, PCIe not told, MIG slice MIG-{SLICES[1]}"),
        (UUID, "2 MIG slices, and nothing tells which is used; name it in CUDA_VISIBLE_DEVICES"),
    ],
)
def test_slices(uuid: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    names = [f"MIG-{name}" for name in SLICES]
    devices: dict[str, Any] = {f"GPU-{UUID}": {**GPU, "MigMode": [1, 1]}, **{name: a_slice() for name in names}}
    found = told(FakeCuda(("Some GPU MIG 1g.10gb", uuid)), FakeNvml(devices, slices={f"GPU-{UUID}": names}))
    assert words in found["cuda 0 NVML"].detail
    assert found["cuda 0 NVML"].there == (uuid != UUID)


def test_an_nvml_that_is_silent_is_told_and_cuda_still_works() -> None:
    found = told(FakeCuda(("Some GPU", UUID)), FakeNvml(init=pynvml.NVMLError_LibraryNotFound))
    assert found["cuda"].there
    assert "driver unknown" in found["cuda"].detail
    assert found["cuda 0 NVML"] == (
        "cuda 0 NVML",
        False,
        "NVML Shared Library Not Found; runs go on without power, energy, clocks and utilisation",
    )


def test_a_device_that_reads_no_memory_of_the_host_is_told() -> None:
    fact = told(FakeCuda(("Some GPU", UUID)), FakeNvml(), USUAL._replace(registration=False))["cuda 0 host memory"]
    assert not fact.there
    assert fact.detail.startswith("the device cannot read this machine's memory (pageable 0, registration 0, ")


def test_a_device_that_cuda_cannot_use_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(device: int) -> tuple[int, int]:
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCompile with …")

    cuda = FakeCuda(("Some GPU", UUID))
    monkeypatch.setattr(cuda, "mem_get_info", busy)
    fact = told(cuda, FakeNvml())["cuda 0"]
    assert not fact.there
    assert fact.detail == "CUDA cannot use it: CUDA error: CUDA-capable device(s) is/are busy or unavailable"


def test_without_a_device_one_line_says_so() -> None:
    nvml = FakeNvml(init=AssertionError)
    found = told(FakeCuda(), nvml)
    assert list(found) == ["cuda"]
    assert not found["cuda"].there
    assert found["cuda"].detail.startswith("no CUDA device (PyTorch is ")


@pytest.mark.parametrize(
    ("limit", "words"),
    [(resource.RLIM_INFINITY, "unlimited (ulimit -l)"), (8_388_608, "8.4 MB (ulimit -l)")],
)
def test_the_limit_of_locked_memory(limit: int, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def getrlimit(kind: int) -> Sequence[int]:
        assert kind == resource.RLIMIT_MEMLOCK
        return limit, limit

    monkeypatch.setattr(resource, "getrlimit", getrlimit)
    assert locked_memory() == words


@pytest.mark.parametrize(
    ("nvml", "driver", "limit"),
    [
        (FakeNvml(), "550.54.15", 700.0),
        (FakeNvml({f"MIG-{UUID}": a_slice()}, slices={"GPU-x": [f"MIG-{UUID}"]}), "550.54.15", None),
        (FakeNvml({}), "550.54.15", None),
        (FakeNvml(init=pynvml.NVMLError_LibraryNotFound), None, None),
    ],
    ids=["whole", "slice", "unknown", "silent"],
)
def test_the_environment_of_a_run_does_without_nvml(
    nvml: FakeNvml, driver: str | None, limit: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda = FakeCuda(("Some GPU", UUID))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: cuda.get_device_properties(0))
    found = environment.gpu(torch.device("cuda"), nvml)
    assert found is not None
    assert (found["name"], found["memory_bytes"], found["capability"]) == ("Some GPU", 80 * GIB, "9.0")
    assert (found["driver"], found["power_limit_w"]) == (driver, limit)
    assert UUID not in str(found)  # a record names no single device
    assert nvml.started == 0


@pytest.mark.cuda
def test_a_real_device_is_told() -> None:
    found = {fact.what: fact for fact in facts()}
    assert torch.cuda.get_device_name(0) in found["cuda 0"].detail
    assert found["cuda 0 host memory"].detail.count(",") >= 3
    assert found["cuda 0 NVML"].there
