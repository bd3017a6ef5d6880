"""A split that the CUDA device gathers from: resident on it, page-locked in RAM, or the mapped file's own pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, final

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.arrays import ArrayOptions, ArrayReader, open_arrays, write_arrays
from loaders.base import ImageDataset
from loaders.batch import Batch, Indices
from loaders.errors import BackendError
from loaders.options import LoaderOptions, read_option
from loaders.streamed import StreamedSplit
from loaders.store import Written

# Flags of cudaHostRegister (CUDA runtime API, "Memory Management").
_MAPPED, _READ_ONLY = 0x02, 0x08
_BLOCK = 1024


class GpuMmapOptions(ArrayOptions):
    """Options of ``gpu_mmap``."""

    mode: Literal["cuda", "pinned", "mapped"] = read_option(
        "cuda", description="cuda: split on the device; pinned: in page-locked RAM; mapped: the file's own pages"
    )

    @model_validator(mode="after")
    def _mapped_holds_pixels(self) -> Self:
        if self.mode == "mapped" and self.encoding == "jpeg":
            raise ValueError("mode=mapped reads pixels in place and cannot decode; use encoding=raw")
        return self


class Gather:
    """Pixels and labels that one device can reach, gathered on that device.

    Rows are moved as the widest words that divide them: byte-wise reads over the bus would waste most of it.
    """

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor) -> None:
        """Args: pixels is uint8 ``[n, C, H, W]``, contiguous; labels int64 ``[n]``, on the device that gathers."""
        self._shape = pixels.shape[1:]
        self._words = pixels.view(len(pixels), -1).view(widest_word(math.prod(self._shape)))
        self._labels = labels

    def read(self, indices: Indices) -> Batch:
        """A fresh batch on the device of the labels."""
        where = torch.from_numpy(indices).to(self._labels.device)
        rows = self._words.index_select(0, where).view(torch.uint8)
        return Batch(rows.view(len(indices), *self._shape), self._labels.index_select(0, where))


def widest_word(row_bytes: int) -> torch.dtype:
    """The widest integer type whose size divides a row."""
    for dtype in (torch.int64, torch.int32, torch.int16):
        if row_bytes % dtype.itemsize == 0:
            return dtype
    return torch.uint8


def fill(target: torch.Tensor, reader: ArrayReader) -> None:
    """Copy (or decode) a split into a uint8 tensor ``[n, C, H, W]``, a block at a time."""
    for start in range(0, len(target), _BLOCK):
        stop = min(start + _BLOCK, len(target))
        target[start:stop].copy_(reader.read(np.arange(start, stop)).images)


def check_room(needed: int, free: int, what: str) -> None:
    """Refuse before allocating.

    Raises:
        BackendError: the split does not fit.
    """
    if needed > free:
        raise BackendError(
            f"the split needs {needed / 1e9:.2f} GB and {what} has {free / 1e9:.2f} GB free; "
            "use --option mode=mapped or --limit"
        )


class HostPages:
    """A file's pages, registered with CUDA so that the device reads them in place."""

    def __init__(self, path: Path, register: Callable[[int, int, int], Any], unregister: Callable[[int], Any]) -> None:
        """Map and register.

        Args:
            path: the file; must not be empty.
            register: ``cudaHostRegister(pointer, bytes, flags)``; gives 0 for success.
            unregister: ``cudaHostUnregister(pointer)``.

        Raises:
            BackendError: the platform refuses both read-only and writable registration.
        """
        self._unregister = unregister
        refusals = []
        # Read-only first: it needs no permission to write, and kernels may refuse to pin writable file pages for long.
        for mode, flags in (("r", _MAPPED | _READ_ONLY), ("r+", _MAPPED)):
            try:
                mapped = np.memmap(path, np.uint8, mode=mode)  # type: ignore[call-overload]
            except OSError as error:
                refusals.append(f"mapping it writable: {error.strerror}")
                continue
            code = int(register(mapped.ctypes.data, mapped.nbytes, flags))
            if code == 0:
                self.array: NDArray[np.uint8] | None = np.asarray(mapped)
                return
            refusals.append(f"cudaHostRegister(flags {flags:#x}) gave error {code}")
        raise BackendError(
            f"CUDA cannot read the pages of {path} in place ({'; '.join(refusals)}); "
            "raise the locked-memory limit (ulimit -l) or use --option mode=pinned"
        )

    def close(self) -> None:
        """Unregister before the pages are unmapped. May be called twice."""
        if self.array is not None:
            code = int(self._unregister(self.array.ctypes.data))
            self.array = None
            if code != 0:
                raise BackendError(f"cudaHostUnregister gave error {code}; end this process to free its locked memory")


class _DeviceView:
    """Lets PyTorch see registered host memory as a CUDA tensor (CUDA array interface, version 3)."""

    def __init__(self, array: NDArray[np.uint8]) -> None:
        self._array = array  # keeps the pages alive
        self.__cuda_array_interface__ = {
            "shape": array.shape,
            "typestr": "|u1",
            "data": (array.ctypes.data, False),
            "strides": None,
            "version": 3,
        }


class _Open(NamedTuple):
    gather: Gather
    pages: HostPages | None


@final
class GpuMmapDataset(ImageDataset[_Open]):
    """Batches come out on the device; no host work per batch but the indices."""

    name = "gpu_mmap"
    device = "cuda"
    max_workers = 0
    Options = GpuMmapOptions

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """Needs a CUDA device."""
        if torch.version.cuda is None:
            return "this PyTorch is built without CUDA; install a CUDA build"
        return None if torch.cuda.is_available() else "no CUDA device"

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: GpuMmapOptions) -> Written:
        return Written([n for split in splits.values() for n in write_arrays(split, folder, options.encoding)])

    def _open(self) -> _Open:
        options: Any = self.options
        device = torch.device("cuda", torch.cuda.current_device())
        info = self.split_info
        shape = (info.count, *info.fixed_shape)
        arrays = open_arrays(self.location, self.split, info, options.encoding)
        labels = torch.from_numpy(arrays.labels).to(device)
        if options.mode == "mapped":
            runtime = torch.cuda.cudart()
            path = self.location / f"{self.split}.pixels"
            pages = HostPages(path, runtime.cudaHostRegister, runtime.cudaHostUnregister)
            try:
                assert pages.array is not None
                pixels = torch.as_tensor(_DeviceView(pages.array), device=device).view(shape)
                return _Open(Gather(pixels, labels), pages)
            except BaseException:
                pages.close()
                raise
        reader = ArrayReader(arrays, info.fixed_shape, options.threads)
        try:
            if options.mode == "cuda":
                check_room(math.prod(shape), torch.cuda.mem_get_info(device)[0], "the device")
                pixels = torch.empty(shape, dtype=torch.uint8, device=device)
                fill(pixels, reader)
            else:
                check_room(math.prod(shape), psutil.virtual_memory().available, "this machine's memory")
                locked = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
                fill(locked, reader)
                pixels = torch.as_tensor(_DeviceView(locked.numpy()), device=device)
        finally:
            reader.close()
        return _Open(Gather(pixels, labels), None)

    def _read(self, handle: _Open, indices: Indices) -> Batch:
        return handle.gather.read(indices)

    def _close(self, handle: _Open) -> None:
        torch.cuda.synchronize()  # a gather still under way must not lose its pages
        if handle.pages is not None:
            handle.pages.close()
