"""What `bench doctor` tells of this machine's CUDA devices, by PyTorch, NVML and the driver."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from typing import Any, NamedTuple

import pynvml
import torch

from bench.measure.gpu.nvml_device import SILENT, Device, ask, find, has_slices, slices, started
from loaders import host_access


class Fact(NamedTuple):
    """One line about the devices."""

    what: str
    there: bool  # whether it can be used
    detail: str  # why not, if it cannot


def facts() -> Iterator[Fact]:
    """All facts; one with the reason where there is no device."""
    if not torch.cuda.is_available():
        built = f"PyTorch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "PyTorch is a CPU build"
        yield Fact("cuda", False, f"no CUDA device ({built}); runs use the CPU")
        return
    yield Fact("cuda", True, _versions())
    for index in range(torch.cuda.device_count()):
        yield _device(index)
        yield _by_nvml(index)
        access = host_access(index)
        lacking = access.lacking("mapped")
        yield Fact(f"cuda {index} host memory", lacking is None, lacking or str(access))
    yield Fact("locked memory", True, _locked_memory())


def _locked_memory() -> str:
    """How much this process may lock in RAM; a device that reads a file's own pages may need that."""
    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited (ulimit -l)" if soft == resource.RLIM_INFINITY else f"{soft / 1e6:,.1f} MB (ulimit -l)"


def _versions() -> str:
    count = torch.cuda.device_count()
    try:
        with started():
            version, cuda = pynvml.nvmlSystemGetDriverVersion(), pynvml.nvmlSystemGetCudaDriverVersion()
            driver = f"driver {version} for CUDA {cuda // 1000}.{cuda % 1000 // 10}"
    except pynvml.NVMLError:
        driver = "driver unknown"
    cudnn = torch.backends.cudnn.version()
    built = f"PyTorch for CUDA {torch.version.cuda}" + (f" with cuDNN {cudnn}" if cudnn else "")
    return f"{count} device{'s' if count > 1 else ''}, {driver}, {built}"


def _device(index: int) -> Fact:
    what = f"cuda {index}"
    try:
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
    except RuntimeError as error:  # a device that is broken, or that another process has for itself
        return Fact(what, False, f"CUDA cannot use it: {str(error).partition(chr(10))[0]}")
    capability = f"compute capability {properties.major}.{properties.minor}"
    memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return Fact(what, True, f"{properties.name}, UUID {properties.uuid}, {capability}, {memory}")


def _by_nvml(index: int) -> Fact:
    what = f"cuda {index} NVML"
    try:
        with started():
            device = find(index)
            return Fact(what, True, f"{_power(device.handle)}, {_link(device.handle)}, {_mig(device)}")
    except SILENT as error:
        return Fact(what, False, f"{error}; runs go on without power, energy, clocks and utilisation")


def _power(handle: Any) -> str:
    limit = ask(pynvml.nvmlDeviceGetPowerManagementLimit, handle)
    if ask(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle) is not None:
        energy = "counter"
    else:
        energy = "unknown" if ask(pynvml.nvmlDeviceGetPowerUsage, handle) is None else "from sampled power"
    return f"power limit {'unknown' if limit is None else f'{limit / 1000:.0f} W'}, energy {energy}"


def _link(handle: Any) -> str:
    """An idle device may lower its link, so that its present state says little."""
    questions = [f"nvmlDeviceGet{when}PcieLink{what}" for when in ("Curr", "Max") for what in ("Generation", "Width")]
    answers = [ask(getattr(pynvml, question), handle) for question in questions]
    if None in answers:
        return "PCIe unknown"
    return "PCIe {} x{} now and {} x{} at most".format(*answers)


def _mig(device: Device) -> str:
    if device.is_slice:
        uuid = pynvml.nvmlDeviceGetUUID(device.handle)
        return f"MIG slice {uuid} (NVML gives no utilisation and power of slices)"
    if not has_slices(device.handle):
        return "MIG off"
    named = [f"{pynvml.nvmlDeviceGetName(part)} {pynvml.nvmlDeviceGetUUID(part)}" for part in slices(device.handle)]
    return f"MIG on: {'; '.join(named) or 'no slices'}"
