"""What ``gpu_mmap`` needs of a CUDA device and its libraries, each in one place where a test can put another."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable
from pathlib import Path
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
        decode: JPEG files, flat uint8 tensors on the host, as ``[C, H, W]`` each on the device; given C for all.
        open_direct: a file as a context manager whose ``read(tensor, file_offset=…)`` gives the bytes it has read.
    """

    where: torch.device
    free: Callable[[], int]
    available: Callable[[], int]
    registrar: Registrar
    view: Callable[[NDArray[np.uint8]], torch.Tensor]
    synchronize: Callable[[], Any]
    decode: Callable[[list[torch.Tensor], int], list[torch.Tensor]]
    open_direct: Callable[[Path], Any]


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
        decode=lambda files, channels: _nvjpeg(files, channels, where),
        open_direct=lambda path: importlib.import_module("kvikio").CuFile(str(path)),
    )


def _forget(where: torch.device) -> None:
    if not forget_last_error():
        # A runtime that is no library of its own: PyTorch takes its error away when it raises it after a kernel.
        with contextlib.suppress(RuntimeError):
            torch.zeros(1, device=where)


def _nvjpeg(files: list[torch.Tensor], channels: int, where: torch.device) -> list[torch.Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg  # takes a second to import, and few runs need it

    mode = ImageReadMode.GRAY if channels == 1 else ImageReadMode.RGB
    decoded: list[torch.Tensor] = decode_jpeg(files, mode, device=where)
    return decoded


def without_kvikio(find: Callable[[str], Any] = importlib.import_module) -> str | None:
    """Why ``mode=gds`` cannot run, or None."""
    try:
        find("kvikio")
    except ImportError:  # also where a library that it links to is missing
        return "kvikio is not installed; pip install 'loader-bench[gds]'"
    return None
