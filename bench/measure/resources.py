"""CPU time and memory of the run's process tree."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import torch


def cpu_seconds() -> dict[str, float]:
    """User and system time of this process, of its living children, and of those it has waited for."""
    own = psutil.Process().cpu_times()
    living = 0.0
    for child in psutil.Process().children(recursive=True):
        try:
            times = child.cpu_times()
        except psutil.NoSuchProcess:  # ended while we looked; the parent's count has it
            continue
        living += times.user + times.system
    return {
        "process": own.user + own.system,
        "children": own.children_user + own.children_system + living,
    }


def reset_peak_memory(device: torch.device) -> None:
    """Start peak values anew, so that they speak of the run and not of its preparation."""
    clear = Path("/proc/self/clear_refs")
    if os.access(clear, os.W_OK):
        clear.write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def memory(device: torch.device) -> dict[str, int]:
    """Bytes: the process's peak resident size, the tree's proportional size (PSS) now, the device's peak."""
    found: dict[str, int] = {}
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                found["process_peak_rss"] = int(line.split()[1]) * 1024
    me = psutil.Process()
    pss = 0
    for process in (me, *me.children(recursive=True)):
        try:
            pss += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # ended, or an embedded server under another user
            continue
    found["tree_pss"] = pss
    if device.type == "cuda":
        found["device_peak"] = torch.cuda.max_memory_allocated(device)
    return found
