"""The machine and the software of a run, without anything that names its user or host."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pynvml
import torch

from bench.environments import PACKAGES
from bench.measure.gpu.nvml_device import SILENT, ask, find, started

BLOCK_DEVICES = Path("/sys/dev/block")


def environment(device: torch.device, folder: Path | None = None, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Hardware, system and versions, also of a loader's own packages. Records of unlike ones never share a table.

    ``device`` is where training runs, and ``folder`` where the stores lie.
    """
    return {
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "affinity": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "ram_bytes": psutil.virtual_memory().total,
        "governor": _read(Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        "virtual": is_virtual(),
        "storage": None if folder is None else storage_of(folder),
        "machine": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in (*PACKAGES, *packages)},
        "device": device.type,
        "gpu": gpu(device),
        "threads": torch.get_num_threads(),
        "load_average": list(os.getloadavg()),
        "git": git_state(),
    }


@cache
def cpu_model() -> str:
    """The processor's name as the kernel gives it."""
    return _cpu_info("model name") or platform.processor() or platform.machine()


def is_virtual() -> bool | None:
    """Whether a hypervisor runs beneath, by the processor's own flag; ``None`` where that is unknown."""
    flags = _cpu_info("flags")
    return None if flags is None else "hypervisor" in flags.split()


def _cpu_info(key: str) -> str | None:
    """What the kernel says of the first processor."""
    line = re.search(rf"^{key}\s*:(.*)$", _read(Path("/proc/cpuinfo")) or "", re.MULTILINE)
    return None if line is None else line[1].strip()


def _read(path: Path) -> str | None:
    """The text of a small file of the kernel, if there is such a file."""
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.exists() else None


def storage_of(folder: Path) -> dict[str, str | None]:
    """File system ("ext4", "tmpfs", …) and device under a folder, without naming either's place.

    The device is "memory", "network", "ssd", "disk", "virtual disk" or ``None`` where the system does not tell.
    """
    folder = folder.resolve()
    mounts = {part.mountpoint: part.fstype for part in psutil.disk_partitions(all=True)}  # the last on a place counts
    parents = (path.as_posix() for path in (folder, *folder.parents))
    filesystem = next((mounts[path] for path in parents if path in mounts), None)
    if filesystem in ("tmpfs", "ramfs"):
        device: str | None = "memory"
    elif filesystem and re.match(r"nfs|cifs|smb|9p|ceph|lustre|fuse\.sshfs|gpfs|beegfs", filesystem):
        device = "network"
    else:
        device = _device(folder)
    return {"filesystem": filesystem, "device": device}


def _device(folder: Path) -> str | None:
    """From the block device's own description in sysfs; a partition's lies in its parent."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    number = existing.stat().st_dev
    block = (BLOCK_DEVICES / f"{os.major(number)}:{os.minor(number)}").resolve()
    disk = block if (block / "queue").exists() else block.parent
    if re.match(r"(vd|xvd|nbd|loop)", disk.name):
        return "virtual disk"
    return {"0": "ssd", "1": "disk"}.get(_read(disk / "queue" / "rotational") or "")


def gpu(device: torch.device) -> dict[str, Any] | None:
    """Name, memory, power limit and driver-side versions of the CUDA device in use, or None."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    driver = limit_mw = None
    with contextlib.suppress(*SILENT), started():
        driver = str(pynvml.nvmlSystemGetDriverVersion())
        limit_mw = ask(pynvml.nvmlDeviceGetPowerManagementLimit, find(device).handle)
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "driver": driver,
        "power_limit_w": None if limit_mw is None else limit_mw / 1000,
    }


@cache
def git_state() -> dict[str, Any] | None:
    """Commit of this source tree and whether it was clean; None for an installed package."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit, status = (
            subprocess.run(["git", "-C", root, *command], capture_output=True, encoding="utf-8", check=True).stdout
            for command in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):  # no git here, or a tree that git does not trust
        return None
    return {"commit": commit.strip(), "clean": not status.strip()}


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None
