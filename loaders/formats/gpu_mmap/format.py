"""A split that the CUDA device gathers from: resident on it, page-locked in RAM, or the mapped file's own pages."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple, Self

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.core.batch import Batch, BatchRequest, Indices
from loaders.core.errors import BackendError
from loaders.core.faults import check_labels
from loaders.core.options import LoaderOptions, read_option
from loaders.formats.gpu_mmap.crops import LIMIT
from loaders.formats.gpu_mmap.device import Device, host_access, host_view
from loaders.formats.gpu_mmap.fill import check_room, decode_into, remedy
from loaders.formats.gpu_mmap.gathering import Gather, RaggedGather
from loaders.formats.gpu_mmap.hostpages import Way, file_pages, locked_memory
from loaders.formats.gpu_mmap.sizes import check_offsets, stored_sizes
from loaders.images.ragged import Payloads, RaggedReader
from loaders.reading.dataset import ImageDataset
from loaders.store.arrays import ArrayOptions, ArrayReader, Arrays, data_name, open_arrays, write_arrays
from loaders.store.intake import StreamedSplit
from loaders.store.writer import Written


class GpuMmapOptions(ArrayOptions):
    """Options of ``gpu_mmap``."""

    mode: Literal["cuda", "pinned", "mapped"] = read_option(
        "cuda", description="cuda: split on the device; pinned: in page-locked RAM; mapped: the file's own pages"
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.scaled:
            raise ValueError("scaled=true is for loaders that decode on the host for each crop; leave it out")
        if self.encoding == "jpeg" and self.mode == "mapped":
            raise ValueError("mode=mapped reads pixels in place; use encoding=raw")
        return self


class _Open(NamedTuple):
    """What gathers, what reads files, and what ends all that is held; ``way`` is of ``hostpages``."""

    gather: Gather | RaggedGather
    files: ArrayReader
    life: contextlib.ExitStack
    way: Way | None


class GpuMmapDataset(ImageDataset[_Open]):
    """Batches come out on the CUDA device that is current when it is opened; the host does no work on pixels."""

    name = "gpu_mmap"
    device = "cuda"
    max_workers = 0
    Options = GpuMmapOptions
    ragged = True

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:
        """Needs a CUDA device; in modes that read the host's memory, one that can."""
        if torch.version.cuda is None:
            return "this PyTorch is built without CUDA; install a CUDA build"
        if not torch.cuda.is_available():
            return "no CUDA device"
        assert isinstance(options, GpuMmapOptions)
        # Whoever only asks may go on to fork, or leave the device to others: PyTorch must not begin to use it.
        index = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
        return None if options.mode == "cuda" else host_access(index).lacking(options.mode)

    @classmethod
    def _device(cls) -> Device:
        return Device()

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: GpuMmapOptions) -> Written:
        return Written([n for split in splits.values() for n in write_arrays(split, folder, options.encoding)])

    @property
    def way(self) -> Way | None:
        """How ``mode=mapped`` reads the file, once it is open; None in other modes."""
        return self._ready().way

    def _open(self) -> _Open:
        device = self._device()
        with contextlib.ExitStack() as life:  # whatever fails, what was taken until then is given back
            opened = self._opened_by(device, self.options, life)
            return opened._replace(life=life.pop_all())

    def _opened_by(self, device: Device, options: GpuMmapOptions, life: contextlib.ExitStack) -> _Open:
        info = self.split_info
        arrays = open_arrays(self.location, self.split, info, options.encoding)
        check_labels(arrays.labels, len(self.info.dataset.classes), self.split, self.location)
        sizes = stored_sizes(self.location, self.split, info)
        if arrays.payloads is not None and arrays.offsets is not None and options.encoding == "raw":
            check_offsets(arrays.offsets, sizes, len(arrays.payloads), self.split, self.location)
        pixels, way = self._brought(device, options, arrays, sizes, life)
        labels = arrays.labels.copy()
        gather: Gather | RaggedGather
        if info.shape is not None:
            gather = Gather(pixels[: sizes.sum()].view(info.count, *info.shape), labels)
        else:
            gather = RaggedGather(pixels, labels, np.cumsum(sizes) - sizes, min(LIMIT, device.free() // 4))
        return _Open(gather, ArrayReader(arrays, None, 1), life, way)

    def _brought(
        self,
        device: Device,
        options: GpuMmapOptions,
        arrays: Arrays,
        sizes: NDArray[np.int64],
        life: contextlib.ExitStack,
    ) -> tuple[torch.Tensor, Way | None]:
        """All pixels where the device reads them, uint8 and flat, filled up to whole words of eight bytes."""
        needed, how = int(sizes.sum()), remedy(options.mode, options.encoding)
        if options.mode == "mapped":
            pages, way = file_pages(self.location / data_name(self.split, "raw"), device, life)
            return device.view(_whole_words(pages)), way
        if options.mode == "pinned":
            check_room(needed, psutil.virtual_memory().available, "this machine's memory", how)
            pages = locked_memory(needed, device, life)
            pixels, target = device.view(_whole_words(pages)), torch.from_numpy(pages)
        else:
            check_room(needed, device.free(), "the device", how)
            life.callback(device.synchronize)
            try:
                pixels = torch.empty(-(-needed // 8) * 8, dtype=torch.uint8, device=device.where)
            except torch.OutOfMemoryError:  # what is free need not be so in one piece
                raise BackendError(f"the device has no {needed / 1e9:.2f} GB in one piece; use {how}") from None
            target = pixels[:needed]
        if options.encoding == "raw":
            target.copy_(host_view(_flat(arrays)))
        else:
            with contextlib.ExitStack() as threads:
                decode_into(target, sizes, self._decode_on_host(arrays, options.threads, threads))
        return pixels, None

    def _decode_on_host(
        self, arrays: Arrays, threads: int, life: contextlib.ExitStack
    ) -> Callable[[Indices], torch.Tensor]:
        reader = ArrayReader(arrays, self.split_info.shape, threads)
        life.callback(reader.close)
        if self.split_info.shape is not None:
            return lambda indices: reader.read(indices).images.reshape(-1)
        pictures = RaggedReader(self.location, self.split, self.split_info, threads)
        life.callback(pictures.close)

        def decode(indices: Indices) -> torch.Tensor:
            images = pictures.whole(reader.payloads(indices), indices)
            return torch.from_numpy(np.concatenate([image.reshape(-1) for image in images]))

        return decode

    def _read(self, handle: _Open, indices: Indices) -> Batch:
        assert isinstance(handle.gather, Gather)
        return handle.gather.read(indices)

    def _payloads(self, handle: _Open, indices: Indices) -> Payloads:
        return handle.files.payloads(indices)

    def _crops(self, handle: _Open, reader: RaggedReader, request: BatchRequest, size: int) -> Batch:
        assert isinstance(handle.gather, RaggedGather)
        described, boxes = reader.boxes(request)
        return handle.gather.crops(request.indices, described[:, 1], boxes, size)

    def _close(self, handle: _Open) -> None:
        handle.life.close()


def _whole_words(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same memory with what is left of its last eight bytes: it begins with a page, and pages are there whole."""
    return np.lib.stride_tricks.as_strided(array, (-(-len(array) // 8) * 8,))


def _flat(arrays: Arrays) -> NDArray[np.uint8]:
    if arrays.pixels is not None:
        return arrays.pixels.reshape(-1)
    assert arrays.payloads is not None
    return arrays.payloads
