"""Peak memory as the kernel and the device keep it."""

from __future__ import annotations

import os
from pathlib import Path

import torch


def reset_peak_memory(device: torch.device) -> None:
    """Start peak values anew, so that they speak of the run and not of its preparation."""
    clear = Path("/proc/self/clear_refs")
    if os.access(clear, os.W_OK):
        clear.write_text("5", encoding="ascii")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> dict[str, int]:
    """Bytes since the last reset: the process's largest resident size, and the most allocated on the device."""
    found: dict[str, int] = {}
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                found["process_peak_rss"] = int(line.split()[1]) * 1024
    if device.type == "cuda":
        found["device_peak"] = torch.cuda.max_memory_allocated(device)
    return found
