"""A split that the CUDA device gathers from: resident on it, page-locked in RAM, or the mapped file's own pages."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from pydantic import model_validator

from loaders.core.batch import check_labels
from loaders.core.errors import BackendError, StoreError
from loaders.core.format import Candidate, Caps, Format, Written
from loaders.core.options import EncodingOptions, read_option
from loaders.formats.gpu_mmap.crops import LIMIT
from loaders.formats.gpu_mmap.device import Device, host_access, host_view
from loaders.formats.gpu_mmap.fill import check_room, decode_into, remedy
from loaders.formats.gpu_mmap.hostpages import Way, file_pages, locked_memory
from loaders.formats.gpu_mmap.reader import CropsReader, DeviceReader, RowsReader
from loaders.images.decode import Decoder
from loaders.store.arrays import Arrays, data_name, map_bytes, open_arrays, write_arrays
from loaders.store.intake import Intake
from loaders.store.manifest import Store


class GpuMmapOptions(EncodingOptions):
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


class GpuMmapFormat(Format[GpuMmapOptions]):
    """Batches are on the CUDA device that is current on opening; the host does no work on pixels."""

    name = "gpu_mmap"
    caps = Caps(device="cuda", fork_safe=False, max_workers=0)
    Options = GpuMmapOptions
    candidates = (Candidate(reads=("process",), needs="device"),)

    def unavailable(self) -> str | None:
        """Needs a CUDA device; for modes that read the host's memory, one that can."""
        if torch.version.cuda is None:
            return "this PyTorch is built without CUDA; install a CUDA build"
        if not torch.cuda.is_available():
            return "no CUDA device"
        # The caller may fork later, or not use the device: PyTorch must not initialise it.
        index = torch.cuda.current_device() if torch.cuda.is_initialized() else 0
        return None if self.options.mode == "cuda" else host_access(index).lacking(self.options.mode)

    @classmethod
    def device(cls) -> Device:
        """The device to use."""
        return Device()

    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Flat files."""
        return Written(write_arrays(splits, folder))

    def open(self, store: Store, split: str) -> DeviceReader:
        """Bring all pixels to memory that the device reads."""
        info, encoding, device = store.info.splits[split], self.options.encoding, self.device()
        arrays, sizes = open_arrays(store, split, encoding), store.sizes(split)
        check_labels(arrays.labels, len(store.info.dataset.classes), split, store.location)
        if sizes is None:
            lengths = np.full(info.count, np.prod(info.fixed_shape), np.int64)
        else:
            lengths = 3 * sizes[:, 0].astype(np.int64) * sizes[:, 1]
            if encoding == "raw":
                _check_offsets(arrays, lengths, store, split)
        path, needed = store.location / data_name(split, "raw"), int(lengths.sum())
        with contextlib.ExitStack() as life:  # releases everything if opening fails
            pixels, target, way = self._memory(device, path, needed, life)
            if target is not None and encoding == "raw":
                target.copy_(host_view(map_bytes(path)))
            elif target is not None:
                subject = f"of the {split} split in {store.location}"
                decoder = Decoder(info.shape, sizes, subject, store.remedy, self.options)
                with contextlib.closing(decoder):
                    decode_into(target, lengths, arrays, decoder, ragged=sizes is not None)
            reader: DeviceReader
            if sizes is None:
                reader = RowsReader(pixels[:needed].view(info.count, *info.fixed_shape), arrays.labels.copy())
            else:
                reader = CropsReader(pixels, arrays, np.cumsum(lengths) - lengths, min(LIMIT, device.free() // 4))
            reader.life, reader.way = life.pop_all(), way
            return reader

    def _memory(
        self, device: Device, path: Path, needed: int, life: contextlib.ExitStack
    ) -> tuple[torch.Tensor, torch.Tensor | None, Way | None]:
        """Memory that the device reads, and the same memory for filling it, or None for the file's own pages.

        Flat uint8; the first is padded to whole words of eight bytes.
        """
        mode, instead = self.options.mode, remedy(self.options.mode, self.options.encoding)
        if mode == "mapped":
            pages, way = file_pages(path, device, life)
            return device.view(_whole_words(pages)), None, way
        if mode == "pinned":
            check_room(needed, psutil.virtual_memory().available, "this machine's memory", instead)
            pages = locked_memory(needed, device, life)
            return device.view(_whole_words(pages)), torch.from_numpy(pages), None
        check_room(needed, device.free(), "the device", instead)
        life.callback(device.synchronize)
        try:
            pixels = torch.empty(-(-needed // 8) * 8, dtype=torch.uint8, device=device.where)
        except torch.OutOfMemoryError:  # free memory may be fragmented
            raise BackendError(f"the device has no {needed / 1e9:.2f} GB in one piece; use {instead}") from None
        return pixels, pixels[:needed], None


def _check_offsets(arrays: Arrays, lengths: NDArray[np.int64], store: Store, split: str) -> None:
    """Raise StoreError unless the offsets agree with the sizes: reads beyond the pixels would kill the process."""
    assert arrays.offsets is not None and arrays.payloads is not None
    stored, subject = np.diff(arrays.offsets), f"of the {split} split in {store.location}"
    if len(stored) != len(lengths) or arrays.offsets[0] != 0 or arrays.offsets[-1] != len(arrays.payloads):
        raise StoreError(f"the offsets {subject} do not fit its pixels; {store.remedy}")
    for i in np.flatnonzero(stored != lengths)[:1]:
        raise StoreError(f"image {i} {subject} has {stored[i]} bytes instead of {lengths[i]}; {store.remedy}")


def _whole_words(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The same memory extended to whole words of eight bytes: it starts with a page, and pages are complete."""
    return np.lib.stride_tricks.as_strided(array, (-(-len(array) // 8) * 8,))
