"""A split on its way into a store: decoded on all cores, checked, counted, hashed, and taken up where it was left."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from loaders.core.errors import DecodeError, LoaderError, LoaderFaultError
from loaders.images.codecs import ImageDecoder
from loaders.images.kinds import Kind, decode_picture
from loaders.images.threads import Spread
from loaders.store.checksums import image_digest, shortened
from loaders.store.journal import ROW, Journal, Past, Rows
from loaders.store.samples import Block, OnCorrupt, Progress, Split, SplitInfo, StoredBlock

State = Mapping[str, int | str]
"""What a loader must know to go on with a half-written split."""


class StreamedSplit:
    """A split as ``prepare`` sees it: decodes, checks, counts and hashes while a loader writes.

    Every loader pays for the same decoding and hashing, so preparation times compare.

    Attributes:
        name: of the split.
        encoding: of the source.
        ragged: whether the images have many sizes.
        stored: samples that an earlier attempt has stored already; ``blocks`` goes on after them.
        state: what the loader had noted then; empty if it begins.
        failed: what the source or a sample of it raised, which is no fault of the loader.
    """

    def __init__(
        self,
        name: str,
        split: Split,
        classes: int,
        progress: Progress,
        on_corrupt: OnCorrupt = "fail",
        journal: Journal | None = None,
    ) -> None:
        self.name = name
        self.encoding: Literal["raw", "jpeg"] = split.encoding
        self.ragged = split.shape is None
        self._shape = split.shape
        self._split = split
        self._classes = classes
        self._progress = progress
        self._on_corrupt = on_corrupt
        self._journal = journal
        self._past = (journal.past.get(name) if journal else None) or Past()
        self.stored, self.state = self._past.stored, dict(self._past.state)
        self._taken = self._past.taken
        self._skipped = list(self._past.skipped)
        self._pixels = self._past.pixels
        channels = 3 if split.shape is None else split.shape[0]
        # Whole numbers: the same from every block size, and exact.
        self._counts = np.array(self._past.counts or np.zeros((channels, 256)), np.int64)
        self._rows: Rows | None = None
        self._info: SplitInfo | None = None
        self.failed: Exception | None = None

    def __len__(self) -> int:
        return len(self._split)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a split of one size.

        Raises:
            RuntimeError: the split is ragged.
        """
        if self._shape is None:
            raise RuntimeError(f"the {self.name} split has images of many sizes")
        return self._shape

    def resumable(self, save: Callable[[], State]) -> None:
        """Say that the loader can go on in the middle of this split. Call before taking blocks.

        Args:
            save: called between two blocks, in this split or in a later one: hands over to the operating system
                everything of this split that was taken, and gives what ``state`` shall be when it goes on from here.
        """
        if self._journal is not None:
            self._journal.describe(self.name, lambda: self._how_far(save))

    def blocks(self) -> Iterator[StoredBlock]:
        """Yield every block once; ``info`` is known when the last one has been taken."""
        if self._rows is not None:
            raise LoaderFaultError("a streamed split can be read only once")
        self._rows = self._journal.rows(self.name) if self._journal else Rows(io.BytesIO(), 0)
        if self._taken:
            self._progress(self._taken)
        for taken, block, rows in self._checked_blocks():
            yield block
            self._rows.append(rows)
            self.stored += len(block.labels)
            self._taken += taken
            self._progress(taken)
            if self._journal is not None:
                self._journal.note_if_due()
        if self._taken != len(self):
            raise LoaderError(f"the source announced {len(self)} {self.name} samples and gave {self._taken}")
        if self.stored == 0:
            raise LoaderError(f"the source has no {self.name} samples")
        self._info = self._summary(self._rows)

    def _checked_blocks(self) -> Iterator[tuple[int, StoredBlock, NDArray[Any]]]:
        """How many samples the source gave at a time, what is stored of them, and their rows."""
        try:
            with ImageDecoder() as decoder, contextlib.closing(Spread()) as spread:
                for source in self._split.blocks(self._taken):
                    if self._shape is None:
                        block, rows = self._pictures(source, spread)
                    else:
                        block, rows = self._fixed(source, decoder, spread)
                    self._check_labels(block)
                    rows["label"] = block.labels
                    yield len(source.labels), block, rows
        except Exception as error:
            self.failed = error
            raise

    @property
    def info(self) -> SplitInfo:
        """Counts and hashes of what was written."""
        if self._info is None:
            raise LoaderFaultError(f"the loader did not take all blocks of the {self.name} split")
        return self._info

    def descriptions(self, kind: Kind | None) -> Iterator[NDArray[np.int32]]:
        """Of a ragged split that has been written: height, width and kind of each sample, int32 ``[n, 3]`` at a time.

        Args:
            kind: of what was stored; None: the source's own files were.
        """
        assert self._rows is not None
        for rows in self._rows.chunks():
            kinds = rows["kind"] if kind is None else np.full(len(rows), kind, np.int32)
            yield np.stack([rows["height"], rows["width"], kinds], axis=1)

    def checksums(self) -> Iterator[tuple[NDArray[np.uint64], NDArray[np.int64]]]:
        """Of a split that has been written: checksum and label of each sample, ``[n]`` each, some at a time."""
        assert self._rows is not None
        for rows in self._rows.chunks():
            yield shortened(rows["digest"]), rows["label"].astype(np.int64)

    def begin_again_if_killed(self) -> None:
        """Say that what ``state`` speaks of is about to go: an attempt that is killed from here on begins anew."""
        if self._journal is not None:
            self._journal.drop_note()

    def _how_far(self, save: Callable[[], State]) -> Past:
        state = save()
        if self._rows is not None:
            self._rows.flush()
        return Past(
            taken=self._taken,
            stored=self.stored,
            skipped=self._skipped,
            counts=self._counts.tolist(),
            pixels=self._pixels,
            state=dict(state),
        )

    def _summary(self, rows: Rows) -> SplitInfo:
        pixels, labels = hashlib.sha256(), hashlib.sha256()
        for chunk in rows.chunks():
            pixels.update(np.ascontiguousarray(chunk["digest"]).data)
            labels.update(np.ascontiguousarray(chunk["label"]).data)
        mean, std = _moments(self._counts, self._pixels)
        return SplitInfo(
            count=self.stored,
            shape=self._shape,
            pixels=self._pixels if self._shape is None else None,
            skipped=tuple(self._skipped),
            pixels_sha256=pixels.hexdigest(),
            labels_sha256=labels.hexdigest(),
            mean=mean,
            std=std,
        )

    def _pictures(self, block: Block, spread: Spread) -> tuple[StoredBlock, NDArray[Any]]:
        """A ragged block without what is skipped, decoded on all cores, and its rows."""
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
                        f"the source gave a {image.dtype} image {image.shape} where uint8 [H, W, 3] was announced, "
                        f"in the {self.name} split"
                    )
                rows["digest"][i] = np.frombuffer(image_digest(image, ragged=True), np.uint8)
                rows["height"][i], rows["width"][i], rows["kind"][i] = *image.shape[:2], kind
                for channel in range(3):
                    histograms[i, channel] = np.bincount(image[:, :, channel].ravel(), minlength=256)

        spread(work, count)
        self._counts += histograms.sum(axis=0)
        kept = [i for i in range(count) if images[i] is not None]
        rows = rows[kept]
        self._pixels += int((rows["height"].astype(np.int64) * rows["width"]).sum())
        self._skipped += [self._name_of(block, i) for i in range(count) if images[i] is None]
        files = None if block.files is None else [block.files[i] for i in kept]
        labels = np.asarray(block.labels, np.int64)[kept]
        return StoredBlock(np.empty((0, 0, 0, 0), np.uint8), files, labels, [images[i] for i in kept]), rows

    def _name_of(self, block: Block, i: int) -> str:
        return block.names[i] if block.names else f"image {i} of a block of the {self.name} split"

    def _fixed(self, block: Block, decoder: ImageDecoder, spread: Spread) -> tuple[StoredBlock, NDArray[Any]]:
        """A block of images of one size, decoded, and its rows."""
        if block.images is not None:
            images = np.ascontiguousarray(block.images)
        elif block.files is not None:
            images = np.ascontiguousarray(decoder.decode(block.files, self.shape, names=block.names).numpy())
        else:
            raise TypeError("a block must have images or files")
        if images.dtype != np.uint8 or images.shape[1:] != self.shape or len(images) != len(block.labels):
            raise LoaderError(
                f"the source gave {images.dtype} images {images.shape} with {len(block.labels)} labels "
                f"where uint8 {self.shape} was announced, from sample {self._taken} of the {self.name} split on"
            )
        rows = np.zeros(len(images), ROW)

        def work(part: range) -> None:
            for i in part:
                rows["digest"][i] = np.frombuffer(image_digest(images[i], ragged=False), np.uint8)

        spread(work, len(images))
        self._counts += np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(images.shape[1])])
        self._pixels += len(images) * self.shape[1] * self.shape[2]
        return StoredBlock(images, block.files, np.asarray(block.labels, np.int64)), rows

    def _check_labels(self, block: StoredBlock) -> None:
        labels = block.labels
        if labels.size and not 0 <= int(labels.min()) <= int(labels.max()) < self._classes:
            raise LoaderError(
                f"a label outside 0..{self._classes - 1} between samples {self.stored} and "
                f"{self.stored + len(labels) - 1} of the {self.name} split"
            )


def _moments(counts: NDArray[np.int64], values: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, in [0, 1], from histograms ``[C, 256]`` of so many values each."""
    # Whole numbers up to the last division: rounding would give a constant channel a tiny deviation.
    levels = list(range(256))
    sums = [sum(n * v for n, v in zip(row, levels, strict=True)) for row in counts.tolist()]
    squares = [sum(n * v * v for n, v in zip(row, levels, strict=True)) for row in counts.tolist()]
    mean = tuple(s / (values * 255) for s in sums)
    variance = [(values * q - s * s) / (values * 255) ** 2 for s, q in zip(sums, squares, strict=True)]
    return mean, tuple(math.sqrt(v) for v in variance)
