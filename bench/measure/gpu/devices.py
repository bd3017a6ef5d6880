"""The CUDA devices of this machine, as PyTorch and NVML tell of them, and what else training on them can use."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import pynvml
import torch

from bench.measure.gpu.nvml_device import SILENT, Found, Nvml, find, has_slices, slices, started, told
from loaders.formats.gpu_mmap.device import HostAccess, host_access


class Cuda(Protocol):
    """What is used of `torch.cuda`."""

    def is_available(self) -> bool:
        """Whether there is a device."""

    def device_count(self) -> int:
        """How many."""

    def get_device_properties(self, device: int, /) -> Any:
        """What one is."""

    def mem_get_info(self, device: int, /) -> tuple[int, int]:
        """Bytes: free, and in all."""


class Fact(NamedTuple):
    """Something about the devices.

    Attributes:
        what: what it is about.
        there: whether it can be used.
        detail: in words; why not, if it cannot.
    """

    what: str
    there: bool
    detail: str


def facts(
    cuda: Cuda = torch.cuda, nvml: Nvml = pynvml, access: Callable[[int], HostAccess] = host_access
) -> Iterator[Fact]:
    """All that is to be told; one line with the reason where there is no device.

    Args:
        cuda: asked for the devices.
        nvml: asked for what PyTorch does not know.
        access: tells how a device reads the host's memory.
    """
    if not cuda.is_available():
        built = f"PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch is a CPU build"
        yield Fact("cuda", False, f"no CUDA device ({built}); runs use the CPU")
        return
    yield Fact("cuda", True, _versions(cuda, nvml))
    for index in range(cuda.device_count()):
        yield _device(cuda, index)
        yield _by_nvml(cuda, nvml, index)
        reads = access(index)
        lacking = reads.lacking("mapped")
        yield Fact(f"cuda {index} host memory", lacking is None, lacking or str(reads))
    yield Fact("locked memory", True, locked_memory())


def locked_memory() -> str:
    """How much this process may lock in RAM, which reading a file's own pages from a device may ask for."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited (ulimit -l)" if soft == resource.RLIM_INFINITY else f"{soft / 1e6:,.1f} MB (ulimit -l)"


def _versions(cuda: Cuda, nvml: Nvml) -> str:
    count = cuda.device_count()
    parts = [f"{count} device{'s' if count > 1 else ''}"]
    try:
        with started(nvml):
            driver, known = nvml.nvmlSystemGetDriverVersion(), nvml.nvmlSystemGetCudaDriverVersion()
            parts.append(f"driver {driver} for CUDA {known // 1000}.{known % 1000 // 10}")
    except pynvml.NVMLError:
        parts.append("driver unknown")
    cudnn = torch.backends.cudnn.version()
    parts.append(f"PyTorch for CUDA {torch.version.cuda}" + (f" with cuDNN {cudnn}" if cudnn else ""))
    return ", ".join(parts)


def _device(cuda: Cuda, index: int) -> Fact:
    what = f"cuda {index}"
    try:
        found = cuda.get_device_properties(index)
        free, total = cuda.mem_get_info(index)
    except RuntimeError as error:  # a device that is there and broken, or that another process has for itself
        return Fact(what, False, f"CUDA cannot use it: {str(error).partition(chr(10))[0]}")
    return Fact(
        what,
        True,
        f"{found.name}, UUID {found.uuid}, compute capability {found.major}.{found.minor}, "
        f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
    )


def _by_nvml(cuda: Cuda, nvml: Nvml, index: int) -> Fact:
    what = f"cuda {index} NVML"
    try:
        with started(nvml):
            found = find(nvml, str(cuda.get_device_properties(index).uuid))
            return Fact(what, True, ", ".join([_power(nvml, found), _link(nvml, found), _mig(nvml, found)]))
    except SILENT as error:
        return Fact(what, False, f"{error}; runs go on without power, energy, clocks and utilisation")


def _power(nvml: Nvml, found: Found) -> str:
    limit = told(lambda: nvml.nvmlDeviceGetPowerManagementLimit(found.handle))
    counter = told(lambda: nvml.nvmlDeviceGetTotalEnergyConsumption(found.handle))
    power = told(lambda: nvml.nvmlDeviceGetPowerUsage(found.handle))
    energy = "counter" if counter is not None else "from sampled power" if power is not None else "not told"
    return f"power limit {'not told' if limit is None else f'{limit / 1000:.0f} W'}, energy {energy}"


def _link(nvml: Nvml, found: Found) -> str:
    """A device that is idle may lower its link, so that what it is now tells little."""
    handle = found.handle
    now = [
        told(lambda: nvml.nvmlDeviceGetCurrPcieLinkGeneration(handle)),
        told(lambda: nvml.nvmlDeviceGetCurrPcieLinkWidth(handle)),
    ]
    most = [
        told(lambda: nvml.nvmlDeviceGetMaxPcieLinkGeneration(handle)),
        told(lambda: nvml.nvmlDeviceGetMaxPcieLinkWidth(handle)),
    ]
    if None in (*now, *most):
        return "PCIe not told"
    return f"PCIe {now[0]} x{now[1]} now and {most[0]} x{most[1]} at most"


def _mig(nvml: Nvml, found: Found) -> str:
    if found.is_slice:
        return f"MIG slice {nvml.nvmlDeviceGetUUID(found.handle)} (utilisation and power are not told of slices)"
    if not has_slices(nvml, found.handle):
        return "MIG off"
    named = [f"{nvml.nvmlDeviceGetName(part)} {nvml.nvmlDeviceGetUUID(part)}" for part in slices(nvml, found.handle)]
    return f"MIG on: {'; '.join(named) or 'no slices'}"
