"""The contract of a storage format: how its store is written, and how one process reads a split of it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, Self, TypeVar, final

import numpy as np
from numpy.typing import NDArray

from loaders.core.batch import Batch, BatchRequest, Indices
from loaders.core.errors import OptionError
from loaders.core.options import LoaderOptions, parse_options
from loaders.core.payloads import Kind, Payloads, Rows

if TYPE_CHECKING:  # the contract is the lowest layer: it names what the layers above hand to a format
    from loaders.store.intake import Intake
    from loaders.store.manifest import Store

O_co = TypeVar("O_co", bound=LoaderOptions, covariant=True)
Idiom = Callable[[Any, Any], AbstractContextManager[Callable[[Indices], tuple[Any, Any]]]]
"""``idiom(dataset, crops)`` opens a store by plain means and yields a function from indices to images and labels."""


class Caps(NamedTuple):
    """What a format can do."""

    ragged: bool = True  # store images of many sizes
    access: Literal["random", "sequential"] = "random"  # sequential: samples only in the format's own order
    exact: bool = True  # return exactly the pixels that were prepared
    device: Literal["cpu", "cuda"] = "cpu"  # of its batches
    fork_safe: bool = True  # stay open in a process that forks; else it is closed before workers start
    max_workers: int | None = None  # most worker processes that may read it; None: any number


class Written(NamedTuple):
    """What a format wrote."""

    checked: Sequence[str]  # paths within the folder of files whose sizes are checked on each opening
    data: Sequence[str] | None = None  # paths within the folder of files that hold samples; None: all files
    elsewhere_bytes: int = 0  # size in bytes of data outside the folder, as in a database server
    pixels_as: Kind = Kind.PIXELS  # how samples are stored that are not kept as the source's files


Read = Literal["process", "thread", "workers"]
"""Batches are read in the training process, ahead by a thread, or by worker processes."""


class Candidate(NamedTuple):
    """Options that ``bench advise`` tries."""

    options: Mapping[str, Any] = {}
    reads: Sequence[Read] = ("process", "thread")  # ways of reading that are worth a try, in this order
    ragged_reads: Sequence[Read] = ()  # further ones for images of many sizes, which are cropped
    needs: Literal["files", "memory", "device"] | None = None
    """The source has image files; or all decoded pixels fit into the memory, or that of the device."""


class Reader(abc.ABC):
    """One process's handle on one split: opened, used and closed in the same process.

    ``__init__``, ``close`` and ``after_fork`` of all readers in a process are never called at the same time.
    """

    labels: NDArray[np.int64] | None = None
    """All labels, int64 ``[n]``, if the format has them in memory: checked once, and looked up for each batch."""
    way: str | None = None
    """The name of the method by which it reads its data; None if there is only one."""

    @abc.abstractmethod
    def fetch(self, indices: Indices) -> Rows | Payloads:
        """Read samples, int64 ``[B]`` within the split, in this order, with duplicates. Threads may call it at once."""

    def crops(self, request: BatchRequest, sizes: NDArray[np.int64], boxes: NDArray[np.int64], size: int) -> Batch:
        """Square crops of images of many sizes, for a format whose batches are on a device.

        ``sizes``, ``[B, 3]``, are height, width and `Kind` of each image; ``boxes``, ``[B, 4]``, top, left, height and
        width of each crop; ``size`` is the side of the result in pixels.
        """
        raise NotImplementedError

    def read_bytes(self) -> int | None:
        """Bytes that a server outside the store has read so far from outside its cache; None: not counted."""
        return None

    def after_fork(self) -> None:  # noqa: B027 - most formats have nothing to do
        """Called in a forked child for an inherited handle, which is never used or closed there.

        For libraries that count open handles per process.
        """

    def close(self) -> None:  # noqa: B027 - a memory map ends with its last reference
        """Release what was opened."""


class Format(abc.ABC, Generic[O_co]):
    """A storage format with its options.

    The core handles processes, forks, pickling and locks, checks indices, labels and files, decodes and crops, resumes
    interrupted preparations, and names the format in its errors.
    """

    name: ClassVar[str]
    """The loader's name on the command line and in records."""
    Options: ClassVar[type[LoaderOptions]] = LoaderOptions
    """Its options, each a ``store_option`` or a ``read_option``."""
    packages: ClassVar[Sequence[str]] = ()
    """Distributions that it needs; a record has their versions."""
    caps: ClassVar[Caps] = Caps()
    idiom: ClassVar[Idiom | None] = None
    """The fastest plain way to read the same store, which ``bench rate`` compares with."""
    candidates: ClassVar[Sequence[Candidate]] = (Candidate(),)
    """What ``bench advise`` tries."""

    @final
    def __init__(self, options: O_co) -> None:
        self.options = options

    @final
    @classmethod
    def configured(cls, options: LoaderOptions | Mapping[str, Any] | None = None) -> Self:
        """The format with options as text, as typed values or as an instance.

        Raises:
            OptionError: an unknown name or a bad value.
        """
        if isinstance(options, LoaderOptions) and not isinstance(options, cls.Options):
            raise OptionError(f"loader {cls.name} takes {cls.Options.__qualname__}, not {type(options).__qualname__}")
        if not isinstance(options, LoaderOptions):
            options = parse_options(cls.Options, options or {}, cls.name)
        return cls(options)  # type: ignore[arg-type]  # of its own kind, as was checked

    def unavailable(self) -> str | None:
        """Why it cannot run here with these options, or None if it can."""
        return None

    @abc.abstractmethod
    def write(self, splits: Mapping[str, Intake], folder: Path) -> Written:
        """Write all splits to an empty folder, taking every block of each split exactly once, in order."""

    @abc.abstractmethod
    def open(self, store: Store, split: str) -> Reader:
        """Open a split for this process. The store's files have been checked."""

    @final
    def reason_unavailable(self) -> str | None:
        """As ``unavailable``, with an exception as a reason too, so that one plug-in cannot stop the others."""
        try:
            return self.unavailable()
        except Exception as error:
            return f"asking it ended in {type(error).__name__}: {error}; this is a fault of the loader"
