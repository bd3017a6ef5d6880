"""The idiom of `gpu_mmap`: plain indexing on the device, or a plain gather on the host and one copy."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from bench.idioms import Crops, DeviceRead, NoIdiomError, check_room
from bench.idioms.pool import Pixels, Pool, slices
from loaders import Indices, StoreDataset
from loaders.formats.gpu_mmap.device import host_view, send
from loaders.store.arrays import data_name, map_bytes
from loaders.store.sizes import map_sizes

CPU = torch.device("cpu")


@contextlib.contextmanager
def idiom(dataset: StoreDataset, crops: Crops | None = None) -> Iterator[DeviceRead]:
    """Reads where the batches of each mode come out.

    cuda: ``pixels[indices]`` of a tensor on the device. pinned, mapped: ``np.take`` into page-locked memory and
    one copy. Images of many sizes: a bare pool crops decoded pixels on the host, into page-locked memory, for one copy.
    """
    options: Any = dataset.options
    where = torch.empty(0, device=dataset.caps.device).device  # with its index, as batches have it
    labels = torch.from_numpy(np.fromfile(dataset.location / f"{dataset.split}.labels", np.int64)).to(where)
    if crops is not None:
        data, offsets = _all_pictures(dataset)
        with Pool(dataset, crops, decoded=True) as pool:
            yield _carrying(
                lambda indices, out: pool(indices, slices(data, offsets, indices), out), pool.shape, where, labels
            )
    elif options.mode == "cuda":
        on_device = _all_pixels(dataset, where)

        def index(indices: Indices) -> tuple[torch.Tensor, torch.Tensor]:
            at = send(indices, where)
            return on_device[at], labels[at]

        yield index
    else:
        pixels = _all_pixels(dataset, CPU).numpy()
        # In mode "raise" NumPy would gather into memory of its own first.
        gather = functools.partial(np.take, pixels, axis=0, mode="clip")
        yield _carrying(lambda indices, out: gather(indices, out=out), pixels.shape[1:], where, labels)


def _carrying(
    fill: Callable[[Indices, Pixels], object], shape: tuple[int, ...], where: torch.device, labels: torch.Tensor
) -> DeviceRead:
    """Fills page-locked memory with a batch ``[B, *shape]`` and copies it."""

    def read(indices: Indices) -> tuple[torch.Tensor, torch.Tensor]:
        batch_labels = labels[send(indices, where)]
        # PyTorch does not give this memory to anyone else before the copy is done.
        images = torch.empty((len(indices), *shape), dtype=torch.uint8, pin_memory=where.type == "cuda")
        fill(indices, images.numpy())
        return images.to(where, non_blocking=True), batch_labels

    return read


def _all_pixels(dataset: StoreDataset, where: torch.device) -> torch.Tensor:
    """All pixels of images of one size, ``[n, C, H, W]``; on the CPU in mode mapped the file's own pages.

    The loader decodes JPEG files when it opens; its decoder, then, is no part of a batch's work.
    """
    options: Any = dataset.options
    shape = (len(dataset), *dataset.split_info.fixed_shape)
    stored = None
    if options.encoding == "raw":
        stored = host_view(map_bytes(dataset.location / data_name(dataset.split, "raw"))).view(shape)
        if options.mode == "mapped":
            return stored
    check_room(math.prod(shape), where)
    try:
        pixels = torch.empty(shape, dtype=torch.uint8, device=where)
    except torch.OutOfMemoryError:  # the free memory need not be in one piece
        raise NoIdiomError("the device has no memory left to hold the split once more") from None
    if stored is not None:
        return pixels.copy_(stored)
    for part in _parts(dataset):
        pixels[part[0] : part[-1] + 1] = dataset.batch(part).images
    return pixels


def _all_pictures(dataset: StoreDataset) -> tuple[Pixels, Indices]:
    """All pixels of images of many sizes end to end, and where each begins and the last one ends.

    The file's own pages, or, as the loader does too when it opens, decoded to memory.
    """
    options: Any = dataset.options
    described = map_sizes(dataset.location, dataset.split).astype(np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(3 * described[:, 0] * described[:, 1])])
    if options.encoding == "raw":
        return map_bytes(dataset.location / data_name(dataset.split, "raw")), offsets
    check_room(int(offsets[-1]), CPU)
    pixels = np.empty(offsets[-1], np.uint8)
    for part in _parts(dataset):
        images, _ = dataset.whole(part)
        pixels[offsets[part[0]] : offsets[part[-1] + 1]] = np.concatenate([image.reshape(-1) for image in images])
    return pixels, offsets


def _parts(dataset: StoreDataset) -> list[Indices]:
    """All indices, in parts of as many images as the loader is asked for at once."""
    return np.split(np.arange(len(dataset)), range(64, len(dataset), 64))
