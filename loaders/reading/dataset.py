"""The dataset over a store: batches of pixels and labels, whole images, and one open handle per process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from loaders.core.batch import Batch, BatchRequest, Indices, Sample, all_plain, as_indices, check_batch, check_labels
from loaders.core.errors import LoaderFaultError, OptionError, StoreError, UnavailableError, blamed, raise_blamed
from loaders.core.format import Caps, Format, Reader
from loaders.core.options import DecodingOptions, LoaderOptions
from loaders.core.payloads import Payloads, Rows
from loaders.images.decode import Decoder
from loaders.images.digests import image_digest, shortened
from loaders.store.manifest import Store, StoreInfo, check_files, read_store
from loaders.store.samples import SplitInfo

# Opening and closing are rare: one lock for all datasets, so that formats need none. A forked child creates its own,
# because the thread that holds the lock may not exist there.
_opening = threading.RLock()
# Handles inherited through a fork. They belong to the parent and must be neither used nor finalised here: closing
# an inherited database connection, for example, would end the parent's session.
_inherited: list[Any] = []
_TOGETHER = 64
"""Batches whose indices are checked at once."""


def _renew_lock() -> None:
    global _opening
    _opening = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class _Handle(NamedTuple):
    """What one process has open."""

    process: int
    reader: Reader
    decoder: Decoder
    shape: tuple[int, int, int] | None


@final
class StoreDataset(Dataset[Sample]):
    """One split of a store.

    It opens at the first read, once per process, so it can be pickled, forked and shared by threads.

    Example:
        >>> with open_dataset("data/stores/digits/mmap", "train") as digits:  # doctest: +SKIP
        ...     images, labels = digits.batch([0, 1, 2])
    """

    def __init__(self, format_: Format[Any], location: Path | str, split: str, *, size: int | None = None) -> None:
        """Open nothing yet.

        Args:
            format_: the format with its options; its store options must equal those of the store.
            location: folder of the store.
            split: name of the split.
            size: side of the square crops in pixels of images of many sizes, for requests without one.
        """
        self.format = format_
        self.name: str = format_.name
        self.options: LoaderOptions = format_.options
        self.location = Path(location).absolute()
        self.split = split
        self.size = size
        self._info: StoreInfo | None = None
        self._handle: _Handle | None = None
        self._count = 0  # samples, known once a handle is open
        self._first = True  # whether the open handle has not read a batch yet

    @property
    def caps(self) -> Caps:
        """What the format can do."""
        return self.format.caps

    @property
    def info(self) -> StoreInfo:
        """The store's manifest; the first access checks that the store is complete, or raises a ``StoreError``."""
        if self._info is None:
            info = read_store(self.location, self.name)
            if self.split not in info.splits:
                raise StoreError(f"{self.location} has no split {self.split!r}; it has: {', '.join(info.splits)}")
            stored = self.options.stored()
            if info.options != self.options.model_dump(mode="json", include=set(stored)):
                raise StoreError(
                    f"{self.location} was prepared with {info.options}, not {stored}; prepare another store"
                )
            self._info = info
        return self._info

    @property
    def split_info(self) -> SplitInfo:
        """Count, shape and hashes of this split."""
        return self.info.splits[self.split]

    @property
    def reader(self) -> Reader:
        """This process's reader; opened on first use."""
        return self._opened().reader

    def open(self) -> Self:
        """Open the store in this process now rather than at the first read; raises LoaderError if that fails."""
        self._opened()
        return self

    def __len__(self) -> int:
        return self.split_info.count

    def batch(self, indices: Any) -> Batch:
        """One batch of a list, int array or tensor of indices, or of a ``BatchRequest``.

        Order and duplicates are kept, negative indices count from the end. Images of many sizes are returned as square
        crops: random if a ``BatchRequest`` is for training, else central.

        Raises:
            IndexError: an index out of range.
            OptionError: the crops have no size.
            LoaderError: the store is damaged or its backend was lost.
        """
        self._opened()
        request = indices if isinstance(indices, BatchRequest) else BatchRequest(indices)
        return self._batch(request._replace(indices=as_indices(indices, self._count)))

    def batches(self, requests: Sequence[BatchRequest]) -> Generator[Batch, None, None]:
        """A batch a request, read when it is asked for; errors as of ``batch``.

        Indices are checked for many batches at once: after the copy of a batch the processor's caches are full of
        pixels, and a small operation takes not two microseconds but eight.
        """
        self._opened()
        for start in range(0, len(requests), _TOGETHER):
            some = requests[start : start + _TOGETHER]
            right = all_plain([request.indices for request in some], self._count)
            yield from map(self._batch if right else self.batch, some)

    def _batch(self, request: BatchRequest) -> Batch:
        """The batch of a request with checked indices."""
        handle = self._opened()
        if request.checksums:
            return self._checksums(request.indices, ragged=handle.shape is None)
        size = request.size or self.size or 0
        if handle.shape is None and size == 0:
            raise OptionError(f"the images of {self.location} have many sizes; give size=… for square crops")
        try:
            if handle.shape is None and self.caps.device != "cpu":
                batch = handle.reader.crops(request, *handle.decoder.boxes(request), size)
            else:
                fetched = handle.reader.fetch(request.indices)
                images = self._images(handle, fetched, request, size)
                batch = Batch(images, self._labels(handle.reader, fetched, request.indices))
        except Exception as error:
            raise_blamed(error, self.name, _reading(request.indices, self.split), self.location)
        if self._first:
            check_batch(batch, len(request.indices), handle.shape or (3, size, size), self.caps.device, self.name)
            self._first = False
        return batch

    def _images(self, handle: _Handle, fetched: Any, request: BatchRequest, size: int) -> torch.Tensor:
        """Whole images of one size, or square crops of images of many sizes."""
        if isinstance(fetched, Rows) and handle.shape is not None:
            return _tensor(fetched.images)
        if not isinstance(fetched, Payloads):
            raise LoaderFaultError(f"loader {self.name} gave a {type(fetched).__name__}, neither Rows nor Payloads")
        return handle.decoder.batch(fetched, request, size)

    def _labels(self, reader: Reader, fetched: Rows | Payloads, indices: Indices) -> torch.Tensor:
        """Labels of a batch: from those that were checked on opening, or checked now."""
        if reader.labels is not None:
            return torch.from_numpy(reader.labels.take(indices))
        if fetched.labels is None:
            raise LoaderFaultError(f"loader {self.name} gave no labels; this is a fault of the loader")
        if isinstance(fetched.labels, np.ndarray) and fetched.labels.dtype == np.int64:
            check_labels(fetched.labels, len(self.info.dataset.classes), self.split, self.location, indices)
        return _tensor(fetched.labels)

    def _checksums(self, indices: Indices, *, ragged: bool) -> Batch:
        """Checksums in place of whole images, uint8 ``[B, 8]``."""

        def digest(image: NDArray[np.uint8]) -> bytes:
            return image_digest(np.ascontiguousarray(image if ragged else image.transpose(2, 0, 1)), ragged=ragged)

        digests, labels = self._each(indices, digest)
        sums = shortened(np.frombuffer(bytearray().join(digests), np.uint8).reshape(-1, 32))
        return Batch(torch.from_numpy(sums.view(np.uint8).reshape(-1, 8)), labels)

    def whole(self, indices: Any) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
        """Whole images, uint8 ``[H, W, C]`` each and contiguous, and labels, int64 ``[B]``; errors as of ``batch``."""
        images, labels = self._each(indices, lambda image: np.array(image, order="C"))
        return images, labels.cpu().numpy()

    def _each(self, indices: Any, make: Callable[[NDArray[np.uint8]], Any]) -> tuple[list[Any], torch.Tensor]:
        """The result of a function for each whole image, uint8 ``[H, W, C]``, and the labels."""
        handle = self._opened()
        array = as_indices(indices, self._count)
        with blamed(self.name, _reading(array, self.split), self.location):
            fetched = handle.reader.fetch(array)
            labels = self._labels(handle.reader, fetched, array)
            if isinstance(fetched, Payloads):
                return handle.decoder.each(fetched, array, make), labels
            return [make(image) for image in _tensor(fetched.images).cpu().permute(0, 2, 3, 1).numpy()], labels

    def __getitems__(self, indices: Any) -> list[Batch]:
        """PyTorch's fetcher calls this with a whole batch of indices."""
        return [self.batch(indices)]

    def __getitem__(self, index: int) -> Sample:
        """One sample; prefer ``batch``."""
        images, labels = self.batch([index])
        return Sample(images[0], int(labels[0]))

    def close(self) -> None:
        """Release this process's handle. May be called twice; a later read opens again."""
        with _opening:
            self._leave_inherited()
            handle, self._handle = self._handle, None
            if handle is None:
                return
            handle.decoder.close()
            with blamed(self.name, "closing its store", self.location):
                handle.reader.close()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def _leave_inherited(self) -> None:
        """Set aside a handle that was inherited through a fork."""
        handle = self._handle
        if handle is not None and handle.process != os.getpid():
            self._handle = None
            _inherited.append(handle)
            with blamed(self.name, "leaving its store after a fork", self.location):
                handle.reader.after_fork()

    def _opened(self) -> _Handle:
        """This process's handle; opened on first use."""
        handle = self._handle
        if handle is not None and handle.process == os.getpid():
            return handle
        with _opening:
            self._leave_inherited()
            if self._handle is None:
                self._handle, self._first = self._open(), True
                try:
                    # Again: accessing a map of a file that was truncated in between would kill the process.
                    check_files(self.location, self.info)
                    if (labels := self._handle.reader.labels) is not None:
                        check_labels(labels, len(self.info.dataset.classes), self.split, self.location)
                except StoreError:
                    self.close()
                    raise
            return self._handle

    def _open(self) -> _Handle:
        if reason := self.format.reason_unavailable():
            raise UnavailableError(f"loader {self.name} cannot run here: {reason}")
        split = self.split_info  # the manifest is read and checked before anything is opened
        self._count = split.count
        store = Store(self.location, self.info)
        options = self.options if isinstance(self.options, DecodingOptions) else DecodingOptions()
        if options.scaled and split.shape is not None:
            raise OptionError(f"scaled=true is for images of many sizes; those of {self.location} have one size")
        subject = f"of the {self.split} split in {self.location}"
        decoder = Decoder(split.shape, store.sizes(self.split), subject, store.remedy, options)
        try:
            return _Handle(os.getpid(), self.format.open(store, self.split), decoder, split.shape)
        except Exception as error:
            check_files(self.location, self.info)  # a file that was truncated in between is no fault of the loader
            raise_blamed(error, self.name, "opening its store", self.location)


def _tensor(array: NDArray[Any] | torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(array) if isinstance(array, np.ndarray) else array


def _reading(indices: Indices, split: str) -> str:
    """What a loader was doing, for an error message."""
    if len(indices) == 1:
        return f"reading sample {indices[0]} of the {split} split"
    first = f", the first being {indices[0]}" if len(indices) else ""
    return f"reading {len(indices)} samples of the {split} split{first}"
