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
"""``idiom(dataset, crops)`` opens the store by plain means and gives a function from indices to images and labels."""


class Caps(NamedTuple):
    """What a format can do.

    Attributes:
        ragged: it keeps images of many sizes.
        access: ``random``: any sample at any time; ``sequential``: only in an order of its own.
        exact: it gives the very pixels that were prepared.
        device: where its batches come out.
        fork_safe: a process that has a split open may fork. Otherwise it is closed before workers start.
        max_workers: most worker processes that may read it; None: any number.
    """

    ragged: bool = True
    access: Literal["random", "sequential"] = "random"
    exact: bool = True
    device: Literal["cpu", "cuda"] = "cpu"
    fork_safe: bool = True
    max_workers: int | None = None


class Written(NamedTuple):
    """What a format wrote.

    Attributes:
        checked: paths within the folder of the files whose sizes are checked on each opening.
        data: paths within the folder of the files that hold the samples; None: all files do.
        elsewhere_bytes: size of what lies outside the folder, as in a database server.
        pixels_as: what it keeps of a sample that it did not get as a file.
    """

    checked: Sequence[str]
    data: Sequence[str] | None = None
    elsewhere_bytes: int = 0
    pixels_as: Kind = Kind.PIXELS


Read = Literal["process", "thread", "workers"]
"""Batches are read in the training process, ahead by a thread, or by worker processes."""


class Candidate(NamedTuple):
    """Options that ``bench advise`` tries.

    Attributes:
        options: of the format.
        reads: ways of reading that are worth a try, in this order.
        ragged_reads: further ones for images of many sizes, which are cropped.
        needs: ``files``: the source has image files; ``memory`` or ``device``: all decoded pixels fit there.
    """

    options: Mapping[str, Any] = {}
    reads: Sequence[Read] = ("process", "thread")
    ragged_reads: Sequence[Read] = ()
    needs: Literal["files", "memory", "device"] | None = None


class Reader(abc.ABC):
    """One process's handle on one split: opened, used and closed in the same process.

    Of all readers in a process, only one is opened, closed or told of a fork at a time.
    """

    labels: NDArray[np.int64] | None = None
    """All labels, int64 ``[n]``, where the format has them at hand: checked once, and looked up for each batch."""
    way: str | None = None
    """Which of several ways to its data it took; None where there is only one."""

    @abc.abstractmethod
    def fetch(self, indices: Indices) -> Rows | Payloads:
        """Read samples in the order asked, duplicates included. Several threads may call it.

        Args:
            indices: int64 ``[B]`` within the split.
        """

    def crops(self, request: BatchRequest, sizes: NDArray[np.int64], boxes: NDArray[np.int64], size: int) -> Batch:
        """Square crops of images of many sizes, made on the device by a format whose batches come out there.

        Args:
            request: which samples.
            sizes: height, width and `Kind` of each, ``[B, 3]``.
            boxes: top, left, height and width of each crop, ``[B, 4]``.
            size: side of the crops in pixels.
        """
        raise NotImplementedError

    def read_bytes(self) -> int | None:
        """Bytes that a server outside the store has read so far because its cache lacked them; None: not counted."""
        return None

    def after_fork(self) -> None:  # noqa: B027 - most formats have nothing to do
        """Called in a forked child for the handle that it inherited, which is never used or closed there.

        For libraries that count handles per process and would take this one for open.
        """

    def close(self) -> None:  # noqa: B027 - a map ends with the last reference to it
        """Release what was opened."""


class Format(abc.ABC, Generic[O_co]):
    """A storage format with its options. The core does everything that all formats share.

    That is: processes, forks and pickling, locks, checking of indices, labels and files, decoding, cropping, resuming
    an interrupted preparation, and naming the format in whatever it raises.
    """

    name: ClassVar[str]
    """The loader's name on the command line and in records."""
    Options: ClassVar[type[LoaderOptions]] = LoaderOptions
    """Its options, each a ``store_option`` or a ``read_option``."""
    packages: ClassVar[Sequence[str]] = ()
    """Distributions that it needs; their versions stand in a record."""
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
        """The format with options that were given as text, as typed values or as an instance.

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
        """Write all splits into an empty folder, taking every block of each split exactly once, in order."""

    @abc.abstractmethod
    def open(self, store: Store, split: str) -> Reader:
        """Open a split for this process. The store's files have been checked."""

    @final
    def reason_unavailable(self) -> str | None:
        """The same as ``unavailable``; an exception is a reason, too, so that a plug-in cannot stop the others."""
        try:
            return self.unavailable()
        except Exception as error:
            return f"asking it ended in {type(error).__name__}: {error}; this is a fault of the loader"
