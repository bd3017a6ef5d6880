"""The machine and the software of a run, without anything that names its user or host."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pynvml
import torch

from bench.measure.gpu.nvml_device import SILENT, Nvml, find, started, told
from bench.measure.storage import storage_of

PACKAGES = ("torch", "torchvision", "numpy", "h5py", "psycopg", "simplejpeg", "pillow")


def environment(device: torch.device, folder: Path | None = None) -> dict[str, Any]:
    """Hardware, system and versions. Records that differ in those never share a table.

    Args:
        device: where training runs.
        folder: where the stores lie.
    """
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "ram_bytes": psutil.virtual_memory().total,
        "governor": _first_line(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "virtual": is_virtual(),
        "storage": None if folder is None else storage_of(folder),
        "machine": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "device": device.type,
        "gpu": gpu(device),
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()),
        "git": git_state(),
    }


@cache
def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def is_virtual() -> bool | None:
    """Whether a hypervisor runs beneath, by the processor's own flag; ``None`` where it is not told."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return None
    flags = re.search(r"^flags\s*:(.*)$", info.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return None if flags is None else "hypervisor" in flags[1].split()


def _first_line(path: Path) -> str | None:
    """What a small file of the kernel says, if it is there."""
    return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0] if path.exists() else None


def gpu(device: torch.device, nvml: Nvml = pynvml) -> dict[str, Any] | None:
    """Name, memory, power limit and driver-side versions of the CUDA device in use, or None."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **_by_nvml(nvml, str(properties.uuid)),
    }


def _by_nvml(nvml: Nvml, uuid: str) -> dict[str, Any]:
    """What NVML alone knows: ``None`` where it does not answer, which stops no run."""
    known: dict[str, Any] = {"driver": None, "power_limit_w": None}
    with contextlib.suppress(*SILENT), started(nvml):
        known["driver"] = str(nvml.nvmlSystemGetDriverVersion())
        handle = find(nvml, uuid).handle
        limit = told(lambda: nvml.nvmlDeviceGetPowerManagementLimit(handle))
        known["power_limit_w"] = None if limit is None else limit / 1000
    return known


@cache
def git_state() -> dict[str, Any] | None:
    """Commit of this source tree and whether it was clean; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = subprocess.run(
            ["git", "-C", root, "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", check=True
        )
        status = subprocess.run(
            ["git", "-C", root, "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):  # no git here, or a tree that git does not trust
        return None
    return {"commit": commit.stdout.strip(), "clean": not status.stdout.strip()}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
