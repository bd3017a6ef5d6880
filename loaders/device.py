"""What ``gpu_mmap`` needs of a CUDA device and its libraries, each in one place where a test can put another."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from numpy.typing import NDArray

from loaders.hostpages import Registrar, device_view, forget_last_error


class Device(NamedTuple):
    """A device that gathers batches.

    Attributes:
        where: batches come out.
        free: bytes of its memory that are free.
        available: bytes of the host's memory that are.
        registrar: makes host memory known to it.
        view: registered host memory as its tensor.
        synchronize: waits for all that it was given to do.
    """

    where: torch.device
    free: Callable[[], int]
    available: Callable[[], int]
    registrar: Registrar
    view: Callable[[NDArray[np.uint8]], torch.Tensor]
    synchronize: Callable[[], Any]


def cuda_device() -> Device:
    """The current CUDA device."""
    where = torch.device("cuda", torch.cuda.current_device())
    runtime = torch.cuda.cudart()
    return Device(
        where=where,
        free=lambda: int(torch.cuda.mem_get_info(where)[0]),
        available=lambda: int(psutil.virtual_memory().available),
        registrar=Registrar(runtime.cudaHostRegister, runtime.cudaHostUnregister, lambda: _forget(where)),
        view=lambda array: device_view(array, where),
        synchronize=lambda: torch.cuda.synchronize(where),
    )


def _forget(where: torch.device) -> None:
    if not forget_last_error():
        # A runtime that is no library of its own: PyTorch takes its error away when it raises it after a kernel.
        with contextlib.suppress(RuntimeError):
            torch.zeros(1, device=where)
