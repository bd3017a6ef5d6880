"""The limit for `gpu_mmap`: plain indexing on the device, or a plain gather on the host and one copy."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.idioms import Crops, DeviceRead, NoIdiomError
from bench.idioms.plain_crops import PlainCrops
from bench.idioms.pool import slices
from bench.idioms.room import check_device, check_memory, read_bytes
from loaders import StoreDataset
from loaders.formats.gpu_mmap.device import host_view, send
from loaders.formats.gpu_mmap.fill import pieces
from loaders.store.arrays import data_name, map_bytes
from loaders.store.sizes import map_sizes

_PART = 4096
"""Images that the loader is asked for at once."""


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[DeviceRead]:
    """What each mode is held against, where batches come out.

    cuda: ``pixels[indices]`` of a tensor on the device. pinned, mapped: ``np.take`` into page-locked memory and
    one copy. Images of many sizes: a bare pool crops decoded pixels on the host, into page-locked memory, for one copy.

    Raises:
        NoIdiomError: no room for the pixels once more.
    """
    options: Any = dataset.options
    where = torch.empty(0, device=dataset.caps.device).device  # with its index, as batches have it
    labels = torch.from_numpy(np.fromfile(dataset.location / f"{dataset.split}.labels", np.int64)).to(where)
    way: AbstractContextManager[DeviceRead]
    if crops is not None:
        way = _cropped(dataset, crops, where, labels)
    elif options.mode in ("pinned", "mapped"):
        way = contextlib.nullcontext(_carrying(_on_host(dataset), where, labels))
    else:
        way = contextlib.nullcontext(_indexing(_on_device(dataset, where), where, labels))
    with way as read:
        yield read


def _indexing(pixels: torch.Tensor, where: torch.device, labels: torch.Tensor) -> DeviceRead:
    def read(indices: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        at = send(indices, where)
        return pixels[at], labels[at]

    return read


def _carrying(pixels: NDArray[np.uint8], where: torch.device, labels: torch.Tensor) -> DeviceRead:
    def read(indices: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = labels[send(indices, where)]
        images = _locked((len(indices), *pixels.shape[1:]), where)
        # In mode "raise" NumPy would gather into memory of its own first.
        np.take(pixels, indices, axis=0, out=images.numpy(), mode="clip")
        return images.to(where, non_blocking=True), wanted

    return read


@contextlib.contextmanager
def _cropped(dataset: StoreDataset, crops: Crops, where: torch.device, labels: torch.Tensor) -> Iterator[DeviceRead]:
    data, offsets = _whole_pictures(dataset)
    with PlainCrops(dataset, crops, decoded=True) as cut:

        def read(indices: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
            wanted = labels[send(indices, where)]
            images = _locked((len(indices), crops.size, crops.size, 3), where)
            cut.into(images.numpy(), indices, slices(data, offsets, indices))
            return images.to(where, non_blocking=True), wanted

        yield read


def _locked(shape: tuple[int, ...], where: torch.device) -> torch.Tensor:
    """Fresh memory that a copy can be queued from; PyTorch gives it to nobody else before the copy is done."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=where.type == "cuda")


def _on_device(dataset: StoreDataset, where: torch.device) -> torch.Tensor:
    """All pixels, ``[n, C, H, W]``."""
    shape = (len(dataset), *dataset.split_info.fixed_shape)
    check_device(math.prod(shape), where)
    try:
        pixels = torch.empty(shape, dtype=torch.uint8, device=where)
    except torch.OutOfMemoryError:  # what is free need not be so in one piece
        raise NoIdiomError("the device has no memory left to hold the split once more") from None
    options: Any = dataset.options
    if options.encoding == "raw":
        pixels.view(-1).copy_(host_view(map_bytes(dataset.location / data_name(dataset.split, "raw"))))
    else:
        _ask_for_all(dataset, pixels)
    return pixels


def _on_host(dataset: StoreDataset) -> NDArray[np.uint8]:
    """All pixels, ``[n, C, H, W]``: in memory, or in mode mapped the file's own pages."""
    options: Any = dataset.options
    shape = (len(dataset), *dataset.split_info.fixed_shape)
    if options.encoding == "raw":
        load = map_bytes if options.mode == "mapped" else read_bytes
        return load(dataset.location / data_name(dataset.split, "raw")).reshape(shape)
    check_memory(math.prod(shape))
    pixels = torch.empty(shape, dtype=torch.uint8)
    _ask_for_all(dataset, pixels)
    found: NDArray[np.uint8] = pixels.numpy()
    return found


def _ask_for_all(dataset: StoreDataset, pixels: torch.Tensor) -> None:
    """The loader decodes JPEG files when it opens; its decoder, then, is no part of a batch's work."""
    for start in range(0, len(pixels), _PART):
        part = pixels[start : start + _PART]
        part.copy_(dataset.batch(np.arange(start, start + len(part))).images)


def _whole_pictures(dataset: StoreDataset) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All pixels of images of many sizes end to end, and where each begins and the last one ends.

    The file's own pages, or, as the loader does too when it opens, decoded to memory.
    """
    options: Any = dataset.options
    described = map_sizes(dataset.location, dataset.split).astype(np.int64)
    sizes = 3 * described[:, 0] * described[:, 1]
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    if options.encoding == "raw":
        return map_bytes(dataset.location / data_name(dataset.split, "raw")), offsets
    check_memory(int(offsets[-1]))
    pixels = np.empty(int(offsets[-1]), np.uint8)
    for start, stop in pieces(sizes):
        images, _ = dataset.whole(np.arange(start, stop))
        np.concatenate([image.reshape(-1) for image in images], out=pixels[offsets[start] : offsets[stop]])
    return pixels, offsets
