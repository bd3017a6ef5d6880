"""A split that the CUDA device gathers from: resident on it, page-locked in RAM, or the mapped file's own pages."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.arrays import ArrayOptions, ArrayReader, Arrays, data_name, open_arrays, write_arrays
from loaders.base import ImageDataset
from loaders.batch import Batch, BatchRequest, Indices
from loaders.crops import Boxes
from loaders.device import Device, cuda_device
from loaders.device_fill import check_room, copy_into, decode_into, remedy
from loaders.errors import BackendError
from loaders.faults import check_labels
from loaders.gathering import Gather, RaggedGather
from loaders.hostpages import HostPages, host_view
from loaders.options import LoaderOptions, read_option
from loaders.ragged import Payloads, RaggedReader
from loaders.store import Written
from loaders.stored_sizes import StoredSizes
from loaders.streamed import StreamedSplit


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
    """``read`` is of a split of one size, ``crops`` of one of many; ``life`` ends all that is held."""

    read: Callable[[Indices], Batch] | None
    crops: Callable[[Indices, NDArray[np.int64], Boxes, int], Batch] | None
    files: ArrayReader
    life: contextlib.ExitStack


class GatheredDataset(ImageDataset[_Open]):
    """All of ``gpu_mmap`` but its device. Batches come out there; no host work per batch but the indices."""

    max_workers = 0
    Options = GpuMmapOptions
    ragged = True

    @classmethod
    @abc.abstractmethod
    def _device(cls) -> Device:
        """Where batches are made."""

    @classmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: GpuMmapOptions) -> Written:
        return Written([n for split in splits.values() for n in write_arrays(split, folder, options.encoding)])

    def _open(self) -> _Open:
        options: Any = self.options
        device = self._device()
        try:
            with contextlib.ExitStack() as life:  # whatever fails, what was taken until then is given back
                opened = self._opened_by(device, options, life)
                return opened._replace(life=life.pop_all())
        except torch.OutOfMemoryError:
            raise BackendError(
                f"the device ran out of memory while the {self.split} split was opened; "
                f"use {remedy(options.mode, options.encoding)}"
            ) from None

    def _opened_by(self, device: Device, options: GpuMmapOptions, life: contextlib.ExitStack) -> _Open:
        info = self.split_info
        arrays = open_arrays(self.location, self.split, info, options.encoding)
        check_labels(arrays.labels, len(self.info.dataset.classes), self.split, self.location)
        stored = StoredSizes(self.location, self.split, info)
        files = ArrayReader(arrays, None, 1)
        if arrays.payloads is not None and options.encoding == "raw":
            stored.check(arrays.offsets, len(arrays.payloads))
        labels = torch.from_numpy(arrays.labels.copy()).to(device.where)
        pixels = self._brought(device, options, arrays, stored, life)
        if info.shape is not None:
            return _Open(Gather(pixels.view(info.count, *info.shape), labels).read, None, files, life)
        return _Open(None, RaggedGather(pixels, labels, stored.offsets()).crops, files, life)

    def _brought(
        self, device: Device, options: GpuMmapOptions, arrays: Arrays, stored: StoredSizes, life: contextlib.ExitStack
    ) -> torch.Tensor:
        """All pixels where the device reads them: uint8, flat."""
        if options.mode == "mapped":
            path = self.location / data_name(self.split, options.encoding)
            return self._in_place(device, HostPages.of_file(path, device.registrar), life)
        needed, how = stored.total, remedy(options.mode, options.encoding)
        if options.mode == "pinned":
            check_room(needed, device.available(), "this machine's memory", how)
            pages = HostPages.of_memory(needed, device.registrar)
            pixels = self._in_place(device, pages, life)
            assert pages.array is not None
            target = torch.from_numpy(pages.array)
        else:
            check_room(needed, device.free(), "the device", how)
            life.callback(device.synchronize)
            pixels = target = torch.empty(needed, dtype=torch.uint8, device=device.where)
        if options.encoding == "raw":
            copy_into(target, host_view(_flat(arrays)))
        else:
            with contextlib.ExitStack() as threads:
                decode_into(target, stored.bytes(), self._decode_on_host(arrays, options.threads, threads))
        return pixels

    @staticmethod
    def _in_place(device: Device, pages: HostPages, life: contextlib.ExitStack) -> torch.Tensor:
        life.callback(pages.close)
        life.callback(device.synchronize)  # before that: a gather still under way must not lose its pages
        assert pages.array is not None
        return device.view(pages.array)

    def _decode_on_host(
        self, arrays: Arrays, threads: int, life: contextlib.ExitStack
    ) -> Callable[[Indices], torch.Tensor]:
        reader = ArrayReader(arrays, self.split_info.shape, threads)
        life.callback(reader.close)
        if self.split_info.shape is not None:
            return lambda indices: reader.read(indices).images.reshape(-1)
        pictures = RaggedReader(self.location, self.split, self.split_info, threads, scaled=False)
        life.callback(pictures.close)

        def decode(indices: Indices) -> torch.Tensor:
            images = pictures.whole(reader.payloads(indices), indices)
            return torch.from_numpy(np.concatenate([image.reshape(-1) for image in images]))

        return decode

    def _read(self, handle: _Open, indices: Indices) -> Batch:
        assert handle.read is not None
        return handle.read(indices)

    def _payloads(self, handle: _Open, indices: Indices) -> Payloads:
        return handle.files.payloads(indices)

    def _crops(self, handle: _Open, reader: RaggedReader, request: BatchRequest, size: int) -> Batch:
        assert handle.crops is not None
        described, boxes = reader.boxes(request)
        return handle.crops(request.indices, described[:, :2], boxes, size)

    def _close(self, handle: _Open) -> None:
        handle.life.close()


def _flat(arrays: Arrays) -> NDArray[np.uint8]:
    if arrays.pixels is not None:
        return arrays.pixels.reshape(-1)
    assert arrays.payloads is not None
    return arrays.payloads


@final
class GpuMmapDataset(GatheredDataset):
    """Batches come out on the CUDA device that is current when it is opened."""

    name = "gpu_mmap"
    device = "cuda"

    @classmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:  # noqa: ARG003
        """Needs a CUDA device."""
        if torch.version.cuda is None:
            return "this PyTorch is built without CUDA; install a CUDA build"
        if not torch.cuda.is_available():
            return "no CUDA device"
        return None

    @classmethod
    def _device(cls) -> Device:
        return cuda_device()
