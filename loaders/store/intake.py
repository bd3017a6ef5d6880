"""Decodes, checks, counts and hashes a split while a format writes it, and resumes it from a checkpoint."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loaders.core.errors import DecodeError, LoaderError, LoaderFaultError
from loaders.core.payloads import Kind
from loaders.images.codecs import ImageDecoder
from loaders.images.digests import image_digest, shortened
from loaders.images.kinds import decode_picture
from loaders.store.journal import ROW, Journal, Past, State
from loaders.store.samples import Block, OnCorrupt, Split, SplitInfo, StoredBlock


class Intake:
    """A split as a format writes it: decoded, checked, counted and hashed block by block.

    Every format pays for the same decoding and hashing, so preparation times can be compared.

    Attributes:
        name: of the split.
        encoding: of the source.
        shape: ``(C, H, W)`` of each image; None if they have many sizes.
        keeps_files: whether the store keeps the source's own files.
        failed: what the source or one of its samples raised, which is no fault of the format.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        classes: int,
        keeps_files: bool,
        on_block: Callable[[int, int], None],
        on_corrupt: OnCorrupt,
        journal: Journal,
    ) -> None:
        """Args: on_block gets the number of samples taken and their bytes, 0 for those of an earlier attempt."""
        self.name, self.encoding, self.shape = name, split.encoding, split.shape
        self.keeps_files = keeps_files
        self._split, self._classes = split, classes
        self._on_block, self._on_corrupt = on_block, on_corrupt
        self._journal = journal
        self._done = journal.past.get(name, Past()).model_copy(deep=True)
        channels = 3 if split.shape is None else split.shape[0]
        # Whole numbers: exact, and the same for every block size.
        self._counts = np.array(self._done.counts or np.zeros((channels, 256)), np.int64)
        self._begun = False
        self._info: SplitInfo | None = None
        self.failed: Exception | None = None

    def __len__(self) -> int:
        return len(self._split)

    @property
    def rows(self) -> bool:
        """Whether it is rows (pixels of one size) rather than payloads (bytes of each sample)."""
        return self.shape is not None and not self.keeps_files

    @property
    def fixed_shape(self) -> tuple[int, int, int]:
        """``(C, H, W)`` of a split of one size."""
        if self.shape is None:
            raise RuntimeError(f"the {self.name} split has images of many sizes")
        return self.shape

    @property
    def stored(self) -> int:
        """Samples that the store already holds; ``blocks`` continues after them."""
        return self._done.stored

    @property
    def state(self) -> State:
        """Lengths of the core's own files at the checkpoint; empty without one."""
        return self._done.state

    def checkpoint(self, save: Callable[[], State]) -> None:
        """Let an interrupted preparation resume within this split. Only for files that the core itself writes.

        ``save`` is called between two blocks, of this split or a later one. It hands over everything of this split to
        the operating system, and returns the ``state`` for resuming from here.
        """

        def past() -> Past:
            state = dict(save())
            self._rows.flush()
            return self._done.model_copy(update={"counts": self._counts.tolist(), "state": state})

        self._journal.describe(self.name, past)

    def blocks(self) -> Iterator[StoredBlock]:
        """Yield every block once; ``info`` is known when the last one has been taken."""
        if self._begun:
            raise LoaderFaultError("a split can be read only once while it is stored")
        self._begun = True
        self._rows = self._journal.rows(self.name)
        if self._done.taken:
            self._on_block(self._done.taken, 0)
        for taken, block, rows in self._checked_blocks():
            yield block
            self._rows.append(rows)
            self._done.stored += len(block.labels)
            self._done.taken += taken
            self._on_block(taken, block.nbytes)
            self._journal.checkpoint_if_due()
        if self._done.taken != len(self):
            raise LoaderError(f"the source announced {len(self)} {self.name} samples and gave {self._done.taken}")
        if self.stored == 0:
            raise LoaderError(f"the source has no {self.name} samples")
        self._info = self._summary()

    def _checked_blocks(self) -> Iterator[tuple[int, StoredBlock, NDArray[Any]]]:
        """The number of samples taken from the source, what is stored of them, and their rows."""
        try:
            with ImageDecoder() as decoder:
                for source in self._split.blocks(self._done.taken):
                    block, rows = (self._pictures if self.shape is None else self._fixed)(source, decoder)
                    self._check_labels(block.labels)
                    rows["label"] = block.labels
                    yield len(source.labels), block if self.keeps_files else block._replace(files=None), rows
        except Exception as error:
            self.failed = error
            raise

    @property
    def info(self) -> SplitInfo:
        """Counts and hashes of what was written."""
        if self._info is None:
            raise LoaderFaultError(f"the loader did not take all blocks of the {self.name} split")
        return self._info

    def sizes(self, pixels_as: Kind) -> Iterator[NDArray[np.int32]]:
        """Height, width and kind of each sample, int32 ``[k, 3]`` at a time; ``pixels_as``: kind without own files."""
        for rows in self._rows.chunks():
            kinds = rows["kind"] if self.keeps_files else np.full(len(rows), pixels_as, np.int32)
            yield np.stack([rows["height"], rows["width"], kinds], axis=1)

    def checksums(self) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """Checksum and label of each stored sample, ``[k]`` each at a time."""
        for rows in self._rows.chunks():
            yield shortened(rows["digest"]), rows["label"].astype(np.int64)

    def _summary(self) -> SplitInfo:
        pixels, labels = hashlib.sha256(), hashlib.sha256()
        for chunk in self._rows.chunks():
            pixels.update(np.ascontiguousarray(chunk["digest"]).data)
            labels.update(np.ascontiguousarray(chunk["label"]).data)
        mean, std = _moments(self._counts, self._done.pixels)
        return SplitInfo(
            count=self.stored,
            shape=self.shape,
            pixels=self._done.pixels if self.shape is None else None,
            skipped=tuple(self._done.skipped),
            pixels_sha256=pixels.hexdigest(),
            labels_sha256=labels.hexdigest(),
            mean=mean,
            std=std,
        )

    def _pictures(self, block: Block, decoder: ImageDecoder) -> tuple[StoredBlock, NDArray[Any]]:
        """Images of many sizes, decoded, without the skipped ones, and their rows."""
        count = len(block.labels)
        images: list[Any] = [None] * count
        rows = np.zeros(count, ROW)
        histograms = np.zeros((count, 3, 256), np.int64)

        def work(part: range) -> None:
            for i in part:
                kind = Kind.PIXELS
                if block.files is None:
                    image = np.ascontiguousarray(block.pictures[i])
                else:
                    try:
                        image, kind = decode_picture(block.files[i], self._name_of(block, i))
                    except DecodeError:
                        if self._on_corrupt == "fail":
                            raise
                        continue
                images[i] = image
                if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
                    raise LoaderError(
                        f"the source gave a {image.dtype} image {image.shape} instead of the announced uint8 "
                        f"[H, W, 3], in the {self.name} split"
                    )
                rows["digest"][i] = np.frombuffer(image_digest(image, ragged=True), np.uint8)
                rows["height"][i], rows["width"][i], rows["kind"][i] = *image.shape[:2], kind
                for channel in range(3):
                    histograms[i, channel] = np.bincount(image[:, :, channel].ravel(), minlength=256)

        decoder.spread(work, count)
        self._counts += histograms.sum(axis=0)
        self._done.pixels += int((rows["height"].astype(np.int64) * rows["width"]).sum())
        self._done.skipped += [self._name_of(block, i) for i in range(count) if images[i] is None]
        kept = [i for i in range(count) if images[i] is not None]
        files = None if block.files is None else [block.files[i] for i in kept]
        labels = np.asarray(block.labels, np.int64)[kept]
        return StoredBlock(np.empty((0, 0, 0, 0), np.uint8), labels, files, [images[i] for i in kept]), rows[kept]

    def _name_of(self, block: Block, i: int) -> str:
        return block.names[i] if block.names else f"image {i} of a block of the {self.name} split"

    def _fixed(self, block: Block, decoder: ImageDecoder) -> tuple[StoredBlock, NDArray[Any]]:
        """Images of one size, decoded, and their rows."""
        shape = self.fixed_shape
        if block.images is not None:
            images = np.ascontiguousarray(block.images)
        elif block.files is not None:
            files = block.files
            decoded = decoder.decode(files.__getitem__, len(files), shape, lambda i: self._name_of(block, i))
            images = np.ascontiguousarray(decoded.numpy())
        else:
            raise TypeError("a block must have images or files")
        if images.dtype != np.uint8 or images.shape[1:] != shape or len(images) != len(block.labels):
            raise LoaderError(
                f"the source gave {images.dtype} images {images.shape} with {len(block.labels)} labels instead of the "
                f"announced uint8 {shape}, from sample {self._done.taken} of the {self.name} split on"
            )
        rows = np.zeros(len(images), ROW)

        def work(part: range) -> None:
            for i in part:
                rows["digest"][i] = np.frombuffer(image_digest(images[i], ragged=False), np.uint8)

        decoder.spread(work, len(images))
        self._counts += np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
        self._done.pixels += len(images) * shape[1] * shape[2]
        return StoredBlock(images, np.asarray(block.labels, np.int64), block.files), rows

    def _check_labels(self, labels: NDArray[np.int64]) -> None:
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < self._classes:
            raise LoaderError(
                f"a label outside 0..{self._classes - 1} between samples {self.stored} and "
                f"{self.stored + len(labels) - 1} of the {self.name} split"
            )


def _moments(counts: NDArray[np.int64], values: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1], from histograms ``[C, 256]`` of so many values each."""
    # Whole numbers up to the last division: rounding would give a constant channel a tiny deviation.
    sums = [sum(n * v for v, n in enumerate(row)) for row in counts.tolist()]
    squares = [sum(n * v * v for v, n in enumerate(row)) for row in counts.tolist()]
    mean = tuple(s / (values * 255) for s in sums)
    variance = [(values * q - s * s) / (values * 255) ** 2 for s, q in zip(sums, squares, strict=True)]
    return mean, tuple(math.sqrt(v) for v in variance)
