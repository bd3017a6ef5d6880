"""The contract that every storage format fulfils: prepared once, then read a batch at a time."""

from __future__ import annotations

import abc
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from loaders.core.batch import Batch, BatchRequest, Indices, Sample, as_indices, register_collation
from loaders.core.errors import OptionError, StoreError, UnavailableError
from loaders.core.faults import blamed, check_batch, raise_blamed
from loaders.core.options import DecodingOptions, Encoding, LoaderOptions, parse_options
from loaders.images.kinds import Kind
from loaders.images.ragged import Payloads, RaggedReader
from loaders.store.checksums import checksums_of
from loaders.store.intake import StreamedSplit
from loaders.store.manifest import StoreInfo, check_files, read_store
from loaders.store.prepare import prepare_store
from loaders.store.samples import DatasetInfo, OnCorrupt, Progress, Split, SplitInfo, StoredBlock
from loaders.store.writer import Written

H = TypeVar("H")
register_collation()

# Opening is rare: one lock for all datasets, made anew in a forked child, where its holder may not exist.
_opening = threading.RLock()
# Handles that came across a fork. They belong to the parent and must be neither used nor finalised here: closing
# an inherited database connection, for one, would end the parent's session.
_inherited: list[Any] = []


def _renew_lock() -> None:
    global _opening
    _opening = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class ImageDataset(Dataset[Sample], abc.ABC, Generic[H]):
    """One split of a store, in one format. ``H`` is the format's open handle.

    A subclass says how to write a store, open it, read a batch and close it; everything that all formats share is
    here and final. Handles open at the first read, one per process, so that a dataset can be pickled, forked into
    workers and read by several threads.

    Example:
        >>> with MmapDataset("data/stores/digits/mmap", "train") as digits:  # doctest: +SKIP
        ...     images, labels = digits.batch([0, 1, 2])
    """

    name: ClassVar[str]
    """The loader's name on the command line and in records."""
    device: ClassVar[Literal["cpu", "cuda"]]
    """Where its batches come out."""
    max_workers: ClassVar[int | None]
    """0 where worker processes make no sense, None where any number does."""
    Options: ClassVar[type[LoaderOptions]]
    """What a sweep may vary."""
    ragged: ClassVar[bool] = False
    """Whether it can keep images of many sizes. Then it has ``_payloads``, and its options are `DecodingOptions`."""

    @classmethod
    @abc.abstractmethod
    def unavailable(cls, options: LoaderOptions) -> str | None:
        """Why the loader cannot run here with these options, or None if it can."""

    @final
    @classmethod
    def reason_unavailable(cls, options: LoaderOptions) -> str | None:
        """The same, and whatever the loader raises instead of telling is a reason, too."""
        try:
            return cls.unavailable(options)
        except Exception as error:  # a plug-in may fail in any way, and must not take the others with it
            return f"asking it ended in {type(error).__name__}: {error}; this is a fault of the loader"

    @classmethod
    @abc.abstractmethod
    def _write(cls, splits: Mapping[str, StreamedSplit], folder: Path, options: Any) -> Written:
        """Write all splits into a folder, taking every block of each split exactly once, in order.

        The folder is empty unless a split has a ``state``, which only those have that the loader called ``resumable``.

        Returns:
            Which files are to be checked on each opening, and what lies outside the folder.

        Raises:
            StaleError: the folder does not hold what a split's ``state`` says; it is emptied, and the call is repeated.
        """

    @classmethod
    def _kept_bytes(cls, block: StoredBlock, options: Any) -> int | None:
        """About how many bytes on the store's disk preparing these samples takes; None where that is not known.

        Args:
            block: some samples; each counts alike.
            options: the loader's.
        """
        encoding: Encoding = getattr(options, "encoding", "raw")
        if encoding == "jpeg" or block.pictures:
            return sum(len(payload) for payload in block.payloads(encoding))
        return block.images.nbytes

    @abc.abstractmethod
    def _open(self) -> H:
        """Open the store for this process. Called once per process, before the first read."""

    @abc.abstractmethod
    def _read(self, handle: H, indices: Indices) -> Batch:
        """Read samples in the order asked, duplicates included, into fresh memory. Several threads may call it.

        Args:
            handle: what ``_open`` gave in this process.
            indices: int64 ``[B]`` within ``[0, len(self))``.
        """

    def _payloads(self, handle: H, indices: Indices) -> Payloads:
        """What a ragged store keeps of these samples: a file each, or pixels. Several threads may call it.

        Args:
            handle: what ``_open`` gave in this process.
            indices: int64 ``[B]`` within ``[0, len(self))``.
        """
        raise NotImplementedError(f"loader {self.name} is not ragged")

    def _crops(self, handle: H, reader: RaggedReader, request: BatchRequest, size: int) -> Batch:
        """A square crop of each image of a ragged store; made on the host unless a format does it elsewhere.

        Args:
            handle: what ``_open`` gave in this process.
            reader: knows the images' sizes, draws the crops and makes them.
            request: which samples; the indices lie within ``[0, len(self))``.
            size: side of the crops in pixels.
        """
        return reader.crops(self._payloads(handle, request.indices), request, size)

    @classmethod
    def _kept_as(cls, options: Any, encoding: Encoding) -> Kind | None:  # noqa: ARG003
        """What ``_write`` keeps of a ragged split; None for the source's own files.

        Args:
            options: the loader's.
            encoding: the source's.
        """
        return None if options.encoding == "jpeg" else Kind.PIXELS

    @abc.abstractmethod
    def _close(self, handle: H) -> None:
        """Release what ``_open`` gave in this process."""

    def elsewhere_read_bytes(self) -> int | None:
        """Bytes that a server outside the store's folder has read so far of this split because its cache lacked them.

        A running count, of which differences tell: None where nothing lies outside, or where it is not counted.
        """
        return None

    @property
    def way(self) -> str | None:
        """Which of several ways to its data it took when it was opened; None for a format that has one alone."""
        return None

    @final
    @classmethod
    def prepare(
        cls,
        splits: Mapping[str, Split],
        location: Path | str,
        options: LoaderOptions | None = None,
        *,
        dataset: DatasetInfo,
        progress: Progress = lambda _: None,
        on_corrupt: OnCorrupt = "fail",
        anew: bool = False,
    ) -> StoreInfo:
        """Write a store of all splits, or leave what was there untouched.

        Data that the dataset's ``fingerprint`` identifies is not prepared twice: where an earlier attempt was killed,
        this one goes on.

        Args:
            splits: the source's splits by name.
            location: folder of the store; replaced when the new store is complete.
            options: the loader's options.
            dataset: what the images are; kept in the manifest.
            progress: called with the number of samples done since the last call.
            on_corrupt: whether an image of a ragged split that cannot be decoded ends it, or is left out and named in
                the manifest.
            anew: do not go on from where an earlier attempt was killed.

        Raises:
            LoaderError: a bad sample, a disk that is full, would be too small or is read-only, a lost server, another
                process at the same store.
        """
        options = cls._checked_options(options)
        return prepare_store(cls, splits, Path(location).absolute(), options, dataset, progress, on_corrupt, anew)

    @final
    def __init__(
        self,
        location: Path | str,
        split: str,
        options: LoaderOptions | Mapping[str, Any] | None = None,
        *,
        size: int | None = None,
    ) -> None:
        """Name a split of a store. Opens nothing.

        Args:
            location: the folder given to ``prepare``.
            split: ``"train"`` or ``"test"``.
            options: the loader's options; those that shaped the store must be the store's.
            size: side in pixels of the square crops that a store of images of many sizes gives, where a request does
                not say it.
        """
        self.location = Path(location).absolute()
        self.split = split
        self.options = self._checked_options(options)
        self.size = size
        self._info: StoreInfo | None = None
        self._handle: tuple[int, H, RaggedReader | None] | None = None
        self._count = 0  # samples, known once a handle is open
        self._first = True  # whether no batch has been read by the handle that is open

    @property
    def info(self) -> StoreInfo:
        """The store's manifest; the first use checks that the store is whole.

        Raises:
            StoreError: the store cannot be used.
        """
        if self._info is None:
            info = read_store(self.location, self.name)
            if self.split not in info.splits:
                raise StoreError(f"{self.location} has no split {self.split!r}; it has: {', '.join(info.splits)}")
            wanted = self.options.stored()
            if info.options != self.options.model_dump(mode="json", include=set(wanted)):
                raise StoreError(
                    f"{self.location} was prepared with {info.options}, not {wanted}; prepare another store"
                )
            self._info = info
        return self._info

    @property
    def split_info(self) -> SplitInfo:
        """Count, shape and hashes of this split."""
        return self.info.splits[self.split]

    @final
    def open(self) -> Self:
        """Open the store in this process now rather than at the first read.

        Raises:
            LoaderError: the store or its backend cannot be used.
        """
        self._ready()
        return self

    @final
    def __len__(self) -> int:
        return self.split_info.count

    @final
    def batch(self, indices: Any) -> Batch:
        """One batch; order and duplicates are kept, negative indices count from the end.

        Images of many sizes come as square crops: the central ones, or random ones where a ``BatchRequest`` is for
        training.

        Args:
            indices: a list, int array or tensor, or a ``BatchRequest``.

        Raises:
            IndexError: an index out of range.
            OptionError: nobody said how large the crops shall be.
            LoaderError: the store is damaged or its backend was lost.
        """
        handle, reader = self._opened()
        wanted = as_indices(indices, self._count)
        request = indices if isinstance(indices, BatchRequest) else BatchRequest(wanted)
        size = request.size or self.size
        if size is None and reader is not None and not request.checksums:
            raise OptionError(f"the images of {self.location} have many sizes; give size=… for square crops")
        try:
            if request.checksums:
                return self._checksums(handle, reader, wanted)
            if reader is None:
                batch = self._read(handle, wanted)
            else:
                assert size is not None
                batch = self._crops(handle, reader, request._replace(indices=wanted), size)
        except Exception as error:
            raise_blamed(error, self.name, _reading(wanted, self.split), self.location)
        if self._first:
            check_batch(batch, len(wanted), self.split_info.shape or (3, size or 0, size or 0), self.device, self.name)
            self._first = False
        return batch

    @final
    def _checksums(self, handle: H, reader: RaggedReader | None, wanted: Indices) -> Batch:
        """Checksums of whole images in the place of these, uint8 ``[B, 8]``."""
        if reader is None:
            images, labels = self._read(handle, wanted)
            sums = checksums_of(images.cpu().contiguous().numpy())
        else:
            payloads = self._payloads(handle, wanted)
            sums, labels = reader.checksums(payloads, wanted), torch.from_numpy(payloads.labels)
        return Batch(torch.from_numpy(sums.view(np.uint8).reshape(-1, 8)), labels)

    @final
    def whole(self, indices: Any) -> tuple[list[NDArray[np.uint8]], NDArray[np.int64]]:
        """Whole images, uint8 ``[H, W, C]`` each and contiguous, in the order asked, and their labels, int64 ``[B]``.

        Raises:
            IndexError, LoaderError: as ``batch``.
        """
        handle, reader = self._opened()
        wanted = as_indices(indices, self._count)
        with blamed(self.name, _reading(wanted, self.split), self.location):
            if reader is None:
                images, labels = self._read(handle, wanted)
                return list(images.cpu().permute(0, 2, 3, 1).contiguous().numpy()), labels.cpu().numpy()
            payloads = self._payloads(handle, wanted)
            return reader.whole(payloads, wanted), payloads.labels

    @final
    def __getitems__(self, indices: Any) -> list[Batch]:
        """PyTorch's fetcher calls this with a whole batch of indices."""
        return [self.batch(indices)]

    @final
    def __getitem__(self, index: int) -> Sample:
        """One sample; prefer ``batch``."""
        images, labels = self.batch([index])
        return Sample(images[0], int(labels[0]))

    @final
    def close(self) -> None:
        """Release this process's handle. May be called twice; a later read opens again."""
        with _opening:
            handle, self._handle = self._handle, None
        if handle is not None:
            if handle[0] == os.getpid():
                if handle[2] is not None:
                    handle[2].close()
                with blamed(self.name, "closing its store", self.location):
                    self._close(handle[1])
            else:
                _inherited.append(handle)

    @final
    def __enter__(self) -> Self:
        return self.open()

    @final
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @final
    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    @final
    def _ready(self) -> H:
        """This process's handle, opened if need be."""
        return self._opened()[0]

    @final
    def _opened(self) -> tuple[H, RaggedReader | None]:
        """This process's handle, and what makes crops of a ragged store's images; opened if need be."""
        handle = self._handle
        if handle is not None and handle[0] == os.getpid():
            return handle[1:]
        with _opening:
            if self._handle is not None and self._handle[0] != os.getpid():
                _inherited.append(self._handle)
                self._handle = None
            if self._handle is None:
                if reason := self.reason_unavailable(self.options):
                    raise UnavailableError(f"loader {self.name} cannot run here: {reason}")
                # Reads and checks the manifest before anything is opened.
                self._count = self.split_info.count
                reader = self._ragged_reader()
                try:
                    opened = self._open()
                except Exception as error:
                    check_files(self.location, self.info)  # a file that was cut meanwhile is no fault of the loader
                    raise_blamed(error, self.name, "opening its store", self.location)
                self._handle, self._first = (os.getpid(), opened, reader), True
                try:
                    # Once more: touching a map of a file that was cut meanwhile would end the process.
                    check_files(self.location, self.info)
                except StoreError:
                    self.close()
                    raise
            return self._handle[1:]

    @final
    def _ragged_reader(self) -> RaggedReader | None:
        """None for a store of images of one size."""
        options = self.options
        if self.split_info.shape is None:
            assert isinstance(options, DecodingOptions)
            return RaggedReader(
                self.location,
                self.split,
                self.split_info,
                options.threads,
                scaled=options.scaled,
                library=options.library,
            )
        if isinstance(options, DecodingOptions) and options.scaled:
            raise OptionError(f"scaled=true is for images of many sizes; those of {self.location} have one")
        return None

    @final
    @classmethod
    def _checked_options(cls, options: LoaderOptions | Mapping[str, Any] | None) -> Any:
        if isinstance(options, cls.Options):
            return options
        if isinstance(options, LoaderOptions):
            raise OptionError(f"loader {cls.name} takes {cls.Options.__qualname__}, not {type(options).__qualname__}")
        return parse_options(cls.Options, options or {}, cls.name)


def _reading(indices: Indices, split: str) -> str:
    """What a loader was doing, for an error message."""
    which = f"{len(indices)} samples of the {split} split, the first being {indices[0]}" if len(indices) else "none"
    return f"reading sample {indices[0]} of the {split} split" if len(indices) == 1 else f"reading {which}"
