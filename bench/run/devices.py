"""What the names of devices stand for on this machine."""

from __future__ import annotations

import torch

from bench.errors import UsageError


def resolve_device(name: str) -> str:
    """``auto`` takes CUDA where there is some; CUDA that is not there is a `UsageError`."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: PyTorch finds no CUDA device here; use --device cpu, or see `bench doctor`")
    return name


def torch_device(name: str) -> torch.device:
    """A resolved device as PyTorch knows it: an emulated one has the host's memory."""
    return torch.device("cpu" if name == "emulated" else name)
